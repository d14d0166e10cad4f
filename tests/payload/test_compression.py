import gzip
import lzma
import os
import struct
import time

import pytest

from builder.payload import compression
from builder.payload.compression import (AUTO, GZIP, NONE, XZ, Coding, Span, choose_coding, compressed, encoder)
from builder.reading.errors import InputError
from tests.support import samples

NOISE = samples.noise(1 << 16)
WORDS = b"words and words " * 4096


def elf(machine=0x3e, elf_class=2, order="<"):
    return b"\x7fELF" + struct.pack(order + "BBB9xHH", elf_class, 1 if order == "<" else 2, 1, 2, machine)


@pytest.mark.parametrize("sample, chosen", [
    (WORDS, Coding(XZ)), (NOISE, Coding("")), (b"", Coding("")), (b"x", Coding("")),
    (NOISE + WORDS, Coding(XZ)), (NOISE * 20 + WORDS, Coding(""))])
def test_auto_compresses_what_becomes_smaller(sample, chosen):
    assert choose_coding(AUTO, sample) == chosen


def test_auto_takes_gzip_where_python_has_no_lzma(monkeypatch):
    monkeypatch.setattr(compression, "lzma", None)
    assert choose_coding(AUTO, WORDS) == Coding(GZIP) and choose_coding(AUTO, NOISE) == Coding("")


@pytest.mark.parametrize("wanted, chosen", [(NONE, Coding("")), (GZIP, Coding(GZIP)), (XZ, Coding(XZ))])
@pytest.mark.parametrize("sample", [WORDS, NOISE])
def test_what_the_user_names_is_done_whatever_the_bytes_are(wanted, chosen, sample):
    assert choose_coding(wanted, sample) == chosen


@pytest.mark.parametrize("wanted", [AUTO, XZ])
def test_the_filter_for_x86_follows_from_the_bytes_alone(wanted):
    assert choose_coding(wanted, WORDS + elf() + WORDS).x86
    for other in (elf(0xb7), elf(elf_class=1), elf(order=">"), elf()[:19]):
        assert not choose_coding(wanted, WORDS + other + WORDS).x86
    assert not choose_coding(GZIP, elf() + WORDS).x86 and not choose_coding(NONE, elf() + WORDS).x86


def test_xz_without_the_library_is_refused_with_the_remedy(monkeypatch):
    compression.check_compression(XZ)
    monkeypatch.setattr(compression, "lzma", None)
    compression.check_compression(AUTO)
    with pytest.raises(InputError, match="--compression gzip"):
        compression.check_compression(XZ)


@pytest.mark.parametrize("coding, first_filter", [(Coding(XZ, True), lzma.FILTER_X86), (Coding(XZ), lzma.FILTER_LZMA2)])
def test_the_first_filter_of_the_stream_is_the_one_for_x86(coding, first_filter):
    compressor = encoder(coding)
    data = compressor.compress(WORDS) + compressor.flush()
    assert data[14] == first_filter  # 12 bytes of stream header, size and flags of the block's, its first filter
    assert lzma.decompress(data) == WORDS


@pytest.mark.parametrize("coding, plain", [(Coding(GZIP), gzip.decompress), (Coding(XZ), lzma.decompress)])
def test_the_number_of_cores_does_not_show(tmp_path, monkeypatch, coding, plain):
    monkeypatch.setattr(compression, "READ_BYTES", 1000)
    monkeypatch.setattr(compression, "BLOCK_BYTES", {GZIP: 10000, XZ: 10000})
    path = tmp_path / "plain"
    path.write_bytes(WORDS + NOISE)
    spans = [Span(0, len(WORDS), coding), Span(len(WORDS), len(NOISE), coding)]
    made = set()
    for cores in (1, 2, 7, None):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        parts, counted = [b"", b""], []
        for number, pieces in compressed(str(path), spans, counted.append):
            parts[number] += b"".join(pieces)
        assert sum(counted) == len(WORDS + NOISE)
        made.add(tuple(parts))
    (parts,) = made
    assert [plain(part) for part in parts] == [WORDS, NOISE]


def test_blocks_that_nobody_wants_any_more_are_broken_off(tmp_path, monkeypatch):
    block_bytes, counted = 1000, []
    path = tmp_path / "plain"
    path.write_bytes(bytes(3 * block_bytes))
    monkeypatch.setattr(compression, "READ_BYTES", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)

    def progress(count):
        counted.append(count)
        if len(counted) > block_bytes:
            time.sleep(.01)  # ten seconds for each block but the first
    blocks = compression.compressed_blocks(
        str(path), [Span(start * block_bytes, block_bytes, Coding(GZIP)) for start in range(3)], progress)
    next(blocks)
    blocks.close()
    assert len(counted) < 2 * block_bytes


