import contextlib
import json
import subprocess
import sys

import pytest

from builder.zipapp import pyz
from tests.e2e.images import NAME
from tests.e2e.programs import STOP_SECONDS, free_port, is_registry
from tests.e2e.site import PLAIN, Site

NATIVE = ["--snapshotter", "native"]  # overlayfs cannot lie on the overlayfs of a container, where CI may run


@pytest.fixture
def ctr(needs, sandbox, containerd):
    """A function that runs `ctr` and returns what it prints."""
    needs("ctr")
    return lambda *command: sandbox.run("ctr", "--address", containerd, *command)


def digest_of_target(ctr, name):
    (line,) = ctr("images", "ls", "name==" + name).splitlines()[1:]
    return next(word for word in line.split() if word.startswith("sha256:"))


def image_id(ctr, name):
    """The config digest that containerd's own store leads to."""
    return json.loads(ctr("content", "get", digest_of_target(ctr, name)))["config"]["digest"]


def test_containerd_pulls_by_plain_http(ctr, served):
    image = served("oci-archive")
    name = image.at("library/registry:2")
    ctr("images", "pull", "--plain-http", *NATIVE, name)
    assert image_id(ctr, name) == image.image_id


def test_containerd_pulls_by_digest(ctr, served):
    image = served("dir")
    name = image.at("library/registry@" + image.digest)
    ctr("images", "pull", "--plain-http", *NATIVE, name)
    assert image_id(ctr, name) == image.image_id


def test_containerd_pulls_an_index_with_all_platforms(ctr, two_platforms):
    index, _ = two_platforms
    name = index.at("seedpod/both:1")
    ctr("images", "pull", "--plain-http", "--all-platforms", *NATIVE, name)
    assert digest_of_target(ctr, name) == index.digest
    for manifest in json.loads(ctr("content", "get", index.digest))["manifests"]:
        config = json.loads(ctr("content", "get", manifest["digest"]))["config"]["digest"]
        assert json.loads(ctr("content", "get", config))["architecture"] == manifest["platform"]["architecture"]


def test_containerd_pulls_through_a_mirror_for_docker_io(ctr, served, tmp_path):
    image = served("oci")
    hosts = tmp_path / "hosts" / "docker.io"
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text('[host."http://%s"]\ncapabilities = ["pull", "resolve"]\n' % image.address)
    ctr("images", "pull", "--hosts-dir", hosts.parent, *NATIVE, NAME)
    assert image_id(ctr, NAME) == image.image_id
    log = image.log.read_text()
    assert "/v2/library/registry/manifests/2?ns=docker.io" in log
    assert "/v2/library/registry/blobs/%s?ns=docker.io" % image.image_id in log


@contextlib.contextmanager
def mirrored(node, *urls):
    """The folder of hosts.toml files that stage1/mirror keeps on a node whose root is `node`, for docker.io."""
    (node / "etc" / "containerd").mkdir(parents=True)
    command = [sys.executable, "-I", "-S", "-c", pyz.read_mirror(), "--root", node, "--owner", "seedpod"]
    with subprocess.Popen([*command, *("docker.io=" + url for url in urls)], stdout=subprocess.PIPE) as process:
        try:
            for _ in ("certs.d", "the text of containerd's default as one folder"):
                assert process.stdout.readline().endswith(b": written\n")
            yield node / "etc" / "containerd" / "certs.d"
        finally:
            process.terminate()


def test_containerd_pulls_the_original_name_through_the_mirror_that_the_daemonset_writes(ctr, served, tmp_path):
    image = served("oci")
    with mirrored(tmp_path / "node", "http://%s/v2/docker.io" % image.address) as hosts:
        ctr("images", "pull", "--hosts-dir", hosts, *NATIVE, NAME)
    assert image_id(ctr, NAME) == image.image_id
    assert "/v2/docker.io/library/registry/manifests/2?ns=docker.io" in image.log.read_text()
    assert list((tmp_path / "node" / "etc" / "containerd").iterdir()) == []


def test_a_mirror_that_is_gone_lets_containerd_ask_the_next_one(ctr, served, tmp_path):
    image = served("oci")
    gone = "http://127.0.0.1:%d/v2/docker.io" % free_port()
    with mirrored(tmp_path / "node", gone, "http://%s/v2/docker.io" % image.address) as hosts:
        ctr("images", "pull", "--hosts-dir", hosts, *NATIVE, NAME)
    assert image_id(ctr, NAME) == image.image_id


@pytest.mark.parametrize("form", ("docker-archive", "crane", "squeezed"))
def test_containerd_starts_the_image_and_its_registry_answers(form, ctr, served, sandbox, containerd, tmp_path):
    name = served(form).at("registry:2")
    address = "127.0.0.1:%d" % free_port()
    ctr("images", "pull", "--plain-http", *NATIVE, name)
    run = ["run", *NATIVE, "--net-host", "--cgroup", "seedpod-e2e", "--fifo-dir", tmp_path / "fifo"]
    with sandbox.daemon(tmp_path / "run.log", "ctr", "--address", containerd, *run, "--env",
                        "REGISTRY_HTTP_ADDR=" + address, name, "started") as daemon:
        daemon.wait_until(lambda: is_registry(address))
        ctr("task", "kill", "--signal", "SIGKILL", "started")
        daemon.process.wait(STOP_SECONDS)


def test_the_original_name_is_pulled_from_the_registry_that_stays_once_the_seed_is_gone(
        ctr, saved, sandbox, needs, tmp_path):
    needs("docker-registry")
    spooler = tmp_path / "spooler.pyz"
    spooler.write_bytes(pyz.spooler())
    site = Site(sandbox, tmp_path, PLAIN, spooler)
    with site.registry(), open(saved.archives["docker-archive"], "rb") as archive:
        pushed = site.run("push", "--with-host", stdin=archive).decode()
        assert "docker.io/library/registry:2" in pushed
        with mirrored(tmp_path / "node", "http://127.0.0.1:%d/v2/docker.io" % site.port) as hosts:
            ctr("images", "pull", "--hosts-dir", hosts, *NATIVE, NAME)
    assert image_id(ctr, NAME) == saved.image_id
