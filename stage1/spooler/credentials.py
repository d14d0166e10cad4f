"""Credentials: a file's text -> `user:password` for a registry. Pure.

In: either one line `user:password`, or a config.json as `docker login` writes it and a Secret of type
kubernetes.io/dockerconfigjson holds it. Rule: no message quotes the file.
"""
import base64
from typing import Any

from builder.reading.documents import checked, field, parse_object
from builder.reading.errors import InputError


def credentials_of(text: str, host: str, where: str) -> str:
    """Return `user:password` for `host` (with its port), "" if the file has none for it; `where` begins every error."""
    if not text.lstrip().startswith("{"):
        line = text.strip()
        if ":" not in line or "\n" in line:
            raise InputError("%s: is neither user:password nor a config.json: write one of them" % where)
        return line
    auths = field(parse_object(text.encode("utf-8", "surrogateescape"), where), "auths", dict, where)
    for key, entry in auths.items():
        if key.partition("://")[2].partition("/")[0] == host or key.partition("/")[0] == host:
            return _entry(checked(entry, dict, where), where)
    return ""


def _entry(entry: Any, where: str) -> str:
    if field(entry, "auth", str, where):
        try:
            return base64.b64decode(entry["auth"], validate=True).decode("utf-8")
        except ValueError:
            raise InputError("%s: auth is not base64: run docker login again" % where)
    return "%s:%s" % (field(entry, "username", str, where), field(entry, "password", str, where))
