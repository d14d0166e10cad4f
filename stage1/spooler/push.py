"""Images -> the registry: blobs first, then manifests from the leaves up, so that no tag ever leads to half an image.

In: a registry and the content of a file; out: what each name leads to now. A push that is interrupted leaves only blobs
without a name, which the registry's garbage collection removes.
"""
from typing import Iterable, List, NamedTuple, Optional, Set, Tuple

from builder.reading.chart import versioned
from builder.reading.documents import descriptor, field, parse_object
from builder.reading.errors import InputError
from builder.reading.graph import is_foreign
from builder.reading.images import check_names, homes_of, name_images
from builder.reading.oci import INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST, Blob, Image, digest_of
from builder.reading.reference import Reference, full_repository, parse, short_repositories, takes_foreign_name
from image_names import Name
from protocol import Manifest, RegistryError
from registry_client import RegistryClient
from upload import SENT

AS_NAMED = '"push NAME < ARCHIVE"'  # the command that names the image of an archive
NO_HOST = "localhost"  # of names that have none; with it nothing is put in front of the repository


class Pushed(NamedTuple):
    """The outcome of a push."""
    name: Name
    digest: str
    blob_count: int
    sent_count: int  # of blobs that the registry did not have
    sent_bytes: int


def named(images: List[Image], name: Name) -> List[Tuple[Image, List[Name]]]:
    """Return the images of one file under its one name; signatures of its image come along."""
    check_names(images, str(name), AS_NAMED)
    found = [image for image in images if not image.subject]
    if len(found) != 1:
        raise InputError("%s: the file holds %d images, and one name fits one: use the archive's own names, or "
                         "build.py split" % (name, len(found)))
    (main,) = found
    name = name._replace(reference=versioned(name.reference, main))
    return [(image, [name] if image is main else [
        Name(name.repository, reference) for reference in image.tags or (image.root.digest,)]) for image in images]


def named_by_archive(images: List[Image], name: Optional[Name], with_host: bool = False) \
        -> List[Tuple[Image, List[Name]]]:
    """Return the images under their own names without the host; one that has none gets `name`, if there is one.

    `with_host`: under their names with the host as well, where a mirror of that host looks for them.
    """
    check_names(images, str(name) if name else "the archive", AS_NAMED)
    if name is None and any(not image.references and not image.subject for image in images):
        raise InputError("%s: the archive has no name for this image: give it one" % images[0].root.digest)
    name = name or Name("", "")
    images = name_images(images, Reference(NO_HOST, name.repository, name.reference, ""))
    names = [[name for reference in map(parse, image.references) for name in _names(reference, with_host)]
             for image in images]
    found = [(image, own or [Name(names[home][0].repository, image.root.digest)])
             for image, own, home in zip(images, names, homes_of(images))]
    return sorted(found, key=lambda pair: not pair[0].references)


def _names(reference: Reference, with_host: bool) -> List[Name]:
    """Return the path and, if asked for or if the path would be the full name of another image, the full name."""
    full = full_repository(reference)
    if takes_foreign_name(reference):
        raise InputError("%s: would get the name of another host's image: give it a name, %s" % (reference, AS_NAMED))
    if reference.host == NO_HOST or not full:
        return [Name(reference.path, reference.tag)]
    short = short_repositories(reference)[:1]
    return [Name(repository, reference.tag) for repository in short + ((full,) if with_host or not short else ())]


def push(registry: RegistryClient, images: Iterable[Tuple[Image, List[Name]]]) -> List[Pushed]:
    """Raises RegistryError and InputError; what was pushed until then stays."""
    return [_push(registry, image, name) for image, names in images for name in names]


def _push(registry: RegistryClient, image: Image, name: Name) -> Pushed:
    blobs = image.layers + image.configs
    lacking = [part.digest for part in image.missing if part.media_type not in INDEX_TYPES + MANIFEST_TYPES
               and not is_foreign(part) and not registry.take_over(name.repository, part.digest)]
    incomplete = [blob for blob in image.manifests if lacking and _parts_of(blob).intersection(lacking)]
    if incomplete and image.manifests[0] in incomplete:
        raise _absent(name, lacking)
    sent = [blob for blob in blobs if registry.upload(name.repository, blob) == SENT]
    for blob in image.manifests[:0:-1]:  # the root, which comes first, is put last
        if blob not in incomplete:
            registry.put_manifest(name.repository, blob.digest, _manifest(blob))
    root = _manifest(image.manifests[0])
    try:
        registry.put_manifest(name.repository, name.reference, root)
    except RegistryError as error:
        if lacking:
            raise _absent(name, lacking)
        if not image.missing:
            raise
        raise RegistryError("%s: the archive lacks %d parts of the image: save it for one platform, or for all of them"
                            % (error, len(image.missing)))
    return Pushed(name, root.digest, len(blobs), len(sent), sum(blob.size for blob in sent))


def _absent(name: Name, digests: List[str]) -> RegistryError:
    return RegistryError("%s: neither the archive nor the registry has %s: push what was left out of the archive first"
                         % (name, ", ".join(digests)))


def _parts_of(blob: Blob) -> Set[str]:
    """Return the digests of the config and the layers of a manifest; none of an index."""
    document = parse_object(_manifest(blob).data, blob.digest)
    parts = [field(document, "config", dict, blob.digest)] + field(document, "layers", list, blob.digest)
    return {descriptor(part, blob.digest).digest for part in parts if part}


def _manifest(blob: Blob) -> Manifest:
    with blob.open() as reader:
        data = reader.read()
    document = parse_object(data, blob.digest)
    media_type = field(document, "mediaType", str, blob.digest)
    return Manifest(media_type or (OCI_INDEX if "manifests" in document else OCI_MANIFEST), digest_of(data), data)
