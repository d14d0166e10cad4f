"""An archive of any kind to the images in it.

An Archive in, Images out, a Helm chart among them: the kind follows from what is in the archive, and what holds neither
is refused in a line that says what it is and which command makes one. Archives that list their images twice (index.json
and manifest.json) are read from the half that is right. `name_images` names those without a name.

Rule: images without a name are one image only if the archive proves it (oci_layout.py) or the user says so (`as_one`):
a folder may hold nginx for one platform and redis for another.
Python 3.6 syntax and library only (it also runs in the cluster).
"""
import json
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from builder.reading import chart, docker_archive, oci_layout
from builder.reading.archive import Archive
from builder.reading.docker_archive import Item
from builder.reading.errors import InputError, shown
from builder.reading.graph import unique
from builder.reading.oci import MANIFEST_TYPES, OCI_INDEX, Blob, Descriptor, Image, blob_of
from builder.reading.reference import Reference, digest_tag, parse

INDEX = oci_layout.INDEX
MANIFEST = docker_archive.MANIFEST
_PACKAGE_FOLDER = "images"  # of a package's layout, next to other files
_ROOT_FOLDERS = {"bin", "etc", "usr"}  # of a root file system
_LITTER = ("._", ".DS_Store", "PaxHeader", "__MACOSX")  # files that repacking adds

_SAVE = "use docker save, podman save, crane pull or skopeo copy"


def read_images(archive: Archive, is_thin: bool = False, provenance: bytes = b"") -> List[Image]:
    """Every image in the archive, in its order, each name at most once; InputError if there is none.

    `is_thin`: an OCI layout may lack configs and layers, because they are where its images go already. `provenance`:
    of a chart.
    """
    if chart.is_chart(archive):
        return [chart.read_chart(archive, provenance)]
    archive.close_given()
    place = image_folder(archive)
    if place is None:
        raise no_images_error(archive)
    if place.has(INDEX):
        layout = oci_layout.read_layout(place, is_thin and not place.has(MANIFEST))
        images = _join_platforms(layout.images)
        if place.has(MANIFEST):
            images = _both_halves(place, images, layout.misordered)
    elif isinstance(place.read_json(MANIFEST, docker_archive.MAX_MANIFEST_BYTES), dict):
        images = oci_layout.read_dir(place).images
    else:
        images = by_digest(docker_archive.build_images(place, docker_archive.read_items(place)))
    if not images:
        raise place.error(INDEX if place.has(INDEX) else MANIFEST, "lists no image: %s" % _SAVE)
    return settle_names(images)


def name_images(images: List[Image], fallback: Reference) -> List[Image]:
    """Return the images, each with a reference: bare tags get the repository of `fallback`, a nameless image its name.

    Each of several nameless images gets a tag made of its digest, and so does one next to tagged ones: a tool left it
    there when it moved a tag. A manifest that refers to another image (a signature, an SBOM) has its tags in the
    repositories of that image; without tags it needs no name, since it is found through that image.
    """
    homes = homes_of(images)
    names: Dict[int, Tuple[str, ...]] = {}  # by position: of images that stand for themselves
    taken = {reference for image in images for reference in image.references}
    has_tags = any(image.tags for position, image in enumerate(images) if homes[position] == position)
    nameless = _nameless(images)
    for position, image in enumerate(images):
        if homes[position] != position:
            continue
        references = [str(fallback._replace(tag=tag, digest="")) for tag in image.tags]
        if not image.references and not references:
            references = [str(fallback)]
            if nameless != [image] or references[0] in taken or has_tags:
                references = [str(fallback._replace(tag=digest_tag(image.root.digest), digest=""))]
        names[position] = unique(image.references + tuple(references))
    for position, image in enumerate(images):
        if position not in names:
            known = [parse(name) for name in names[homes[position]]]
            names[position] = unique(image.references + tuple(
                str(home._replace(tag=tag, digest="")) for home in known for tag in image.tags))
    return [image._replace(references=names[position], tags=()) for position, image in enumerate(images)]


def check_names(images: List[Image], where: str, as_named: str) -> None:
    """Raise InputError for several images without a name, of which none can have the archive's.

    `where`: the archive; `as_named`: how the user names what is in it.
    """
    nameless = _only_nameless(images)
    if nameless:
        _check_one(nameless, where, as_named)
        platforms = " and ".join(image.platforms[0] for image in nameless)
        raise InputError("%s: holds %d images without a name: use %s if they are one image for %s, else save each in "
                         "an archive of its own" % (where, len(nameless), as_named, platforms))


def as_one(images: List[Image], where: str, as_named: str) -> List[Image]:
    """Join images without names, which the user has given one name, under an index of their platforms.

    The images of an archive with names stay as they are. InputError for images that cannot be one.
    """
    nameless = _only_nameless(images)
    if not nameless:
        return images
    _check_one(nameless, where, as_named)
    return [_index_of(nameless)] + [image for image in images if image not in nameless]


def _only_nameless(images: List[Image]) -> List[Image]:
    """Return the nameless images of an archive that holds several and no others."""
    nameless = _nameless(images)
    has_names = any(image.references or image.tags for image in _standing(images))
    return [] if has_names or len(nameless) < 2 else nameless


def _nameless(images: List[Image]) -> List[Image]:
    """Return the images without a name that refer to no other: those that run or, if there is none, data."""
    found = [image for image in _standing(images) if not image.references and not image.tags]
    return [image for image in found if image.platforms] or found


def _standing(images: List[Image]) -> List[Image]:
    """Return the images that refer to no other of the list."""
    return [image for position, (image, home) in enumerate(zip(images, homes_of(images))) if home == position]


def _check_one(images: List[Image], where: str, as_named: str) -> None:
    """Raise InputError unless images can be one image of several platforms."""
    why = _why_not_one(images)
    if why:
        raise InputError("%s: holds %d images without a name, which %s cannot join (%s): save each in an archive of "
                         "its own" % (where, len(images), as_named, why))


def _why_not_one(images: List[Image]) -> str:
    """Return why images cannot be one image of several platforms, "" if they can."""
    seen: Set[str] = set()
    for image in images:
        if not _is_single(image):
            return "%s is not an image for one platform" % image.root.digest
        if image.platforms[0] in seen:
            return "several are for " + image.platforms[0]
        seen.add(image.platforms[0])
    return ""


def homes_of(images: Sequence[Image]) -> List[int]:
    """For each image the position of the one that it belongs to by its subject, that one's subject, and so on; its own
    position if it stands for itself."""
    holders = {blob.digest: position for position, image in enumerate(images) for blob in image.manifests}
    homes: Dict[int, int] = {}
    for position in range(len(images)):
        path: List[int] = []
        waiting: Set[int] = set()
        while position not in homes and position not in waiting:
            path.append(position)
            waiting.add(position)
            position = holders.get(images[position].subject, position)
        homes.update((passed, homes.get(position, position)) for passed in path)
    return [homes[position] for position in range(len(images))]


def has_images(archive: Archive) -> bool:
    """Return whether it is an archive of images or a chart, valid or not."""
    return chart.is_chart(archive) or image_folder(archive) is not None


def image_folder(archive: Archive) -> Optional[Archive]:
    """The folder of the archive that holds index.json or manifest.json: the root, `images`, or a single folder."""
    tops = {name.partition("/")[0] for name in archive.names() if not _is_litter(name)}
    places = [archive, archive.sub(_PACKAGE_FOLDER)]
    if len(tops) == 1:
        top = archive.sub(tops.pop())
        places += [top, top.sub(_PACKAGE_FOLDER)]
    for place in places:
        if place.has(INDEX) or place.has(MANIFEST):
            return place
    return None


def _is_litter(name: str) -> bool:
    return any(part.startswith(_LITTER) for part in name.split("/"))


def _both_halves(archive: Archive, images: List[Image], misordered: Iterable[str]) -> List[Image]:
    """Images of index.json, and those that only manifest.json lists, or lists right, with the names of both.

    Docker 25 wrote indexes without images, or with layers in any order; all of its kin leave images without a tag out
    of the index, or other platforms out of manifest.json. `misordered`: digests of configs.
    """
    if not isinstance(archive.read_json(MANIFEST, docker_archive.MAX_MANIFEST_BYTES), list):
        return images
    items = docker_archive.read_items(archive)
    items_of: Dict[str, List[Item]] = {}
    for item in items:
        items_of.setdefault(archive.digest(item.config), []).append(item)
    wrong = set(misordered) & set(items_of)
    kept: List[Image] = []
    names: Dict[str, List[Image]] = {}  # of images that are not kept, by config
    for image in images:
        lost = [blob.digest for blob in image.configs if blob.digest in wrong]
        if not lost:
            kept.append(image)
        for digest in lost:
            names.setdefault(digest, []).append(image)
    known = {blob.digest for image in kept for blob in image.configs}
    built = docker_archive.build_images(archive, [item for item in items if archive.digest(item.config) not in known])
    return _with_names_of_items(kept, items_of) + by_digest(
        [_with_names_of(image, names.pop(image.configs[0].digest, [])) for image in built])


def _with_names_of_items(images: List[Image], items_of: Dict[str, List[Item]]) -> List[Image]:
    """The images of index.json with the names that manifest.json has for their configs, unless another has them."""
    taken = {reference for image in images for reference in image.references}
    named = []
    for image in images:
        items = [item for blob in image.configs for item in items_of.get(blob.digest, ())]
        more = unique(str(reference) for item in items for reference in item.references)
        more = tuple(reference for reference in more if reference not in taken)
        taken.update(more)
        notes = image.notes + tuple(note for item in items for note in item.notes)
        named.append(image._replace(references=image.references + more, notes=unique(notes)))
    return named


def _with_names_of(image: Image, others: List[Image]) -> Image:
    """An image with the names of others."""
    return image._replace(
        references=unique(image.references + tuple(r for other in others for r in other.references)),
        tags=unique(image.tags + tuple(tag for other in others for tag in other.tags)))


def by_digest(images: List[Image]) -> List[Image]:
    """Images of the same digest as one, with the names of all and all parts that one of them has."""
    same: Dict[str, List[Image]] = {}
    for image in images:
        same.setdefault(image.root.digest, []).append(image)
    return [_merged(group) if len(group) > 1 else group[0] for group in same.values()]


def _merged(images: List[Image]) -> Image:
    """The first of the images, with the names and the parts of all."""
    def parts(field: str) -> Tuple[Blob, ...]:
        return tuple({blob.digest: blob for image in images for blob in getattr(image, field)}.values())

    def values(field: str) -> Tuple[Any, ...]:
        return unique(value for image in images for value in getattr(image, field))

    manifests, configs, layers = parts("manifests"), parts("configs"), parts("layers")
    there = {blob.digest for blob in manifests + configs + layers}
    return images[0]._replace(
        references=values("references"), tags=values("tags"), manifests=manifests, configs=configs, layers=layers,
        platforms=values("platforms"), notes=values("notes"),
        missing=tuple(absent for absent in values("missing") if absent.digest not in there))


def _join_platforms(images: List[Image]) -> List[Image]:
    """Join images under the same names, each for another platform, under an index."""
    groups: Dict[Tuple[Any, ...], List[Image]] = {}
    for image in images:
        is_part = _is_single(image) and (image.references or image.tags)
        key = (image.references, image.tags) if is_part else (image.root.digest,)
        groups.setdefault(key, []).append(image)
    joined: List[Image] = []
    for group in groups.values():
        joined += group if len(group) == 1 or _why_not_one(group) else [_index_of(group)]
    return joined


def _is_single(image: Image) -> bool:
    """Return whether it is an image for one platform."""
    return image.root.media_type in MANIFEST_TYPES and len(image.platforms) == 1 and not image.subject


def _index_of(images: List[Image]) -> Image:
    """Join images of one platform each under a new index."""
    entries = [{"mediaType": image.root.media_type, "size": image.root.size, "digest": image.root.digest,
                "platform": _platform_entry(image.platforms[0])} for image in images]
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries},
                      separators=(",", ":")).encode("ascii")
    root = blob_of(data)
    merged = _merged(images)
    return merged._replace(root=Descriptor(OCI_INDEX, root.digest, root.size), manifests=(root,) + merged.manifests,
                           rebuilt=True)


def _platform_entry(platform: str) -> Dict[str, Any]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/", 2)))


def settle_names(images: List[Image]) -> List[Image]:
    """The same images, each name at one of them: the last that runs, as docker load does it, else the last; the others
    get a tag made of their digest."""
    owner: Dict[str, str] = {}
    for image in sorted(images, key=lambda image: bool(image.platforms)):
        owner.update((name, image.root.digest) for name in image.references + image.tags)
    settled = []
    for image in images:
        lost = {name: None for name in image.references + image.tags if owner[name] != image.root.digest}
        notes = ["%s: two images have this name: it goes to %s, the last one, not to %s"
                 % (name, owner[name], image.root.digest) for name in lost]
        references = tuple(_instead(name, image) if name in lost else name for name in image.references)
        tags = tuple(digest_tag(image.root.digest) if tag in lost else tag for tag in image.tags)
        settled.append(image._replace(references=unique(references), tags=unique(tags),
                                      notes=image.notes + tuple(notes)))
    return settled


def _instead(name: str, image: Image) -> str:
    return str(parse(name)._replace(tag=digest_tag(image.root.digest)))


def no_images_error(archive: Archive) -> InputError:
    """The error for an archive without images (`image_folder` is None): what it is, and which command makes one.

    A root file system (docker export, a build with output type=tar, or any other tar of files) is refused by it.
    """
    names = [name for name in archive.names() if not _is_litter(name)]
    tops = {name.partition("/")[0] for name in names}
    if not names:
        what = "is empty: copy or make the archive again"
    elif not archive.has_end_mark:
        what = "is truncated: it has no end-of-archive mark, no manifest.json and no index.json: copy or make it again"
    elif "repositories" in tops or any(name.endswith("/layer.tar") for name in names):
        what = "was saved by a Docker older than 1.10 or lost its manifest.json: docker load it and docker save again"
    elif "oci-layout" in tops or any(name.startswith("blobs/sha256/") for name in names):
        what = "is an OCI layout without index.json: copy or make the archive again"
    elif ".dockerenv" in tops or _ROOT_FOLDERS & tops:
        what = "is a root file system (docker export, or a build with output type=tar), not an image: use docker save"
    elif any(name.endswith("Chart.yaml") for name in names):
        what = "holds a Helm chart, but not as helm package makes it, all in one folder: helm package FOLDER"
    elif any(name.endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst")) for name in names):
        what = "holds other archives, not an image: pass them one by one"
    else:
        what = ("holds files (such as %s), but no image: neither manifest.json nor index.json; for a layer, an "
                "exported container or a build with output type=tar, %s" % (shown(names[0]), _SAVE))
    return InputError("%s: %s" % (archive.where(), what))
