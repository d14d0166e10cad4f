"""Addresses of images: reference -> the shortest one that leads to it. Pure.

Twin of stage1/injector/registry.py, which decides the same from the order of index.json.
"""
from typing import Callable, Dict, Iterable, List, NamedTuple, Tuple

from builder.reading.errors import InputError
from builder.reading.oci import Image
from builder.reading.reference import Reference, full_repository, parse, served_names, short_repositories


class Claim(NamedTuple):
    """An image that an address leads to."""
    reference: str  # the one that claimed the address
    digest: str


def owners(images: Iterable[Image]) -> Dict[str, Claim]:
    """Return the image that each address leads to, by repository name with tag or digest.

    The full name of any image comes before every short name, and then the first image before those after it.
    """
    claims = [(parse(text), Claim(text, image.root.digest)) for image in images for text in image.references]
    found: Dict[str, Claim] = {}
    for names in (_full_repositories, short_repositories):
        for reference, claim in claims:
            for address in _addresses(reference, names):
                found.setdefault(address, claim)
    return found


def addresses(images: Iterable[Image]) -> Tuple[Dict[str, str], List[str]]:
    """Return the shortest address of each reference, and notes on the shorter ones that lead to another image.

    InputError for an image without an address: hosts with ports are not part of a repository name.
    """
    images = list(images)
    owner = owners(images)
    shortest: Dict[str, str] = {}
    notes = []
    for image in images:
        for text in image.references:
            lost = {}
            for address in _addresses(parse(text), served_names):
                if owner[address].digest == image.root.digest:
                    shortest.setdefault(text, address)
                else:
                    lost[address] = owner[address].reference
            if text not in shortest:
                address, other = next(iter(lost.items()))
                raise InputError("%s: could only be served as %s, which already leads to %s, another image: save it in "
                                 "an archive of its own, and give it another name, NAME=ARCHIVE"
                                 % (text, address, other))
            notes += ["%s: %s already leads to %s: pull this one by its full name" % (text, address, other)
                      for address, other in lost.items()]
    return shortest, notes


def _full_repositories(reference: Reference) -> Tuple[str, ...]:
    name = full_repository(reference)
    return (name,) if name else ()


def _addresses(reference: Reference, names: Callable[[Reference], Tuple[str, ...]]) -> List[str]:
    suffix = ":" + reference.tag if reference.tag else "@" + reference.digest
    return [name + suffix for name in names(reference)]
