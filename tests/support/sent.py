"""A seed as it lies in the Pod: contents.json and chunk files, for tests of what reads them."""
import os

from builder.kubernetes import workloads
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import Site
from builder.output import writer
from builder.output.folder import Folder
from builder.payload import compression, contents, packing, segments
from builder.reading.archive import open_archive
from builder.reading.images import read_images

from tests.support import samples


class Sent:
    """Images as they travel, in `folder`/chunks; to be unpacked into `folder`/seed."""

    def __init__(self, folder, images, wanted=compression.GZIP, chunk_size=300):
        self.folder, self.seed = os.path.join(str(folder), "chunks"), os.path.join(str(folder), "seed")
        os.makedirs(self.folder)
        self.images = images
        parts = segments.layer_segments(images) + [segments.last_segment(images)]
        packed = packing.pack(parts, str(folder), wanted, lambda *told: None)
        self.describe(contents.Contents(contents.index_of(images),
                                        tuple(packing.cut(packed, chunk_size, self.write))))
        self.blobs = {}
        for image in images:
            for blob in image.manifests + image.configs + image.layers:
                with blob.open() as source:
                    self.blobs[blob.digest] = source.read()

    def describe(self, value):
        """Write contents.json anew, and take its digest for the argument."""
        self.contents = value
        self.describe_as(contents.to_text(value))

    def describe_as(self, text):
        self.text = text
        self.digest = contents.digest_of(text)
        self.write(contents.FILE, text.encode())

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def arguments(self):
        """Of the stage "unpack", but for the seed folder."""
        return ["--chunks", self.folder, "--contents", self.path(contents.FILE), "--digest", self.digest]


def sent(folder, members, wanted=compression.GZIP, chunk_size=300):
    """The images of an archive's members (samples.py)."""
    with open_archive(samples.write(os.path.join(str(folder), "archive.tar"), members)) as archive:
        return Sent(folder, read_images(archive), wanted, chunk_size)


def folder_of(found, path):
    """The same as build.py would write it, however wrong it is; -> the path."""
    site = Site("example.com/python:3", expose="nodeport")
    names = sorted(name for name in os.listdir(found.folder) if name != contents.FILE)
    plan = workloads.plan_of(site, [Runner(site.image)], found.text, names, b"code", 1, 1)
    plan.specs[0]["initContainers"][0]["command"][-1] = found.digest
    with Folder(str(path)) as folder:
        for name in names:
            with open(found.path(name), "rb") as file:
                folder.write([writer.chunk_file(site, name, file.read())])
        folder.write(writer.documents(plan, "restricted", b"code"))
        folder.write(writer.companions(b"code", [], [], "kubectl apply", site, {}))
        folder.keep()
    return str(path)
