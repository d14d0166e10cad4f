"""builder/output/facts: written and read from one table, and refused where it is not ours."""
import json

import pytest

from builder import VERSION
from builder.output.facts import MAX_BYTES, Facts, read_facts, to_json
from builder.payload.chunks import LARGEST_CHUNK_BYTES
from builder.reading.errors import InputError

TABLE = [(Facts(size), b'{\n "format": 1,\n "seedpod": "%s",\n "chunk_bytes": %d\n}\n' % (VERSION.encode(), size))
         for size in (1, 188416, LARGEST_CHUNK_BYTES)]


@pytest.mark.parametrize("facts, text", TABLE)
def test_facts_are_written_and_read(tmp_path, facts, text):
    assert to_json(facts) == text
    (tmp_path / "FACTS").write_bytes(text)
    assert read_facts(str(tmp_path)) == facts


@pytest.mark.parametrize("text, words", [
    (b"", "is empty|not valid JSON"), (b"[]", "expected"), (b"{", "JSON"), (b"\xff\xfe\x00", "FACTS"),
    (b"[" * 100000, "FACTS"), (b" " * (MAX_BYTES + 1), "more than 1048576 bytes")] + [
    (json.dumps(dict({"format": 1, "seedpod": "9\x1b[2J", "chunk_bytes": 5}, **change)).encode(), words)
    for change, words in (({"format": 2}, r"written by Seedpod '9\\x1b\[2J', in a format"), ({"more": 1}, "in a format"),
                          ({"chunk_bytes": 0}, "chunk_bytes 0: must be 1 to"), ({"chunk_bytes": "5"}, "expected"),
                          ({"chunk_bytes": LARGEST_CHUNK_BYTES + 1}, "must be 1 to"), ({"chunk_bytes": True}, "expected"))])
def test_what_is_malformed_or_of_another_format_is_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "FACTS").write_bytes(text)
    with pytest.raises(InputError, match=words) as error:
        read_facts(str(tmp_path))
    assert str(error.value).isprintable()


@pytest.mark.parametrize("length", range(0, len(TABLE[1][1]) - 2))
def test_facts_that_are_cut_short_are_refused(tmp_path, length):
    (tmp_path / "FACTS").write_bytes(TABLE[1][1][:length])
    with pytest.raises(InputError):
        read_facts(str(tmp_path))


def test_a_folder_or_a_link_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "FACTS").symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match="no file FACTS"):
        read_facts(str(tmp_path))
