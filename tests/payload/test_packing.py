import gzip
import io
import lzma
import os

import pytest

from builder.payload import packing
from builder.payload import chunks
from builder.payload.compression import AUTO, GZIP, NONE, SAMPLE_BYTES, XZ
from builder.payload.packing import outline, pack, sample, segment_of
from builder.reading.errors import InputError
from builder.reading.oci import Blob, blob_of, digest_of
from tests.support import samples

NOISE, WORDS = samples.noise(1 << 16), b"words and words " * 4096
SEGMENTS = [(blob_of(NOISE),), (blob_of(WORDS), blob_of(b"small")), (blob_of(b""),), (blob_of(WORDS + b"!"),)]
PLAIN = {"": bytes, GZIP: gzip.decompress, XZ: lzma.decompress}


def packed(folder, wanted, progress=lambda *step: None, segments=SEGMENTS):
    return pack(segments, str(folder), wanted, progress)


def cut(found, chunk_size, keep):
    """Give each chunk to `keep`, by name; return the segments."""
    segments = []
    for one in found:
        names = []
        for name, data in chunks.cut(one.parts(), chunk_size):
            keep(name, data)
            names.append(name)
        segments.append(segment_of(one, names))
    return segments


@pytest.mark.parametrize("wanted, codings", [
    (AUTO, ["", XZ, "", XZ]), (NONE, [""] * 4), (GZIP, [GZIP, GZIP, "", GZIP]), (XZ, [XZ, XZ, "", XZ])])
def test_each_segment_is_its_blobs_compressed_as_it_says(tmp_path, wanted, codings):
    found = packed(tmp_path, wanted)
    assert [one.compression for one in found] == codings
    for one, blobs in zip(found, SEGMENTS):
        data = b"".join(one.parts())
        assert one.size == len(data) and one.blobs == blobs
        assert PLAIN[one.compression](data) == b"".join(blob.open().read() for blob in blobs)


def test_the_same_segment_is_packed_the_same_in_any_company(tmp_path):
    def chunks_of(*segments):
        found = {}
        cut(packed(tmp_path, AUTO, segments=segments), 1000, found.__setitem__)
        return found
    alone = chunks_of(SEGMENTS[1])
    for company in ([SEGMENTS[0], SEGMENTS[1]], [SEGMENTS[1], SEGMENTS[3], SEGMENTS[0]], SEGMENTS[::-1]):
        assert alone.items() <= chunks_of(*company).items()


@pytest.mark.parametrize("chunk_size", [1, 1000, 1 << 20])
def test_the_outline_has_as_many_chunks_and_the_same_sizes(tmp_path, chunk_size):
    found = packed(tmp_path, AUTO, segments=SEGMENTS[1:])
    kept = {}
    segments, drawn = cut(found, chunk_size, kept.__setitem__), outline(found, chunk_size)
    assert [segment._replace(chunks=()) for segment in segments] == [segment._replace(chunks=()) for segment in drawn]
    assert [len(segment.chunks) for segment in segments] == [len(segment.chunks) for segment in drawn]
    names = [name for segment in drawn for name in segment.chunks]
    assert len(set(names)) == len(names) and {len(name) for name in names} <= {64}
    for segment, one in zip(segments, found):
        assert b"".join(kept[name] for name in segment.chunks) == b"".join(one.parts())


@pytest.mark.parametrize("wanted", [AUTO, NONE, GZIP, XZ])
def test_progress_adds_up_to_what_was_announced(tmp_path, wanted):
    steps = {}

    def progress(stage, count, total):
        done, _ = steps.get(stage, (0, 0))
        steps[stage] = done + count, total
    packed(tmp_path, wanted, progress)
    assert sorted(steps) == ([] if wanted == NONE else ["compressing", "packing"])
    assert all(done == total > 0 for done, total in steps.values())


@pytest.mark.parametrize("wanted", [NONE, GZIP])
@pytest.mark.parametrize("data", [b"short", b"another", b"longer than said"])
def test_a_blob_that_changes_while_it_is_read_is_reported(tmp_path, wanted, data):
    blob = blob_of(b"content")._replace(open=lambda: io.BytesIO(data))
    with pytest.raises(InputError, match="%s: its archive changed while it was read" % blob.digest):
        cut(packed(tmp_path, wanted, segments=[(blob,)]), 1000, lambda name, chunk: None)


def test_of_large_blobs_only_the_beginning_is_sampled():
    class Endless(io.RawIOBase):
        left = 2 * SAMPLE_BYTES

        def read(self, size):
            self.left -= size
            assert self.left > 0
            return bytes(size)
    blobs = [blob_of(b"first"), Blob(digest_of(b""), 1 << 40, Endless), blob_of(b"never read")._replace(open=None)]
    assert sample(blobs) == b"first".ljust(SAMPLE_BYTES, b"\0")


def test_nothing_but_what_is_compressed_lies_on_the_disk_and_only_once(tmp_path):
    found = packed(tmp_path, AUTO)
    files = {name: os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path)}
    assert list(files.values()) == [sum(one.size for one in found if one.compression)]


def test_a_compressed_segment_is_read_in_parts(tmp_path, monkeypatch):
    found = packed(tmp_path, GZIP)[0]
    monkeypatch.setattr(packing, "READ_BYTES", 1000)
    assert max(map(len, found.parts())) == 1000
