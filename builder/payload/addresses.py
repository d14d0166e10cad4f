"""Where each image is served: reference -> the shortest address that leads to it. Pure."""
from typing import Dict, Iterable, List, Tuple

from builder.reading.errors import BuildError
from builder.reading.oci import Image
from builder.reading.reference import parse, served_names


def addresses(images: Iterable[Image]) -> Tuple[Dict[str, str], List[str]]:
    """Reference -> shortest name and tag that lead to its image; and notes on shorter ones that lead to another.

    An address belongs to the first image that claims it; the same image may claim it again under other hosts.
    BuildError for an image that is left without any: hosts with ports have no place in a repository name.
    """
    owner: Dict[str, Tuple[str, str]] = {}  # address -> digest that it leads to, and the reference that claimed it
    shortest: Dict[str, str] = {}
    notes = []
    for image in images:
        for text in image.references:
            reference = parse(text)
            suffix = ":" + reference.tag if reference.tag else "@" + reference.digest
            for address in (name + suffix for name in served_names(reference)):
                digest, first = owner.setdefault(address, (image.root.digest, text))
                if digest == image.root.digest:
                    shortest.setdefault(text, address)
                else:
                    notes.append("%s: %s already leads to %s: pull this one by its full name" % (text, address, first))
            if text not in shortest:
                raise BuildError("%s: could only be served as %s, which already leads to %s, another image: save it "
                                 "alone, and give it another name, NAME=ARCHIVE" % (text, address, first))
    return shortest, notes
