"""The rules of the registry protocol: what a status, a header or a JSON body means, and the errors it leads to. Pure.

Rule: nothing that a registry answers is believed. What leaves this module as a URL has a host, a port and printable
only ASCII; what leaves it as a message is one printable line, without any credential.

Specs: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
https://distribution.github.io/distribution/spec/auth/token/, RFC 9110 (Retry-After, Range), RFC 7235 (challenges)
"""
import re
import urllib.parse
from typing import Any, Dict, NamedTuple, Optional, Tuple

from builder.reading.documents import field, parse_object
from builder.reading.errors import InputError, shown

MAX_ERROR_BYTES = 1 << 16  # of an answer that is searched for what went wrong
ERROR_CHARACTERS = 200  # of what the registry says, in one line
DONE = (200, 201, 202, 204)  # registries differ in which they take for what
HINTS = {401: "give the right --credentials", 403: "these credentials do not allow it",
         405: "allow it in the registry (to delete: REGISTRY_STORAGE_DELETE_ENABLED=true)",
         507: "make room on the registry's disk"}

_PARAMETER = r'([A-Za-z_-]+)=(?:"([^"]*)"|([^\s,"]+))'
_CHALLENGE = re.compile(r"(basic|bearer)\s+((?:%s[\s,]*)*)" % _PARAMETER, re.IGNORECASE)
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})")
_SECONDS = re.compile("[0-9]{1,5}")
_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')
_PRINTABLE = re.compile("[!-~]+")


class RegistryError(Exception):
    """A refusal or failure of the registry, as one line."""

    def __init__(self, line: str) -> None:
        super().__init__(shown(line))


class Transient(RegistryError):
    """An error that a new try may not meet."""
    wait_seconds = 0.0  # what the registry asks for


class Answer(NamedTuple):
    """An exchange that came to its end."""
    status: int
    headers: Any  # by name in any case, with `get`
    body: bytes
    where: str  # begins every error


class Manifest(NamedTuple):
    """A manifest or index, exactly as it is in the registry."""
    media_type: str
    digest: str
    data: bytes


def challenge(header: str) -> Tuple[str, Dict[str, str]]:
    """Return the scheme of WWW-Authenticate ("bearer", "basic" or "") and its parameters; bearer is preferred."""
    found = {match.group(1).lower(): match.group(2) for match in _CHALLENGE.finditer(header)}
    for scheme in ("bearer", "basic"):
        if scheme in found:
            return scheme, {name.lower(): quoted or bare
                            for name, quoted, bare in re.findall(_PARAMETER, found[scheme])}
    return "", {}


def received(header: Optional[str]) -> int:
    """Return the bytes of an upload that the registry has, by its Range; `0-0` means none."""
    match = _RANGE.fullmatch(header or "")
    last = int(match.group(1)) if match else 0
    return last + 1 if last else 0


def wait_of(header: Optional[str]) -> float:
    """Return Retry-After in seconds; 0 for a date and for anything else."""
    return float(header) if header and _SECONDS.fullmatch(header) else 0.0


def may_pass(status: int) -> bool:
    """Return whether another try may succeed after this status; 501 means that it is not implemented."""
    return status == 429 or status >= 500 and status != 501


def is_token(text: str) -> bool:
    """Return whether `text` can be in an Authorization header."""
    return _PRINTABLE.fullmatch(text) is not None


def is_url(url: str) -> bool:
    """Return whether `url` is http://HOST[:PORT]... or https://..., in printable ASCII and without credentials."""
    try:
        parts = urllib.parse.urlsplit(url)
        return (parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
                and parts.port != 0 and is_token(url))
    except ValueError:  # brackets without an IPv6 address, a port that is not a number or too large
        return False


def joined(url: str, location: str, where: str) -> str:
    """Return the URL of a Location or Link in the answer to `url`. Raise RegistryError unless it is a URL."""
    try:
        target = urllib.parse.urljoin(url, location)
    except ValueError:
        target = ""
    if not is_url(target):
        raise RegistryError("%s: leads to %s, which is not a URL: is it a registry?"
                            % (where, shown(location, ERROR_CHARACTERS)))
    return target


def next_page(answer: Answer, url: str) -> str:
    """Return the URL of a list's next page, "" after the last."""
    found = _NEXT.search(answer.headers.get("Link", ""))
    return joined(url, found.group(1), answer.where) if found else ""


def location_of(answer: Answer, url: str) -> str:
    """Return the URL at which an upload goes on."""
    location = answer.headers.get("Location")
    if not location:
        raise RegistryError("%s: status %d without Location: is it a registry?" % (answer.where, answer.status))
    return joined(url, location, answer.where)


def with_query(url: str, **more: str) -> str:
    """Return the URL with more parameters; those that it has are kept."""
    return url + ("&" if "?" in url else "?") + urllib.parse.urlencode(more)


def complaint(body: bytes) -> str:
    """Return the error in a registry's JSON as one printable line; "" if there is none."""
    if len(body) > MAX_ERROR_BYTES:
        return ""
    try:
        errors = field(parse_object(body, ""), "errors", list, "")
        text = "; ".join(" ".join(str(error[key]) for key in ("code", "message") if error.get(key)) for error in errors)
    except (InputError, AttributeError):
        return ""
    return shown(text, ERROR_CHARACTERS)


def refusal(answer: Answer) -> RegistryError:
    """Return the error for an unexpected answer."""
    line = "%s: status %d" % (answer.where, answer.status)
    reason, hint = complaint(answer.body), HINTS.get(answer.status)
    if reason:
        line += ", " + reason
    if hint:
        line += ": " + hint
    if not may_pass(answer.status):
        return RegistryError(line)
    error = Transient(line)
    error.wait_seconds = wait_of(answer.headers.get("Retry-After"))
    return error
