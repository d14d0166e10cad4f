"""Which blobs travel together."""
import io

import pytest

from builder.payload.segments import ALONE_BYTES, TOGETHER_BYTES, last_segment, layer_segments
from builder.reading.oci import Blob, Descriptor, Image

SMALL = 60 << 10


def blob(name, size=SMALL):
    return Blob("sha256:" + name, size, io.BytesIO)


def image(name, *layers):
    root = blob("manifest-" + name, 500)
    return Image((name,), Descriptor("", root.digest, root.size), (root,), (blob("config-" + name, 900),), layers,
                 ("linux/amd64",), (), "", ())


def names(segments):
    return [[part.digest[len("sha256:"):] for part in segment] for segment in segments]


def test_a_layer_of_at_least_one_chunk_is_alone():
    found = layer_segments([image("a", blob("x", ALONE_BYTES), blob("y", ALONE_BYTES - 1), blob("z", 1 << 30),
                                  blob("v", 0))])
    assert names(found) == [["x"], ["z"], ["y", "v"]]


def test_smaller_layers_of_an_image_stay_together_and_in_order():
    assert names(layer_segments([image("a", blob("c"), blob("a"), blob("b"))])) == [["c", "a", "b"]]


def test_whole_images_are_put_together_until_they_make_a_segment():
    half = [blob("%d" % number, ALONE_BYTES - 1) for number in range(TOGETHER_BYTES // ALONE_BYTES // 2 + 1)]
    other = [blob("o%d" % number, ALONE_BYTES - 1) for number in range(len(half))]
    found = layer_segments([image("a", *half), image("b", *other), image("c", blob("last"))])
    assert names(found) == [names([half + other])[0], ["last"]]


def test_a_layer_of_several_images_travels_once_with_the_first():
    shared, large = blob("shared"), blob("large", ALONE_BYTES)
    assert names(layer_segments([image("a", shared, large), image("b", large, blob("own"), shared)])) == [
        ["large"], ["shared", "own"]]


def test_layers_that_are_known_are_left_out():
    large, small = blob("large", ALONE_BYTES), blob("small")
    assert names(layer_segments([image("a", large, small, blob("new"))], {large.digest, small.digest})) == [["new"]]
    assert layer_segments([image("a", large, small)], {large.digest, small.digest}) == []


def test_manifests_and_then_configs_are_the_last_segment_each_once():
    one, two = image("a"), image("b")._replace(configs=image("a").configs)
    assert names([last_segment([one, two, one])]) == [["manifest-a", "manifest-b", "config-a"]]


def test_what_is_a_manifest_of_one_image_and_a_layer_of_another_travels_in_the_last_segment():
    child = blob("manifest-child", 1 << 20)
    index = image("index")._replace(manifests=image("index").manifests + (child,))
    artifact = image("artifact", child, blob("layer"))
    assert names(layer_segments([artifact, index])) == [["layer"]]
    assert "manifest-child" in names([last_segment([artifact, index])])[0]


@pytest.mark.parametrize("count", [0, 1])
def test_images_without_layers_make_no_segment_of_layers(count):
    assert layer_segments([image("a")] * count) == []
