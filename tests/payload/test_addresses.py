"""builder/payload/addresses: which name leads to which image. tests/test_twins.py compares it with the injector."""
import itertools

import pytest

from builder.payload.addresses import addresses, owners
from builder.reading import oci
from builder.reading.errors import InputError

EXPORTER = "quay.io/prom/exporter:v1"
COPIES = ["harbor.local/quay.io/prom/exporter:v1", "harbor.local:5000/quay.io/prom/exporter:v1"]


def image(*references):
    """An image of its own for each set of references."""
    root = oci.blob_of(repr(references).encode())
    return oci.Image(references, oci.Descriptor(oci.OCI_MANIFEST, root.digest, root.size), (root,), (), (), (), (), "", ())


def test_the_shortest_name_is_given_out():
    assert addresses([image("docker.io/library/a:1", "quay.io/a/b:2", "localhost/c:3", "host:5000/d/e:4")]) == ({
        "docker.io/library/a:1": "library/a:1", "quay.io/a/b:2": "a/b:2", "localhost/c:3": "c:3",
        "host:5000/d/e:4": "d/e:4"}, [])


@pytest.mark.parametrize("order", [1, -1])
def test_a_path_that_begins_with_a_host_never_takes_the_full_name_of_that_hosts_image(order):
    images = [image(COPIES[0]), image(EXPORTER)]
    assert addresses(images[::order]) == ({
        COPIES[0]: "harbor.local/quay.io/prom/exporter:v1", EXPORTER: "prom/exporter:v1"}, [])


@pytest.mark.parametrize("order", [1, -1])
def test_an_image_that_could_only_be_served_under_the_full_name_of_another_is_refused(order):
    with pytest.raises(InputError, match="^harbor.local:5000/quay.io/prom/exporter:v1: could only be served as quay.io/"
                                         "prom/exporter:v1, which already leads to quay.io/prom/exporter:v1, another "):
        addresses([image(COPIES[1]), image(EXPORTER)][::order])


def test_without_that_other_image_it_is_served_under_its_path():
    assert addresses([image(COPIES[1]), image("quay.io/prom/exporter:v2")])[0][COPIES[1]] == EXPORTER


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_in_a_chain_of_hosts_every_full_name_leads_to_its_own_image(order):
    names = ["c.io/b.io/a.io/x:1", "b.io/a.io/x:1", "a.io/x:1"]
    images = [image(name) for name in names]
    found = owners([images[position] for position in order])
    assert [found[name].digest for name in names] == [one.root.digest for one in images]
    assert addresses([images[position] for position in order])[0] == dict(zip(names, [names[0], names[1], "x:1"]))


def test_a_full_name_takes_precedence_over_a_short_one_that_comes_first():
    images = [image("docker.io/myhost/a:1"), image("MYHOST/a:1")]
    assert addresses(images) == (
        {"docker.io/myhost/a:1": "docker.io/myhost/a:1", "MYHOST/a:1": "a:1"},
        ["docker.io/myhost/a:1: myhost/a:1 already leads to MYHOST/a:1: pull this one by its full name"])


def test_of_two_short_names_the_first_image_has_it_and_only_for_the_tags_that_both_have():
    images = [image("quay.io/a/b:1", "quay.io/a/b:2"), image("docker.io/a/b:2", "docker.io/a/b:3")]
    found, notes = addresses(images)
    assert list(found.values()) == ["a/b:1", "a/b:2", "docker.io/a/b:2", "a/b:3"]
    assert notes == ["docker.io/a/b:2: a/b:2 already leads to quay.io/a/b:2: pull this one by its full name"]


def test_one_image_under_two_hosts_is_no_clash():
    assert addresses([image("quay.io/a:1", "harbor.local:5000/a:1")]) == (
        {"quay.io/a:1": "a:1", "harbor.local:5000/a:1": "a:1"}, [])


def test_an_image_without_a_tag_is_found_by_its_digest():
    digest = "sha256:" + "0" * 64
    assert addresses([image("quay.io/a@" + digest)]) == ({"quay.io/a@" + digest: "a@" + digest}, [])
