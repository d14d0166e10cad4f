"""Modules -> one zip that `python injector.pyz` runs.

In: path of a module -> source, such as `{"__main__.py": "...", "server.py": "..."}`. Out: the bytes of a zip with one
member, `__main__.py`. The same Python makes the same bytes of the same input, in any folder, at any time;
others print and compress it differently.

Spec: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""
import functools
import gc
import importlib.resources
import io
import zipfile
from typing import Any, Dict, Mapping

from builder.zipapp.bundle import bundle
from builder.zipapp.minify import minify

_BUILDER: Any = importlib.resources.files("builder")  # a path, or that of a zip that runs, which has a parent too
TOP = _BUILDER.parent
STAGE1 = TOP / "stage1"
INJECTOR = STAGE1 / "injector"
SPOOLER = STAGE1 / "spooler"
READING = TOP / "builder" / "reading"  # readers of archives, which the spooler shares with the builder
# One ConfigMap each, small enough to be unpacked and read in a moment by anyone who finds it in a cluster.
BUDGET_BYTES = 7 * 1024
SPOOLER_BUDGET_BYTES = 36 * 1024

_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
_MODE = 0o100644  # a plain file
_UNIX = 3  # the system of these modes


def read_injector() -> Dict[str, str]:
    """Return the modules of the injector, path -> source, in order."""
    return _sources(INJECTOR)


def read_spooler() -> Dict[str, str]:
    """Return the modules of the spooler and the readers that it needs, path -> source, in order."""
    return {**_sources(SPOOLER), **_sources(READING, "builder/reading/")}


def read_mirror() -> str:
    """Return the mirror program, which a manifest contains as text."""
    return (STAGE1 / "mirror" / "__main__.py").read_text(encoding="utf-8")


@functools.lru_cache(maxsize=None)
def injector() -> bytes:
    """Return injector.pyz, made once in a process. Raises UnfitSource."""
    return pack(read_injector())


@functools.lru_cache(maxsize=None)
def spooler() -> bytes:
    """Return spooler.pyz, made once in a process: that takes seconds. Raises UnfitSource."""
    return pack(read_spooler())


def _sources(folder: Any, prefix: str = "") -> Dict[str, str]:
    """Return the modules in a folder, path -> source."""
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".py")), key=lambda entry: entry.name)
    return {prefix + file.name: file.read_text(encoding="utf-8") for file in files}


def pack(modules: Mapping[str, str]) -> bytes:
    """Join the modules into one, minify it and zip it. Raises UnfitSource."""
    was_on = gc.isenabled()
    gc.disable()  # syntax trees have no circles, and looking for some takes up to a quarter of the time
    try:
        return zip_of("".join(minify(bundle(modules)).values()))
    finally:
        if was_on:
            gc.enable()


def zip_of(text: str) -> bytes:
    """Return the zip of a program's one module."""
    return zipped({"__main__.py": text.encode("utf-8")})


def zipped(files: Mapping[str, bytes], start: bytes = b"") -> bytes:
    """Return a zip of path -> bytes, reproducible; `start`: bytes before it."""
    packed = io.BytesIO()
    packed.write(start)
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name, _TIME)
            member.create_system = _UNIX
            member.external_attr = _MODE << 16
            archive.writestr(member, data, zipfile.ZIP_DEFLATED, 9)
    return packed.getvalue()
