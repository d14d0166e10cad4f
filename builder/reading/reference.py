"""Image names: parsed, normalised, and the repository names under which the injector serves them.

Text in, `Reference` out; `str()` of it is the full form that the payload has (`docker.io/library/registry:2`).
Pure. Python 3.6 syntax and library only (it also runs in the cluster).

Rule: a Reference is legal by the grammar below; callers do not check it again.

Specs: https://github.com/distribution/reference (grammar and Docker Hub's short forms)
https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests (repository names, tags)
"""
import os
import re
from typing import NamedTuple, Optional, Tuple

from builder.reading.errors import InputError
from builder.reading.oci import is_digest

DOCKER_HUB = "docker.io"
DOCKER_HUB_ALIASES = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
OFFICIAL_IMAGES = "library/"
DEFAULT_TAG = "latest"
_MAX_NAME_CHARACTERS = 255  # host and path together: the limit of the reference grammar
_FILE_NAME_CHARACTERS = 128  # of a repository named after a file: leaves room for a host and a prefix
_DIGEST_TAG_DIGITS = 12  # as many as Docker shows; fewer than the 64 of a referrers tag, so never taken for one

_HOST_PART = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
HOST = re.compile(r"(?:%s(?:\.%s)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?" % (_HOST_PART, _HOST_PART))
_PATH_PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
PATH = re.compile("%s(?:/%s)*" % (_PATH_PART, _PATH_PART))
TAG = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IMAGE_ID = re.compile("[0-9a-f]{64}")
ARCHIVE_SUFFIX = re.compile(r"\.(?:tar|tgz|txz|tzst|tbz2?|gz|xz|zstd?|bz2|oci|ocidir|docker)$")


class Reference(NamedTuple):
    """One image name, complete and legal."""
    host: str
    path: str  # the repository without the host
    tag: str  # "" only when there is a digest
    digest: str  # or ""

    def __str__(self) -> str:
        return "%s/%s%s%s" % (self.host, self.path, self.tag and ":" + self.tag, self.digest and "@" + self.digest)


def parse(text: str) -> Reference:
    """The reference that `text` stands for; InputError if it is not one."""
    name, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _illegal(text, "what follows the @ is not a sha256 or sha512 digest")
    host, path, tag = _split(name)
    if host and not HOST.fullmatch(host):
        raise _illegal(text, "%s is not a host name" % ascii(host))
    if not host or host.lower() in DOCKER_HUB_ALIASES:
        host = DOCKER_HUB
        path = path if "/" in path else OFFICIAL_IMAGES + path
    if not PATH.fullmatch(path):
        raise _illegal(text, "a repository has lower case letters and digits, separated by one of . _ - /")
    if _IMAGE_ID.fullmatch(name) or is_digest(name):
        raise _illegal(text, "it is an image ID or a digest, not a repository")
    if len(host) + len(path) + 1 > _MAX_NAME_CHARACTERS:
        raise _illegal(text, "it is longer than %d characters" % _MAX_NAME_CHARACTERS)
    if tag is None:
        tag = "" if digest else DEFAULT_TAG
    elif not TAG.fullmatch(tag):
        raise _illegal(text, "a tag has at most 128 characters: letters, digits, _ . -")
    return Reference(host, path, tag, digest)


def typed(text: str) -> Reference:
    """The reference that a person means by `text`; InputError where it is none, or most likely a slip."""
    reference = parse(text)
    if reference.host != reference.host.lower() and not set(".:") & set(reference.host):
        raise _illegal(text, "write %s in lower case" % reference.host)  # legal, but no registry has such a name
    return reference


def is_tag(text: str) -> bool:
    """Return whether `text` is a legal tag."""
    return TAG.fullmatch(text) is not None


def full_repository(reference: Reference) -> str:
    """Return the repository name with the host, "" if the host has a port: no repository name has a colon."""
    name = "%s/%s" % (reference.host.lower(), reference.path)
    return name if PATH.fullmatch(name) else ""


def full_address(reference: Reference) -> str:
    """Return the address with the host, at which both the injector and the persistent registry serve an image.

    A host with a port is left out: then the path is the only address of the image (builder/payload/addresses.py).
    """
    return "%s%s" % (full_repository(reference) or reference.path,
                     ":" + reference.tag if reference.tag else "@" + reference.digest)


def takes_foreign_name(reference: Reference) -> bool:
    """Return whether the path, the only name of an image whose host has a port, is a full name below another host."""
    return not full_repository(reference) and _begins_with_host(reference.path)


def short_repositories(reference: Reference) -> Tuple[str, ...]:
    """Return the repository names without the host, the one to show to a user first.

    None for a path that itself begins with a host: `harbor.local/quay.io/a/b` must not be served as `quay.io/a/b`, the
    full name of another registry's image. A host with a port has no other name, so it keeps that one.
    """
    if full_repository(reference) and _begins_with_host(reference.path):
        return ()
    if reference.host == DOCKER_HUB and reference.path.startswith(OFFICIAL_IMAGES):
        official = reference.path[len(OFFICIAL_IMAGES):]
        if "/" not in official:
            return reference.path, official
    return (reference.path,)


def served_names(reference: Reference) -> Tuple[str, ...]:
    """Return the repository names that lead to the image on the injector, the one to show to a user first."""
    full = full_repository(reference)
    return short_repositories(reference) + ((full,) if full else ())


def tagged(reference: Reference) -> Reference:
    """The same repository with a tag in place of a digest, made of that if need be: registries list only tags."""
    return reference._replace(tag=reference.tag or digest_tag(reference.digest), digest="")


def digest_tag(digest: str) -> str:
    """A tag for an image that has none."""
    algorithm, _, digits = digest.partition(":")
    return "%s-%s" % (algorithm, digits[:_DIGEST_TAG_DIGITS])


def from_file_name(path: str) -> Reference:
    """The name for an image that has none, made of its archive's; always a legal one."""
    stem = os.path.basename(os.path.abspath(path)).lower()
    while ARCHIVE_SUFFIX.search(stem):
        stem = ARCHIVE_SUFFIX.sub("", stem)
    words = re.split("([^a-z0-9]+)", stem[:_FILE_NAME_CHARACTERS])
    separators = [word if re.fullmatch("[._]|__|-+", word) else "-" for word in words[1::2]]
    legal = "".join(a + b for a, b in zip(words[::2], separators + [""])).strip("._-") or "image"
    if _IMAGE_ID.fullmatch(legal):
        legal = "image-" + legal
    return Reference(DOCKER_HUB, OFFICIAL_IMAGES + legal, DEFAULT_TAG, "")


def _begins_with_host(path: str) -> bool:
    """Return whether a path has the form of a full name."""
    return bool(_split(path)[0])


def _split(name: str) -> Tuple[str, str, Optional[str]]:
    """The host, path and tag of `host/path:tag`, distinguished as Docker does; the tag is None where there is none."""
    head, colon, tail = name.rpartition(":")
    has_tag = colon and "/" not in tail
    path, tag = (head, tail) if has_tag else (name, None)
    first, slash, rest = path.partition("/")
    if slash and (set(".:") & set(first) or first == "localhost" or first != first.lower()):
        return first, rest, tag
    return "", path, tag


def _illegal(text: str, why: str) -> InputError:
    return InputError("%s: is not an image name: %s" % (ascii(text)[1:-1], why))
