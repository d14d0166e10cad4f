"""A chart as Helm's and ORAS's clients ask for it, from the injector and from Debian's docker-registry.

Helm itself is not in Debian: the requests are those of its client (pkg/registry) and of the libraries below it, oras-go
2 and containerd's resolver, which older ones use: https://helm.sh/docs/topics/registries/
"""
import gzip
import io
import json
import os
import tarfile
import urllib.request

import pytest

from builder.reading import oci
from tests.e2e.conftest import build
from tests.e2e.pod import Pod
from tests.e2e.programs import wait_until
from tests.e2e.site import PLAIN, Site
from tests.support import samples

REPOSITORY, TAG, VERSION = "charts/demo", "1.2.3_build.5", "1.2.3+build.5"
CONFIG_TYPE = "application/vnd.cncf.helm.config.v1+json"
LAYER_TYPE = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
# client -> the Accept header of its requests for a manifest, and for a blob of a media type
CLIENTS = {
    "oras-go 2": (", ".join((oci.DOCKER_MANIFEST, oci.DOCKER_INDEX, oci.OCI_MANIFEST, oci.OCI_INDEX,
                             "application/vnd.oci.artifact.manifest.v1+json")), None),
    "containerd": (", ".join((oci.DOCKER_MANIFEST, oci.DOCKER_INDEX, oci.OCI_MANIFEST, oci.OCI_INDEX, "*/*")),
                   "%s, */*"),
}


@pytest.fixture(scope="module")
def chart(tmp_path_factory):
    path = tmp_path_factory.mktemp("chart") / "demo-1.2.3+build.5.tgz"
    path.write_bytes(gzip.compress(samples.tar_of(samples.chart_members()), mtime=0))
    return path


@pytest.fixture(scope="module")
def injector(needs, sandbox, chart, tmp_path_factory):
    """-> (address, the chart as the summary has it)"""
    needs("skopeo", "yq")
    folder = tmp_path_factory.mktemp("pod")
    (told,) = build(str(chart), folder / "out")["images"]
    with Pod(sandbox, folder / "out", folder).running() as (_, address):
        yield address, told


@pytest.fixture(scope="module")
def registry(needs, sandbox, spooler, tmp_path_factory):
    needs("docker-registry", "skopeo")
    site = Site(sandbox, tmp_path_factory.mktemp("registry"), PLAIN, spooler)
    with site.registry():
        site.run("list")  # waits until it answers
        yield site


def answer(address, path, accept, method="GET"):
    request = urllib.request.Request("http://%s/v2/%s" % (address, path), method=method,
                                     headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request) as response:
        return response.headers, response.read()


def pulled(address, client, repository=REPOSITORY, tag=TAG):
    """What `helm pull` does; -> digest of the manifest, config, bytes of the chart."""
    accept, accept_blob = CLIENTS[client]
    _, data = answer(address, "%s/tags/list" % repository, None)
    assert VERSION in [one.replace("_", "+") for one in json.loads(data.decode())["tags"]]
    headers, _ = answer(address, "%s/manifests/%s" % (repository, tag), accept, "HEAD")
    digest = headers["Docker-Content-Digest"]
    assert headers["Content-Type"] == oci.OCI_MANIFEST
    headers, data = answer(address, "%s/manifests/%s" % (repository, digest), accept)
    assert oci.digest_of(data) == digest and headers["Content-Type"] == oci.OCI_MANIFEST
    manifest = json.loads(data.decode())
    blobs = []
    for entry, media_type in ((manifest["config"], CONFIG_TYPE), (manifest["layers"][0], LAYER_TYPE)):
        _, blob = answer(address, "%s/blobs/%s" % (repository, entry["digest"]),
                         accept_blob and accept_blob % media_type)
        assert (entry["mediaType"], entry["digest"], entry["size"]) == (media_type, oci.digest_of(blob), len(blob))
        blobs.append(blob)
    return digest, json.loads(blobs[0].decode()), blobs[1]


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_helm_pulls_the_chart_byte_for_byte_from_the_injector(client, injector, chart):
    address, told = injector
    digest, config, data = pulled(address, client)
    assert (digest, data) == (told["digest"], chart.read_bytes())
    assert (config["name"], config["version"]) == ("demo", VERSION)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.extractfile("demo/Chart.yaml").read() == samples.CHART_YAML


def test_skopeo_copies_and_inspects_the_chart(injector, chart, sandbox, tmp_path):
    address, told = injector
    source = "docker://%s/%s:%s" % (address, REPOSITORY, TAG)
    raw = sandbox.run("skopeo", "inspect", "--tls-verify=false", "--raw", source)
    assert oci.digest_of(raw.encode()) == told["digest"]
    sandbox.run("skopeo", "copy", "--src-tls-verify=false", source, "dir:%s" % tmp_path)
    layer = oci.digest_of(chart.read_bytes()).partition(":")[2]
    assert (tmp_path / layer).read_bytes() == chart.read_bytes()
    tags = sandbox.run("skopeo", "list-tags", "--tls-verify=false", "docker://%s/%s" % (address, REPOSITORY))
    assert json.loads(tags)["Tags"] == [TAG]


def test_the_spooler_pushes_the_artifact_that_the_injector_serves(injector, registry, chart):
    with open(chart, "rb") as stream:
        line = registry.run("push", stdin=stream).decode()
    digest = injector[1]["digest"]
    assert line.startswith("pushed %s:%s %s, 2 of 2 blobs sent" % (REPOSITORY, TAG, digest))
    address = registry.url.partition("//")[2]
    for client in CLIENTS:
        assert pulled(address, client)[::2] == (digest, chart.read_bytes())


def test_a_chart_goes_in_by_file_whatever_it_is_called(injector, registry, chart, tmp_path):
    registry.run("delete", "%s:%s" % (REPOSITORY, TAG))
    (tmp_path / chart.name).write_bytes(chart.read_bytes())
    with registry.spooling(tmp_path) as process:
        wait_until(process, lambda: not os.listdir(tmp_path))
    assert pulled(registry.url.partition("//")[2], "oras-go 2")[0] == injector[1]["digest"]


def test_what_is_copied_from_the_injector_is_still_the_chart(injector, registry):
    address, told = injector
    registry.run("copy", "--source", "http://" + address)
    assert pulled(registry.url.partition("//")[2], "containerd")[0] == told["digest"]
