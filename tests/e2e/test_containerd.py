import json

import pytest

from tests.e2e.images import NAME
from tests.e2e.programs import free_port, is_registry

NATIVE = ["--snapshotter", "native"]  # overlayfs cannot lie on the overlayfs of a container, where CI may run


@pytest.fixture
def ctr(needs, sandbox, containerd):
    """A function that runs `ctr` and returns what it prints."""
    needs("ctr")
    return lambda *command: sandbox.run("ctr", "--address", containerd, *command)


def image_id(ctr, name):
    """The config digest that containerd's own store leads to."""
    (line,) = ctr("images", "ls", "name==" + name).splitlines()[1:]
    digest = next(word for word in line.split() if word.startswith("sha256:"))
    return json.loads(ctr("content", "get", digest))["config"]["digest"]


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


@pytest.mark.parametrize("form", ("docker-archive", "crane"))
def test_containerd_starts_the_image_and_its_registry_answers(form, ctr, served, sandbox, containerd, tmp_path):
    name = served(form).at("registry:2")
    address = "127.0.0.1:%d" % free_port()
    ctr("images", "pull", "--plain-http", *NATIVE, name)
    with sandbox.daemon("ctr-run", "ctr", "--address", containerd, "run", *NATIVE, "--net-host", "--fifo-dir",
                        tmp_path / "fifo", "--env", "REGISTRY_HTTP_ADDR=" + address, name, "started") as daemon:
        daemon.wait_until(lambda: is_registry(address))
        ctr("task", "kill", "--signal", "SIGKILL", "started")
        daemon.process.wait()
