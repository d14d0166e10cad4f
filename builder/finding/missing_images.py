"""The images that manifests name, compared with the images of a seed."""
from typing import Collection, Dict, List, Mapping, Sequence

from builder.finding.named_images import NamedImages, notes_on
from builder.reading.errors import InputError
from builder.reading.oci import Image
from builder.reading.reference import full_address, parse
from builder.rewriting.platforms import matches


class MissingImages(InputError):
    """The seed lacks images that the manifests need; `images` are all of them."""

    def __init__(self, images: Sequence[str], line: str) -> None:
        super().__init__(line)
        self.images = images


def check_named_images(named: NamedImages, images: Sequence[Image], addresses: Mapping[str, str],
                       excepted: Collection[str], platforms: Collection[str]) -> List[str]:
    """Return notes on images that may be missing from a seed; raise MissingImages for those that certainly are.

    `addresses`: full reference -> address with host, name and tag, which manifests may name as well; `excepted`: images
    that the cluster already has, as written in the manifests; `platforms`: of the nodes, such as "linux/arm64".
    """
    offered = _platforms_by_name(images, addresses)
    needed = {text: place for text, place in named.images.items() if text not in excepted}
    missing = [text for text in needed if _pulled_name(text) not in offered]
    if missing:
        raise MissingImages(missing, f"{needed[missing[0]]}: not in the archives: {', '.join(missing)}: save and add "
                            "them, or name those that the cluster already has with --not-image")
    lacking = {text: _lacking(offered[_pulled_name(text)], platforms) for text in needed}
    partial = [text for text in needed if lacking[text]]
    if partial:
        listed = ", ".join(f"{text} ({', '.join(lacking[text])})" for text in partial)
        raise MissingImages(partial, f"{needed[partial[0]]}: not for every node: {listed}: save and add them for these "
                            "platforms, too, or name them with --not-image")
    return notes_on(named._replace(mentioned={text: place for text, place in named.mentioned.items()
                                              if text not in excepted and _pulled_name(text) not in offered}))


def _platforms_by_name(images: Sequence[Image], addresses: Mapping[str, str]) -> Dict[str, Collection[str]]:
    """Return every full name of an image of the seed -> the image's platforms, empty if unknown."""
    result: Dict[str, Collection[str]] = {}
    for image in images:
        for reference in image.references:
            registry = addresses[reference].partition("/")[0]
            for name in (reference, addresses[reference], "%s/%s" % (registry, full_address(parse(reference)))):
                parsed = parse(name)
                for version in (parsed._replace(digest=""), parsed._replace(tag="", digest=image.root.digest)):
                    result.setdefault(str(version), image.platforms)
    return result


def _pulled_name(text: str) -> str:
    """Return the full name that a node pulls: by digest if there is one, without the tag."""
    parsed = parse(text)
    return str(parsed._replace(tag="") if parsed.digest else parsed)


def _lacking(offered: Collection[str], wanted: Collection[str]) -> List[str]:
    """Return the wanted platforms that an image lacks; none if its own are unknown."""
    return [one for one in wanted if offered and not any(matches(platform, [one]) for platform in offered)]
