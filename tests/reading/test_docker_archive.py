import bz2
import gzip
import json
import lzma

import pytest

from builder.reading import docker_archive, documents, oci
from builder.reading.archive import open_archive
from builder.reading.docker_archive import build_images, read_items
from builder.reading.oci import digest_of
from tests.support.reading import bytes_of, refusal
from tests.support.samples import (HARD, NAME, Link, crane, docker_save_old, gzipped, item, jib_old, joined,
                                   podman_save, sample, tar_of, to_json, with_layers, write, zstd_stored)

pytestmark = pytest.mark.usefixtures("zstd_program")

IMAGE = sample()
FORMS = [crane, docker_save_old, podman_save, jib_old]


def images(tmp_path, members):
    """The images, each blob with its bytes in place of its reader."""
    with open_archive(write(tmp_path / "a.tar", members)) as archive:
        return [image._replace(**{kind: tuple(blob._replace(open=bytes_of(blob)) for blob in getattr(image, kind))
                                  for kind in ("manifests", "configs", "layers")})
                for image in build_images(archive, read_items(archive))]


def refused(tmp_path, members):
    return refusal(tmp_path / "a.tar", lambda: images(tmp_path, members))


def archive_of(image=IMAGE, files=None, names=None, config="config.json", **layers):
    """A docker-archive with any layer files; by default those of the image, plain."""
    members = {"layer-%d.tar" % number: layer for number, layer in enumerate(image.layers)}
    members.update({name.replace("_", "-") + ".tar": data for name, data in layers.items()})
    files = ["layer-%d.tar" % number for number in range(len(image.layers))] if files is None else files
    return [(config, image.config), ("manifest.json", to_json([item(config, files, names)]))] + list(members.items())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_image_its_id_and_name(tmp_path, form):
    image, = images(tmp_path, form(IMAGE, NAME))
    assert image.references == (NAME,)
    assert [blob.open for blob in image.configs] == [IMAGE.config]
    assert [gzip.decompress(layer.open) if layer.open[:2] == b"\x1f\x8b" else layer.open for layer in image.layers] \
        == list(IMAGE.layers)
    assert (image.platforms, image.missing, image.subject, image.notes) == (("linux/amd64",), (), "", ())
    assert image.root == oci.Descriptor(oci.DOCKER_MANIFEST, image.manifests[0].digest, image.manifests[0].size)


def test_the_manifest_is_built_byte_for_byte(tmp_path):
    image, = images(tmp_path, crane(IMAGE, NAME))
    layers = [gzipped(layer) for layer in IMAGE.layers]
    entry = '{"mediaType":"%s","size":%d,"digest":"%s"}'
    expected = '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' % (
        oci.DOCKER_MANIFEST, entry % (oci.DOCKER_CONFIG, len(IMAGE.config), IMAGE.image_id),
        ",".join(entry % (oci.DOCKER_LAYER_GZIP, len(layer), digest_of(layer)) for layer in layers))
    assert image.manifests[0].open.decode() == expected


LAYER = IMAGE.layers[0]
COMPRESSIONS = [
    ("plain", LAYER, oci.DOCKER_MANIFEST, oci.DOCKER_CONFIG, oci.DOCKER_LAYER),
    ("gzip", gzipped(LAYER), oci.DOCKER_MANIFEST, oci.DOCKER_CONFIG, oci.DOCKER_LAYER_GZIP),
    ("gzip in two streams", gzipped(LAYER[:99]) + gzipped(LAYER[99:]), oci.DOCKER_MANIFEST, oci.DOCKER_CONFIG,
     oci.DOCKER_LAYER_GZIP),
    ("zstd", zstd_stored(LAYER), oci.OCI_MANIFEST, oci.OCI_CONFIG, oci.OCI_LAYER_ZSTD),
]


@pytest.mark.parametrize("data, manifest_type, config_type, layer_type", [row[1:] for row in COMPRESSIONS],
                         ids=[row[0] for row in COMPRESSIONS])
def test_the_media_type_is_what_the_bytes_are_whatever_the_name(tmp_path, data, manifest_type, config_type, layer_type):
    image, = images(tmp_path, archive_of(layer_0=data))
    manifest = json.loads(image.manifests[0].open.decode())
    assert manifest["mediaType"] == image.root.media_type == manifest_type
    assert manifest["config"]["mediaType"] == config_type
    assert manifest["layers"][0] == {"mediaType": layer_type, "size": len(data), "digest": digest_of(data)}
    plain_type = oci.OCI_LAYER if manifest_type == oci.OCI_MANIFEST else oci.DOCKER_LAYER
    assert manifest["layers"][1]["mediaType"] == plain_type
    assert image.layers[0].open == data


@pytest.mark.parametrize("layer", [b"", bytes(512), bytes(1024), bytes(10240), tar_of([("BZh91AY", b"1")])])
def test_odd_but_legal_layers_are_plain(tmp_path, layer):
    image, = images(tmp_path, archive_of(with_layers([layer])))
    assert json.loads(image.manifests[0].open.decode())["layers"][0]["mediaType"] == oci.DOCKER_LAYER


def test_equal_layers_stay_twice_in_the_manifest_and_are_kept_once(tmp_path):
    twice = with_layers([LAYER, IMAGE.layers[1], LAYER])
    for form in FORMS:
        image, = images(tmp_path, form(twice, NAME))
        assert len(json.loads(image.manifests[0].open.decode())["layers"]) == 3
        assert len(image.layers) == 2


def test_an_image_without_layers_is_read(tmp_path):
    image, = images(tmp_path, archive_of(with_layers([])))
    assert image.layers == () and b'"layers":[]' in image.manifests[0].open
    empty = to_json([{"Config": "c", "Layers": None, "RepoTags": None}])
    image, = images(tmp_path, [("c", with_layers([]).config), ("manifest.json", empty)])
    assert image.layers == () and image.references == ()


def test_several_images_share_a_layer_that_is_read_once(tmp_path):
    big = tar_of([("big", bytes(50000))])
    one, two = with_layers([big]), with_layers([big, LAYER])
    counts = []
    path = write(tmp_path / "a.tar", joined(podman_save(one, "a"), podman_save(two, "b")))
    with open_archive(path, counts.append) as archive:
        first, second = build_images(archive, read_items(archive))
    assert first.layers[0][:2] == second.layers[0][:2] == (digest_of(big), len(big))
    assert len(big) < sum(counts) < 2 * len(big)


def test_a_compressed_layer_is_read_once_but_for_its_first_block(tmp_path):
    big = with_layers([tar_of([("x", bytes(range(256)) * 4000)])])
    counts = []
    with open_archive(write(tmp_path / "a.tar", crane(big, NAME)), counts.append) as archive:
        build_images(archive, read_items(archive))
    assert sum(counts) < len(gzipped(big.layers[0])) + 4096


@pytest.mark.parametrize("tags, references", [
    (None, ()), ([], ()), (["<none>:<none>"], ()), ([""], ()),
    (["alpine:3.10"], ("docker.io/library/alpine:3.10",)),
    (["alpine"], ("docker.io/library/alpine:latest",)),
    (["index.docker.io/library/busybox:latest", "busybox"], ("docker.io/library/busybox:latest",)),
    (["x:1", "quay.io/a/b:2"], ("docker.io/library/x:1", "quay.io/a/b:2")),
])
def test_names_are_normalised_and_may_be_absent(tmp_path, tags, references):
    image, = images(tmp_path, archive_of(names=tags))
    assert image.references == references and image.notes == ()


def test_an_illegal_name_is_noted_and_the_others_stay(tmp_path):
    image, = images(tmp_path, archive_of(names=["Not Legal", "x:1"]))
    assert image.references == ("docker.io/library/x:1",)
    assert "RepoTags: Not Legal: is not an image name" in image.notes[0] and "is left out" in image.notes[0]


def test_a_digest_name_gets_a_tag_and_a_note(tmp_path):
    image, = images(tmp_path, archive_of(names=["x@sha256:" + "ab" * 32]))
    assert image.references == ("docker.io/library/x:sha256-abababababab",)
    assert "this kind of archive does not keep manifests" in image.notes[0]


def test_keys_are_read_in_any_case_but_exact_ones_first(tmp_path):
    manifest = {"config": "wrong", "Config": "c", "LAYERS": ["layer-0.tar", "layer-1.tar"], "repotags": ["x:1"],
                "Parent": "p", "LayerSources": {"sha256:x": 1}}
    members = dict(archive_of(config="c"), **{"manifest.json": to_json([manifest])})
    image, = images(tmp_path, list(members.items()))
    assert image.references == ("docker.io/library/x:1",)


def test_layers_may_be_links_and_absolute(tmp_path):
    members = archive_of(files=["/x/layer.tar", "./y.tar"]) + [("x/layer.tar", Link("../layer-0.tar")),
                                                              ("y.tar", Link("layer-1.tar", HARD))]
    assert len(images(tmp_path, members)[0].layers) == 2


def test_a_config_under_the_name_of_another_digest_is_noted(tmp_path):
    wrong = "0" * 64 + ".json"
    image, = images(tmp_path, archive_of(config=wrong))
    assert image.configs[0].digest == IMAGE.image_id
    assert wrong in image.notes[0] and IMAGE.image_id in image.notes[0]
    assert images(tmp_path, archive_of(config="sha256:" + IMAGE.image_id[7:]))[0].notes == ()


def config(**changes):
    return to_json(dict(json.loads(IMAGE.config.decode()), **changes))


def with_manifest(value):
    return list(dict(archive_of(), **{"manifest.json": to_json(value)}).items())


def with_config(data):
    return list(dict(archive_of(), **{"config.json": data}).items())


GOOD_ITEM = item("config.json", ["layer-0.tar", "layer-1.tar"], [])

BAD = [
    (with_manifest(None), "manifest.json: is null, expected a list"),
    (with_manifest("x"), "manifest.json: is a string, expected a list"),
    (with_manifest([1]), "manifest.json: image 1: is a number, expected an object"),
    (with_manifest([{}]), "manifest.json: image 1: Config is missing"),
    (with_manifest([GOOD_ITEM, dict(GOOD_ITEM, Config=1)]), "image 2: Config: is a number, expected a string"),
    (with_manifest([dict(GOOD_ITEM, Layers="x")]), "image 1: Layers: is a string, expected a list"),
    (with_manifest([dict(GOOD_ITEM, Layers=[1])]), "image 1: Layers: is a number, expected a string"),
    (with_manifest([dict(GOOD_ITEM, RepoTags={})]), "image 1: RepoTags: is an object, expected a list"),
    (with_manifest([dict(GOOD_ITEM, Config="nothing")]), "nothing: is not in the archive"),
    (with_manifest([dict(GOOD_ITEM, Config="../x")]), "../x: is not in the archive"),
    (with_manifest([dict(GOOD_ITEM, Layers=["layer-0.tar", "no\n"])]), "no\\n: is not in the archive"),
    (with_manifest([dict(GOOD_ITEM, Layers=["layer-0.tar"])]), "lists 1 layers for config.json, whose config has 2"),
    (with_manifest([dict(GOOD_ITEM, Layers=["layer-1.tar", "layer-0.tar"])]),
     "layer-1.tar: is damaged or not the layer of the config"),
    (with_manifest([dict(GOOD_ITEM, Layers=["layer-0.tar", ""])]), "pack leaves out base layers"),
    (archive_of(layer_1=b""), "layer-1.tar: stands for a layer that is not in the archive"),
    (archive_of(layer_1=IMAGE.layers[1][:-1]), "layer-1.tar: is damaged"),
    (archive_of(layer_1=gzipped(IMAGE.layers[1])[:-1]), "layer-1.tar: its gzip data is truncated"),
    (archive_of(layer_1=lzma.compress(IMAGE.layers[1])), "is a layer compressed with xz"),
    (archive_of(layer_1=bz2.compress(IMAGE.layers[1])), "is a layer compressed with bzip2"),
    (with_config(b"{"), "config.json: is not valid JSON"),
    (with_config(b"[]"), "config.json: is a list, expected an object"),
    (with_config(config(rootfs=None)), "has 0 diff_ids"),
    (with_config(config(rootfs=[])), "config.json: rootfs: is a list, expected an object"),
    (with_config(config(rootfs={"diff_ids": ["x"] * 2})), "config.json: rootfs: diff_ids: 'x' is not a digest"),
    (with_config(config(os=1)), "config.json: os: is a number, expected a string"),
]


@pytest.mark.parametrize("members, word", BAD, ids=[row[1] for row in BAD])
def test_an_error_names_file_member_and_key(tmp_path, members, word):
    assert word in refused(tmp_path, members)


def test_documents_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MAX_CONFIG_BYTES", 100)
    assert "the limit is 100" in refused(tmp_path, archive_of())
    monkeypatch.setattr(documents, "MAX_DESCRIPTORS", 2)
    assert "image 1: is the first beyond 2 layers and names in all" in refused(tmp_path, archive_of())
    monkeypatch.setattr(docker_archive, "MAX_MANIFEST_BYTES", 10)
    assert "manifest.json: has " in refused(tmp_path, archive_of())


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm/v7", "windows/amd64"])
def test_the_platform_is_that_of_the_config(tmp_path, platform):
    assert images(tmp_path, crane(sample(platform=platform), NAME))[0].platforms == (platform,)


def test_the_layer_of_another_algorithm_is_checked_too(tmp_path):
    image = IMAGE._replace(config=config(rootfs={"diff_ids": [digest_of(x, "sha512") for x in IMAGE.layers]}))
    assert [layer.digest for layer in images(tmp_path, archive_of(image))[0].layers] == IMAGE.diff_ids
