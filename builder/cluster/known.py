"""Images and nodes that are known to have a Python, or to have none: rows of known_python.json. Pure."""
import functools
import importlib.resources
import json
import re
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional

from builder.cluster.objects import Node
from builder.reading.reference import Reference

FILE = "known_python.json"  # in this folder; read by the module's loader, since it may be in a zip
OFFICIAL = "library/"
_PATTERNS = ("repository", "tags", "runtime", "os", "provider")  # columns with a regular expression


class Known(NamedTuple):
    """A row that matches."""
    interpreter: str  # "": it is known to have none
    version: str = ""  # for people
    why: str = ""  # of an image that has none, for people
    sandbox: bool = False  # the image that is on every node, since every Pod needs it
    never: bool = False  # of a system: it has none, even if the user gives a path
    likely: bool = False  # of a system: most nodes have it, but not all
    what: str = ""  # the kind of node, if its osImage does not show it


def known_image(reference: Reference, workload: str = "", runtime: str = "") -> Optional[Known]:
    """Return the row of an image; None if there is none. `workload`: the Pod.workload that runs it, or ""; `runtime`:
    the node's container runtime, with its version."""
    return _image(_full_path(reference), reference.tag, workload if workload in _workloads() else "", runtime)


def hints_at_python(reference: Reference) -> bool:
    """Return whether the name of an unknown image suggests Python."""
    name = "%s:%s" % (_full_path(reference), reference.tag)
    return any(re.search(hint, name, re.IGNORECASE) for hint in _tables()["hints"])


def known_system(node: Node) -> Optional[Known]:
    """Return the row of a node, by its own fields, its workloads and its images; None if there is none."""
    for row in _tables()["systems"]:
        if ("os" in row and row["os"].match(node.os_image)
                or "provider" in row and row["provider"].match(node.provider)
                or "label" in row and any(key.startswith(row["label"]) for key in node.labels)
                or "workload" in row and row["workload"] in node.workloads
                or "image" in row and any(row["image"] in name for names in node.images for name in names)):
            return _known(row)
    return None


@functools.lru_cache(maxsize=None)
def _tables() -> Dict[str, List[Any]]:
    tables = json.loads(importlib.resources.files(__package__).joinpath(FILE).read_bytes())
    for row in tables["images"]:
        row.update({"repository": "(?:.*/)?(?:%s)" % row["repository"]} if "repository" in row else {})
    for row in tables["images"] + tables["systems"]:
        row.update({key: re.compile(row[key], re.IGNORECASE) for key in _PATTERNS if key in row})
    return tables


@functools.lru_cache(maxsize=None)
def _workloads() -> FrozenSet[str]:
    return frozenset(row["workload"] for row in _tables()["images"] if "workload" in row)


@functools.lru_cache(maxsize=None)
def _image(path: str, tag: str, workload: str, runtime: str) -> Optional[Known]:
    for row in _tables()["images"]:
        if ("workload" in row and row["workload"] != workload
                or "repository" in row and not row["repository"].fullmatch(path)
                or "tags" in row and not row["tags"].match(tag)
                or "runtime" in row and not row["runtime"].search(runtime)):
            continue
        return _known(row)
    return None


def _full_path(reference: Reference) -> str:
    return reference.path if "/" in reference.path else OFFICIAL + reference.path


def _known(row: Dict[str, Any]) -> Known:
    return Known(row["interpreter"] or "", row.get("python", ""), row.get("why", ""), row.get("sandbox", False),
                 row.get("never", False), row.get("likely", False), row.get("what", ""))
