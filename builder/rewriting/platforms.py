"""`--platform os/architecture[/variant]`: of images for several platforms, those that the nodes need. Pure.

Images in, images and notes out. An index that loses a platform is written anew; its digest changes, which a note
tells. What refers to something that is gone (attestation, signature, SBOM) goes with it; data of no platform stays.

Spec: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md (the platform of a descriptor)
"""
import re
from typing import List, Optional, Sequence, Set, Tuple

from builder.reading import documents
from builder.reading.errors import BuildError
from builder.reading.oci import Image
from builder.rewriting.tree import (ATTESTED, Tree, called, changed, config_of, is_image, is_index, leaves, tree_of,
                          with_entries)

PLATFORM = re.compile("[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?")
# What an absent variant means: https://github.com/containerd/platforms/blob/v1.0.0/database.go (normalizeArch)
USUAL_VARIANTS = {"amd64": "v1", "arm": "v7", "arm64": "v8"}
NODES_SYSTEM = "linux/"
ENCRYPTED = "+encrypted"  # the end of such a layer's media type


def checked_platform(text: str) -> str:
    """The platform that a user typed; BuildError if it is none."""
    if not PLATFORM.fullmatch(text):
        raise BuildError("--platform %s: is no platform: write os/architecture, such as linux/amd64 or linux/arm/v7"
                         % ascii(text)[1:-1])
    return text


def matches(platform: str, wanted: Sequence[str]) -> bool:
    """Whether an image for `platform` is one of the `wanted`; where those tell no variant, any will do."""
    return any(_usual(platform) == _usual(one) or platform.startswith(one + "/") for one in wanted)


def _usual(platform: str) -> str:
    system, architecture, variant = (platform.split("/") + [""])[:3]
    return "/".join((system, architecture, variant or USUAL_VARIANTS.get(architecture, "")))


def select(images: Sequence[Image], wanted: Sequence[str]) -> Tuple[List[Image], List[str]]:
    """The images, or what is left of them, for the `wanted` platforms; and notes on those that are left out."""
    gone = set()  # type: Set[str]  # digests of manifests
    kept, notes = [], []
    for image in images:
        if not image.platforms:
            kept.append(image)
            continue
        tree = tree_of(image)
        reduced = _reduced(tree, image, wanted)
        gone.update({leaf.digest for leaf in leaves(tree)} - {leaf.digest for leaf in leaves(reduced)} if reduced
                    else {blob.digest for blob in image.manifests})
        if reduced is None:
            notes.append("%s: is for %s: left out by --platform" % (called(image), ", ".join(image.platforms)))
        elif reduced.digest == tree.digest:
            kept.append(image)
        else:
            gone.add(tree.digest)
            platforms = tuple(platform for platform in image.platforms if matches(platform, wanted))
            kept.append(changed(image, reduced, {}, "--platform")._replace(platforms=platforms))
    return _without_orphans(kept, gone), notes


def check(wanted: Sequence[str], offered: Sequence[str]) -> List[str]:
    """Notes on platforms that no image is for; BuildError if nothing is left. `offered`: what all archives hold."""
    absent = [one for one in wanted if not any(matches(platform, [one]) for platform in offered)]
    there = "the archives hold %s" % (", ".join(sorted(set(offered))) or "no image of a known platform")
    if wanted and len(absent) == len(wanted):
        raise BuildError("--platform %s: no image is for it: %s" % (" --platform ".join(absent), there))
    return ["--platform %s: no image is for it: %s" % (one, there) for one in absent]


def other_systems(images: Sequence[Image]) -> List[str]:
    """Notes on images that no Linux node can run."""
    return ["%s: is for %s alone: nodes that run Linux cannot start it" % (called(image), ", ".join(image.platforms))
            for image in images
            if image.platforms and not any(platform.startswith(NODES_SYSTEM) for platform in image.platforms)]


def refuse_encrypted(images: Sequence[Image], path: str) -> None:
    """BuildError if nobody can read a layer without a key (https://github.com/containers/ocicrypt); `path`: archive."""
    for image in images:
        for leaf in leaves(tree_of(image)):
            for layer in leaf.document.get("layers") or ():
                if layer.get("mediaType", "").endswith(ENCRYPTED):
                    raise BuildError("%s: %s has encrypted layers, which nodes cannot read: use skopeo copy "
                                     "--decryption-key KEY oci-archive:OLD oci-archive:NEW" % (path, called(image)))


def _reduced(tree: Tree, image: Image, wanted: Sequence[str]) -> Optional[Tree]:
    """The tree without the platforms that are not wanted; None if nothing is left."""
    if not is_index(tree):
        platform = _platform(tree, image)
        return tree if not platform or matches(platform, wanted) else None
    pairs = [(child, _reduced(child, image, wanted)) for child in tree.children]
    gone = {leaf.digest for child, kept in pairs if kept is None for leaf in leaves(child)}
    children = [kept for _, kept in pairs if kept and not _refers(kept, gone)]
    if not any(_platform(leaf, image) for child in children for leaf in leaves(child)):
        return None
    if children == list(tree.children):
        return tree
    return with_entries(tree, [child.entry for child in children], children)


def _platform(tree: Tree, image: Image) -> str:
    """The platform that a manifest runs on; "" for data."""
    if not is_image(tree):
        return ""
    told = documents.platform(documents.field(tree.entry, "platform", dict, tree.digest), tree.digest)
    return told or config_of(tree, image).platform


def _refers(tree: Tree, gone: Set[str]) -> bool:
    """Whether this part of an index is about a manifest that is gone."""
    annotations = tree.entry.get("annotations") or {}
    subject = tree.document.get("subject") or {}
    return annotations.get(ATTESTED) in gone or subject.get("digest") in gone


def _without_orphans(images: Sequence[Image], gone: Set[str]) -> List[Image]:
    """The images but for those that refer to what is gone, or to one that does."""
    kept = list(images)
    while True:
        orphans = [image for image in kept if image.subject in gone]
        if not orphans:
            return kept
        gone = gone | {blob.digest for image in orphans for blob in image.manifests}
        kept = [image for image in kept if image.subject not in gone]
