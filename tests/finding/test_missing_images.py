"""builder/finding/missing_images: the build is refused without a sure image; a guess is noted."""
import pytest

from builder.finding.missing_images import MissingImages, check_named_images
from builder.finding.named_images import find_images
from builder.payload.addresses import addresses
from builder.reading.oci import OCI_MANIFEST, Descriptor, Image

DIGEST = "sha256:" + "a" * 64


def image(*references, platforms=("linux/amd64",), digest=DIGEST):
    return Image(references, Descriptor(OCI_MANIFEST, digest, 1), (), (), (), platforms, (), "", ())


NGINX = image("docker.io/library/nginx:latest", platforms=("linux/amd64", "linux/arm/v7"))
ADDRESSES = {"docker.io/library/nginx:latest": "127.0.0.1:31999/library/nginx:latest"}


def checked(text, images=(NGINX,), excepted=(), platforms=()):
    return check_named_images(find_images(text, "a.yaml"), list(images), ADDRESSES, excepted, platforms)


@pytest.mark.parametrize("name", [
    "nginx", "nginx:latest", "library/nginx", "docker.io/nginx", "index.docker.io/library/nginx:latest",
    "nginx@" + DIGEST, "nginx:latest@" + DIGEST, "docker.io/library/nginx@" + DIGEST,
    "127.0.0.1:31999/library/nginx:latest", "127.0.0.1:31999/library/nginx@" + DIGEST,
    "127.0.0.1:31999/docker.io/library/nginx:latest"])
def test_every_spelling_of_an_image_of_the_seed_counts(name):
    assert checked("image: " + name) == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_full_name_is_that_of_its_own_image_whatever_is_called_so_below_another_host(order):
    images = [image("harbor.local/quay.io/a:1", platforms=("linux/amd64",)),
              image("quay.io/a:1", platforms=("linux/arm64",), digest="sha256:" + "b" * 64)][::order]
    served = {reference: "127.0.0.1:31999/" + address for reference, address in addresses(images)[0].items()}
    for name in ("quay.io/a:1", "127.0.0.1:31999/a:1", "127.0.0.1:31999/quay.io/a:1"):
        named = find_images("image: " + name, "a.yaml")
        assert check_named_images(named, images, served, (), ["linux/arm64"]) == []
        with pytest.raises(MissingImages, match="not for every node"):
            check_named_images(named, images, served, (), ["linux/amd64"])


@pytest.mark.parametrize("name", ["nginx:1", "mynginx", "quay.io/library/nginx", "nginx@sha256:" + "b" * 64,
                                  "127.0.0.1:31998/library/nginx:latest"])
def test_an_image_that_the_seed_lacks_refuses_the_build(name):
    with pytest.raises(MissingImages) as error:
        checked("image: nginx\n---\nimage: %s" % name)
    assert error.value.images == [name] and str(error.value).startswith("a.yaml:3: not in the archives: %s: " % name)


def test_every_missing_image_is_listed_in_the_order_of_the_manifests():
    with pytest.raises(MissingImages, match="^a.yaml:1: not in the archives: z:1, a:1: ") as error:
        checked("image: z:1\n---\nimage: a:1\n---\nimage: z:1")
    assert error.value.images == ["z:1", "a:1"]


def test_what_the_operator_excepts_may_be_missing():
    assert checked("image: other:1\nvalue: quay.io/a/b:1", excepted=["other:1", "quay.io/a/b:1"]) == []


def test_a_mention_that_the_seed_lacks_is_a_note():
    (note,) = checked("value: quay.io/a/b:1")
    assert note == "a.yaml:1: mentions quay.io/a/b:1, which may be an image"


def test_a_mention_of_an_image_of_the_seed_is_no_note():
    assert checked("value: docker.io/library/nginx:latest") == []


def test_a_template_is_a_note():
    (note,) = checked('image: "{{ .Values.image }}"')
    assert note == "a.yaml:1: has {{ .Values.image }} where an image name is expected: check which image it becomes"


@pytest.mark.parametrize("platforms", [["linux/amd64"], ["linux/arm/v7"], ["linux/arm"], ["linux/amd64", "linux/arm"]])
def test_an_image_for_the_platforms_of_the_nodes_is_enough(platforms):
    assert checked("image: nginx", platforms=platforms) == []


def test_an_image_that_lacks_a_platform_of_the_nodes_refuses_the_build():
    with pytest.raises(MissingImages, match=r"^a.yaml:1: not for every node: nginx \(linux/arm64\): "):
        checked("image: nginx", platforms=["linux/amd64", "linux/arm64"])
    assert checked("image: nginx", platforms=["linux/arm64"], excepted=["nginx"]) == []


def test_of_an_image_whose_platform_is_not_known_nothing_is_said():
    assert checked("image: nginx", [NGINX._replace(platforms=())], platforms=["linux/arm64"]) == []
