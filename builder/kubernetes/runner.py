"""Runners of our programs in the cluster: an image that the nodes have, and a Python, its own or the node's.

Pure.
"""
from typing import List, NamedTuple, Sequence, Tuple

from builder.kubernetes.manifest import Object
from builder.kubernetes.site import INTERPRETER

# Where a Python of the node, of any distribution, has its libraries; the last one where its ELF interpreter lies.
_FOLDERS = ("usr", "lib")
_FOLDERS_64 = _FOLDERS + ("lib64",)
_HAVE_LIB64 = ("amd64", "ppc64le")  # https://sourceware.org/glibc/wiki/ABIList


class Runner(NamedTuple):
    """The image and the Python that run a program, and the nodes."""
    image: str  # on the nodes already
    interpreter: str = INTERPRETER
    host_python: bool = False  # whether the interpreter is the node's own
    architecture: str = ""  # of the nodes; "": any
    nodes: Tuple[str, ...] = ()  # their labels kubernetes.io/hostname; none: any


def command(runner: Runner, path: str, *arguments: str) -> List[str]:
    """Return the command that starts the zipapp at `path`, without the image's own Python set-up, and faster."""
    return [runner.interpreter, "-I", "-S", path, *arguments]


def inline(runner: Runner, source: str, *arguments: str) -> List[str]:
    """Return the command that starts a program whose text is in the manifest."""
    return [runner.interpreter, "-I", "-S", "-c", source, *arguments]


def read_only(name: str, path: str) -> Object:
    """Return a mount of a volume."""
    return {"name": name, "mountPath": path, "readOnly": True}


def host_mounts(runner: Runner) -> List[Object]:
    """Return the mounts of the node's own Python."""
    return [read_only("host-" + name, "/" + name) for name in _host_folders(runner)]


def host_volumes(runner: Runner) -> List[Object]:
    """Return the volumes of the same folders. `type: Directory`, or the kubelet would make a missing one."""
    return [{"name": "host-" + name, "hostPath": {"path": "/" + name, "type": "Directory"}}
            for name in _host_folders(runner)]


def _host_folders(runner: Runner) -> Sequence[str]:
    if not runner.host_python:
        return ()
    return _FOLDERS_64 if runner.architecture in _HAVE_LIB64 else _FOLDERS
