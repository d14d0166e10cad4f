"""The whole builder as one executable zip, to be carried along: `python3 seedpod.pyz` does all that build.py does.

In: the files of this program, in a folder or in such a zip; so a zip writes itself again. Out: bytes that do not
depend on folder, clock and file modes. The source is not minified, so that anyone who finds it can read it.

https://docs.python.org/3/library/zipapp.html#the-python-zip-application-archive-format
"""
import posixpath
from typing import Any, Dict

from builder.zipapp.pyz import TOP, zipped

START = b"#!/usr/bin/env python3\n"  # before the zip, which is read from its end
MAIN = "build.py"
FOLDERS = ("builder", "stage1")
SUFFIXES = (".py", ".json")
LICENSE = "LICENSE"  # must be in every copy of the program


def pack_program() -> bytes:
    """Return the zip, which runs once its file mode is executable."""
    files = {name: (TOP / name).read_bytes() for name in (MAIN, LICENSE)}
    for folder in FOLDERS:
        files.update(_files(TOP / folder, folder))
    return zipped({"__main__.py": files[MAIN], **files}, START)


def _files(folder: Any, name: str) -> Dict[str, bytes]:
    """Return path -> bytes of the sources in a folder and below, in order."""
    found = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = posixpath.join(name, entry.name)
        if entry.is_dir():
            found.update(_files(entry, path))
        elif entry.name.endswith(SUFFIXES):
            found[path] = entry.read_bytes()
    return found
