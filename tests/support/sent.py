"""A seed as it lies in the Pod: contents.json and chunk files, for tests of what reads them."""
import os

from builder.kubernetes import files
from builder.kubernetes.facts import INJECTOR, Facts, to_json
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import Site
from builder.output.target import FolderTarget
from builder.payload import chunks, compression, contents, packing, segments
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
        self.describe(contents.Contents(contents.index_of(images), tuple(self.cut(one, chunk_size) for one in packed)))
        self.blobs = {}
        for image in images:
            for blob in image.manifests + image.configs + image.layers:
                with blob.open() as source:
                    self.blobs[blob.digest] = source.read()

    def cut(self, packed, chunk_size):
        names = []
        for name, data in chunks.cut(packed.parts(), chunk_size):
            self.write(name, data)
            names.append(name)
        return packing.segment_of(packed, names)

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
    """The same as build.py would write it, however wrong contents.json is; -> the path."""
    site = Site("example.com/python:3", expose="nodeport")
    names = sorted(name for name in os.listdir(found.folder) if name != contents.FILE)
    facts = Facts(site, (Runner(site.image),), found.text, 300, {INJECTOR: "0" * 64}, None, (), {}, (), "")
    target = FolderTarget(str(path), files.MARK, lambda *_: None)
    with target.workspace() as work:
        written = []
        for name in names:
            with open(found.path(name), "rb") as file:
                written.append(files.chunk_file(site, name, file.read()))
        written += [("FACTS", [to_json(facts)]), ("README.txt", [files.MARK.encode()])]
        target.write([work.write(*file) for file in written], work)
    return str(path)
