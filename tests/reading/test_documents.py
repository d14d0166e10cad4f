import json

import pytest

from builder.reading import documents
from builder.reading.errors import InputError
from builder.reading.oci import Descriptor

DIGEST = "sha256:" + "ab" * 32


def refused(action, *values):
    with pytest.raises(InputError) as error:
        action(*values, "a.tar: x.json")
    assert str(error.value).startswith("a.tar: x.json: ") and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("data", [b"", b"foobar", b"{} {}", b"\xff", "{}".encode("utf-16"), b"\xef\xbb\xbf{}", b"[NaN]",
                                  b"[-Infinity]", b"[" * 200000, b"9" * 100000, b'{"a":1,}', b"{'a': 1}"])
def test_what_is_not_json_is_refused(data):
    assert "is not valid JSON (" in refused(documents.parse_json, data)


def test_json_is_read():
    value = {"a": [1, -2.5, None, True, "\u00e4"], "size": (1 << 64) - 1}
    assert documents.parse_json(json.dumps(value, indent=3).encode() + b"\n", "w") == value


def test_only_an_object_is_read_as_one():
    assert documents.parse_object(b'{"a":1}', "w") == {"a": 1}
    assert refused(documents.parse_object, b"[]").endswith("is a list, expected an object: make the archive again")


@pytest.mark.parametrize("value, kind, word", [
    (1, str, "is a number, expected a string"),
    (True, int, "is true or false, expected a number"), (1.5, int, "is a fraction, expected a number"),
    ({}, list, "is an object, expected a list"), ("x", dict, "is a string, expected an object")])
def test_a_value_of_another_kind_is_refused(value, kind, word):
    assert word in refused(lambda where: documents.field({"key": value}, "key", kind, where))
    assert word in refused(documents.checked, value, kind)


@pytest.mark.parametrize("document", [{}, {"key": None}])
def test_null_counts_as_absent(document):
    assert [documents.field(document, "key", kind, "w") for kind in (str, list, dict, int)] == ["", [], {}, 0]
    assert "is null, expected a list" in refused(documents.checked, None, list)


def test_keys_are_found_in_any_case_the_exact_one_first():
    assert documents.fold_case({"LAYERS": 1, "config": 2, "Config": 3}, ("Layers", "Config", "RepoTags")) == {
        "Layers": 1, "Config": 3, "RepoTags": None}


def test_a_descriptor_is_read():
    assert documents.descriptor({"digest": DIGEST, "size": 0, "mediaType": "m", "urls": []}, "w") == Descriptor(
        "m", DIGEST, 0)
    assert documents.descriptor({"digest": DIGEST, "size": 5}, "w") == Descriptor("", DIGEST, 5)


@pytest.mark.parametrize("changes, word", [
    ({"digest": None}, "digest is ''"), ({"digest": "sha256:../x"}, "digest is 'sha256:../x'"),
    ({"digest": DIGEST.upper()}, "digest is"), ({"digest": DIGEST + "\n"}, "digest is"), ({"digest": 1}, "a number"),
    ({"size": None}, "size is missing or negative"), ({"size": -1}, "size is missing or negative"),
    ({"size": "1"}, "size: is a string"), ({"size": 1.0}, "size: is "), ({"mediaType": []}, "mediaType: is a list")])
def test_a_bad_descriptor_is_refused_with_its_key(changes, word):
    assert word in refused(documents.descriptor, dict({"digest": DIGEST, "size": 1}, **changes))


@pytest.mark.parametrize("document, platform", [
    ({"os": "linux", "architecture": "arm", "variant": "v7"}, "linux/arm/v7"),
    ({"os": "linux", "architecture": "amd64", "variant": ""}, "linux/amd64"),
    ({"os": "linux", "architecture": "amd64", "os.version": "1"}, "linux/amd64"),
    ({"os": "linux", "architecture": "a\0b\n"}, "linux/a\\x00b\\n"),
    ({"os": "linux"}, ""), ({"architecture": ""}, ""), ({}, "")])
def test_a_platform_is_one_text(document, platform):
    assert documents.platform(document, "w") == platform


def test_a_config_has_a_platform_and_layers():
    data = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [DIGEST]}}).encode()
    assert documents.config(data, "w") == documents.Config("linux/amd64", (DIGEST,))
    assert documents.config(b"{}", "w") == documents.Config("", ())
    assert "'x' is not a digest" in refused(documents.config, b'{"rootfs":{"diff_ids":["x"]}}')


def test_a_platform_of_many_characters_is_refused():
    assert "os: has 65 characters" in refused(documents.platform, {"os": "x" * 65, "architecture": "amd64"})


def test_a_config_of_more_layers_than_any_runtime_takes_is_refused():
    data = json.dumps({"rootfs": {"diff_ids": [DIGEST] * 1001}}).encode()
    assert "has 1001 layers, an image has at most 1000" in refused(documents.config, data)
