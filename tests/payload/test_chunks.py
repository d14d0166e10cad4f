import base64
import hashlib

import pytest

from builder.payload.chunks import (ANNOTATION_LIMIT_BYTES, CHUNK_BYTES, CONFIG_MAP_LIMIT_BYTES, LARGEST_CHUNK_BYTES,
                                    NAME_CHARACTERS, base64_bytes, count_of, cut, name_of)

DATA = bytes(range(256)) * 4
ROOM_BYTES = 10 << 10  # for labels and annotations


@pytest.mark.parametrize("chunk_size, sizes", [
    (1024, [1024]), (2000, [1024]), (1023, [1023, 1]), (512, [512, 512]), (500, [500, 500, 24]), (1, [1] * 1024)])
@pytest.mark.parametrize("part_size", [1, 7, 512, 1000, 1024])
def test_chunks_are_of_equal_size_but_the_last_however_the_bytes_come(chunk_size, sizes, part_size):
    parts = (DATA[start:start + part_size] for start in range(0, len(DATA), part_size))
    found = list(cut(parts, chunk_size))
    assert [len(data) for _, data in found] == sizes and len(sizes) == count_of(len(DATA), chunk_size)
    assert b"".join(data for _, data in found) == DATA
    assert [name for name, _ in found] == [hashlib.sha256(data).hexdigest() for _, data in found]


@pytest.mark.parametrize("parts", [[], [b""], [b"", b""]])
def test_no_bytes_are_no_chunks(parts):
    assert list(cut(parts, 10)) == [] and count_of(0, 10) == 0


def test_a_name_has_a_fixed_length():
    assert len(name_of(DATA)) == len(name_of(b"")) == NAME_CHARACTERS


@pytest.mark.parametrize("size", range(0, 8))
def test_the_length_of_base64_is_known_beforehand(size):
    assert base64_bytes(size) == len(base64.b64encode(bytes(size)))


def test_a_chunk_of_the_usual_size_leaves_room_for_labels_and_annotations():
    assert base64_bytes(CHUNK_BYTES) + ROOM_BYTES <= ANNOTATION_LIMIT_BYTES


def test_the_largest_chunk_fits_a_config_map_with_its_key():
    assert LARGEST_CHUNK_BYTES + NAME_CHARACTERS <= CONFIG_MAP_LIMIT_BYTES
