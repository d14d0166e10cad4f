import json

import pytest

from builder.payload.contents import Contents, Segment, digest_of, index_of, parse_contents, to_text
from builder.reading.archive import open_archive
from builder.reading.errors import InputError
from builder.reading.images import read_images
from builder.reading.oci import REF_NAME
from tests.support.samples import NAME, crane, joined, sample, write

DIGEST = "sha256:" + "a" * 64
SEGMENT = Segment("xz", ((DIGEST, 3), ("sha512:" + "b" * 128, 0)), ("1" * 64, "2" * 64, "1" * 64), 40)
SEED = Contents({"manifests": []}, (SEGMENT, Segment("", ((DIGEST, 3),), ("2" * 64,), 2)))


def test_the_text_stands_for_the_value_and_is_ascii():
    assert parse_contents(to_text(SEED).encode(), "here") == SEED
    assert to_text(SEED).isascii() and " " not in to_text(SEED)
    assert json.loads(to_text(SEED))["segments"][0] == {
        "compression": "xz", "blobs": [[DIGEST, 3], ["sha512:" + "b" * 128, 0]],
        "chunks": ["1" * 64, "2" * 64, "1" * 64], "size": 40}
    assert digest_of("") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_it_lists_each_chunk_and_each_blob_once():
    assert SEED.chunks == ["1" * 64, "2" * 64]
    assert SEED.blob_sizes == {DIGEST: 3, "sha512:" + "b" * 128: 0}
    assert SEED.size == 42


@pytest.mark.parametrize("edit", [
    lambda found: found.pop("segments"), lambda found: found.update(segments=[]),
    lambda found: found.update(segments=3),
    lambda found: found.update(index=[]), lambda found: found["segments"].append(None),
    lambda found: found["segments"].append([]), lambda found: found["segments"].append({})] + [
    lambda found, key=key, value=value: found["segments"][0].update({key: value}) for key, value in (
        ("compression", "zstd"), ("compression", None), ("size", -1), ("size", "1"), ("size", True), ("blobs", {}),
        ("blobs", [DIGEST]), ("blobs", [[DIGEST]]), ("blobs", [[DIGEST, -1]]), ("blobs", [[DIGEST, 1 << 63]]),
        ("blobs", [[DIGEST, True]]),
        ("blobs", [[DIGEST, 1.0]]), ("blobs", [["sha256:../x", 1]]), ("blobs", [[7, 1]]), ("chunks", None),
        ("chunks", ["../x"]), ("chunks", ["A" * 64]), ("chunks", [7]), ("chunks", "1" * 64))])
def test_what_is_malformed_is_refused_in_one_line(edit):
    found = json.loads(to_text(SEED))
    edit(found)
    with pytest.raises(InputError, match="^here: ") as refusal:
        parse_contents(json.dumps(found).encode(), "here")
    assert "\n" not in str(refusal.value)


def test_the_index_has_an_entry_for_each_name_and_what_only_refers_comes_last(tmp_path):
    members = joined(crane(sample(), NAME, "example.com/a:2"), crane(sample("b"), "docker.io/library/other:1"))
    with open_archive(write(tmp_path / "a.tar", members)) as archive:
        found = read_images(archive)
    nameless = found[0]._replace(references=(), subject=found[0].root.digest)
    entries = index_of([nameless] + found)["manifests"]
    assert [entry.get("annotations", {}).get(REF_NAME) for entry in entries] == [
        NAME, "example.com/a:2", "docker.io/library/other:1", None]
    assert {(entry["digest"], entry["size"], entry["mediaType"]) for entry in entries} == {
        (image.root.digest, image.root.size, image.root.media_type) for image in found}
