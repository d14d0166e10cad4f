import base64
import json

import pytest

from builder.reading import documents, graph, oci, oci_layout
from builder.reading.archive import open_archive
from builder.reading.graph import CONTAINERD_SUBJECT
from builder.reading.images import name_images, read_images
from builder.reading.oci import REF_NAME, digest_of
from builder.reading.oci_layout import BASE_NAME, CONTAINERD_NAME, read_dir, read_layout
from builder.reading.reference import parse
from tests.support.reading import in_memory, refusal
from tests.support.samples import (NAME, attested, blob, descriptor, gzipped, index_of, layout, layout_of,
                                   multi_platform, oci_manifest, sample, signature, skopeo_dir, to_json, with_layers,
                                   write, write_folder, zstd_stored)

IMAGE, OTHER = sample(), sample("b", platform="linux/arm64/v8")
MANIFEST, BLOBS = oci_manifest(IMAGE)
ENTRY = descriptor(oci.OCI_MANIFEST, MANIFEST)
OTHER_MANIFEST, OTHER_BLOBS = oci_manifest(OTHER)
OTHER_ENTRY = descriptor(oci.OCI_MANIFEST, OTHER_MANIFEST)


def read(tmp_path, members, reader=read_layout):
    with open_archive(write(tmp_path / "a.tar", members)) as archive:
        found = reader(archive)
        return found._replace(images=list(map(in_memory, found.images)))


def images(tmp_path, members, reader=read_layout):
    return read(tmp_path, members, reader).images


def refused(tmp_path, members, reader=read_layout):
    return refusal(tmp_path / "a.tar", lambda: images(tmp_path, members, reader))


def annotated(**annotations):
    return dict(ENTRY, annotations=annotations)


def replaced(members, **changes):
    """The members with some left out (None) or changed; keys are names with _ for / and -."""
    by_key = {name.replace("/", "_").replace("-", "_").replace(".", "_"): name for name, _ in members}
    changed = dict(members)
    for key, value in changes.items():
        if value is None:
            del changed[by_key[key]]
        else:
            changed[by_key[key]] = value
    return list(changed.items())


def without(members, *datas):
    return [pair for pair in members if pair[1] not in datas]


@pytest.mark.parametrize("compress", [gzipped, bytes, zstd_stored])
def test_an_image_is_read_byte_for_byte(tmp_path, compress):
    manifest, _ = oci_manifest(IMAGE, compress)
    image, = images(tmp_path, layout(IMAGE, NAME, compress=compress))
    assert image.root == oci.Descriptor(oci.OCI_MANIFEST, digest_of(manifest), len(manifest))
    assert [b.digest for b in image.manifests + image.configs] == [digest_of(manifest), IMAGE.image_id]
    assert [b.digest for b in image.layers] == [digest_of(compress(layer)) for layer in IMAGE.layers]
    assert (image.references, image.tags, image.platforms) == ((NAME,), (), ("linux/amd64",))
    assert (image.missing, image.subject, image.notes) == ((), "", ())


def test_a_folder_is_read_like_a_tar(tmp_path):
    with open_archive(write_folder(tmp_path / "layout", layout(IMAGE, NAME))) as archive:
        assert [image.references for image in read_layout(archive).images] == [(NAME,)]


def test_the_layout_file_may_be_missing_but_not_of_another_version(tmp_path):
    assert len(images(tmp_path, replaced(layout(IMAGE), oci_layout=None))) == 1
    assert "only 1.0.0 is known" in refused(tmp_path, replaced(layout(IMAGE), oci_layout=b'{"imageLayoutVersion":"2"}'))
    assert "oci-layout: is a list" in refused(tmp_path, replaced(layout(IMAGE), oci_layout=b"[]"))


NAMES = [
    ({REF_NAME: "v1"}, (), ("v1",)),
    ({REF_NAME: "UPPERCASE-IS-A-TAG"}, (), ("UPPERCASE-IS-A-TAG",)),
    ({REF_NAME: "pretty-empty:latest"}, ("docker.io/library/pretty-empty:latest",), ()),
    ({REF_NAME: "example.com/empty"}, ("example.com/empty:latest",), ()),
    ({REF_NAME: ""}, (), ()),
    ({}, (), ()),
    ({CONTAINERD_NAME: "amd64/debian:slim", REF_NAME: "slim"}, ("docker.io/amd64/debian:slim",), ()),
    ({CONTAINERD_NAME: "docker.io/x/y:1", REF_NAME: "docker.io/other/z:2"}, ("docker.io/x/y:1",), ()),
    ({"containerd.io/distribution.source.quay.io": "a/b,c/d", REF_NAME: "v1"}, ("quay.io/a/b:v1",), ()),
    ({"containerd.io/distribution.source.quay.io": "a/b"}, ("quay.io/a/b:sha256-" + digest_of(MANIFEST)[7:19],), ()),
    ({BASE_NAME: "library/registry:3.0.0"}, ("docker.io/library/registry:3.0.0",), ()),
    ({BASE_NAME: "scratch", "org.opencontainers.image.version": "1"}, (), ()),
    ({BASE_NAME: "debian:12", REF_NAME: "v1"}, (), ("v1",)),
    ({"other": "x"}, (), ()),
]


@pytest.mark.parametrize("annotations, references, tags", NAMES)
def test_names_are_taken_from_the_right_annotation(tmp_path, annotations, references, tags):
    image, = images(tmp_path, layout_of([annotated(**annotations)], BLOBS))
    assert (image.references, image.tags) == (references, tags)


@pytest.mark.parametrize("annotations, word", [
    ({REF_NAME: "a b"}, "'a b' is not a tag: this name is left out"),
    ({REF_NAME: "Quay.io/UPPER/x:1"}, "this name is left out"),
    ({REF_NAME: "x@" + digest_of(MANIFEST)}, "has no tag: it is served as docker.io/library/x:sha256-"),
    ({REF_NAME: "x@" + digest_of(b"")}, "its digest is " + digest_of(MANIFEST)),
])
def test_a_name_that_does_not_fit_is_noted(tmp_path, annotations, word):
    image, = images(tmp_path, layout_of([annotated(**annotations)], BLOBS))
    assert word in image.notes[0]


def test_the_same_manifest_several_times_is_one_image_with_all_names(tmp_path):
    image, = images(tmp_path, layout_of([ENTRY, annotated(**{REF_NAME: "v1"}), annotated(**{REF_NAME: "a/b:1"}),
                                         annotated(**{REF_NAME: "v1"})], BLOBS))
    assert (image.references, image.tags) == (("docker.io/a/b:1",), ("v1",))


def test_an_index_is_one_image_of_all_platforms_with_its_root_first(tmp_path):
    image, = images(tmp_path, multi_platform([IMAGE, OTHER], NAME))
    assert image.root.media_type == oci.OCI_INDEX and image.manifests[0].digest == image.root.digest
    assert [b.digest for b in image.manifests[1:]] == [digest_of(MANIFEST), digest_of(OTHER_MANIFEST)]
    assert image.platforms == ("linux/amd64", "linux/arm64/v8")
    assert len(image.configs) == 2 and len(image.layers) == 4 and image.missing == ()


def test_a_hole_in_an_index_is_noted_and_the_rest_is_kept(tmp_path):
    image, = images(tmp_path, multi_platform([IMAGE, OTHER], NAME, left_out=[1]))
    assert image.platforms == ("linux/amd64",)
    assert image.missing == (oci.Descriptor(oci.OCI_MANIFEST, digest_of(OTHER_MANIFEST), len(OTHER_MANIFEST)),)
    assert "1 of 2 manifests of the index" in image.notes[0] and "for linux/amd64 only" in image.notes[0]


@pytest.mark.parametrize("lost", [OTHER.config, gzipped(OTHER.layers[1])])
def test_a_manifest_whose_blobs_are_absent_is_a_hole_too(tmp_path, lost):
    image, = images(tmp_path, without(multi_platform([IMAGE, OTHER], NAME), lost))
    assert [hole.digest for hole in image.missing] == [digest_of(OTHER_MANIFEST)]
    assert digest_of(OTHER_MANIFEST) not in [b.digest for b in image.manifests]
    assert len(image.layers) == 2


def test_an_index_without_one_whole_image_is_refused(tmp_path):
    assert "is not in the archive" in refused(tmp_path, multi_platform([IMAGE, OTHER], NAME, left_out=[0, 1]))


@pytest.mark.parametrize("lost", [MANIFEST, IMAGE.config, gzipped(IMAGE.layers[1])])
def test_an_incomplete_image_is_refused_with_what_is_missing(tmp_path, lost):
    message = refused(tmp_path, without(layout(IMAGE, NAME), lost))
    assert NAME in message and digest_of(lost) in message


def test_an_incomplete_image_beside_another_is_noted(tmp_path):
    found = images(tmp_path, layout_of([ENTRY, dict(OTHER_ENTRY, annotations={REF_NAME: "gone"})], BLOBS))
    assert len(found) == 1 and "gone is incomplete: " in found[0].notes[0]


def test_every_flipped_bit_of_a_blob_is_found(tmp_path):
    for number, (name, data) in enumerate(layout(IMAGE, NAME)[2:]):
        for place in (0, len(data) // 2, len(data) - 1):
            damaged = bytearray(data)
            damaged[place] ^= 1
            members = [(n, bytes(damaged) if n == name else d) for n, d in layout(IMAGE, NAME)]
            assert name + ": is damaged" in refused(tmp_path, members)


def test_a_blob_of_another_size_is_refused(tmp_path):
    members = [(name, data + b" " if data == IMAGE.config else data) for name, data in layout(IMAGE, NAME)]
    assert "its descriptor says %d" % len(IMAGE.config) in refused(tmp_path, members)


def test_a_shared_blob_is_hashed_once(tmp_path):
    big = bytes(1 << 20)
    members = multi_platform([with_layers([big]), with_layers([big], "linux/arm64")], NAME)
    counts = []
    with open_archive(write(tmp_path / "a.tar", members), counts.append) as archive:
        assert len(read_layout(archive).images[0].layers) == 1
    assert sum(counts) < len(gzipped(big)) + 20000


def test_an_index_in_an_index_is_read_and_an_endless_one_is_refused(tmp_path):
    def nested(depth):
        entry, blobs = dict(ENTRY), list(BLOBS)
        for _ in range(depth):
            data = index_of([entry])
            blobs.append(blob(data))
            entry = descriptor(oci.OCI_INDEX, data)
        return layout_of([entry], blobs)
    image, = images(tmp_path, nested(4))
    assert len(image.manifests) == 5 and image.platforms == ("linux/amd64",)
    assert "nests indexes more than 4 deep" in refused(tmp_path, nested(5))
    shallow_first = nested(5)
    entries = [descriptor(oci.OCI_INDEX, data) for name, data in shallow_first[2:] if b'"manifests"' in data]
    assert len(entries) == 5
    assert "nests indexes more than 4 deep" in refused(tmp_path, replaced(shallow_first, index_json=index_of(entries)))


def test_an_index_below_several_others_is_in_the_image_once_and_is_noted_once(tmp_path):
    lowest = index_of([ENTRY, OTHER_ENTRY])
    above = [index_of([descriptor(oci.OCI_INDEX, lowest)] * 2, annotations={"number": str(number)})
             for number in range(3)]
    top = index_of([descriptor(oci.OCI_INDEX, index) for index in above])
    image, = images(tmp_path, layout_of([descriptor(oci.OCI_INDEX, top)],
                                        BLOBS + [blob(index) for index in [lowest, top] + above]))
    assert [part.digest for part in image.manifests] == [
        digest_of(data) for data in (top, above[0], lowest, MANIFEST, above[1], above[2])]
    assert image.platforms == ("linux/amd64",) and len(image.missing) == len(image.notes) == 1


def test_text_in_place_of_base64_is_refused(tmp_path):
    data, _ = artifact()
    wrong = data.replace(b'"layers":[{', '"layers":[{"data":"ä",'.encode())
    assert "is not base64" in refused(tmp_path, layout_of([descriptor(oci.OCI_MANIFEST, wrong)], [blob(wrong)]))


def test_a_nameless_child_of_another_entry_is_not_an_image_of_its_own(tmp_path):
    index = index_of([ENTRY, OTHER_ENTRY])
    entries = [ENTRY, descriptor(oci.OCI_INDEX, index), dict(OTHER_ENTRY, annotations={REF_NAME: "arm"})]
    found = images(tmp_path, layout_of(entries, BLOBS + OTHER_BLOBS + [blob(index)]))
    assert [(image.root.digest, image.tags) for image in found] == [
        (digest_of(index), ()), (digest_of(OTHER_MANIFEST), ("arm",))]


def test_an_attestation_is_data(tmp_path):
    image, = images(tmp_path, attested([IMAGE], NAME))
    assert image.platforms == ("linux/amd64",) and len(image.manifests) == 3 and len(image.layers) == 3


def test_an_index_of_attestations_alone_is_refused(tmp_path):
    members = attested([IMAGE], NAME)
    root = json.loads(dict(members)["index.json"].decode())["manifests"][0]["digest"]
    entries = json.loads(dict(members)["blobs/" + root.replace(":", "/")].decode())["manifests"]
    index = index_of(entries[1:])
    assert "is incomplete: no image is in it" in refused(
        tmp_path, layout_of([descriptor(oci.OCI_INDEX, index)], members[2:] + [blob(index)]))


def artifact(**more):
    empty = b"{}"
    data = to_json(dict({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "artifactType": "application/example",
                         "config": descriptor("application/vnd.oci.empty.v1+json", empty),
                         "layers": [descriptor("application/vnd.oci.empty.v1+json", empty)]}, **more))
    return data, [blob(data), blob(empty)]


def test_an_artifact_is_data_and_needs_no_platform(tmp_path):
    data, blobs = artifact()
    image, = images(tmp_path, layout_of([descriptor(oci.OCI_MANIFEST, data)], blobs))
    assert image.platforms == () and image.subject == "" and len(image.layers) == 1


def test_a_referrer_knows_its_subject(tmp_path):
    data, blobs = artifact(subject=ENTRY)
    found = images(tmp_path, layout_of([ENTRY, descriptor(oci.OCI_MANIFEST, data)], BLOBS + blobs))
    assert [image.subject for image in found] == ["", digest_of(MANIFEST)]
    data, blobs = artifact()
    by_annotation = descriptor(oci.OCI_MANIFEST, data, annotations={CONTAINERD_SUBJECT: digest_of(MANIFEST)})
    assert images(tmp_path, layout_of([by_annotation], blobs))[0].subject == digest_of(MANIFEST)


def test_data_in_a_descriptor_stands_for_the_blob(tmp_path):
    data, blobs = artifact()
    with_data = to_json(dict(json.loads(data.decode()), config=descriptor(
        "application/vnd.oci.empty.v1+json", b"{}", data=base64.b64encode(b"{}").decode())))
    image, = images(tmp_path, layout_of([descriptor(oci.OCI_MANIFEST, with_data)], [blob(with_data)]))
    assert [b.digest for b in image.configs] == [b.digest for b in image.layers] == [digest_of(b"{}")]
    for wrong, word in ((b"e3A=", "is damaged"), (b"e3", "is not base64"), (b"e30K", "is damaged")):
        bad = with_data.replace(b"e30=", wrong)
        assert word in refused(tmp_path, layout_of([descriptor(oci.OCI_MANIFEST, bad)], [blob(bad)]))


def test_a_foreign_layer_may_be_absent(tmp_path):
    foreign = {"mediaType": oci.DOCKER_LAYER.replace("diff", "foreign.diff") + ".gzip", "size": 5,
               "digest": digest_of(b"12345"), "urls": ["https://example.com/"]}
    manifest = json.loads(MANIFEST.decode())
    data = to_json(dict(manifest, layers=[foreign] + manifest["layers"][1:]))
    image, = images(tmp_path, layout_of([descriptor(oci.OCI_MANIFEST, data)], BLOBS + [blob(data)]))
    assert [hole.digest for hole in image.missing] == [digest_of(b"12345")]
    assert "are fetched by clients from elsewhere" in image.notes[0]


def test_what_the_document_says_it_is_counts(tmp_path):
    docker = MANIFEST.replace(oci.OCI_MANIFEST.encode(), oci.DOCKER_MANIFEST.encode())
    silent = to_json({key: value for key, value in json.loads(MANIFEST.decode()).items() if key != "mediaType"})
    for entry_type, data, expected in [
            (oci.OCI_MANIFEST, docker, oci.DOCKER_MANIFEST), ("application/unknown", docker, oci.DOCKER_MANIFEST),
            ("", MANIFEST, oci.OCI_MANIFEST), (oci.DOCKER_MANIFEST, silent, oci.DOCKER_MANIFEST),
            ("", silent, oci.OCI_MANIFEST)]:
        image, = images(tmp_path, layout_of([descriptor(entry_type, data)], BLOBS + [blob(data)]))
        assert image.root.media_type == expected


def test_layers_in_another_order_than_the_config_lists_are_noted(tmp_path):
    manifest, blobs = oci_manifest(IMAGE, bytes)
    document = json.loads(manifest.decode())
    for layers in (document["layers"][::-1], document["layers"][:1]):
        data = to_json(dict(document, layers=layers))
        found = read(tmp_path, layout_of([descriptor(oci.OCI_MANIFEST, data)], blobs + [blob(data)]))
        assert found.misordered == {IMAGE.image_id}
        assert "its layers are not those that its config lists" in found.images[0].notes[0]
    assert not read(tmp_path, layout(IMAGE, compress=bytes)).misordered


def test_sha512_digests_are_checked_alike(tmp_path):
    entry = {"mediaType": oci.OCI_MANIFEST, "size": len(MANIFEST), "digest": digest_of(MANIFEST, "sha512")}
    name = "blobs/" + entry["digest"].replace(":", "/")
    image, = images(tmp_path, layout_of([entry], BLOBS + [(name, MANIFEST)]))
    assert image.root.digest == entry["digest"]
    assert "is damaged" in refused(tmp_path, layout_of([entry], BLOBS + [(name, MANIFEST[:-1] + b" ")]))


def test_links_that_git_kept_as_text_are_followed(tmp_path):
    members = [(name, ("../../" + name.replace("/", "-")).encode() if name.startswith("blobs/") else data)
               for name, data in layout(IMAGE, NAME)]
    members += [(name.replace("/", "-"), data) for name, data in layout(IMAGE, NAME) if name.startswith("blobs/")]
    image, = images(tmp_path, members)
    assert image.references == (NAME,)


def index_json(value):
    return replaced(layout(IMAGE), index_json=to_json(value))


def with_document(**changes):
    data = to_json(dict(json.loads(MANIFEST.decode()), **changes))
    return layout_of([descriptor(oci.OCI_MANIFEST, data)], BLOBS + [blob(data)])


BAD = [
    (replaced(layout(IMAGE), index_json=b"foobar"), "index.json: is not valid JSON"),
    (index_json([]), "index.json: is a list, expected an object"),
    (index_json({"manifests": {}}), "index.json: manifests: is an object, expected a list"),
    (index_json({"manifests": [1]}), "index.json: is a number, expected an object"),
    (index_json({"manifests": [{}]}), "index.json: digest is ''"),
    (index_json({"manifests": [dict(ENTRY, digest="sha256:../../etc/passwd")]}), "index.json: digest is"),
    (index_json({"manifests": [dict(ENTRY, digest="md5:" + "0" * 32)]}), "index.json: digest is"),
    (index_json({"manifests": [dict(ENTRY, size=-1)]}), "size is missing or negative"),
    (index_json({"manifests": [dict(ENTRY, size=None)]}), "size is missing or negative"),
    (index_json({"manifests": [dict(ENTRY, size=True)]}), "size: is true or false, expected a number"),
    (index_json({"manifests": [dict(ENTRY, mediaType=1)]}), "mediaType: is a number, expected a string"),
    (index_json({"manifests": [annotated(x=1)]}), "annotations: 'x': is a number, expected a string"),
    (index_json({"manifests": [dict(ENTRY, annotations=1)]}), "annotations: is a number, expected an object"),
    (index_json(json.loads(MANIFEST.decode())), "index.json: is an image manifest, not an index"),
    (with_document(layers={}), "layers: is an object, expected a list"),
    (with_document(layers=["x"]), "is a string, expected an object"),
    (with_document(config=None), "digest is ''"),
    (with_document(config=descriptor("application/foreign", b"absent")), "is not in the archive"),
    (with_document(manifests=[]), "claims to be an image and an index at once"),
    (with_document(subject={"digest": "x"}), "subject: digest is 'x'"),
]


@pytest.mark.parametrize("members, word", BAD, ids=[row[1] for row in BAD])
def test_an_error_names_file_member_and_key(tmp_path, members, word):
    assert word in refused(tmp_path, members)


def test_documents_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MAX_CONFIG_BYTES", 10)
    assert "the limit is 10" in refused(tmp_path, layout(IMAGE))
    monkeypatch.setattr(graph, "MAX_MANIFEST_BYTES", len(index_of([ENTRY])))
    assert "a manifest has at most" in refused(tmp_path, layout(IMAGE))
    monkeypatch.setattr(oci_layout, "MAX_MANIFEST_BYTES", 10)
    assert "index.json: has " in refused(tmp_path, layout(IMAGE))


@pytest.mark.parametrize("members, count", [
    (layout(IMAGE), 8), (multi_platform([IMAGE, OTHER], NAME), 21), (multi_platform([IMAGE, OTHER], NAME, [0]), 12)])
def test_descriptors_are_limited_wherever_they_are_listed(tmp_path, monkeypatch, members, count):
    monkeypatch.setattr(documents, "MAX_DESCRIPTORS", count)
    assert len(images(tmp_path, members)) == 1
    monkeypatch.setattr(documents, "MAX_DESCRIPTORS", count - 1)
    assert "lists more than %d manifests, configs and layers" % (count - 1) in refused(tmp_path, members)


def test_an_index_of_nothing_gives_nothing(tmp_path):
    for nothing in ({"manifests": None}, {}, {"manifests": []}):
        assert images(tmp_path, index_json(nothing)) == []


def test_a_skopeo_folder_is_read_byte_for_byte(tmp_path):
    image, = images(tmp_path, skopeo_dir(IMAGE), read_dir)
    assert image.root == oci.Descriptor(oci.OCI_MANIFEST, digest_of(MANIFEST), len(MANIFEST))
    assert (image.references, image.tags, image.platforms) == ((), (), ("linux/amd64",))
    assert len(image.layers) == 2


def test_a_skopeo_folder_may_hold_an_index(tmp_path):
    index = index_of([ENTRY, OTHER_ENTRY])
    members = [("manifest.json", index), (digest_of(MANIFEST)[7:] + ".manifest.json", MANIFEST),
               (digest_of(OTHER_MANIFEST)[7:] + ".manifest.json", OTHER_MANIFEST)]
    members += [(name.rpartition("/")[2], data) for name, data in BLOBS[1:] + OTHER_BLOBS[1:]]
    image, = images(tmp_path, members, read_dir)
    assert image.platforms == ("linux/amd64", "linux/arm64/v8")


def test_an_incomplete_skopeo_folder_is_refused(tmp_path):
    assert "is not in the archive" in refused(tmp_path, without(skopeo_dir(IMAGE), IMAGE.config), read_dir)
    assert "digest is ''" in refused(tmp_path, [("manifest.json", b"{}")], read_dir)


# --- what is attached to an image

SIGNATURE, SIGNATURE_BLOBS = signature(MANIFEST)
ATTESTATION, ATTESTATION_BLOBS = signature(MANIFEST, "application/vnd.dsse.envelope.v1+json")
BILL, BILL_BLOBS = signature(MANIFEST, "text/spdx+json")
HELLO = "index.docker.io/library/hello-world:latest"
TAG = digest_of(MANIFEST).replace(":", "-")
HELLO_NAMES = [("docker.io/library/hello-world:latest",)] + [
    ("docker.io/library/hello-world:%s.%s" % (TAG, suffix),) for suffix in ("sig", "att", "sbom")]


def signed(*kinds, names=None):
    """A layout of an image, a signature, an attestation and an SBOM, all of the image's name."""
    annotations = [dict({REF_NAME: name}, **({"kind": kind} if kind else {}))
                   for kind, name in zip(kinds, names or [HELLO] * 4)]
    return layout_of([descriptor(oci.OCI_MANIFEST, data, annotations=more)
                      for data, more in zip((MANIFEST, SIGNATURE, ATTESTATION, BILL), annotations)],
                     BLOBS + SIGNATURE_BLOBS + ATTESTATION_BLOBS + BILL_BLOBS)


def named(tmp_path, members, fallback="x:1"):
    """Names of the images by digest of their roots, and those with a subject."""
    with open_archive(write(tmp_path / "a.tar", members)) as archive:
        found = read_images(archive)
        assert [note for image in found for note in image.notes] == []
        return {image.root.digest: image.references for image in name_images(found, parse(fallback))}, {
            image.root.digest: image.subject for image in found if image.subject}


COSIGN, HAULER = "dev.cosignproject.cosign/%s", "dev.hauler/%s"
KINDS = [[form % word for word in ("image", "sigs", "atts", "sboms")] for form in (COSIGN, HAULER, "%s")] + [
    ["dev.hauler/imageIndex"] + ["dev.hauler/%s/0123abcd" % word for word in ("sigs", "atts", "sboms")], [""] * 4]


@pytest.mark.parametrize("kinds", KINDS, ids=["cosign save", "Hauler", "kinds alone", "Hauler, several", "no kinds"])
@pytest.mark.parametrize("last", [False, True])
def test_a_name_belongs_to_the_image_and_what_is_attached_has_cosigns_tags(tmp_path, kinds, last):
    members = signed(*kinds)
    if last:
        entries = json.loads(dict(members)["index.json"].decode())["manifests"]
        members = replaced(members, index_json=index_of(entries[::-1]))
    names, subjects = named(tmp_path, members)
    attached = [digest_of(data) for data in (SIGNATURE, ATTESTATION, BILL)]
    assert names == dict(zip([digest_of(MANIFEST)] + attached, HELLO_NAMES))
    assert subjects == dict.fromkeys(attached, digest_of(MANIFEST))


def test_what_is_attached_to_an_index_has_the_tag_of_the_index(tmp_path):
    index = index_of([ENTRY, OTHER_ENTRY])
    mark = {REF_NAME: HELLO}
    names, subjects = named(tmp_path, layout_of(
        [descriptor(oci.OCI_MANIFEST, SIGNATURE, annotations=dict(mark, kind=COSIGN % "sigs")),
         descriptor(oci.OCI_INDEX, index, annotations=dict(mark, kind=COSIGN % "imageIndex"))],
        BLOBS + OTHER_BLOBS + SIGNATURE_BLOBS + [blob(index)]))
    assert names[digest_of(SIGNATURE)] == (
        "docker.io/library/hello-world:%s.sig" % digest_of(index).replace(":", "-"),)
    assert subjects == {digest_of(SIGNATURE): digest_of(index)}


def test_what_an_entry_is_counts_before_what_its_kind_says(tmp_path):
    names, subjects = named(tmp_path, layout_of([
        descriptor(oci.OCI_MANIFEST, MANIFEST, annotations={REF_NAME: HELLO, "kind": COSIGN % "sigs"})], BLOBS))
    assert names == {digest_of(MANIFEST): HELLO_NAMES[0]} and subjects == {}


@pytest.mark.parametrize("own", [
    {REF_NAME: "library/hello-world:%s.sig" % TAG, CONTAINERD_NAME: HELLO}, {REF_NAME: TAG + ".sig"},
    {REF_NAME: "_cosign:%s.sig" % TAG}, {REF_NAME: HELLO.replace("latest", TAG + ".sig")}],
    ids=["newer Hauler", "a bare tag", "SingularityCE", "a full name"])
def test_an_own_tag_of_a_signature_is_kept_beside_its_image(tmp_path, own):
    for image_name in ({REF_NAME: HELLO}, {REF_NAME: "library/hello-world:latest", CONTAINERD_NAME: HELLO}):
        names, subjects = named(tmp_path, layout_of(
            [descriptor(oci.OCI_MANIFEST, MANIFEST, annotations=image_name),
             descriptor(oci.OCI_MANIFEST, SIGNATURE, annotations=own)], BLOBS + SIGNATURE_BLOBS))
        assert names == {digest_of(MANIFEST): HELLO_NAMES[0], digest_of(SIGNATURE): HELLO_NAMES[1]}
        assert subjects == {digest_of(SIGNATURE): digest_of(MANIFEST)}


def test_a_signature_in_a_repository_of_its_own_stays_there_too(tmp_path):
    names, _ = named(tmp_path, layout_of(
        [annotated(**{REF_NAME: HELLO}), descriptor(oci.OCI_MANIFEST, SIGNATURE, annotations={
            REF_NAME: "example.com/signatures:%s.sig" % TAG})], BLOBS + SIGNATURE_BLOBS))
    assert names[digest_of(SIGNATURE)] == ("example.com/signatures:%s.sig" % TAG,) + HELLO_NAMES[1]


@pytest.mark.parametrize("own, name", [
    ("_cosign:%s.sig" % TAG, "docker.io/library/x:%s.sig" % TAG), ("quay.io/a:%s.sig" % TAG, "quay.io/a:%s.sig" % TAG),
    (HELLO, "docker.io/library/hello-world:latest")])
def test_a_signature_without_its_image_keeps_its_name(tmp_path, own, name):
    names, _ = named(tmp_path, layout_of(
        [descriptor(oci.OCI_MANIFEST, SIGNATURE, annotations={REF_NAME: own, "kind": COSIGN % "sigs"})],
        SIGNATURE_BLOBS))
    assert names == {digest_of(SIGNATURE): (name,)}


def test_a_referrer_of_its_images_name_is_found_by_its_subject_alone(tmp_path):
    data, blobs = artifact(subject=ENTRY)
    for kind in ({"kind": "dev.hauler/referrers/" + digest_of(data)[7:]}, {}):
        names, subjects = named(tmp_path, layout_of(
            [descriptor(oci.OCI_MANIFEST, data, annotations=dict(kind, **{REF_NAME: HELLO})),
             annotated(**{REF_NAME: HELLO})], BLOBS + blobs))
        assert names == {digest_of(MANIFEST): HELLO_NAMES[0], digest_of(data): ()}
        assert subjects == {digest_of(data): digest_of(MANIFEST)}
