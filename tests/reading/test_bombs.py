"""Small archives that once took minutes or gigabytes: each is refused, or read, within 2 s and 128 MiB."""
import gzip
import hashlib
import struct
import zlib

import pytest

from builder.reading import oci
from tests.support import bounded, samples
from tests.support.samples import (blob, descriptor, header, index_of, layout_of, oci_manifest, padded, sample, tar_of,
                                   to_json)

CPU_SECONDS = 2
TRIES = 3  # a virtual machine may be slow for a while
PEAK_BYTES = 128 << 20
MIB = 1 << 20
SPARSE_MIB = bytes(MIB - 64) + hashlib.sha512(b"noise").digest()  # gzip leaves a 930th of it, twice a 20,000th


def refusal(tmp_path, data, *platforms):
    """The line that refuses an archive of these bytes, or ""; fails the test where that took too much."""
    (tmp_path / "a.tar").write_bytes(data)
    for _ in range(TRIES):
        run = bounded.read(tmp_path / "a.tar", *platforms)
        if run.cpu_seconds < CPU_SECONDS:
            break
    print("%d bytes: %.1f s, %d MiB" % (len(data), run.cpu_seconds, run.peak_bytes >> 20))
    assert run.cpu_seconds < CPU_SECONDS and run.peak_bytes < PEAK_BYTES
    return run.error


def gzipped(size_mib):
    """Gzip of so many SPARSE_MIB, and the digest of what is in it."""
    plain, checksum = hashlib.sha256(), 0
    for _ in range(size_mib):
        plain.update(SPARSE_MIB)
        checksum = zlib.crc32(SPARSE_MIB, checksum)
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = engine.compress(SPARSE_MIB) + engine.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before: can be repeated
    return (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * size_mib + engine.flush()
            + struct.pack("<II", checksum, size_mib * MIB)), "sha256:" + plain.hexdigest()


def pax_member(records):
    return header(b"pax", len(records), b"x") + padded(records) + header(b"file")


EMPTY_RECORDS = b"4 =\n" * (MIB // 4)


@pytest.mark.parametrize("members, bytes_at_most", [(1, 2000), (150, 200000)])
def test_pax_headers_of_many_records_cost_no_more_than_their_bytes(tmp_path, members, bytes_at_most):
    data = gzip.compress(pax_member(EMPTY_RECORDS) * members + bytes(1024))
    assert len(data) < bytes_at_most
    assert "pax records for one member" in refusal(tmp_path, data)


def test_as_many_pax_records_as_a_member_may_have_cost_no_more_than_their_bytes(tmp_path):
    data = gzip.compress(pax_member(b"4 =\n" * 100) * 3000 + bytes(1024))
    assert "holds files (such as file), but no image" in refusal(tmp_path, data)


def nested(width, depth):
    """Indexes of which each lists all of the level below, twice; the lowest ones an image and what is not there."""
    manifest, blobs = oci_manifest(sample())
    below = [descriptor(oci.OCI_MANIFEST, manifest)]
    absent = [descriptor(oci.OCI_MANIFEST, b"%d" % number) for number in range(width)]
    for level in range(depth):
        indexes = [index_of((below + absent) * 2, annotations={"number": "%d %d" % (level, number)})
                   for number in range(width)]
        blobs += [blob(index) for index in indexes]
        below, absent = [descriptor(oci.OCI_INDEX, index) for index in indexes], []
    return layout_of([dict(below[0], annotations={oci.REF_NAME: samples.NAME})], blobs)


@pytest.mark.parametrize("platforms", [(), ("linux/amd64",)], ids=["read", "changed"])
def test_indexes_that_list_each_other_many_times_over_cost_no_more_than_once(tmp_path, platforms):
    data = gzip.compress(tar_of(nested(40, 4)))
    assert len(data) < 40000 and refusal(tmp_path, data, *platforms) == ""


def test_more_descriptors_than_an_archive_can_mean_are_refused(tmp_path):
    data = gzip.compress(tar_of(nested(200, 3)))
    assert "lists more than 200000 manifests, configs and layers" in refusal(tmp_path, data)


def test_one_config_of_many_images_is_read_once(tmp_path):
    config = b" " * (4 * MIB) + samples.with_layers([]).config
    items = [samples.item("config.json", [], ["sample:%d" % number]) for number in range(3000)]
    assert refusal(tmp_path, gzip.compress(tar_of([
        ("config.json", config), ("manifest.json", to_json(items))]))) == ""


def test_two_layers_of_compression_expand_no_more_than_one(tmp_path):
    inner, _ = gzipped(300)
    data = gzip.compress(inner)
    assert 300 * MIB < 1000 * len(inner) < 1000 * 1000 * len(data) and len(data) < 20000
    assert "expands to more than 268435456 bytes from a file of %d" % len(data) in refusal(tmp_path, data)


def test_layers_of_a_compressed_archive_count_with_it(tmp_path):
    layers = [gzipped(100 + number) for number in range(3)]
    names = ["%d.tar.gz" % number for number in range(3)]
    config = to_json({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [plain for _, plain in layers]}})
    members = [(name, data) for name, (data, _) in zip(names, layers)]
    data = gzip.compress(tar_of(members + [("config.json", config),
                                           ("manifest.json", to_json([samples.item("config.json", names, [])]))]))
    error = refusal(tmp_path, data)
    assert "2.tar.gz: expands to more than" in error


def test_many_names_of_one_image_cost_no_more_than_their_bytes(tmp_path):
    manifest, blobs = oci_manifest(sample())
    entries = [descriptor(oci.OCI_MANIFEST, manifest, annotations={oci.REF_NAME: "sample:%d" % number})
               for number in range(10000)]
    assert refusal(tmp_path, tar_of(layout_of(entries, blobs))) == ""


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"1,"])
def test_a_manifest_of_millions_of_values_is_refused(tmp_path, piece):
    """Each takes twenty times its bytes in memory."""
    data = tar_of([("manifest.json", b"[" + piece * ((19 << 20) // len(piece)) + b"0]")])
    assert "manifest.json: has more than 1000000 values: make the archive again" in refusal(tmp_path, data)


def test_names_that_take_gigabytes_together_are_refused(tmp_path):
    data = tar_of([("%d/%s" % (number, "n" * 4000), b"") for number in range(9000)])
    assert "is the first beyond 33554432 bytes of names" in refusal(tmp_path, data)


def test_a_config_that_many_names_share_is_parsed_a_few_times(tmp_path):
    layer = tar_of([("file", b"x")])
    config = to_json({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [oci.digest_of(layer)]},
                      "more": [[]] * 400000})
    manifest = to_json([{"Config": "c.json", "RepoTags": ["a:%d" % number], "Layers": ["l.tar"]} for number in range(40)])
    assert refusal(tmp_path, tar_of([("c.json", config), ("l.tar", layer), ("manifest.json", manifest)])) == ""
