import gzip
import json

import pytest

from builder.reading import oci
from builder.reading.archive import open_archive
from builder.reading.errors import InputError
from builder.reading.images import as_one, check_names, name_images, read_images, settle_names
from builder.reading.oci import REF_NAME, digest_of
from builder.reading.reference import from_file_name, parse
from builder.reading.tar_walk import is_header
from tests.support.reading import bytes_of, document, ids, read, refusal
from tests.support.samples import (FOLDER, NAME, PRODUCERS, Link, blob, crane, descriptor, docker_save_25,
                           docker_save_containerd, docker_save_old, gzipped, index_of, item, joined, layout, layout_of,
                           multi_platform, oci_manifest, podman_save, sample, signature, skopeo_dir, tar_of, to_json,
                           with_layers, write, write_folder)

pytestmark = pytest.mark.usefixtures("zstd_program")

IMAGE, OTHER = sample(), sample("b")
ARM = sample("arm", platform="linux/arm64")


def named(tmp_path, members, fallback):
    """The images of an archive once all have names."""
    return name_images(images(tmp_path, members), parse(fallback))


def images(tmp_path, members):
    return read(write(tmp_path / "a.tar", members))


def names(found):
    return [image.references for image in found]


def refused(path):
    return refusal(path, lambda: read(path))


EACH = pytest.mark.parametrize("producer", sorted(PRODUCERS))


@EACH
def test_every_producers_archive_gives_the_image(tmp_path, producer):
    found = images(tmp_path, PRODUCERS[producer](IMAGE, NAME))
    assert ids(found) == [[IMAGE.image_id]]
    assert names(found) == [() if producer == "skopeo_dir" else (NAME,)]
    assert found[0].notes == ()


@EACH
def test_a_folder_a_folder_in_a_tar_and_a_compressed_tar_give_the_same(tmp_path, producer):
    members = PRODUCERS[producer](IMAGE, NAME)
    expected = images(tmp_path, members)[0]._replace(manifests=(), configs=(), layers=())
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_of(members)))
    forms = [write_folder(tmp_path / "folder", members), tmp_path / "a.tar.gz",
             write(tmp_path / "inner.tar", [("top/", FOLDER)] + [("./top/" + name, data) for name, data in members]),
             write(tmp_path / "package.tar", [("images/" + name, data) for name, data in members]
                   + [("zarf.yaml", b"kind: x"), ("sboms.tar", b"")])]
    for path in forms:
        image, = read(path)
        assert image._replace(manifests=(), configs=(), layers=()) == expected


@EACH
def test_the_same_archive_gives_the_same_manifest(tmp_path, producer):
    members = PRODUCERS[producer](IMAGE, NAME)
    assert images(tmp_path, members)[0].root == images(tmp_path, members[::-1])[0].root


@EACH
def test_litter_of_repacking_is_ignored(tmp_path, producer):
    members = PRODUCERS[producer](IMAGE, NAME)
    litter = [("._manifest.json", b"x"), (".DS_Store", b"x"), ("__MACOSX/x", b"x")]
    assert ids(images(tmp_path, litter + [("top/" + name, data) for name, data in members])) == [[IMAGE.image_id]]


@EACH
def test_damage_anywhere_is_refused_or_reaches_no_layer(tmp_path, producer):
    image = with_layers([IMAGE.layers[0][:600]])
    data = tar_of(PRODUCERS[producer](image, NAME))
    for place in range(0, len(data) - 1024, 97):
        damaged = bytearray(data)
        damaged[place] ^= 4
        (tmp_path / "a.tar").write_bytes(bytes(damaged))
        try:
            layers = [bytes_of(layer) for found in read(tmp_path / "a.tar") for layer in found.layers]
            assert [layer if is_header(layer) else gzip.decompress(layer) for layer in layers] == list(image.layers)
        except InputError as e:
            assert str(e).startswith(str(tmp_path / "a.tar") + ": ") and "\n" not in str(e)


@EACH
def test_a_truncated_archive_is_refused_or_only_loses_what_is_not_needed(tmp_path, producer):
    data = tar_of(PRODUCERS[producer](IMAGE, NAME))
    for length in list(range(0, len(data) - 1024, 173)) + list(range(0, len(data) - 1024, 512)):
        (tmp_path / "a.tar").write_bytes(data[:length])
        try:
            with open_archive(str(tmp_path / "a.tar")) as archive:
                assert ids(read_images(archive)) == [[IMAGE.image_id]]
                assert "no end-of-archive mark" in archive.notes[0]
        except InputError as e:
            assert str(e).startswith(str(tmp_path / "a.tar") + ": ") and "\n" not in str(e)


def test_an_archive_truncated_before_its_manifest_is_called_truncated(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_of(crane(IMAGE)[:-1])[:-1024])
    assert "is truncated: it has no end-of-archive mark" in refused(tmp_path / "a.tar")


# --- archives that list their images twice

def changed(members, **documents):
    return list(dict(members, **{name.replace("_", "."): data for name, data in documents.items()}).items())


def test_an_index_of_nothing_leaves_it_to_the_manifest(tmp_path):
    for nothing in (None, []):
        index = to_json({"schemaVersion": 2, "manifests": nothing})
        found = images(tmp_path, changed(docker_save_25(IMAGE, NAME), index_json=index))
        assert ids(found) == [[IMAGE.image_id]] and names(found) == [(NAME,)]
        assert found[0].root.media_type == oci.DOCKER_MANIFEST


def test_the_index_keeps_its_digest_where_both_are_right(tmp_path):
    for producer, compress in ((docker_save_25, bytes), (docker_save_containerd, gzipped)):
        manifest, _ = oci_manifest(IMAGE, compress)
        assert images(tmp_path, producer(IMAGE, NAME))[0].root.digest == digest_of(manifest)


def test_layers_in_a_random_order_are_put_right_by_the_manifest(tmp_path):
    manifest, _ = oci_manifest(IMAGE, bytes)
    ordered = json.loads(manifest.decode())
    shuffled = to_json(dict(ordered, layers=ordered["layers"][::-1]))
    entry = descriptor(oci.OCI_MANIFEST, shuffled, annotations={REF_NAME: NAME})
    members = changed(docker_save_25(IMAGE), index_json=index_of([entry])) + [blob(shuffled)]
    image, = images(tmp_path, members)
    assert [layer["digest"] for layer in document(image.manifests[0])["layers"]] == IMAGE.diff_ids
    assert image.references == (NAME,) and image.notes == ()


def test_an_image_that_the_index_lacks_comes_from_the_manifest(tmp_path):
    both = joined(docker_save_25(IMAGE, NAME), docker_save_25(OTHER))
    members = changed(both, index_json=dict(docker_save_25(IMAGE, NAME))["index.json"])
    found = images(tmp_path, members)
    assert ids(found) == [[IMAGE.image_id], [OTHER.image_id]] and names(found) == [(NAME,), ()]


def test_names_of_both_halves_are_joined(tmp_path):
    members = docker_save_containerd(IMAGE, NAME)
    more = to_json([dict(json.loads(dict(members)["manifest.json"].decode())[0], RepoTags=["sample:1", "other:2"])])
    found = images(tmp_path, changed(members, manifest_json=more))
    assert names(found) == [(NAME, "docker.io/library/other:2")]
    found = images(tmp_path, changed(docker_save_containerd(IMAGE), manifest_json=more))
    assert names(found) == [(NAME, "docker.io/library/other:2")]


def test_the_manifest_of_one_platform_names_the_index_of_all(tmp_path):
    members = multi_platform([IMAGE, ARM], NAME)
    files = ["blobs/sha256/" + digest_of(gzipped(layer))[7:] for layer in IMAGE.layers]
    manifest = to_json([item("blobs/sha256/" + IMAGE.image_id[7:], files, ["sample:1", "second:2"])])
    image, = images(tmp_path, members + [("manifest.json", manifest)])
    assert image.root.media_type == oci.OCI_INDEX and image.platforms == ("linux/amd64", "linux/arm64")
    assert image.references == (NAME, "docker.io/library/second:2")


def test_an_archive_whose_halves_give_two_images_one_name_does_not_lose_one(tmp_path):
    both = joined(docker_save_25(IMAGE, NAME), docker_save_25(OTHER, NAME))
    found = images(tmp_path, changed(both, index_json=dict(docker_save_25(IMAGE, NAME))["index.json"]))
    assert ids(found) == [[IMAGE.image_id], [OTHER.image_id]]
    assert names(found)[1] == (NAME,) and "sha256-" in names(found)[0][0]


# --- several images, several platforms

def test_several_images_keep_their_order_and_names(tmp_path):
    both = joined(podman_save(IMAGE, "quay.io/a:1", "quay.io/b:1"), podman_save(OTHER, "quay.io/c:1"))
    found = images(tmp_path, both)
    assert ids(found) == [[IMAGE.image_id], [OTHER.image_id]]
    assert names(found) == [("quay.io/a:1", "quay.io/b:1"), ("quay.io/c:1",)]


def test_one_image_listed_twice_is_one_with_all_names(tmp_path):
    entries = [item("c", ["l"], ["a:1"]), item("c", ["l"], ["b:1", "a:1"])]
    image = with_layers([IMAGE.layers[0]])
    members = [("c", image.config), ("l", image.layers[0]), ("manifest.json", to_json(entries))]
    assert names(images(tmp_path, members)) == [("docker.io/library/a:1", "docker.io/library/b:1")]


def test_a_name_of_two_images_goes_to_the_last_and_the_other_stays_reachable(tmp_path):
    one, other = images(tmp_path, joined(crane(IMAGE, NAME), crane(OTHER, NAME)))
    assert other.references == (NAME,) and other.notes == ()
    assert one.references == ("docker.io/library/sample:sha256-" + one.root.digest[7:19],)
    assert "two images have this name" in one.notes[0]


def platform_entries(annotations):
    entries, blobs = [], []
    for image in (IMAGE, ARM):
        data, more = oci_manifest(image)
        entries.append(descriptor(oci.OCI_MANIFEST, data, annotations=annotations))
        blobs += more
    return entries, blobs


@pytest.mark.parametrize("annotations, references, tags", [({REF_NAME: NAME}, (NAME,), ()),
                                                           ({REF_NAME: "v1"}, (), ("v1",))])
def test_platforms_side_by_side_under_one_name_become_one_index(tmp_path, annotations, references, tags):
    entries, blobs = platform_entries(annotations)
    image, = images(tmp_path, layout_of(entries, blobs))
    assert (image.references, image.tags, image.platforms) == (references, tags, ("linux/amd64", "linux/arm64"))
    index = document(image.manifests[0])
    assert image.root == oci.Descriptor(oci.OCI_INDEX, image.manifests[0].digest, image.manifests[0].size)
    assert index["mediaType"] == oci.OCI_INDEX
    assert [(entry["digest"], entry["size"], entry["platform"]) for entry in index["manifests"]] == [
        (entries[0]["digest"], entries[0]["size"], {"os": "linux", "architecture": "amd64"}),
        (entries[1]["digest"], entries[1]["size"], {"os": "linux", "architecture": "arm64"})]


@pytest.mark.parametrize("members", [
    layout_of(*platform_entries({})), joined(crane(IMAGE), crane(ARM)), joined(podman_save(IMAGE), podman_save(ARM)),
    joined(docker_save_25(ARM), docker_save_25(IMAGE))], ids=["layout", "crane", "podman save", "docker save"])
def test_images_without_a_name_are_one_only_if_the_user_says_so(tmp_path, members):
    found = images(tmp_path, members)
    assert [image.platforms for image in found] == [("linux/amd64",), ("linux/arm64",)]
    with pytest.raises(InputError) as refusal:
        check_names(found, "both", "NAME=both")
    assert str(refusal.value) == ("both: holds 2 images without a name: use NAME=both if they are one image for "
                                  "linux/amd64 and linux/arm64, else save each in an archive of its own")
    image, = as_one(found, "both", "NAME=both")
    assert image.platforms == ("linux/amd64", "linux/arm64") and image.rebuilt
    assert [entry["digest"] for entry in document(image.manifests[0])["manifests"]] == [one.root.digest for one in found]
    assert {blob.digest for blob in image.configs} == {IMAGE.image_id, ARM.image_id}
    assert as_one([image], "both", "NAME=both") == [image] and check_names([image], "both", "NAME=both") is None


@pytest.mark.parametrize("others, why", [
    ([crane(OTHER)], "several are for linux/amd64"), ([crane(ARM), crane(OTHER)], "several are for linux/amd64")])
def test_images_without_a_name_for_the_same_platform_cannot_be_one(tmp_path, others, why):
    members = crane(IMAGE)
    for other in others:
        members = joined(members, other)
    found = images(tmp_path, members)
    for refuse in (check_names, as_one):
        with pytest.raises(InputError) as refusal:
            refuse(found, "both", "NAME=both")
        assert str(refusal.value) == ("both: holds %d images without a name, which NAME=both cannot join (%s): save each "
                                      "in an archive of its own" % (1 + len(others), why))


def test_an_index_without_a_name_cannot_be_joined_with_an_image(tmp_path):
    entries, blobs = platform_entries({})
    index = index_of(entries)
    data, more = oci_manifest(OTHER)
    found = images(tmp_path, layout_of([descriptor(oci.OCI_INDEX, index), descriptor(oci.OCI_MANIFEST, data)],
                                       blobs + more + [blob(index)]))
    for refuse in (check_names, as_one):
        with pytest.raises(InputError, match=r"holds 2 images without a name, which NAME=x cannot join \(%s is not an image "
                                             "for one platform" % digest_of(index)):
            refuse(found, "x", "NAME=x")


def test_what_refers_to_an_image_without_a_name_is_no_second_one_and_comes_along_when_it_is_joined(tmp_path):
    entries, blobs = platform_entries({})
    signed, more = oci_manifest(OTHER, subject=entries[1])
    tagged = descriptor(oci.OCI_MANIFEST, signed, annotations={
        REF_NAME: entries[1]["digest"].replace(":", "-") + ".sig"})
    found = images(tmp_path, layout_of([entries[1], tagged], blobs + more))
    assert check_names(found, "x", "NAME=x") is None and as_one(found, "x", "NAME=x") == found
    found = images(tmp_path, layout_of(entries + [tagged], blobs + more))
    with pytest.raises(InputError, match="holds 2 images without a name"):
        check_names(found, "x", "NAME=x")
    image, attached = as_one(found, "x", "NAME=x")
    assert image.platforms == ("linux/amd64", "linux/arm64") and attached.subject == entries[1]["digest"]


def test_data_without_a_name_leaves_the_archives_name_to_the_image_next_to_it(tmp_path):
    manifest, more = oci_manifest(IMAGE)
    data, blobs = signature(manifest)
    entries = [descriptor(oci.OCI_MANIFEST, one) for one in (data, manifest)]
    found = images(tmp_path, layout_of(entries, blobs + more))
    assert check_names(found, "x", "NAME=x") is None
    assert {image.root.digest: image.references for image in name_images(found, parse("x:1"))} == {
        digest_of(manifest): ("docker.io/library/x:1",),
        digest_of(data): ("docker.io/library/x:sha256-" + digest_of(data)[7:19],)}


def test_images_without_a_name_next_to_named_ones_are_told_apart_by_digest(tmp_path):
    found = images(tmp_path, joined(crane(IMAGE, NAME), joined(crane(OTHER), crane(ARM))))
    assert check_names(found, "x", "NAME=x") is None and as_one(found, "x", "NAME=x") == found
    assert names(name_images(found, parse("x:1"))) == [(NAME,)] + [
        ("docker.io/library/x:sha256-" + image.root.digest[7:19],) for image in found[1:]]


def apko(entries, blobs, digest=None):
    """apko build: the index of the image is index.json itself, and an SBOM names it."""
    members = dict(layout_of(entries, blobs))
    digest = digest or digest_of(members["index.json"])
    members["sboms/sbom-index.spdx.json"] = json.dumps({"SPDXID": "SPDXRef-DOCUMENT", "name": "sbom-" + digest},
                                                       indent=2).encode()
    return list(members.items())


def test_an_index_that_its_own_sbom_names_is_the_index_of_one_image(tmp_path):
    entries, blobs = platform_entries({})
    members = apko(entries, blobs)
    image, = images(tmp_path, members)
    assert image.platforms == ("linux/amd64", "linux/arm64") and not image.rebuilt
    assert image.root == oci.Descriptor(oci.OCI_INDEX, digest_of(dict(members)["index.json"]),
                                        len(dict(members)["index.json"]))
    with image.manifests[0].open() as reader:
        assert reader.read() == dict(members)["index.json"]
    assert len(image.manifests) == 3 and len(image.configs) == 2
    assert names(named(tmp_path, members, "x:1")) == [("docker.io/library/x:1",)]


def test_the_sbom_of_another_index_proves_nothing(tmp_path):
    entries, blobs = platform_entries({})
    assert len(images(tmp_path, apko(entries, blobs, "sha256:" + "0" * 64))) == 2


def test_images_of_the_same_platform_are_not_joined(tmp_path):
    blobs, entries = [], []
    for image in (IMAGE, OTHER):
        data, more = oci_manifest(image)
        entries.append(descriptor(oci.OCI_MANIFEST, data))
        blobs += more
    assert len(images(tmp_path, layout_of(entries, blobs))) == 2


def test_a_name_of_data_and_an_image_goes_to_the_image(tmp_path):
    data = to_json({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "artifactType": "application/example",
                    "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "layers": []})
    manifest, blobs = oci_manifest(IMAGE)
    entries = [descriptor(oci.OCI_MANIFEST, one, annotations={REF_NAME: NAME}) for one in (manifest, data)]
    for order in (entries, entries[::-1]):
        found = {image.root.digest: image.references for image in images(
            tmp_path, layout_of(order, blobs + [blob(data), blob(b"{}")]))}
        assert found == {digest_of(manifest): (NAME,),
                         digest_of(data): (NAME.replace(":1", ":sha256-" + digest_of(data)[7:19]),)}


# --- names for those that have none

def test_a_nameless_image_gets_the_fallback(tmp_path):
    assert names(named(tmp_path, layout(IMAGE), "quay.io/x:2")) == [("quay.io/x:2",)]


def test_bare_tags_get_the_repository_of_the_fallback(tmp_path):
    data, blobs = oci_manifest(IMAGE)
    entries = [descriptor(oci.OCI_MANIFEST, data, annotations={REF_NAME: tag}) for tag in ("v1", "v2")]
    assert names(named(tmp_path, layout_of(entries, blobs), "quay.io/x:2")) == [("quay.io/x:v1", "quay.io/x:v2")]


def test_a_named_image_keeps_its_names(tmp_path):
    assert names(named(tmp_path, layout(IMAGE, NAME), "quay.io/x:2")) == [(NAME,)]


def test_a_nameless_image_never_takes_the_name_of_another(tmp_path):
    found = named(tmp_path, joined(crane(IMAGE, "quay.io/x:2"), crane(OTHER)), "quay.io/x:2")
    assert names(found)[1] == ("quay.io/x:sha256-" + found[1].root.digest[7:19],)


def test_a_nameless_image_beside_a_tagged_one_is_not_taken_for_the_latest(tmp_path):
    data, blobs = oci_manifest(IMAGE)
    new, more = oci_manifest(OTHER)
    entries = [descriptor(oci.OCI_MANIFEST, data), descriptor(oci.OCI_MANIFEST, new, annotations={REF_NAME: "v1"})]
    found = named(tmp_path, layout_of(entries, blobs + more), "quay.io/x")
    assert names(found) == [("quay.io/x:sha256-" + digest_of(data)[7:19],), ("quay.io/x:v1",)]


def test_a_name_of_two_images_goes_to_the_last_one(tmp_path):
    one, = images(tmp_path, crane(IMAGE, NAME))
    other, = images(tmp_path, crane(OTHER, NAME))
    assert [NAME in image.references for image in settle_names([one, other])] == [False, True]
    assert [image.references for image in settle_names([one, one])] == [(NAME,), (NAME,)]


def test_what_refers_to_another_image_needs_no_name(tmp_path):
    data, blobs = oci_manifest(IMAGE)
    entry = descriptor(oci.OCI_MANIFEST, data)
    signed, more = oci_manifest(OTHER, subject=entry)
    referrer = descriptor(oci.OCI_MANIFEST, signed)
    found = named(tmp_path, layout_of([entry, referrer], blobs + more), "x:1")
    assert names(found) == [("docker.io/library/x:1",), ()]
    assert names(named(tmp_path, layout_of([referrer], more), "x:1")) == [("docker.io/library/x:1",)]


def test_what_is_attached_has_its_tags_beside_the_image_that_it_refers_to_over_any_number_of_others():
    def image(digit, subject="", references=(), tags=()):
        root = oci.Descriptor(oci.OCI_MANIFEST, digest_of(digit.encode()), 1)
        return oci.Image(references, root, (oci.blob_of(digit.encode()),), (), (), (), (), subject and digest_of(
            subject.encode()), (), tags)
    found = name_images([image("3", "2", tags=("c",)), image("2", "1", tags=("b",)), image("4", "2"),
                         image("1", "", ("a.io/x:1", "a.io/x:2", "b.io/y:1"))], parse("z:1"))
    assert names(found) == [("a.io/x:c", "b.io/y:c"), ("a.io/x:b", "b.io/y:b"), (),
                            ("a.io/x:1", "a.io/x:2", "b.io/y:1")]
    circle = name_images([image("1", "2"), image("2", "1")], parse("z:1"))
    assert names(circle) == [("docker.io/library/z:1",), ()]


def test_every_name_is_legal_and_normalised(tmp_path):
    path = tmp_path / "My Image.tar"
    for producer in PRODUCERS.values():
        found = name_images(read(write(path, producer(IMAGE))), from_file_name(str(path)))
        assert names(found) == [("docker.io/library/my-image:latest",)]


# --- what is not an image archive

REFUSED = [
    ([], "is empty"),
    ([("a/", FOLDER)], "is empty"),
    ([(name, data) for name, data in docker_save_old(IMAGE) if name != "manifest.json"], "older than 1.10"),
    ([("1/layer.tar", b"")], "older than 1.10"),
    ([(name, data) for name, data in layout(IMAGE) if name != "index.json"], "OCI layout without index.json"),
    ([(".dockerenv", b""), ("x", b"")], "is a root file system (docker export"),
    ([("bin/sh", b""), ("usr/lib/x", b"")], "is a root file system (docker export"),
    ([("chart/Chart.yaml", b""), ("chart/values.yaml", b"")], "is a Helm chart"),
    ([("a.tar", b""), ("b.tar.gz", b"")], "holds other archives"),
    ([("README.md", b"")], "holds files (such as README.md), but no image"),
    ([("b\n", b""), ("c", Link("x"))], "holds files (such as b\\n), but no image"),
    ([("manifest.json", b"null")], "manifest.json: is null, expected a list"),
    ([("manifest.json", b"[]")], "manifest.json: lists no image"),
    ([("index.json", b"{}")], "index.json: lists no image"),
    ([("index.json", b"{}"), ("manifest.json", b"[]")], "index.json: lists no image"),
    ([("manifest.json", b'{"name": "an extension"}')], "manifest.json: digest is ''"),
    ([("index.json", Link("index.json"))], "index.json: is a link that leads in a circle"),
    ([("manifest.json", b"[]"), ("manifest.json", b"[ ]")], "manifest.json: is there more than once"),
    (skopeo_dir(IMAGE)[:2], "manifest.json: "),
]


@pytest.mark.parametrize("members, word", REFUSED, ids=[row[1] for row in REFUSED])
def test_what_is_not_an_image_archive_is_refused_by_what_it_is(tmp_path, members, word):
    assert word in refused(write(tmp_path / "a.tar", members))


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is empty" in refused(tmp_path / "empty")
