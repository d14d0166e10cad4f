import gzip
import hashlib
import io
import json
import lzma
import os
import tarfile
import time

import pytest

from builder.reading import oci
from builder.payload import packing
from builder.reading.archive import open_archive
from builder.reading.errors import BuildError
from builder.reading.images import read_images
from tests.support.samples import (NAME, crane, gzipped, joined, layout, multi_platform, podman_save, sample, tar_of, with_layers,
                     write)

IMAGE, OTHER = sample(), sample("b")
OTHER_NAME = "docker.io/library/other:1"
NOISE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(6000))  # what no compressor makes smaller
EACH = pytest.mark.parametrize("compression", [packing.NONE, packing.GZIP, packing.XZ])


@pytest.fixture
def images(tmp_path):
    """A function: members of an archive -> its images, readable for the length of the test."""
    archives = []

    def read(members):
        archives.append(open_archive(write(tmp_path / ("%d.tar" % len(archives)), members)))
        return read_images(archives[-1])
    yield read
    for archive in archives:
        archive.__exit__()


def packed(folder, found, compression, progress=lambda *told: None):
    made = packing.write_payload(found, os.path.join(str(folder), "payload"), compression, progress)
    with open(made.path, "rb") as file:
        data = file.read()
    assert made.size == len(data)
    return made, data


def plain(data, compression):
    return {packing.NONE: bytes, packing.GZIP: gzip.decompress, packing.XZ: lzma.decompress}[compression](data)


@EACH
def test_the_payload_is_an_image_layout_that_our_own_reader_takes(tmp_path, images, compression):
    before = images(layout(IMAGE, NAME))
    _, data = packed(tmp_path, before, compression)
    (tmp_path / "again.tar").write_bytes(data)
    with open_archive(str(tmp_path / "again.tar")) as archive:
        after, = read_images(archive)
        assert archive.notes == ()
    assert after.root == before[0].root and after.references == (NAME,)


@EACH
def test_the_number_of_cores_does_not_show(tmp_path, images, monkeypatch, compression):
    monkeypatch.setattr(packing, "READ_BYTES", 1000)
    monkeypatch.setattr(packing, "BLOCK_BYTES", {packing.GZIP: 10000, packing.XZ: 10000})
    found = images(podman_save(with_layers([tar_of([("noise", NOISE)]), tar_of([("text", b"text " * 20000)])]), NAME))
    made = set()
    for cores in (1, 2, 7, None):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        made.add(packed(tmp_path, found, compression)[1])
    data, = made
    assert hashlib.sha256(plain(data, compression)).digest() == hashlib.sha256(
        packed(tmp_path, found, packing.NONE)[1]).digest()


def test_what_a_registry_parses_comes_before_the_layers_and_each_blob_once(tmp_path, images):
    shared = with_layers(IMAGE.layers[:1] + OTHER.layers[1:])
    found = images(layout(IMAGE, NAME)) + images(layout(shared, OTHER_NAME)) + images(layout(IMAGE, "example.com/a:1"))
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path, found, packing.NONE)[1])) as tar:
        names = tar.getnames()
    digests = [found[0].root.digest, found[1].root.digest, IMAGE.image_id, shared.image_id]
    digests += [oci.digest_of(gzipped(layer)) for layer in IMAGE.layers + shared.layers[1:]]
    assert names == ["oci-layout", "index.json"] + ["blobs/" + digest.replace(":", "/") for digest in digests]


def test_members_tell_nothing_of_time_and_place(tmp_path, images):
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path, images(layout(IMAGE, NAME)), packing.NONE)[1])) as tar:
        told = {(member.mode, member.uid, member.gid, member.uname, member.gname, member.mtime, member.type)
                for member in tar}
    assert told == {(0o444, 0, 0, "", "", 0, tarfile.REGTYPE)}


def test_a_member_may_be_larger_than_8_gib():
    size = (8 << 30) + 1
    assert tarfile.TarInfo.frombuf(packing.header("blobs/x", size), "utf-8", "strict").size == size


def test_the_index_has_an_entry_for_each_name_and_what_only_refers_comes_last(images):
    found = images(joined(crane(IMAGE, NAME, "example.com/a:2"), crane(OTHER, OTHER_NAME)))
    nameless = found[0]._replace(references=(), subject=found[0].root.digest)
    entries = json.loads(packing.index([nameless] + found).decode())["manifests"]
    assert [entry.get("annotations", {}).get(oci.REF_NAME) for entry in entries] == [
        NAME, "example.com/a:2", OTHER_NAME, None]
    assert {(entry["digest"], entry["size"], entry["mediaType"]) for entry in entries} == {
        (image.root.digest, image.root.size, image.root.media_type) for image in found}


def test_sizes_are_told_of_the_blobs_as_they_will_lie_in_the_cluster(tmp_path, images):
    found = images(multi_platform([IMAGE, sample("arm", platform="linux/arm64")], NAME))
    made, _ = packed(tmp_path, found, packing.GZIP)
    blobs = [blob.size for _, blob in packing.contents(found)]
    assert (made.blob_bytes, made.largest_blob_bytes) == (sum(blobs), max(blobs))
    assert os.listdir(str(tmp_path)).count("payload") == 1 and "payload.tar" not in os.listdir(str(tmp_path))


@pytest.mark.parametrize("layer, chosen", [
    (tar_of([("text", b"words and words " * 9000)]), packing.XZ),
    (tar_of([("noise", NOISE)]), packing.NONE),
])
def test_auto_compresses_what_can_be_made_smaller(tmp_path, images, monkeypatch, layer, chosen):
    found = images(podman_save(with_layers([layer]), NAME))
    assert packed(tmp_path, found, packing.AUTO)[0].compression == chosen
    monkeypatch.setattr(packing, "lzma", None)
    assert packed(tmp_path, found, packing.AUTO)[0].compression == (
        packing.GZIP if chosen == packing.XZ else packing.NONE)


def test_xz_without_the_library_is_refused_with_the_way_out(tmp_path, images, monkeypatch):
    monkeypatch.setattr(packing, "lzma", None)
    with pytest.raises(BuildError, match="--compression gzip"):
        packed(tmp_path, images(layout(IMAGE, NAME)), packing.XZ)


@pytest.mark.parametrize("platform, first_filter", [
    ("linux/amd64", lzma.FILTER_X86), ("linux/arm64", lzma.FILTER_LZMA2)])
def test_programs_for_amd64_are_filtered_for_xz(tmp_path, images, platform, first_filter):
    data = packed(tmp_path, images(layout(sample(platform=platform), NAME)), packing.XZ)[1]
    assert data[14] == first_filter  # 12 bytes of stream header, size and flags of the block's, its first filter


@EACH
def test_progress_adds_up_to_what_was_announced(tmp_path, images, compression):
    stages = {}

    def progress(stage, count, total):
        done, _ = stages.get(stage, (0, 0))
        stages[stage] = done + count, total
    packed(tmp_path, images(layout(IMAGE, NAME)), compression, progress)
    assert sorted(stages) == (["packing"] if compression == packing.NONE else ["compressing", "packing"])
    assert all(done == total for done, total in stages.values())


def test_blocks_that_nobody_wants_any_more_are_broken_off(tmp_path, monkeypatch):
    block_bytes, told = 1000, []
    path = tmp_path / "tar"
    path.write_bytes(bytes(3 * block_bytes))
    monkeypatch.setattr(packing, "READ_BYTES", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)

    def progress(count):
        told.append(count)
        if len(told) > block_bytes:
            time.sleep(.01)  # ten seconds for each block but the first
    blocks = packing.compressed_blocks(str(path), packing.encoder(packing.GZIP, False), block_bytes, progress)
    next(blocks)
    blocks.close()
    assert len(told) < 2 * block_bytes


@pytest.mark.parametrize("data", [b"short", b"another", b"longer than said"])
def test_a_blob_that_changes_while_it_is_read_is_told(data):
    blob = packing.blob_of(b"content")._replace(open=lambda: io.BytesIO(data))
    with pytest.raises(BuildError, match="%s: its archive changed while it was read" % blob.digest):
        b"".join(packing.tar([("blobs/x", blob)], lambda count: None))
