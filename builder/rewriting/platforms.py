"""`--platform os/architecture[/variant]`: of images for several platforms, those that the nodes need.

Images in, images and notes out. An index that loses a platform is written anew; its digest changes, which is noted.
What refers to something that is gone (attestation, signature, SBOM) goes with it; data for no platform stays.

Spec: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md (the platform of a descriptor)
"""
import re
from typing import Container, Dict, List, NamedTuple, Optional, Sequence, Tuple

from builder.reading import documents
from builder.reading.errors import InputError
from builder.reading.oci import Image
from builder.rewriting.tree import (ATTESTED, Tree, below_manifest, called, changed, is_index, leaves, parts, tree_of,
                                    with_entries, without_orphans)

_PLATFORM = re.compile("[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?")
# What an absent variant means: https://github.com/containerd/platforms/blob/v1.0.0/database.go (normalizeArch)
_USUAL_VARIANTS = {"amd64": "v1", "arm": "v7", "arm64": "v8"}
_NODES_SYSTEM = "linux/"
_ENCRYPTED = "+encrypted"  # the end of such a layer's media type


class Variant(NamedTuple):
    """The image for one platform."""
    platform: str
    image_id: str  # digest of its config, which `docker images` shows
    digest: str  # of its manifest
    size: int  # bytes of manifest, config and layers


def variants(image: Image) -> List[Variant]:
    """Return the runnable images below the root, each once, in the order of the indexes."""
    sizes = {blob.digest: blob.size for blob in image.manifests + image.configs + image.layers}
    found = []
    for leaf in leaves(tree_of(image)):
        platform, below = _platform(leaf), [entry["digest"] for entry in below_manifest(leaf)]
        if platform:
            found.append(Variant(platform, below[0], leaf.digest,
                                 sum(sizes.get(digest, 0) for digest in {leaf.digest, *below})))
    return found


def absent_platforms(image: Image) -> Dict[str, str]:
    """Return digest -> platform, "" if none is listed, of each manifest that an index lists and the archive lacks."""
    there = {blob.digest for blob in image.manifests}
    return {entry["digest"]: documents.platform(documents.field(entry, "platform", dict, index.digest), index.digest)
            for index in parts(tree_of(image)) if is_index(index) for entry in index.document["manifests"] or []
            if entry["digest"] not in there}


def checked_platform(text: str) -> str:
    """The platform that a user typed; InputError if it is not one."""
    if not _PLATFORM.fullmatch(text):
        raise InputError("--platform %s: is not a platform: write os/architecture, such as linux/amd64 or linux/arm/v7"
                         % ascii(text)[1:-1])
    return text


def matches(platform: str, wanted: Sequence[str]) -> bool:
    """Return whether an image for `platform` is one of the `wanted`; a wanted one without a variant takes any."""
    return any(_usual(platform) == _usual(one) or platform.startswith(one + "/") for one in wanted)


def _usual(platform: str) -> str:
    system, architecture, variant = (platform.split("/") + [""])[:3]
    return "/".join((system, architecture, variant or _USUAL_VARIANTS.get(architecture, "")))


def select(images: Sequence[Image], wanted: Sequence[str]) -> Tuple[List[Image], List[str]]:
    """The images, or what is left of them, for the `wanted` platforms; and notes on those that are left out."""
    gone = set()  # digests of manifests
    kept, notes = [], []
    for image in images:
        if not image.platforms:
            kept.append(image)
            continue
        tree = tree_of(image)
        reduced = _reduced(tree, wanted)
        gone.update({leaf.digest for leaf in leaves(tree)} - {leaf.digest for leaf in leaves(reduced)} if reduced
                    else {blob.digest for blob in image.manifests})
        if reduced is None:
            notes.append("%s: is for %s: left out by --platform" % (called(image), ", ".join(image.platforms)))
        elif reduced.digest == tree.digest:
            kept.append(image)
        else:
            gone.add(tree.digest)
            platforms = tuple(platform for platform in image.platforms if matches(platform, wanted))
            kept.append(changed(image, reduced, (), "--platform")._replace(platforms=platforms))
    return without_orphans(kept, gone), notes


def check_platforms(wanted: Sequence[str], offered: Sequence[str]) -> List[str]:
    """Notes on wanted platforms without an image; InputError if none has one. `offered`: what all archives hold."""
    absent = [one for one in wanted if not any(matches(platform, [one]) for platform in offered)]
    there = "the archives hold %s" % (", ".join(sorted(set(offered))) or "no image for a known platform")
    if wanted and len(absent) == len(wanted):
        raise InputError("--platform %s: there is no image for it: %s" % (" --platform ".join(absent), there))
    return ["--platform %s: there is no image for it: %s" % (one, there) for one in absent]


def other_systems(images: Sequence[Image]) -> List[str]:
    """Notes on images that no Linux node can run."""
    return ["%s: is only for %s: nodes that run Linux cannot start it" % (called(image), ", ".join(image.platforms))
            for image in images
            if image.platforms and not any(platform.startswith(_NODES_SYSTEM) for platform in image.platforms)]


def refuse_encrypted(images: Sequence[Image], path: str) -> None:
    """Raise InputError if a layer is encrypted (https://github.com/containers/ocicrypt); `path`: archive."""
    for image in images:
        for leaf in leaves(tree_of(image)):
            for layer in leaf.document.get("layers") or ():
                if layer.get("mediaType", "").endswith(_ENCRYPTED):
                    raise InputError("%s: %s has encrypted layers, which nodes cannot read: use skopeo copy "
                                     "--decryption-key KEY oci-archive:OLD oci-archive:NEW" % (path, called(image)))


def _reduced(tree: Tree, wanted: Sequence[str]) -> Optional[Tree]:
    """The tree without the platforms that are not wanted; None if nothing is left."""
    platforms = {leaf.digest: _platform(leaf) for leaf in leaves(tree)}
    gone = {digest for digest, platform in platforms.items() if platform and not matches(platform, wanted)}
    done: Dict[str, Optional[Tree]] = {}
    running = {digest for digest, platform in platforms.items() if platform} - gone  # and the indexes above them

    def reduced(part: Tree) -> Optional[Tree]:
        if not is_index(part):
            return None if part.digest in gone else part
        if part.digest not in done:
            done[part.digest] = reduced_index(part)
        return done[part.digest]

    def reduced_index(index: Tree) -> Optional[Tree]:
        found = [(child, reduced(child)) for child in index.children if not _refers(child, gone)]
        if not any(child.digest in running for child, kept in found if kept):
            return None
        running.add(index.digest)
        children = [kept for _, kept in found if kept]
        if [child.digest for child in children] == [child.digest for child in index.children]:
            return index
        return with_entries(index, [child.entry for child in children], children)

    return reduced(tree)


def _platform(leaf: Tree) -> str:
    """The platform that a manifest runs on; "" for data."""
    if leaf.config is None:
        return ""
    platform = documents.platform(documents.field(leaf.entry, "platform", dict, leaf.digest), leaf.digest)
    return platform or leaf.config.platform


def _refers(tree: Tree, gone: Container[str]) -> bool:
    """Return whether this part of an index is about a manifest that is gone."""
    annotations = tree.entry.get("annotations") or {}
    subject = tree.document.get("subject") or {}
    return annotations.get(ATTESTED) in gone or subject.get("digest") in gone
