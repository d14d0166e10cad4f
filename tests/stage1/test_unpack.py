"""stage1/unpack in its parts; the format that it reads is tested in test_formats.py, the stage in test_stages.py."""
import gzip
import hashlib
import io
import itertools
import lzma

import pytest

from tests.support import injector  # noqa: F401 (puts stage1 on the import path)
import unpack

DATA = bytes(range(256)) * 40
PAYLOAD = "ab" * 32
DIGEST = "sha256:" + PAYLOAD


def name(number, count, sha256="0" * 64, payload=PAYLOAD):
    return "%s-%04d-of-%04d-%s" % (payload[:12], number, count, sha256)


def pieces(folder, sizes):
    """DATA in files of these sizes, the last one with all that is left -> their paths."""
    paths, rest = [], io.BytesIO(DATA)
    for number, size in enumerate(list(sizes) + [-1]):
        path = folder / str(number)
        path.write_bytes(rest.read(size))
        paths.append(str(path))
    return paths


# --- order

def test_names_are_put_in_order_by_their_numbers():
    names = [name(number, 3) for number in (1, 2, 3)]
    for shuffled in itertools.permutations(names):
        assert unpack.order(shuffled, DIGEST) == names


@pytest.mark.parametrize("names, line", [
    ([], "payload %s: none of its chunks is there" % DIGEST),
    (["..data"], "payload %s: none of its chunks is there" % DIGEST),
    ([name(2, 2)], "chunk 1 of 0002: is missing"),
    ([name(1, 2)], "chunk 2 of 0002: is missing"),
    ([name(1, 999999999)], "chunk 2 of 999999999: is missing"),
    ([name(0, 1)], "chunk %s: does not belong to payload %s" % (name(0, 1), DIGEST)),
    ([name(2, 1)], "chunk %s: does not belong to payload %s" % (name(2, 1), DIGEST)),
    ([name(1, 1), name(2, 2)], "chunk %s: does not belong to payload %s" % (name(2, 2), DIGEST)),
    ([name(1, 1, payload="c" * 64)],
     "chunk %s: does not belong to payload %s" % (name(1, 1, payload="c" * 64), DIGEST)),
    ([name(1, 1), "x"], "chunk x: does not belong to payload " + DIGEST),
    ([name(1, 2), name(1, 2, "1" * 64), name(2, 2)],
     "chunk %s: is there twice, also as %s" % (name(1, 2, "1" * 64), name(1, 2)))])
def test_names_that_make_no_payload_are_told(names, line):
    with pytest.raises(unpack.Damage) as raised:
        unpack.order(names, DIGEST)
    assert str(raised.value) == line


# --- check

def test_the_first_damaged_chunk_is_told_before_the_payload(tmp_path):
    good, bad = (tmp_path / name(number, 2, hashlib.sha256(b"good").hexdigest()) for number in (1, 2))
    good.write_bytes(b"good")
    bad.write_bytes(b"bad")
    with pytest.raises(unpack.Damage, match="^chunk %s: is damaged: " % bad.name):
        unpack.check([str(good), str(bad)], DIGEST)
    bad.write_bytes(b"good")
    with pytest.raises(unpack.Damage, match="^payload: is damaged: "):
        unpack.check([str(good), str(bad)], DIGEST)
    unpack.check([str(good), str(bad)], "sha256:" + hashlib.sha256(b"goodgood").hexdigest())


# --- the stream

@pytest.mark.parametrize("sizes", [[], [1], [0], [0, 0, 5, 0], [1000] * 10, [len(DATA)], [1] * 300], ids=str)
@pytest.mark.parametrize("buffer_bytes", [1, 7, 1000, 1 << 20])
def test_files_are_read_one_after_the_other_as_one(tmp_path, sizes, buffer_bytes):
    stream = io.BufferedReader(unpack.Joined(pieces(tmp_path, sizes)), buffer_bytes)
    found = b"".join(iter(lambda: stream.read(333), b""))
    assert found == DATA and stream.read(1) == b""


def test_no_files_are_an_empty_stream():
    assert unpack.Joined([]).read() == b""


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress], ids=["none", "gzip", "xz"])
@pytest.mark.parametrize("streams", [1, 3])
def test_compression_is_told_by_the_first_byte_and_may_be_many_streams(compress, streams):
    part = len(DATA) // streams + 1
    plain = b"blobs" + DATA
    data = b"".join(compress(plain[start:start + part]) for start in range(0, len(plain), part))
    assert unpack.decompressed(io.BufferedReader(io.BytesIO(data), 8)).read() == plain


# --- storing

def test_a_blob_appears_whole_under_its_name_or_not_at_all(tmp_path):
    path = tmp_path / "blobs" / "sha256" / "x"
    seen = []

    class Source(io.BytesIO):
        def read(self, size):
            seen.append(path.exists())
            return super().read(100)

    unpack.store(Source(DATA), str(path), "sha256", hashlib.sha256(DATA).hexdigest())
    assert path.read_bytes() == DATA and len(seen) > 100 and not any(seen)
    with pytest.raises(unpack.Damage, match="^blob sha256:00: content is damaged: expected 00, got "):
        unpack.store(io.BytesIO(DATA), str(tmp_path / "other"), "sha256", "00")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["blobs"]


def test_why_a_blob_cannot_be_begun_is_told(tmp_path, monkeypatch):
    def fail(path, mode):
        raise OSError("no room for it")
    monkeypatch.setattr(unpack, "open", fail, raising=False)
    with pytest.raises(OSError, match="no room for it"):
        unpack.store(io.BytesIO(DATA), str(tmp_path / "x"), "sha256", hashlib.sha256(DATA).hexdigest())
