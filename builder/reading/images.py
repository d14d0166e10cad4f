"""An archive of any kind to the images in it.

An Archive in, Images out: the kind is told by what is in the archive, and what is no image archive is refused with a
line that says what it is and which command makes a right one. Archives that tell their images twice (index.json and
manifest.json) are read from the half that is right. `name_images` gives those without a name one.
Python 3.6 syntax and library only (it also runs in the cluster).
"""
import json
from typing import Any, Dict, List, Optional, Tuple

from builder.reading import docker_archive, oci_layout
from builder.reading.archive import NO_END, Archive
from builder.reading.docker_archive import Item
from builder.reading.errors import BuildError
from builder.reading.oci import MANIFEST_TYPES, OCI_INDEX, Blob, Descriptor, Image, blob_of
from builder.reading.oci_layout import unique
from builder.reading.reference import Reference, digest_tag, parse
from builder.reading.tar_walk import shown

INDEX = oci_layout.INDEX
MANIFEST = docker_archive.MANIFEST
PACKAGE_FOLDER = "images"  # where packages keep the layout, beside other files
ROOT_FOLDERS = {"bin", "etc", "usr"}  # of a root file system
LITTER = ("._", ".DS_Store", "PaxHeader", "__MACOSX")  # what repacking leaves beside the content

SAVE = "use docker save, podman save, crane pull or skopeo copy"


def read_images(archive: Archive) -> List[Image]:
    """Every image in the archive, in its order, each name at most once; BuildError if there is none."""
    place = image_folder(archive)
    if place is None:
        raise _refusal(archive)
    if place.has(INDEX):
        layout = oci_layout.read_layout(place)
        images = _join_platforms(layout.images)
        if place.has(MANIFEST):
            images = _both_halves(place, images, layout)
    elif isinstance(place.read_json(MANIFEST, docker_archive.MAX_MANIFEST_BYTES), dict):
        images = oci_layout.read_dir(place).images
    else:
        images = by_digest(docker_archive.build(place, docker_archive.read_items(place)))
    if not images:
        raise place.error(INDEX if place.has(INDEX) else MANIFEST, "names no image: %s" % SAVE)
    return settle_names(images)


def name_images(images: List[Image], fallback: Reference) -> List[Image]:
    """The same images, each with a reference: bare tags get the repository of `fallback`, nameless ones its name.

    A second nameless image gets a tag made of its digest, and so does one beside tagged ones: it is what a tool left
    there when it moved a tag. What refers to another image of the list (a signature, an
    SBOM) and has no name needs none: it is found through that one.
    """
    taken = {reference for image in images for reference in image.references}
    digests = {blob.digest for image in images for blob in image.manifests}
    has_tags = any(image.tags for image in images)
    named = []
    for image in images:
        references = [str(fallback._replace(tag=tag, digest="")) for tag in image.tags]
        if not image.references and not references and image.subject not in digests:
            references = [str(fallback)]
            if references[0] in taken or has_tags:
                references = [str(fallback._replace(tag=digest_tag(image.root.digest), digest=""))]
        taken.update(references)
        named.append(image._replace(references=unique(image.references + tuple(references)), tags=()))
    return named


def image_folder(archive: Archive) -> Optional[Archive]:
    """The folder of the archive that holds index.json or manifest.json: the root, `images`, or a single folder."""
    tops = {name.partition("/")[0] for name in archive.names() if not _is_litter(name)}
    places = [archive, archive.sub(PACKAGE_FOLDER)]
    if len(tops) == 1:
        top = archive.sub(tops.pop())
        places += [top, top.sub(PACKAGE_FOLDER)]
    for place in places:
        if place.has(INDEX) or place.has(MANIFEST):
            return place
    return None


def _is_litter(name: str) -> bool:
    return any(part.startswith(LITTER) for part in name.split("/"))


def _both_halves(archive: Archive, images: List[Image], layout: oci_layout.Layout) -> List[Image]:
    """Images of index.json, and those that only manifest.json tells or tells right, with the names of both.

    Docker 25 wrote indexes without images, or with layers in any order; all of its kin leave images without a tag out
    of the index, or other platforms out of manifest.json.
    """
    if not isinstance(archive.read_json(MANIFEST, docker_archive.MAX_MANIFEST_BYTES), list):
        return images
    items = docker_archive.read_items(archive)
    items_of = {}  # type: Dict[str, List[Item]]
    for item in items:
        items_of.setdefault(archive.digest(item.config), []).append(item)
    wrong = layout.misordered & set(items_of)
    kept = [image for image in images if not wrong & {blob.digest for blob in image.configs}]
    lost = [image for image in images if image not in kept]
    told = {blob.digest for image in kept for blob in image.configs}
    built = docker_archive.build(archive, [item for item in items if archive.digest(item.config) not in told])
    return _with_names_of_items(kept, items_of) + by_digest([_with_names_of(image, lost) for image in built])


def _with_names_of_items(images: List[Image], items_of: Dict[str, List[Item]]) -> List[Image]:
    """The images of index.json with the names that manifest.json has for their configs, unless another bears them."""
    taken = {reference for image in images for reference in image.references}
    named = []
    for image in images:
        for item in [item for blob in image.configs for item in items_of.get(blob.digest, ())]:
            more = tuple(str(reference) for reference in item.references if str(reference) not in taken)
            taken.update(more)
            image = image._replace(references=unique(image.references + more), notes=unique(image.notes + item.notes))
        named.append(image)
    return named


def _with_names_of(image: Image, lost: List[Image]) -> Image:
    """A built image with the names that the other half had for its config."""
    same = [other for other in lost if image.configs[0].digest in {blob.digest for blob in other.configs}]
    return image._replace(references=unique(image.references + tuple(r for other in same for r in other.references)),
                          tags=unique(image.tags + tuple(tag for other in same for tag in other.tags)))


def by_digest(images: List[Image]) -> List[Image]:
    """Images of the same digest as one, with the names of all and whatever any of them holds of it."""
    merged = {}  # type: Dict[str, Image]
    for image in images:
        known = merged.get(image.root.digest)
        merged[image.root.digest] = image if known is None else _merged(known, image)
    return list(merged.values())


def _merged(known: Image, image: Image) -> Image:
    manifests, configs, layers = _parts([known, image])
    there = {blob.digest for blob in manifests + configs + layers}
    return known._replace(
        references=unique(known.references + image.references), tags=unique(known.tags + image.tags),
        manifests=manifests, configs=configs, layers=layers, platforms=unique(known.platforms + image.platforms),
        missing=unique(hole for hole in known.missing + image.missing if hole.digest not in there),
        notes=unique(known.notes + image.notes))


def _parts(images: List[Image]) -> List[Tuple[Blob, ...]]:
    """The manifests, the configs and the layers of all, each blob once."""
    return [tuple({blob.digest: blob for blob in blobs}.values()) for blobs in (
        [blob for image in images for blob in image.manifests], [blob for image in images for blob in image.configs],
        [blob for image in images for blob in image.layers])]


def _join_platforms(images: List[Image]) -> List[Image]:
    """One index of images that lie side by side under the same name, or none, each for another platform."""
    groups = {}  # type: Dict[Tuple, List[Image]]
    for image in images:
        single = image.root.media_type in MANIFEST_TYPES and len(image.platforms) == 1 and not image.subject
        key = (image.references, image.tags) if single else image.root.digest
        groups.setdefault(key, []).append(image)
    joined = []  # type: List[Image]
    for group in groups.values():
        platforms = {image.platforms for image in group}
        joined += [_index_of(group)] if len(platforms) == len(group) > 1 else group
    return joined


def _index_of(images: List[Image]) -> Image:
    """One image of several platforms, under an index that is written here."""
    entries = [{"mediaType": image.root.media_type, "size": image.root.size, "digest": image.root.digest,
                "platform": _platform_entry(image.platforms[0])} for image in images]
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries},
                      separators=(",", ":")).encode("ascii")
    root = blob_of(data)
    manifests, configs, layers = _parts(images)
    return images[0]._replace(
        root=Descriptor(OCI_INDEX, root.digest, root.size), manifests=(root,) + manifests, configs=configs,
        layers=layers, platforms=unique(p for image in images for p in image.platforms),
        missing=unique(hole for image in images for hole in image.missing),
        notes=unique(note for image in images for note in image.notes))


def _platform_entry(platform: str) -> Dict[str, Any]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/", 2)))


def settle_names(images: List[Image]) -> List[Image]:
    """The same images, each name at one of them: the last, as docker load has it; the other gets one of its digest."""
    owner = {}  # type: Dict[str, str]
    for image in images:
        owner.update((name, image.root.digest) for name in image.references + image.tags)
    settled = []
    for image in images:
        lost = [name for name in image.references + image.tags if owner[name] != image.root.digest]
        notes = ["%s: two images bear this name: it goes to %s, the last one, not to %s"
                 % (name, owner[name], image.root.digest) for name in lost]
        references = tuple(_instead(name, image) if name in lost else name for name in image.references)
        tags = tuple(digest_tag(image.root.digest) if tag in lost else tag for tag in image.tags)
        settled.append(image._replace(references=unique(references), tags=unique(tags),
                                      notes=image.notes + tuple(notes)))
    return settled


def _instead(name: str, image: Image) -> str:
    return str(parse(name)._replace(tag=digest_tag(image.root.digest)))


def _refusal(archive: Archive) -> BuildError:
    """What this archive is, since it is none of images."""
    names = [name for name in archive.names() if not _is_litter(name)]
    tops = {name.partition("/")[0] for name in names}
    if not names:
        what = "is empty: copy or make the archive again"
    elif any(NO_END in note for note in archive.notes):
        what = "is cut off: it %s, and neither manifest.json nor index.json: copy or make it again" % NO_END
    elif "repositories" in tops or any(name.endswith("/layer.tar") for name in names):
        what = "was saved by a Docker older than 1.10 or lost its manifest.json: docker load it and docker save again"
    elif "oci-layout" in tops or any(name.startswith("blobs/sha256/") for name in names):
        what = "is an OCI layout without index.json: copy or make the archive again"
    elif ".dockerenv" in tops or ROOT_FOLDERS & tops:
        what = "is a root file system (docker export, or a build with output type=tar), not an image: use docker save"
    elif any(name.endswith("Chart.yaml") for name in names):
        what = "is a Helm chart, not an image: pass the archives of the images that it names"
    elif any(name.endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst")) for name in names):
        what = "holds other archives, not an image: pass those one by one"
    else:
        what = ("holds files (such as %s), but no image: neither manifest.json nor index.json; for a layer, an "
                "exported container or a build with output type=tar, %s" % (shown(names[0]), SAVE))
    return BuildError("%s: %s" % (archive.where(), what))
