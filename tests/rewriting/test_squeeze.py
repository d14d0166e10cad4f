import gzip
import json
import os

import pytest

from builder.reading import decompress, oci
from builder.reading.archive import open_archive
from builder.reading.decompress import Expansion
from builder.reading.errors import InputError
from builder.reading.images import read_images
from builder.payload.compression import XZ
from builder.payload.packing import pack
from builder.payload.segments import layer_segments
from builder.rewriting.squeeze import Squeezer, estimated_bytes
from tests.support.reading import bytes_of, document, read
from tests.support.samples import (NAME, attested, blob, crane, descriptor, docker_save_old, gzipped, layout, layout_of,
                                   multi_platform, oci_manifest, sample, signature, tar_of, to_json, with_layers, write,
                                   zstd_stored)

IMAGE = sample()
PLAIN_LAYERS = set(IMAGE.diff_ids)


def read_members(tmp_path, members):
    return read(write(tmp_path / "a.tar", members))


def squeeze(folder, images, notes=()):
    """The squeezed images; fails the test if there are other notes on what is left out."""
    squeezed, left_out = Squeezer(str(folder), lambda *done: None).squeeze(images, Expansion(1 << 20))
    assert left_out == list(notes)
    return squeezed


def layer_entries(image):
    return document(image.manifests[0])["layers"]


def digests(blobs):
    return {blob.digest for blob in blobs}


def manifest_with(layers, media_types, config=IMAGE.config, **more):
    """A layout of one image whose layers have these bytes and types."""
    entries = [descriptor(media_type, layer, **more) for media_type, layer in zip(media_types, layers)]
    data = to_json({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST,
                    "config": descriptor(oci.OCI_CONFIG, config), "layers": entries})
    return layout_of([descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: NAME})],
                     [blob(data), blob(config)] + [blob(layer) for layer in layers])


@pytest.mark.parametrize("members, layer_type", [
    (layout(IMAGE, NAME), oci.OCI_LAYER),
    (crane(IMAGE, NAME), oci.DOCKER_LAYER),
], ids=["layout", "docker-archive"])
def test_layers_are_plain_and_the_image_is_the_same(tmp_path, members, layer_type):
    before, = read_members(tmp_path, members)
    image, = squeeze(tmp_path, [before])
    assert digests(image.layers) == PLAIN_LAYERS and [bytes_of(layer) for layer in image.layers] == list(IMAGE.layers)
    assert layer_entries(image) == [descriptor(layer_type, layer) for layer in IMAGE.layers]
    assert image.configs == before.configs
    assert (image.references, image.platforms) == (before.references, before.platforms)


def test_the_note_has_the_old_digest_and_the_new_one(tmp_path):
    before, = read_members(tmp_path, layout(IMAGE, NAME))
    image, = squeeze(tmp_path, [before])
    assert image.root == oci.Descriptor(oci.OCI_MANIFEST, image.manifests[0].digest, image.manifests[0].size)
    assert image.notes == ("%s: --squeeze: its digest was %s and is now %s"
                           % (NAME, before.root.digest, image.root.digest),)


@pytest.mark.parametrize("producer", [docker_save_old, lambda *a: layout(*a, compress=bytes)])
def test_plain_layers_need_nothing(tmp_path, producer):
    images = read_members(tmp_path, producer(IMAGE, NAME))
    assert squeeze(tmp_path, images) == images


def test_keys_of_the_manifest_keep_their_order_and_what_is_unknown_stays(tmp_path):
    data, blobs = oci_manifest(IMAGE, annotations={"b": "1", "a": "2"}, unknown=[1])
    entry = descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: NAME})
    image, = read_members(tmp_path, layout_of([entry], blobs))
    before = json.loads(data.decode())
    after = document(squeeze(tmp_path, [image])[0].manifests[0])
    assert list(after) == list(before)
    assert {key: value for key, value in after.items() if key != "layers"} == {
        key: value for key, value in before.items() if key != "layers"}


def test_what_was_said_of_compressed_bytes_is_not_said_of_plain_ones(tmp_path):
    layers = [gzipped(layer) for layer in IMAGE.layers]
    toc = {"containerd.io/snapshot/stargz/toc.digest": oci.digest_of(b"toc")}
    image, = read_members(tmp_path, manifest_with(layers, [oci.OCI_LAYER_GZIP] * 2, annotations=toc))
    assert layer_entries(squeeze(tmp_path, [image])[0]) == [descriptor(oci.OCI_LAYER, layer) for layer in IMAGE.layers]


def test_an_index_leads_to_the_new_manifests_and_keeps_all_else(tmp_path):
    images = [IMAGE, sample("arm", platform="linux/arm64"), sample("gone", platform="linux/s390x")]
    before, = read_members(tmp_path, multi_platform(images, NAME, left_out=[2]))
    image, = squeeze(tmp_path, [before])
    old, new = document(before.manifests[0])["manifests"], document(image.manifests[0])["manifests"]
    assert [entry["platform"] for entry in new] == [entry["platform"] for entry in old]
    assert new[2] == old[2] and image.missing == before.missing
    assert [entry["digest"] for entry in new[:2]] == [part.digest for part in image.manifests[1:]]
    assert {layer.digest for layer in image.layers} == set(IMAGE.diff_ids + images[1].diff_ids)
    assert before.root.digest != image.root.digest == image.manifests[0].digest


def test_attestations_stay_as_they_are(tmp_path):
    before, = read_members(tmp_path, attested([IMAGE], NAME))
    image, = squeeze(tmp_path, [before])
    assert document(image.manifests[0])["manifests"][1] == document(before.manifests[0])["manifests"][1]
    assert before.manifests[2] in image.manifests and PLAIN_LAYERS < digests(image.layers)


@pytest.mark.parametrize("media_type", [
    oci.OCI_LAYER_GZIP + "+encrypted", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/vnd.in-toto+json"])
def test_a_layer_of_another_kind_stays_as_it_is(tmp_path, media_type):
    layers = [gzipped(layer) for layer in IMAGE.layers]
    before, = read_members(tmp_path, manifest_with(layers, [oci.OCI_LAYER_GZIP, media_type]))
    image, = squeeze(tmp_path, [before])
    assert layer_entries(image)[1] == layer_entries(before)[1]
    assert layer_entries(image)[0] == descriptor(oci.OCI_LAYER, IMAGE.layers[0])
    assert digests(image.layers) == {IMAGE.diff_ids[0], oci.digest_of(layers[1])}


def test_an_artifact_with_layers_that_look_like_an_images_stays_as_it_is(tmp_path):
    layer = gzipped(IMAGE.layers[0])
    data = to_json({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST,
                    "config": descriptor("application/vnd.cncf.helm.config.v1+json", b"{}"),
                    "layers": [descriptor(oci.OCI_LAYER_GZIP, layer)]})
    images = read_members(tmp_path, layout_of([descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: NAME})],
                                      [blob(data), blob(b"{}"), blob(layer)]))
    assert squeeze(tmp_path, images) == images


def test_the_bytes_of_a_layer_decide_what_it_is_not_its_type(tmp_path):
    images = read_members(tmp_path, manifest_with(IMAGE.layers, [oci.OCI_LAYER_GZIP] * 2))
    assert squeeze(tmp_path, images) == images


def test_a_layer_that_is_not_that_of_the_config_is_refused_by_name(tmp_path):
    layers = [gzipped(layer) for layer in reversed(IMAGE.layers)]
    image, = read_members(tmp_path, manifest_with(layers, [oci.OCI_LAYER_GZIP] * 2))
    with pytest.raises(InputError) as error:
        squeeze(tmp_path, [image])
    assert str(error.value).startswith("%s: layer %s: is damaged or not the layer of the config"
                                       % (NAME, oci.digest_of(layers[0])))


def test_a_config_with_another_number_of_layers_is_refused(tmp_path):
    image, = read_members(tmp_path, manifest_with([gzipped(IMAGE.layers[0])], [oci.OCI_LAYER_GZIP]))
    with pytest.raises(InputError, match="has 1 layers, its config 2 diff_ids"):
        squeeze(tmp_path, [image])


def test_a_truncated_layer_is_refused_by_name(tmp_path):
    layers = [gzipped(IMAGE.layers[0])[:-4], gzipped(IMAGE.layers[1])]
    image, = read_members(tmp_path, manifest_with(layers, [oci.OCI_LAYER_GZIP] * 2))
    with pytest.raises(InputError, match="layer %s: its gzip data is truncated" % oci.digest_of(layers[0])):
        squeeze(tmp_path, [image])


@pytest.mark.parametrize("name", ["example.com/a/b@{}", "example.com/a/b:1@{}"])
def test_an_image_that_is_named_by_its_digest_is_refused(tmp_path, name):
    image, = read_members(tmp_path, layout(IMAGE, NAME))
    named = image._replace(references=(name.format(image.root.digest),))
    with pytest.raises(InputError, match="is named by its digest, which --squeeze would change to sha256:"):
        squeeze(tmp_path, [named])


def test_a_digest_as_name_does_not_matter_where_nothing_changes(tmp_path):
    image, = read_members(tmp_path, layout(IMAGE, NAME, compress=bytes))
    named = image._replace(references=("example.com/a/b@" + image.root.digest,))
    assert squeeze(tmp_path, [named]) == [named]


def test_a_layer_of_several_images_is_unpacked_once(tmp_path):
    other = with_layers(IMAGE.layers[:1] + sample("b").layers[1:])
    folder = tmp_path / "layers"
    folder.mkdir()
    images = [*read_members(tmp_path, layout(IMAGE, NAME)),
              *read_members(tmp_path, layout(other, "docker.io/library/b:1"))]
    first, second = squeeze(folder, images)
    assert len(os.listdir(folder)) == 3
    assert first.layers[0] == second.layers[0]


def test_zstd_layers_are_decompressed(tmp_path, zstd_program):
    images = read_members(tmp_path, layout(IMAGE, NAME, compress=zstd_stored))
    image, = squeeze(tmp_path, images)
    assert digests(image.layers) == PLAIN_LAYERS
    assert {entry["mediaType"] for entry in layer_entries(image)} == {oci.OCI_LAYER}


def test_zstd_layers_stay_with_a_note_where_nothing_can_decompress_them(tmp_path, monkeypatch):
    images = read_members(tmp_path, layout(IMAGE, NAME, compress=zstd_stored))
    monkeypatch.setattr(decompress, "_has_zstd_module", lambda: False)
    monkeypatch.setenv("PATH", "")
    image, = squeeze(tmp_path, images)
    assert image._replace(notes=()) == images[0]._replace(notes=()) and "install the zstd program" in image.notes[-1]


def test_what_refers_to_a_digest_that_changes_is_left_out_with_a_note(tmp_path):
    manifest, blobs = oci_manifest(IMAGE)
    plain, more = oci_manifest(sample("plain"), bytes)
    entries = [descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: name})
               for data, name in ((manifest, NAME), (plain, "example.com/plain:1"))]
    for data in (manifest, plain):
        signed, parts = signature(data, subject=descriptor(oci.OCI_MANIFEST, data))
        entries.append(descriptor(oci.OCI_MANIFEST, signed))
        more += parts
    images = read_members(tmp_path, layout_of(entries, blobs + more))
    lost, kept = [image.root.digest for image in images if image.subject]
    squeezed = squeeze(tmp_path, images, ["%s: --squeeze: refers to a digest that changed: left out" % lost])
    assert [image.root.digest for image in squeezed if image.subject] == [kept] and len(squeezed) == 3


def test_layers_that_expand_beyond_what_their_archive_may_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(decompress, "_RATIO_FREE_BYTES", 3000)
    images = read_members(tmp_path, layout(IMAGE, NAME))
    assert sum(map(len, IMAGE.layers)) > 3000 > len(IMAGE.layers[0])
    with pytest.raises(InputError, match="layer %s: expands to more than" % images[0].layers[1].digest):
        Squeezer(str(tmp_path), lambda *done: None).squeeze(images, Expansion(1))


def text_image(line_count):
    words = b"".join(b"%d in words is a number with %d digits\n" % (n * n, len(str(n))) for n in range(line_count))
    return with_layers([tar_of([("text", words)])])


def test_the_estimate_of_what_squeezing_gives_is_of_the_right_size(tmp_path):
    plain = text_image(60000).layers[0]
    layer = gzip.compress(plain, mtime=0)
    config = with_layers([plain])
    images = read_members(tmp_path, manifest_with([layer], [oci.OCI_LAYER_GZIP], config.config))
    packed = pack(layer_segments(squeeze(tmp_path, images)), str(tmp_path), XZ, lambda *step: None)
    truth = sum(segment.size for segment in packed)
    assert truth / 2 < estimated_bytes(images, True) < truth * 2
    assert len(layer) <= estimated_bytes(images, False) < len(layer) * 1.02


def test_an_empty_layer_is_no_obstacle_to_an_estimate(tmp_path):
    config = with_layers([IMAGE.layers[0], b""]).config
    layers = [gzipped(IMAGE.layers[0]), b""]
    images = read_members(tmp_path, manifest_with(layers, [oci.OCI_LAYER_GZIP, oci.OCI_LAYER], config))
    assert estimated_bytes(images, True) > 0


def test_there_is_no_estimate_where_squeezing_makes_no_difference(tmp_path):
    assert estimated_bytes(read_members(tmp_path, docker_save_old(IMAGE, NAME)), True) == 0


def test_archives_may_be_closed_once_the_layers_are_unpacked(tmp_path):
    with open_archive(write(tmp_path / "a.tar", layout(IMAGE, NAME))) as archive:
        image, = squeeze(tmp_path, read_images(archive))
    assert [bytes_of(layer) for layer in image.layers] == list(IMAGE.layers)
