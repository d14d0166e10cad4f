"""The written format from both sides: builder writes payload and chunks, stage1 reads them.

`Sent` is what the cluster gets. Every kind of damage is told in one line that names the chunk, and leaves no trace.
"""
import hashlib
import io
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import tarfile

import pytest

from tests.support import injector
from tests.support import samples
import unpack
from builder.payload import chunks, packing
from builder.reading.archive import open_archive
from builder.reading.images import read_images

NAMES = ("docker.io/library/sample:1", "quay.io/a/b:2")
COMPRESSIONS = (packing.NONE, packing.GZIP, packing.XZ)


class Sent:
    """A payload cut into chunk files, as they are mounted in the Pod."""

    def __init__(self, folder, image, compression=packing.GZIP, chunk_size=300, more_layers=()):
        self.folder, self.seed = os.path.join(folder, "chunks"), os.path.join(folder, "seed")
        os.makedirs(self.folder)
        archive = samples.write(os.path.join(folder, "archive.tar"), samples.layout(image, *NAMES))
        with open_archive(archive) as source:
            self.images = [found._replace(layers=found.layers + more_layers) for found in read_images(source)]
            self.payload = packing.write_payload(self.images, os.path.join(folder, "payload"), compression, nobody)
            self.blobs = {}
            for group in ("manifests", "configs", "layers"):
                for found in self.images:
                    self.blobs.update((blob.digest, blob.open().read()) for blob in getattr(found, group))
        with open(self.payload.path, "rb") as file:
            self.digest, self.chunks = chunks.cut(file, self.payload.size, chunk_size)
            for chunk, data in chunks.read(file, self.chunks):
                self.write(chunk.name, data)

    def path(self, number):
        """Of a chunk, counted from 0."""
        return os.path.join(self.folder, self.chunks[number].name)

    def write(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(data)

    def unpack(self):
        unpack.run(self.folder, self.digest, self.seed)
        return self.seed

    def damage(self):
        """The line that tells what is wrong; nothing is left of it."""
        with pytest.raises(unpack.Damage) as raised:
            self.unpack()
        assert not os.path.exists(self.seed)
        line = str(raised.value)
        assert "\n" not in line
        return line


def nobody(*told):
    """Progress that nobody looks at."""


@pytest.fixture
def sent(tmp_path):
    found = Sent(str(tmp_path), samples.sample(layer_count=5))
    assert len(found.chunks) >= 3
    return found


def incompressible(byte_count, seed=1):
    return random.Random(seed).getrandbits(8 * byte_count).to_bytes(byte_count, "big")


def files_under(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in pathlib.Path(folder).rglob("*")
            if path.is_file()}


def assert_is_the_image(seed, sent):
    """The seed folder is an OCI layout of exactly the image's blobs."""
    files = files_under(seed)
    assert files.pop("oci-layout") == b'{"imageLayoutVersion":"1.0.0"}'
    assert files.pop("index.json") == packing.index(sent.images)
    assert files == {"blobs/" + digest.replace(":", "/"): data for digest, data in sent.blobs.items()}
    for name, data in files.items():
        assert name.rpartition("/")[2] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_builder_writes_unpack_reads(tmp_path, compression):
    sent = Sent(str(tmp_path), samples.sample(layer_count=5), compression)
    assert_is_the_image(sent.unpack(), sent)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_payload_arrives_whole_in_chunks_and_reads_of_one_byte(tmp_path, monkeypatch, compression):
    monkeypatch.setattr(unpack, "BLOCK_BYTES", 1)
    sent = Sent(str(tmp_path), samples.sample(layer_count=1), compression, chunk_size=1)
    assert len(sent.chunks) == sent.payload.size
    assert_is_the_image(sent.unpack(), sent)


@pytest.mark.parametrize("compression", [packing.GZIP, packing.XZ])
def test_several_compressed_blocks_one_after_the_other_are_read_as_one(tmp_path, monkeypatch, compression):
    monkeypatch.setattr(packing, "READ_BYTES", 512)
    monkeypatch.setitem(packing.BLOCK_BYTES, compression, 1024)
    image = samples.with_layers([incompressible(5000)])
    sent = Sent(str(tmp_path), image, compression)
    with open(sent.payload.path, "rb") as file:
        data = file.read()
    assert data.count({"gzip": b"\x1f\x8b\x08\0\0\0\0\0", "xz": b"\xfd7zXZ\0"}[compression]) > 5
    assert_is_the_image(sent.unpack(), sent)


@pytest.mark.parametrize("layer", [b"", b"x", b"x" * 511, b"x" * 512, b"x" * 513], ids=len)
def test_a_layer_of_any_length_arrives_whole(tmp_path, layer):
    sent = Sent(str(tmp_path), samples.with_layers([layer]), packing.NONE)
    assert_is_the_image(sent.unpack(), sent)


def test_blobs_of_both_registered_algorithms_arrive(tmp_path):
    data = incompressible(3000)
    digest = "sha512:" + hashlib.sha512(data).hexdigest()
    sent = Sent(str(tmp_path), samples.sample(), more_layers=(packing.blob_of(data)._replace(digest=digest),))
    assert files_under(sent.unpack())["blobs/" + digest.replace(":", "/")] == data


def test_the_payload_is_an_archive_that_any_tool_reads(sent, tmp_path):
    joined = b"".join(pathlib.Path(sent.path(number)).read_bytes() for number in range(len(sent.chunks)))
    with tarfile.open(fileobj=io.BytesIO(joined)) as tar:
        names = tar.getnames()
        assert names[:2] == ["oci-layout", "index.json"]
        assert sorted(names[2:]) == sorted("blobs/" + digest.replace(":", "/") for digest in sent.blobs)
        assert {(member.mode, member.uid, member.mtime) for member in tar} == {(0o444, 0, 0)}


@pytest.mark.parametrize("count", [1, 9, 10, 999, 1001, 10001])
def test_chunks_are_put_in_order_by_number_whatever_their_count(count):
    data = io.BytesIO(incompressible(count))
    digest, parts = chunks.cut(data, count, 1)
    names = [chunk.name for chunk in parts]
    assert len(set(names)) == count
    assert unpack.order(random.Random(2).sample(names, count), digest) == names


def test_files_of_the_kubelet_beside_the_chunks_are_passed_over(sent):
    sent.write("..data", b"")
    os.mkdir(os.path.join(sent.folder, "..2026_01_01_00_00_00.1"))
    assert_is_the_image(sent.unpack(), sent)


# --- damage

FIRST, MIDDLE, LAST = 0, 1, -1
PLACES = pytest.mark.parametrize("number", [FIRST, MIDDLE, LAST], ids=["first", "middle", "last"])


def told_number(sent, number):
    return range(1, len(sent.chunks) + 1)[number]


@PLACES
def test_a_missing_chunk_is_told_by_its_number(sent, number):
    os.unlink(sent.path(number))
    assert sent.damage() == "chunk %d of %04d: is missing" % (told_number(sent, number), len(sent.chunks))


@PLACES
def test_a_chunk_with_one_bit_flipped_is_told_by_name_with_both_digests(sent, number):
    path = pathlib.Path(sent.path(number))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    got = hashlib.sha256(data).hexdigest()
    assert sent.damage() == "chunk %s: is damaged: expected %s, got %s" % (path.name, path.name[-64:], got)


@PLACES
@pytest.mark.parametrize("keep", [0, .5, -1], ids=["to nothing", "to half", "by one byte"])
def test_a_chunk_that_is_cut_short_is_told_by_name(sent, number, keep):
    size = sent.chunks[number].size
    os.truncate(sent.path(number), size - 1 if keep < 0 else int(size * keep))
    assert sent.damage().startswith("chunk %s: is damaged: " % sent.chunks[number].name)


def test_a_chunk_that_is_there_under_two_numbers_is_told_by_both_names(sent):
    name = sent.chunks[1].name
    twin = name.replace("-0002-", "-2-")
    shutil.copy(sent.path(1), os.path.join(sent.folder, twin))
    assert sent.damage() == "chunk %s: is there twice, also as %s" % tuple(sorted([name, twin], reverse=True))


def test_two_chunks_with_their_content_swapped_are_told(sent):
    one, two = sent.path(0), sent.path(1)
    os.rename(one, one + ".aside")
    os.rename(two, one)
    os.rename(one + ".aside", two)
    assert sent.damage().startswith("chunk %s: is damaged: " % sent.chunks[0].name)


def test_two_chunks_with_their_numbers_swapped_are_told_by_the_payloads_digest(sent):
    one, two = sent.chunks[0].name, sent.chunks[1].name
    os.rename(sent.path(0), os.path.join(sent.folder, one.replace("-0001-", "-0002-")))
    os.rename(sent.path(1), os.path.join(sent.folder, two.replace("-0002-", "-0001-")))
    assert sent.damage().startswith("payload: is damaged: expected %s, got sha256:" % sent.digest)


def test_a_chunk_of_another_payload_is_told_by_name(sent, tmp_path):
    other = Sent(str(tmp_path / "other"), samples.sample("b", layer_count=5))
    shutil.copy(other.path(0), sent.folder)
    assert sent.damage() == "chunk %s: does not belong to payload %s" % (other.chunks[0].name, sent.digest)


def test_a_chunk_of_the_same_payload_cut_otherwise_is_told_by_name(sent, tmp_path):
    other = Sent(str(tmp_path / "other"), samples.sample(layer_count=5), chunk_size=900)
    assert other.digest == sent.digest
    shutil.copy(other.path(0), sent.folder)
    assert "does not belong to payload" in sent.damage()


@pytest.mark.parametrize("name", ["readme.txt", "x", "{}.bak", "-{}"])
def test_a_foreign_file_is_told_by_name(sent, name):
    name = name.format(sent.chunks[0].name)
    sent.write(name, b"x")
    assert sent.damage() == "chunk %s: does not belong to payload %s" % (name, sent.digest)


def test_a_number_beyond_the_count_is_told(sent):
    name = sent.chunks[0].name
    shutil.copy(sent.path(0), os.path.join(sent.folder, name.replace("-0001-", "-9999-")))
    assert sent.damage().startswith("chunk %s: does not belong" % name.replace("-0001-", "-9999-"))


def test_an_empty_folder_is_told(sent):
    for number in range(len(sent.chunks)):
        os.unlink(sent.path(number))
    assert sent.damage() == "payload %s: none of its chunks is there" % sent.digest


def test_another_digest_than_the_payloads_is_told(sent):
    wanted = sent.digest[:19] + "0" * 52
    sent.digest, got = wanted, sent.digest
    assert sent.damage() == "payload: is damaged: expected %s, got %s" % (wanted, got)


def test_a_blob_that_is_not_what_its_name_says_is_told_and_never_appears(tmp_path):
    blob = packing.blob_of(b"some bytes")
    name = "blobs/sha256/" + "0" * 64
    data = b"".join(packing.tar([(name, blob)], nobody))
    with pytest.raises(unpack.Damage) as raised:
        unpack.extract(io.BytesIO(data), str(tmp_path))
    zeros = "0" * 64
    assert str(raised.value) == "blob sha256:%s: content is damaged: expected %s, got %s" % (
        zeros, zeros, blob.digest[7:])
    assert files_under(tmp_path) == {}


@pytest.mark.parametrize("name", ["../x", "/x", "blobs/../../x", "blobs/sha256/../x", "blobs/sha256/x", "blobs/md5/00",
                                  "blobs/sha256/00/../../x", "index.json/x", "other"])
def test_no_name_in_a_payload_becomes_a_path(tmp_path, name):
    data = b"".join(packing.tar([(name, packing.blob_of(b"x"))], nobody))
    unpack.extract(io.BytesIO(data), str(tmp_path / "seed"))
    assert files_under(tmp_path) == {}


# --- faults of the machine

def test_a_second_run_over_the_leftovers_of_a_first_succeeds(sent):
    """What a kill leaves behind: some blobs, a half one aside, no index.json."""
    sent.unpack()
    os.unlink(os.path.join(sent.seed, "index.json"))
    blobs = sorted(pathlib.Path(sent.seed).rglob("blobs/*/*"))
    blobs[0].unlink()
    blobs[1].rename(str(blobs[1]) + ".partial")
    os.truncate(str(blobs[1]) + ".partial", 1)
    sent.unpack()
    assert_is_the_image(sent.seed, sent)


def test_a_second_run_over_a_whole_seed_succeeds(sent):
    sent.unpack()
    sent.unpack()
    assert_is_the_image(sent.seed, sent)


def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_blob(tmp_path):
    layer = incompressible(300000)
    sent = Sent(str(tmp_path), samples.with_layers([layer]), packing.NONE, chunk_size=100000)
    limit = 100000
    status, out, err = injector.run("unpack", "--chunks", sent.folder, "--digest", sent.digest, "--seed", sent.seed,
                                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert (status, out) == (1, "")
    (digest,) = [digest for digest, data in sent.blobs.items() if len(data) > limit]
    assert err == "error: blob %s: [Errno 27] File too large\n" % digest
    files = files_under(sent.seed)
    assert "index.json" not in files and not [name for name in files if digest[7:] in name]
    sent.unpack()
    assert_is_the_image(sent.seed, sent)


def test_a_seed_folder_where_nothing_can_be_written_is_told_in_one_line(sent):
    status, out, err = injector.run("unpack", "--chunks", sent.folder, "--digest", sent.digest, "--seed", "/proc/seed")
    assert (status, out) == (1, "") and err.startswith("error: ") and err.count("\n") == 1 and "/proc/seed" in err


def test_a_seed_folder_that_is_a_file_is_told_in_one_line(sent):
    with open(sent.seed, "w"):
        pass
    status, out, err = injector.run("unpack", "--chunks", sent.folder, "--digest", sent.digest, "--seed", sent.seed)
    assert (status, out) == (1, "") and err.startswith("error: ") and err.count("\n") == 1 and sent.seed in err


def test_damage_ends_the_process_with_status_1_and_one_line(sent):
    os.unlink(sent.path(0))
    status, out, err = injector.run("unpack", "--chunks", sent.folder, "--digest", sent.digest, "--seed", sent.seed)
    assert (status, out, err) == (1, "", "error: chunk 1 of %04d: is missing\n" % len(sent.chunks))


def test_where_python_has_no_lzma_the_line_names_the_way_out(tmp_path):
    sent = Sent(str(tmp_path), samples.sample(), packing.XZ)
    done = subprocess.run(injector.patched("import sys; sys.modules['lzma'] = None", "unpack", "--chunks", sent.folder,
                                           "--digest", sent.digest, "--seed", sent.seed),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == b"error: payload: is xz, and this Python has no lzma: build it with --compression gzip\n"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_memory_stays_flat_whatever_the_payload(tmp_path, compression):
    """The Pod's limit is the payload (its chunks lie in a tmpfs) and 64 MiB; without xz, 32 MiB are enough."""
    layer = incompressible(1 << 20) * 24
    sent = Sent(str(tmp_path), samples.with_layers([layer]), compression, chunk_size=512 << 10)
    code = ("import atexit\natexit.register(lambda: print(*[line for line in open('/proc/self/status')"
            " if line.startswith('VmHWM')]))")
    done = subprocess.run(injector.patched(code, "unpack", "--chunks", sent.folder, "--digest", sent.digest, "--seed",
                                           sent.seed), stdout=subprocess.PIPE, check=True)
    mebibytes = int(done.stdout.split()[-2]) >> 10
    assert mebibytes <= (64 if compression == packing.XZ else 32)


def test_the_readme_shows_chunks_as_they_are_written():
    text = (injector.STAGE1 / "README.md").read_text(encoding="utf-8")
    names = re.findall("^[0-9a-f]{12}-.*$", text, re.MULTILINE)
    assert len(names) == 2 and unpack.order(names, "sha256:ae11e7660d0f") == names
