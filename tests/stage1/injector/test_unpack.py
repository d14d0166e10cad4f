"""stage1/injector/unpack in its parts; test_formats.py tests the format that it reads, test_stages.py the stage."""
import gzip
import hashlib
import io
import lzma
import os

import pytest

import unpack

DATA = bytes(range(256)) * 40


def pieces(folder, sizes):
    """DATA in chunk files of these sizes, the last one with all that is left -> their names."""
    names, rest = [], io.BytesIO(DATA)
    for size in list(sizes) + [-1]:
        data = rest.read(size)
        names.append(hashlib.sha256(data).hexdigest())
        (folder / names[-1]).write_bytes(data)
    return names


@pytest.mark.parametrize("sizes", [[], [1], [0], [0, 0, 5, 0], [1000] * 10, [len(DATA)], [1] * 300], ids=str)
@pytest.mark.parametrize("read_bytes", [1, 7, 1000, 1 << 20])
def test_chunks_are_read_one_after_the_other_as_one(tmp_path, sizes, read_bytes):
    stream = unpack.ChunkReader(str(tmp_path), pieces(tmp_path, sizes))
    assert b"".join(iter(lambda: stream.read(read_bytes), b"")) == DATA
    assert stream.read(1) == b""


def test_no_chunks_are_an_empty_stream():
    assert unpack.ChunkReader("", []).read(1) == b""


def test_no_byte_of_a_damaged_chunk_is_given(tmp_path):
    names = pieces(tmp_path, [100])
    (tmp_path / names[1]).write_bytes(b"other")
    stream = unpack.ChunkReader(str(tmp_path), names)
    assert stream.read(100) == DATA[:100]
    with pytest.raises(OSError, match="^ConfigMap seedpod-%s is damaged: expected %s, got .*: apply the folder again" % (names[1], names[1])):
        stream.read(1)


@pytest.mark.parametrize("compression, compress", [("", bytes), ("gzip", gzip.compress), ("xz", lzma.compress)])
@pytest.mark.parametrize("streams", [1, 3])
def test_a_segment_may_be_many_compressed_streams(tmp_path, compression, compress, streams):
    part = len(DATA) // streams + 1
    data = b"".join(compress(DATA[start:start + part]) for start in range(0, len(DATA), part))
    plain = unpack.decompressed(io.BytesIO(data), compression)
    assert b"".join(iter(lambda: plain.read(1000), b"")) == DATA


def test_a_blob_appears_whole_under_its_name_or_not_at_all(tmp_path):
    digits = hashlib.sha256(DATA).hexdigest()
    path = tmp_path / "blobs" / "sha256" / digits
    seen = []

    class Source(io.BytesIO):
        def read(self, size):
            seen.append(path.exists())
            return super().read(min(size, 100))

    unpack.store(Source(DATA), "sha256:" + digits, len(DATA), str(tmp_path))
    assert path.read_bytes() == DATA and len(seen) > 100 and not any(seen)
    with pytest.raises(OSError, match="^content is damaged: expected 00, got "):
        unpack.store(io.BytesIO(DATA), "sha256:00", len(DATA), str(tmp_path))
    assert os.listdir(str(path.parent)) == [digits]


def test_no_more_of_a_stream_is_read_than_the_blob_has(tmp_path):
    source = io.BytesIO(DATA)
    unpack.store(source, "sha256:" + hashlib.sha256(DATA[:1000]).hexdigest(), 1000, str(tmp_path))
    assert source.tell() == 1000
