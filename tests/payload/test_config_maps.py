"""How many ConfigMaps layers of their own cost, compared with one solid archive of everything.

By arithmetic alone: segments as layer_segments makes them, of layers that travel as `share` of their bytes. What
compression loses by starting anew with each layer is left out: measured on files of a Linux system, 0.1 to 0.3 %.

A segment's last chunk is half empty on average, so N segments cost N/2 ConfigMaps: at most a tenth of all where a layer
of its own travels as five chunks (920 KiB) or more on average. Many layers of little more than a chunk cost more, up
to one ConfigMap each; that is the price of chunks that depend on nothing but the layer.
"""
import io
import random

import pytest

from builder.payload.chunks import CHUNK_BYTES, count_of
from builder.payload.segments import ALONE_BYTES, last_segment, layer_segments
from builder.reading.oci import Blob, Descriptor, Image

KIB = 1 << 10
MANIFEST_BYTES, CONFIG_BYTES = 2 * KIB, 6 * KIB
TAR_BLOCK = 512  # a member's header in the solid archive, and the unit that it is padded to

# Layers in KiB, in the manner of what clusters run, bases first. The same base is the same layer.
DEBIAN, ALPINE, BUSYBOX = ("debian", 76000), ("alpine", 7600), ("busybox", 4300)
DISTROLESS = tuple(("distroless-%d" % size, size) for size in (330, 40, 1520, 3, 10, 1, 2, 3, 1, 280))
MIXED = (
    (DEBIAN, 108000, 4, 7, 5, 5),  # web servers and proxies
    (ALPINE, 12, 5600, 1, 4, 30200),
    (DEBIAN, 21000, 46000, 2),
    (DEBIAN, 9, 2100, 310, 78000, 6),  # databases and caches
    (DEBIAN, 9600, 4100, 14000, 2, 280000, 60, 22, 14),
    (ALPINE, 3, 1600, 31000, 1),
    (DEBIAN, 3300, 38000, 1),  # interpreters
    (DEBIAN, 24000, 48000, 110000, 4),
    (ALPINE, 113000, 5200, 1),
    (BUSYBOX, 136000, 128000, 2, 90, 330, 190, 12),  # monitoring
    (BUSYBOX, 33000, 31000, 9, 1),
    (BUSYBOX, 21500),
    (ALPINE, 5000, 410, 160000, 220000, 200, 10),
    (*DISTROLESS, 63000),  # controllers
    (*DISTROLESS, 47000),
    (*DISTROLESS, 39000, 180),
    (*DISTROLESS, 71000, 66000),
    (*DISTROLESS, 16000, 52000),
    (740,),  # a pause image
    (ALPINE, 600, 17500, 1, 1),  # a registry
)


def images_of(table):
    """`table`: images, each of layers, (name, KiB) or KiB alone for those that no other has."""
    found = []
    for number, row in enumerate(table):
        layers = [layer if isinstance(layer, tuple) else ("%d-%d" % (number, place), layer)
                  for place, layer in enumerate(row)]
        root = blob("manifest-%d" % number, MANIFEST_BYTES)
        found.append(Image((root.digest,), Descriptor("", root.digest, root.size), (root,),
                           (blob("config-%d" % number, CONFIG_BYTES),),
                           tuple(blob(name, int(size * KIB)) for name, size in layers), (), (), "", ()))
    return found


def blob(name, size):
    return Blob("sha256:" + name, size, io.BytesIO)


def counts(images, share):
    """ConfigMaps of the segments, and of one solid archive."""
    segments = layer_segments(images) + [last_segment(images)]
    sizes = [sum(part.size for part in segment) for segment in segments]
    solid = sum(TAR_BLOCK - (-part.size // TAR_BLOCK) * TAR_BLOCK for segment in segments for part in segment)
    return sum(count_of(int(size * share), CHUNK_BYTES) for size in sizes), count_of(int(solid * share), CHUNK_BYTES)


@pytest.mark.parametrize("share", [1, .5, .3])
def test_of_twenty_mixed_images_at_most_a_fiftieth_is_more(share):
    assert len(MIXED) == 20
    ours, solid = counts(images_of(MIXED), share)
    assert ours <= 1.02 * solid, (ours, solid)


@pytest.mark.parametrize("share", [1, .5, .3])
@pytest.mark.parametrize("seed", range(5))
def test_of_twenty_images_of_fifteen_small_layers_on_one_base_at_most_a_tenth_is_more(seed, share):
    generator = random.Random(seed)
    table = [(ALPINE, *(generator.uniform(65, 180) for _ in range(15))) for _ in range(20)]
    ours, solid = counts(images_of(table), share)
    assert ours <= 1.1 * solid, (ours, solid)


@pytest.mark.parametrize("chunks, percent", [(5, 12), (10, 6), (20, 3)])
def test_a_layer_of_its_own_costs_half_a_config_map(chunks, percent):
    generator = random.Random(chunks)
    table = [[2 * chunks * generator.random() * CHUNK_BYTES / KIB for _ in range(5)] for _ in range(100)]
    ours, solid = counts(images_of(table), 1)
    alone = len([1 for row in table for size in row if size * KIB >= ALONE_BYTES])
    assert ours - solid == pytest.approx(alone / 2, rel=.1)
    assert ours <= (1 + percent / 100) * solid


@pytest.mark.parametrize("seed", range(5))
def test_no_segment_costs_more_than_one_config_map(seed):
    generator = random.Random(seed)
    images = images_of([[generator.uniform(1, 1000) for _ in range(8)] for _ in range(20)])
    ours, solid = counts(images, 1)
    assert solid <= ours < solid + len(layer_segments(images)) + 1
