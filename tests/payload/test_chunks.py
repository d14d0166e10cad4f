import base64
import hashlib
import io

import pytest

from builder.payload.chunks import (ANNOTATION_LIMIT_BYTES, CONFIG_MAP_LIMIT_BYTES, STEP_BYTES, base64_bytes, chunk_name, cut,
                            largest_for_apply, largest_for_server_side, read)

DATA = bytes(range(256)) * 4


@pytest.mark.parametrize("chunk_size, sizes", [
    (1024, [1024]), (2000, [1024]), (1023, [1023, 1]), (512, [512, 512]), (500, [500, 500, 24])])
def test_chunks_are_of_equal_size_but_the_last(chunk_size, sizes):
    digest, chunks = cut(io.BytesIO(DATA), len(DATA), chunk_size)
    assert digest == "sha256:" + hashlib.sha256(DATA).hexdigest()
    assert [chunk.size for chunk in chunks] == sizes
    assert [chunk.start for chunk in chunks] == [sum(sizes[:number]) for number in range(len(sizes))]


def test_a_name_tells_payload_number_count_and_content():
    digest, chunks = cut(io.BytesIO(DATA), len(DATA), 600)
    whole = digest.partition(":")[2]
    assert [chunk.name for chunk in chunks] == [
        "%s-0001-of-0002-%s" % (whole[:12], hashlib.sha256(DATA[:600]).hexdigest()),
        "%s-0002-of-0002-%s" % (whole[:12], hashlib.sha256(DATA[600:]).hexdigest())]


def test_names_of_more_than_9999_chunks_are_names_still():
    assert chunk_name("a" * 64, 12345, 20000, "b" * 64) == "a" * 12 + "-12345-of-20000-" + "b" * 64


def test_reading_gives_each_chunk_its_bytes_in_any_order_of_use():
    payload = io.BytesIO(DATA)
    _, chunks = cut(payload, len(DATA), 100)
    assert b"".join(data for _, data in read(payload, chunks)) == DATA
    assert [data for _, data in read(payload, chunks[::-1])][-1] == DATA[:100]


@pytest.mark.parametrize("size", range(0, 8))
def test_the_length_of_base64_is_known_beforehand(size):
    assert base64_bytes(size) == len(base64.b64encode(bytes(size)))


@pytest.mark.parametrize("overhead", [0, 1, 700, 1023, 1024, 5000])
def test_the_largest_chunk_for_apply_fits_and_one_step_more_would_not(overhead):
    size = largest_for_apply(overhead)
    assert size % STEP_BYTES == 0
    assert overhead + base64_bytes(size) <= ANNOTATION_LIMIT_BYTES < overhead + base64_bytes(size + STEP_BYTES)


def test_the_largest_chunk_for_server_side_apply_fits_a_config_map_with_its_key():
    size = largest_for_server_side(100)
    assert size % STEP_BYTES == 0
    assert size + 100 <= CONFIG_MAP_LIMIT_BYTES < size + 100 + STEP_BYTES
