import json

import pytest

from builder.reading.oci import digest_of
from tests.e2e.images import FORMS

NAMES = ("library/registry", "registry", "docker.io/library/registry")
PLAIN_HTTP = "--tls-verify=false"


@pytest.fixture(autouse=True)
def skopeo(needs):
    needs("skopeo")


@pytest.mark.parametrize("form", FORMS + ("squeezed",))
def test_skopeo_reads_the_image_by_tag_and_by_the_digest_of_the_summary(form, served, sandbox):
    image = served(form)
    for reference in ["registry:2", "registry@" + image.digest]:
        manifest = sandbox.run("skopeo", "inspect", PLAIN_HTTP, "--raw", "docker://" + image.at(reference))
        assert digest_of(manifest.encode()) == image.digest
        assert json.loads(manifest)["config"]["digest"] == image.image_id


@pytest.mark.parametrize("form", FORMS + ("squeezed",))
@pytest.mark.parametrize("target", ("dir", "oci"))
def test_skopeo_copies_the_image_by_tag_and_by_digest(form, target, served, sandbox, tmp_path):
    image = served(form)
    for number, reference in enumerate(["registry:2", "registry@" + image.digest]):
        copy = "%s:%s/%d" % (target, tmp_path, number)
        sandbox.run("skopeo", "copy", "--src-tls-verify=false", "docker://" + image.at(reference), copy)
        manifest = json.loads(sandbox.run("skopeo", "inspect", "--raw", copy))
        assert manifest["config"]["digest"] == image.image_id


@pytest.mark.parametrize("form", ("oci-archive", "oci", "dir"))
def test_an_image_that_came_with_a_manifest_keeps_its_digest(form, served, saved, sandbox):
    path = saved.archives[form].split("=")[-1]
    manifest = sandbox.run("skopeo", "inspect", "--raw", "%s:%s" % (form, path))
    assert served(form).digest == digest_of(manifest.encode())


@pytest.mark.parametrize("name", NAMES)
def test_skopeo_finds_the_image_under_each_of_its_names(name, served, sandbox):
    image = served("oci-archive")
    told = json.loads(sandbox.run("skopeo", "inspect", PLAIN_HTTP, "docker://" + image.at(name + ":2")))
    assert (told["Digest"], told["RepoTags"]) == (image.digest, ["2"])


def test_skopeo_lists_the_tags(served, sandbox):
    told = sandbox.run("skopeo", "list-tags", PLAIN_HTTP, "docker://" + served("oci-archive").at("library/registry"))
    assert json.loads(told)["Tags"] == ["2"]


@pytest.mark.parametrize("reference", ("seedpod/both:1", "quay.io/seedpod/both:1", "seedpod/both@{digest}"))
def test_skopeo_copies_an_index_with_all_platforms(reference, two_platforms, sandbox, tmp_path):
    index, layout = two_platforms
    address = index.at(reference.format(digest=index.digest))
    sandbox.run("skopeo", "copy", "--all", "--src-tls-verify=false", "docker://" + address, "dir:%s/copy" % tmp_path)
    for path in (tmp_path / "copy" / "manifest.json", layout / "blobs" / index.digest.replace(":", "/")):
        assert digest_of(path.read_bytes()) == index.digest
    for manifest in json.loads((tmp_path / "copy" / "manifest.json").read_text())["manifests"]:
        name = "%s.manifest.json" % manifest["digest"].split(":")[1]
        assert digest_of((tmp_path / "copy" / name).read_bytes()) == manifest["digest"]


@pytest.mark.parametrize("architecture", ("amd64", "arm64"))
def test_skopeo_picks_one_platform_of_an_index(architecture, two_platforms, sandbox):
    index, _ = two_platforms
    told = sandbox.run("skopeo", "--override-arch", architecture, "inspect", PLAIN_HTTP, "--config",
                       "docker://" + index.at("seedpod/both:1"))
    assert json.loads(told)["architecture"] == architecture
