import re

import pytest

from builder.reading.errors import InputError
from builder.reading.reference import PATH, Reference, digest_tag, from_file_name, is_tag, parse, served_names, tagged

DIGEST = "sha256:" + "ab" * 32

NORMALISED = [
    ("alpine", "docker.io/library/alpine:latest"),
    ("alpine:3.10", "docker.io/library/alpine:3.10"),
    ("amd64/debian:bookworm-slim", "docker.io/amd64/debian:bookworm-slim"),
    ("docker.io/alpine", "docker.io/library/alpine:latest"),
    ("index.docker.io/library/busybox:latest", "docker.io/library/busybox:latest"),
    ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
    ("library/registry:3.0.0", "docker.io/library/registry:3.0.0"),
    ("quay.io/a/b:1", "quay.io/a/b:1"),
    ("localhost/x", "localhost/x:latest"),
    ("localhost:5000/x", "localhost:5000/x:latest"),
    ("localhost:5000/x:1", "localhost:5000/x:1"),
    ("[::1]:5000/x:1", "[::1]:5000/x:1"),
    ("Registry/x", "Registry/x:latest"),
    ("a/b/c__d-e---f.g:v_1.2-3", "docker.io/a/b/c__d-e---f.g:v_1.2-3"),
    ("alpine@" + DIGEST, "docker.io/library/alpine@" + DIGEST),
    ("alpine:3@" + DIGEST, "docker.io/library/alpine:3@" + DIGEST),
    ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128),
    ("0" * 63, "docker.io/library/" + "0" * 63 + ":latest"),
]

ILLEGAL = ["", ":", "@", "/", "x/", "/x", "x:", "x@", "x@sha256:12", "x@md5:" + "0" * 32, "Upper", "quay.io/Upper",
           "a//b", "a/../b", "..", ".", "x:.tag", "x:-tag", "x:" + "t" * 129, "-x", "x-", "a___b", "a..b", "x y", "x\n",
           "ä", "a:b:c", "quay.io:port/x", "-.io/x", "0" * 64, "quay.io/" + "x" * 248, "<none>:<none>", "x\0", "x:ä",
           DIGEST, "https://quay.io/a"]


@pytest.mark.parametrize("text, full", NORMALISED)
def test_a_name_is_normalised_as_docker_does(text, full):
    assert str(parse(text)) == full


@pytest.mark.parametrize("text, full", NORMALISED)
def test_a_normalised_name_stays_as_it_is(text, full):
    assert str(parse(full)) == full


@pytest.mark.parametrize("text", ILLEGAL)
def test_an_illegal_name_is_refused_in_one_line_that_quotes_it(text):
    with pytest.raises(InputError) as error:
        parse(text)
    assert ascii(text)[1:-1] + ": is not an image name: " in str(error.value)
    assert "\n" not in str(error.value)


def test_the_longest_name_is_taken():
    assert len(parse("quay.io/" + "x" * 247).path) == 247


@pytest.mark.parametrize("text, names", [
    ("docker.io/library/registry:2", ("library/registry", "registry", "docker.io/library/registry")),
    ("docker.io/library/a/b", ("library/a/b", "docker.io/library/a/b")),
    ("docker.io/a/b", ("a/b", "docker.io/a/b")),
    ("quay.io/a/b:1", ("a/b", "quay.io/a/b")),
    ("quay.io/x:1", ("x", "quay.io/x")),
    ("localhost/x:1", ("x", "localhost/x")),
    ("localhost:5000/x:1", ("x",)),
    ("[::1]/x:1", ("x",)),
    ("Registry/x", ("x", "registry/x")),
    ("harbor.local/quay.io/x", ("harbor.local/quay.io/x",)),
    ("docker.io/localhost/x", ("docker.io/localhost/x",)),
    ("harbor.local:5000/quay.io/x", ("quay.io/x",)),
    ("harbor.local/x.y", ("x.y", "harbor.local/x.y")),
])
def test_an_image_is_served_under_its_path_and_with_its_host(text, names):
    assert served_names(parse(text)) == names


@pytest.mark.parametrize("text, full", NORMALISED)
def test_every_served_name_is_legal(text, full):
    for name in served_names(parse(text)):
        assert PATH.fullmatch(name)


@pytest.mark.parametrize("path, name", [
    ("registry_2.tar.gz", "registry_2"),
    ("/some/where/Nginx 1.25.TAR", "nginx-1.25"),
    ("registry.oci", "registry"),
    ("image.tar.zst", "image"),
    ("folder/", "folder"),
    ("__x__.tgz", "x"),
    ("a..b___c--d", "a-b-c--d"),
    ("äöü.tar", "image"),
    (".tar", "image"),
    ("-", "image"),
    ("f" * 64 + ".tar", "image-" + "f" * 64),
    ("x" * 300, "x" * 128),
    ("tar", "tar"),
    ("\udcff\n.tar", "image"),
])
def test_a_file_name_gives_a_legal_name(path, name):
    reference = from_file_name(path)
    assert reference == Reference("docker.io", "library/" + name, "latest", "")
    assert parse(str(reference)) == reference


def test_a_digest_reference_gets_a_short_tag_that_is_no_referrers_tag():
    reference = tagged(parse("quay.io/a@" + DIGEST))
    assert str(reference) == "quay.io/a:sha256-abababababab"
    assert not re.fullmatch("sha256-[0-9a-f]{64}", digest_tag(DIGEST))


def test_a_tag_beside_a_digest_stays():
    assert str(tagged(parse("quay.io/a:1@" + DIGEST))) == "quay.io/a:1"


@pytest.mark.parametrize("text, legal", [("v1", True), ("_", True), ("UPPER.case-1", True), ("", False), ("a b", False),
                                         ("-a", False), ("t" * 129, False), ("a/b", False), ("v1\n", False)])
def test_a_tag_is_recognised(text, legal):
    assert is_tag(text) is legal
