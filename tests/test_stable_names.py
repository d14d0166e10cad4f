"""A layer has the same chunks in every seed: whatever else is in it, in whatever order, and however the site is set."""
import pytest

from builder import pipeline
from builder.kubernetes.site import Site
from builder.payload import compression
from builder.payload.chunks import CHUNK_BYTES
from tests.support import builds, samples

ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00"  # the beginning of a program for x86-64
NOISE, WORDS = samples.noise(2 * CHUNK_BYTES), b"words of a program " * 20000
LAYERS = {
    "what is compressed already": samples.tar_of([("noise", NOISE)]),
    "text": samples.tar_of([("text", WORDS)]),
    "a program for x86-64": samples.tar_of([("program", ELF + WORDS)]),
}
IMAGE = samples.with_layers(LAYERS.values())
SMALL, LARGE = samples.sample("small", 3), samples.with_layers([samples.tar_of([("other", samples.noise(700000, 5))])])
SHARING = samples.with_layers([LAYERS["text"], samples.tar_of([("own", samples.noise(300000, 6))])], "linux/arm64")
NAMES = {"image": IMAGE, "small": SMALL, "large": LARGE, "sharing": SHARING}
SITE = Site(builds.IMAGE, expose="nodeport")
COMPANY = {  # images in their order, the site
    "alone": (["image"], SITE),
    "before another": (["image", "large"], SITE),
    "behind another": (["large", "image"], SITE),
    "among small ones": (["small", "image", "large"], SITE),
    "behind one of another platform that shares a layer": (["sharing", "image"], SITE),
    "before one that shares a layer": (["image", "sharing", "small"], SITE),
    "under labels and annotations": (["image"], SITE._replace(labels={"a": "b"}, annotations={"c": "d" * 1000})),
    "in another namespace, by a Deployment": (["image"], SITE._replace(namespace="other", replicas=2)),
    "on every node": (["image"], SITE._replace(expose="hostport", node_port=30000)),
    "by another image and interpreter": (["image", "small"], SITE._replace(image="x:1", interpreter="/usr/bin/python3")),
}


@pytest.fixture(scope="module")
def chunks(tmp_path_factory):
    """Company -> digest of a layer -> names of its chunks."""
    found = {}
    for name, (images, site) in COMPANY.items():
        folder = tmp_path_factory.mktemp("built")
        archives = [("", samples.write(folder / (one + ".tar"), samples.podman_save(
            NAMES[one], "docker.io/library/%s:1" % one))) for one in images]
        result = pipeline.build(builds.request(folder, "out", site, archives, compression=compression.AUTO), None, lambda *step: None)
        found[name] = {segment.blobs[0][0]: (segment.compression, segment.chunks)
                       for segment in result.payload.contents.segments if len(segment.blobs) == 1}
    return found


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("company", COMPANY)
def test_a_layer_has_the_same_chunks_in_any_company(chunks, company, layer):
    digest = samples.oci.digest_of(LAYERS[layer])
    assert chunks[company][digest] == chunks["alone"][digest]


def test_each_layer_is_compressed_by_what_it_is(chunks):
    found = [chunks["alone"][samples.oci.digest_of(layer)][0] for layer in LAYERS.values()]
    assert found == ["", "xz", "xz"]
