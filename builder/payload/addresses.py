"""Where each image is served: reference -> the shortest address that leads to it alone. Pure."""
from typing import Dict, Iterable, List, Tuple

from builder.reading.reference import parse, served_names


def addresses(references: Iterable[str]) -> Tuple[Dict[str, str], List[str]]:
    """Where each image is served: reference -> shortest name and tag of its own; and notes on names that clash."""
    owner: Dict[str, str] = {}
    notes = []
    for text in references:
        reference = parse(text)
        suffix = ":" + reference.tag if reference.tag else "@" + reference.digest
        for name in served_names(reference):
            if owner.setdefault(name + suffix, text) != text:
                notes.append("%s: %s%s already leads to %s: pull this one by its full name"
                             % (text, name, suffix, owner[name + suffix]))
    shortest: Dict[str, str] = {}
    for address, text in owner.items():
        shortest.setdefault(text, address)
    return shortest, notes
