import bz2
import gzip
import lzma
import shutil
import subprocess
import sys

import pytest

from builder.reading import decompress
from builder.reading.decompress import Expansion, compression_of, decompressed
from builder.reading.errors import InputError
from tests.support.samples import zstd_stored

pytestmark = pytest.mark.usefixtures("zstd_program")

DATA = bytes(range(256)) * 5000  # more than one block of zstd and of bzip2's output

COMPRESSED = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress, "zstd": zstd_stored}
EACH = pytest.mark.parametrize("name", sorted(COMPRESSED))


def plain(data, name, step=1 << 16):
    blocks = (data[at:at + step] for at in range(0, len(data), step))
    return b"".join(decompressed(blocks, name, "a.tar", Expansion(len(data))))


def refused(data, name):
    with pytest.raises(InputError) as error:
        plain(data, name)
    assert str(error.value).startswith("a.tar: ") and "\n" not in str(error.value)
    return str(error.value)


@EACH
def test_a_compression_is_recognised_by_its_magic_number(name):
    assert compression_of(COMPRESSED[name](b"x")) == name
    assert compression_of(b"") == compression_of(b"manifest.json") == compression_of(COMPRESSED[name](b"x")[:1]) == ""


def test_a_skippable_frame_is_zstd():
    assert compression_of(b"\x5f\x2a\x4d\x18\0\0") == "zstd"


@EACH
@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_it_is_undone_in_blocks_of_any_size(name, step):
    assert plain(COMPRESSED[name](DATA), name, step) == DATA


@EACH
def test_it_is_undone_byte_by_byte(name):
    assert plain(COMPRESSED[name](DATA[:3000]), name, 1) == DATA[:3000]


@EACH
def test_several_streams_are_one(name):
    assert plain(COMPRESSED[name](DATA) + COMPRESSED[name](b"") + COMPRESSED[name](DATA), name) == DATA * 2


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2"])
@pytest.mark.parametrize("zeros", [4, 512, 1 << 17])
def test_zeros_after_and_between_streams_are_padding(name, zeros):
    assert plain((COMPRESSED[name](DATA) + bytes(zeros)) * 2, name) == DATA * 2


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2"])
def test_every_truncation_is_found(name):
    data = COMPRESSED[name](DATA[:2000])
    for length in range(1, len(data)):
        assert "truncated" in refused(data[:length], name)


def test_truncations_of_every_part_of_zstd_are_found():  # each starts a program, so not all of them
    data = zstd_stored(DATA[:2000])
    for length in (1, 4, 9, 10, 12, 500, len(data) - 1):
        assert "truncated" in refused(data[:length], "zstd")


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2"])
def test_a_flipped_bit_is_found_or_harmless(name):
    data, harmless = COMPRESSED[name](DATA[:600]), 0
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        try:
            assert plain(bytes(damaged), name) == DATA[:600]  # as in the time of a gzip header
            harmless += 1
        except InputError as e:
            assert name in str(e)
    assert harmless <= 10


@EACH
def test_garbage_after_it_is_refused(name):
    assert "damaged" in refused(COMPRESSED[name](DATA) + b"garbage, not a header", name)


@EACH
@pytest.mark.parametrize("limits", [{"_MAX_EXPANDED_BYTES": 1000}, {"_MAX_RATIO": 0, "_RATIO_FREE_BYTES": 1000}])
def test_what_expands_beyond_the_limits_is_refused(name, limits, monkeypatch):
    for limit, value in limits.items():
        monkeypatch.setattr(decompress, limit, value)
    assert "expands to more than 1000 bytes" in refused(COMPRESSED[name](bytes(1 << 20)), name)


@EACH
def test_what_expands_up_to_the_limits_is_read(name, monkeypatch):
    data = COMPRESSED[name](bytes(1 << 20))
    monkeypatch.setattr(decompress, "_RATIO_FREE_BYTES", 0)
    monkeypatch.setattr(decompress, "_MAX_RATIO", -(-(1 << 20) // len(data)))
    assert len(plain(data, name)) == 1 << 20


def test_an_expansion_counts_all_streams_of_a_file(monkeypatch):
    monkeypatch.setattr(decompress, "_RATIO_FREE_BYTES", 2500)
    expansion = Expansion(1)
    for _ in range(2):
        assert len(b"".join(decompressed([gzip.compress(bytes(1000))], "gzip", "a", expansion))) == 1000
    with pytest.raises(InputError, match="b: expands to more than 2500 bytes from a file of 1: "):
        list(decompressed([gzip.compress(bytes(1000))], "gzip", "b", expansion))


def test_blocks_that_come_out_are_bounded():
    blocks = decompressed([gzip.compress(bytes(8 << 20))], "gzip", "a", Expansion(1 << 20))
    assert max(map(len, blocks)) <= 1 << 20


def test_an_error_of_the_source_goes_through():
    def blocks(name):
        yield COMPRESSED[name](DATA)[:1000]
        raise OSError("disk")
    for name in COMPRESSED:
        with pytest.raises(OSError, match="disk"):
            list(decompressed(blocks(name), name, "a", Expansion(1 << 20)))


def test_a_reader_that_gives_up_leaves_no_program_behind(monkeypatch):
    monkeypatch.setattr(decompress, "_has_zstd_module", lambda: False)
    programs, popen = [], subprocess.Popen

    def start(*arguments, **options):
        programs.append(popen(*arguments, **options))
        return programs[-1]
    monkeypatch.setattr(subprocess, "Popen", start)
    blocks = decompressed([zstd_stored(DATA)], "zstd", "a", Expansion(1 << 20))
    next(blocks)
    blocks.close()
    assert [program.returncode is None for program in programs] == [False]


def test_zstd_without_any_decoder_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(decompress, "_has_zstd_module", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert "install the zstd program" in refused(zstd_stored(DATA), "zstd")


def test_zstd_goes_through_the_program_where_the_library_lacks_it(monkeypatch):
    monkeypatch.setattr(decompress, "_has_zstd_module", lambda: False)
    assert plain(zstd_stored(DATA), "zstd") == DATA


@pytest.mark.parametrize("compression, module", (("xz", "lzma"), ("bzip2", "bz2")))
def test_a_python_that_was_built_without_a_library_is_one_clear_line(compression, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert "which this Python lacks" in refused(COMPRESSED[compression](b"x"), compression)


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz"])
def test_many_short_streams_are_copied_in_proportion_to_their_bytes(compression, monkeypatch):
    new_engine, bad_data = decompress._library(compression, "x")
    fed = []

    class Counting:
        """An engine that counts the bytes that it is given."""
        def __init__(self):
            self.engine = new_engine()

        def decompress(self, data, max_length):
            fed.append(len(data))
            return self.engine.decompress(data, max_length)

        def __getattr__(self, name):
            return getattr(self.engine, name)

    monkeypatch.setattr(decompress, "_library", lambda *_: (Counting, bad_data))
    stream = COMPRESSED[compression](b"x")
    counts = []
    for count in (1000, 2000):
        del fed[:]
        assert b"".join(decompressed([stream * count], compression, "x", Expansion(1 << 20))) == b"x" * count
        counts.append(sum(fed))
    assert counts[1] < 2.2 * counts[0] and counts[1] < 40 * 2000 * len(stream)


@pytest.mark.parametrize("compression", ["gzip", "bzip2"])
def test_a_file_of_nothing_but_empty_streams_is_refused(compression):
    data = COMPRESSED[compression](b"") * 10000
    assert list(decompressed([data], compression, "x", Expansion(len(data)))) == []
    with pytest.raises(InputError, match="x: has more than 10000 empty %s streams" % compression):
        list(decompressed([data, COMPRESSED[compression](b"")], compression, "x", Expansion(len(data))))
