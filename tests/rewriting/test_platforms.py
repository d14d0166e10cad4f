import json

import pytest

from builder.reading import oci
from builder.reading.errors import InputError
from builder.rewriting.platforms import check_platforms, checked_platform, matches, other_systems, refuse_encrypted, select
from builder.rewriting.tree import ATTESTED
from tests.support.reading import document, ids, read
from tests.support.samples import (NAME, attested, blob, crane, descriptor, index_of, joined, layout, layout_of,
                                   multi_platform, oci_manifest, sample, to_json, write)

AMD64, ARM64, ARMV7 = sample("amd"), sample("arm", platform="linux/arm64"), sample("v7", platform="linux/arm/v7")
WINDOWS = sample("win", platform="windows/amd64")
THREE = [AMD64, ARM64, ARMV7]


def read_members(tmp_path, members):
    return read(write(tmp_path / "a.tar", members))


@pytest.mark.parametrize("wanted, kept", [
    (["linux/amd64"], [AMD64]),
    (["linux/arm64"], [ARM64]),
    (["linux/arm64/v8"], [ARM64]),
    (["linux/arm"], [ARMV7]),
    (["linux/arm/v7", "linux/amd64"], [AMD64, ARMV7]),
])
def test_an_index_keeps_the_wanted_platforms_in_its_order_and_nothing_of_the_others(tmp_path, wanted, kept):
    before = read_members(tmp_path, multi_platform(THREE, NAME))
    (image,), notes = select(before, wanted)
    assert [oci.digest_of(one.config) for one in kept] == [config.digest for config in image.configs]
    assert {layer.digest for layer in image.layers} == {
        entry["digest"] for manifest in image.manifests[1:] for entry in document(manifest)["layers"]}
    assert [entry["digest"] for entry in document(image.manifests[0])["manifests"]] == [
        part.digest for part in image.manifests[1:]]
    assert len(image.platforms) == len(kept) and image.references == (NAME,) and notes == []


def test_a_reduced_index_is_a_new_one_and_the_note_has_both_digests(tmp_path):
    before, = read_members(tmp_path, multi_platform(THREE, NAME))
    (image,), _ = select([before], ["linux/amd64"])
    assert image.root.digest == image.manifests[0].digest != before.root.digest
    assert image.root.size == image.manifests[0].size
    note = image.notes[-1]
    assert note.startswith(NAME + ": ") and before.root.digest in note and image.root.digest in note
    assert {key: value for key, value in document(image.manifests[0]).items() if key != "manifests"} == {
        key: value for key, value in document(before.manifests[0]).items() if key != "manifests"}


def test_an_index_of_which_nothing_goes_keeps_its_bytes(tmp_path):
    images = read_members(tmp_path, multi_platform(THREE, NAME))
    assert select(images, ["linux/amd64", "linux/arm64", "linux/arm"]) == (images, [])


def test_an_index_with_holes_for_other_platforms_keeps_its_bytes(tmp_path):
    images = read_members(tmp_path, multi_platform(THREE, NAME, left_out=[1, 2]))
    assert select(images, ["linux/amd64"]) == (images, [])


def test_a_reduced_index_does_not_list_what_is_not_there(tmp_path):
    image, = read_members(tmp_path, multi_platform(THREE, NAME, left_out=[2]))
    assert image.missing
    (image,), _ = select([image], ["linux/amd64"])
    assert image.missing == () and len(document(image.manifests[0])["manifests"]) == 1


def test_an_index_in_an_index_is_reduced_too(tmp_path):
    members = dict(multi_platform(THREE, NAME))
    root = json.loads(members["index.json"])["manifests"][0]
    outer = index_of([{key: root[key] for key in ("mediaType", "digest", "size")}])
    members["index.json"] = index_of([descriptor(oci.OCI_INDEX, outer, annotations={oci.REF_NAME: NAME})])
    image, = read_members(tmp_path, list(dict(members, **dict([blob(outer)])).items()))
    (image,), _ = select([image], ["linux/arm64"])
    assert ids([image]) == [[ARM64.image_id]] and len(image.manifests) == 3


def test_a_manifest_of_another_platform_is_left_out_with_a_note(tmp_path):
    other = "docker.io/library/other:1"
    images = read_members(tmp_path, joined(crane(AMD64, NAME), crane(ARM64, other)))
    kept, notes = select(images, ["linux/amd64"])
    assert ids(kept) == [[AMD64.image_id]]
    assert notes == ["%s: is for linux/arm64: left out by --platform" % other]
    assert kept[0] == images[0]


def test_attestations_go_with_what_they_are_about(tmp_path):
    before = read_members(tmp_path, attested([AMD64, ARM64], NAME))
    (image,), _ = select(before, ["linux/arm64"])
    entries = document(image.manifests[0])["manifests"]
    assert [entry["platform"]["architecture"] for entry in entries] == ["arm64", "unknown"]
    assert entries[1]["annotations"][ATTESTED] == entries[0]["digest"]
    assert image.platforms == ("linux/arm64",)
    assert len(image.layers) == 3


def test_what_refers_to_something_that_is_gone_goes_too_and_so_does_its_signature(tmp_path):
    data, blobs = oci_manifest(ARM64)

    def artifact(subject, text):
        content = to_json({
            "schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "artifactType": "application/x",
            "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [descriptor("text/plain", text)], "subject": descriptor(oci.OCI_MANIFEST, subject)})
        return content, [blob(content), blob(b"{}"), blob(text)]

    bill, more = artifact(data, b"bill")
    signature, most = artifact(bill, b"signature")
    amd64, least = oci_manifest(AMD64)
    images = read_members(tmp_path, layout_of(
        [descriptor(oci.OCI_MANIFEST, signature), descriptor(oci.OCI_MANIFEST, bill),
         descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: "example.com/arm:1"}),
         descriptor(oci.OCI_MANIFEST, amd64, annotations={oci.REF_NAME: NAME})], blobs + more + most + least))
    assert len(images) == 4
    kept, notes = select(images, ["linux/amd64"])
    assert ids(kept) == [[AMD64.image_id]] and notes == [
        "example.com/arm:1: is for linux/arm64: left out by --platform"]
    assert len(select(images, ["linux/arm64"])[0]) == 3


def test_data_for_no_platform_stays(tmp_path):
    data = to_json({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "artifactType": "application/x",
                    "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "layers": []})
    images = read_members(tmp_path, layout_of([descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: NAME})],
                                      [blob(data), blob(b"{}")]))
    assert select(images, ["linux/arm64"]) == (images, [])


@pytest.mark.parametrize("name", ["example.com/a/b@{}", "example.com/a/b:1@{}"])
def test_an_image_that_is_named_by_the_digest_it_would_lose_is_refused(tmp_path, name):
    before, = read_members(tmp_path, multi_platform(THREE, NAME))
    named = before._replace(references=(name.format(before.root.digest),))
    with pytest.raises(InputError, match="is named by its digest, which --platform would change to sha256:"):
        select([named], ["linux/amd64"])
    assert select([named], ["linux/amd64", "linux/arm", "linux/arm64"]) == ([named], [])


def test_a_digest_among_the_archives_own_names_is_kept_too(tmp_path):
    root = json.loads(dict(multi_platform(THREE, NAME))["index.json"])["manifests"][0]["digest"]
    images = read_members(tmp_path, multi_platform(THREE, "example.com/a/b@" + root))
    with pytest.raises(InputError, match="is named by its digest"):
        select(images, ["linux/amd64"])


@pytest.mark.parametrize("platform, wanted, same", [
    ("linux/amd64", "linux/amd64", True),
    ("linux/amd64", "linux/arm64", False),
    ("linux/amd64", "windows/amd64", False),
    ("linux/amd64/v2", "linux/amd64", True),
    ("linux/amd64/v2", "linux/amd64/v1", False),
    ("linux/arm64/v8", "linux/arm64", True),
    ("linux/arm64", "linux/arm64/v8", True),
    ("linux/arm/v6", "linux/arm", True),
    ("linux/arm/v6", "linux/arm/v7", False),
    ("linux/arm", "linux/arm/v7", True),
    ("linux/arm64", "linux/arm", False),
])
def test_a_platform_matches_as_containerd_has_it(platform, wanted, same):
    assert matches(platform, [wanted]) is same


@pytest.mark.parametrize("text", ["", "amd64", "linux", "linux/", "/amd64", "Linux/AMD64", "linux/arm/v7/x", "a b"])
def test_what_is_not_a_platform_is_refused(text):
    with pytest.raises(InputError, match="os/architecture"):
        checked_platform(text)


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm/v7", "windows/amd64"])
def test_a_platform_is_accepted_as_typed(text):
    assert checked_platform(text) == text


def test_nothing_left_is_refused_and_the_line_lists_what_there_is():
    with pytest.raises(InputError) as error:
        check_platforms(["linux/s390x"], ["linux/arm64", "linux/amd64", "linux/amd64"])
    assert str(error.value) == (
        "--platform linux/s390x: there is no image for it: the archives hold linux/amd64, linux/arm64")


def test_one_wanted_platform_without_an_image_among_others_is_noted():
    notes = check_platforms(["linux/amd64", "linux/s390x"], ["linux/amd64"])
    assert notes == ["--platform linux/s390x: there is no image for it: the archives hold linux/amd64"]
    assert check_platforms([], ["linux/amd64"]) == []


def test_an_image_only_for_another_operating_system_is_noted(tmp_path):
    images = [*read_members(tmp_path, layout(WINDOWS, NAME)),
              *read_members(tmp_path, multi_platform([AMD64, WINDOWS], NAME))]
    notes = other_systems(images)
    assert notes == ["%s: is only for windows/amd64: nodes that run Linux cannot start it" % NAME]


def test_encrypted_layers_are_refused_with_the_way_to_decrypt_them(tmp_path):
    plain, layer = sample(), b"nobody can read this"
    config = descriptor(oci.OCI_CONFIG, plain.config)
    manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": [
        descriptor(oci.OCI_LAYER_GZIP + "+encrypted", layer)]}).encode()
    entry = descriptor(oci.OCI_MANIFEST, manifest, annotations={oci.REF_NAME: NAME})
    images = read_members(tmp_path, layout_of([entry], [blob(manifest), blob(plain.config), blob(layer)]))
    with pytest.raises(InputError, match="a.tar: %s has encrypted layers.*--decryption-key" % NAME):
        refuse_encrypted(images, "a.tar")
    assert refuse_encrypted(read_members(tmp_path, layout(plain, NAME)), "a.tar") is None
