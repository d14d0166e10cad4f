"""Where a Python is known to be: names of images and of operating systems -> rows of known_python.json. Pure."""
import functools
import json
import pathlib
import re
from typing import Any, Dict, List, NamedTuple, Optional

from builder.reading.reference import Reference

FILE = pathlib.Path(__file__).with_name("known_python.json")
OFFICIAL = "library/"


class Known(NamedTuple):
    """A row that fits."""
    interpreter: str  # "": it is known to have none
    version: str  # for people
    sandbox: bool = False  # the image that is on every node, since every Pod needs it
    never: bool = False  # of a system: not even where a user says so


@functools.lru_cache(maxsize=None)
def _tables() -> Dict[str, List[Dict[str, Any]]]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def known_image(reference: Reference, workload: str, runtime: str) -> Optional[Known]:
    """`workload`: NAMESPACE/OWNER/CONTAINER that runs it, or ""; `runtime`: version of the node's. None: not known."""
    path = reference.path if "/" in reference.path else OFFICIAL + reference.path
    for row in _tables()["images"]:
        if "workload" in row and row["workload"] != workload:
            continue
        if "repository" in row and not re.fullmatch("(?:.*/)?(?:%s)" % row["repository"], path, re.IGNORECASE):
            continue
        if re.match(row.get("tags", ""), reference.tag, re.IGNORECASE) and re.search(row.get("runtime", ""), runtime):
            return _known(row)
    return None


def known_system(os_image: str) -> Optional[Known]:
    """By a node's osImage; None: not known."""
    for row in _tables()["systems"]:
        if re.match(row["os"], os_image, re.IGNORECASE):
            return _known(row)
    return None


def _known(row: Dict[str, Any]) -> Known:
    return Known(row["interpreter"] or "", row.get("python", ""), row.get("sandbox", False), row.get("never", False))
