"""The Pod of `--with-registry`: its three containers side by side, with Debian's docker-registry in two of them."""
import contextlib
import subprocess
import urllib.error
import urllib.request

import pytest

from builder.kubernetes import ports
from builder.reading.oci import OCI_MANIFEST
from tests.e2e.conftest import build
from tests.e2e.pod import Pod
from tests.e2e.programs import free_port, is_registry

SERVED = "library/registry:2"
ANOTHER_LOOPBACK = "127.0.0.2"  # an address of this machine, as any other but 127.0.0.1


class Running:
    """The Pod with its registries; the spooler is started for each command, as by `kubectl exec`."""

    def __init__(self, pod: Pod, sandbox) -> None:
        self.pod = pod
        self.sandbox = sandbox
        self.containers = {item["name"]: item for item in pod.spec["containers"]}
        self.writable, self.serving = free_port(), free_port()
        self.ports = {"127.0.0.1:%d" % ports.REGISTRY: "127.0.0.1:%d" % self.writable,
                      ":%d" % ports.SERVE: ":%d" % self.serving}

    def registry(self, name: str, image):
        return self.pod.started(self.containers[name], self.ports, image)

    def spooler(self, *words, stdin=subprocess.DEVNULL) -> str:
        """A command of the program in the ConfigMap; -> stdout."""
        command = [word if not word.startswith("/") else str(self.pod.folder / "code" / "spooler.pyz")
                   for word in self.containers["spooler"]["command"][:-1]]
        done = subprocess.run([*command, *words, "--registry", "http://127.0.0.1:%d" % self.writable], stdin=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def answer(self, method: str, path: str, port: int = 0) -> int:
        """The status with which what the node port leads to answers, or whoever has `port`."""
        try:
            with self.asked(method, "http://127.0.0.1:%d%s" % (port or self.serving, path)) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code

    def asked(self, method: str, url: str):
        return urllib.request.urlopen(urllib.request.Request(
            url, method=method, headers={"Accept": OCI_MANIFEST},
            data=b"{}" if method in ("PUT", "POST", "PATCH") else None), timeout=10)

    def begin_upload(self, repository: str) -> str:
        """-> the path of an upload to what takes pushes."""
        with self.asked("POST", "http://127.0.0.1:%d/v2/%s/blobs/uploads/" % (self.writable, repository)) as response:
            return response.headers["Location"].partition(":%d" % self.writable)[2]


@pytest.fixture(scope="module")
def running(needs, sandbox, saved, tmp_path_factory):
    needs("docker-registry", "skopeo", "yq")
    folder = tmp_path_factory.mktemp("persistent")
    build(saved.archives["oci-archive"], folder / "out", "--with-registry")
    found = Running(Pod(sandbox, folder / "out", folder, "Deployment"), sandbox)
    with contextlib.ExitStack() as stack:
        for name, port in (("registry", found.writable), ("serve", found.serving)):
            daemon = stack.enter_context(found.registry(name, saved.root))
            daemon.wait_until(lambda: is_registry("127.0.0.1:%d" % port))
        yield found


@pytest.fixture(scope="module")
def pushed(running, saved):
    """The same, once an image went in by the spooler."""
    with open(saved.archives["oci-archive"], "rb") as archive:
        running.spooler("push", SERVED, stdin=archive)
    return running


def test_what_the_spooler_pushes_on_loopback_is_pulled_from_the_node_port(pushed, saved, tmp_path):
    address = "docker://127.0.0.1:%d/%s" % (pushed.serving, SERVED)
    pushed.sandbox.run("skopeo", "copy", "--src-tls-verify=false", address, "dir:%s" % tmp_path)
    assert saved.image_id in (tmp_path / "manifest.json").read_text()


@pytest.mark.parametrize("method, path", [
    ("POST", "/v2/team/app/blobs/uploads/"), ("PUT", "/v2/library/registry/manifests/2"),
    ("DELETE", "/v2/library/registry/manifests/2"), ("DELETE", "/v2/library/registry/blobs/sha256:" + "0" * 64)])
def test_the_node_port_refuses_every_write(method, path, pushed):
    assert pushed.answer(method, path) == 405
    assert pushed.answer("GET", "/v2/library/registry/manifests/2") == 200


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_an_upload_that_is_under_way_cannot_be_touched_from_the_node_port(method, running):
    upload = running.begin_upload("team/upload")
    assert running.answer(method, upload) >= 400  # it fails to open the file, before it looks at the method
    assert running.answer("GET", upload, running.writable) == 204


def test_a_push_to_the_node_port_fails(pushed, saved):
    done = subprocess.run(
        ["skopeo", "copy", "--dest-tls-verify=false", "oci-archive:" + saved.archives["oci-archive"],
         "docker://127.0.0.1:%d/team/stranger:1" % pushed.serving], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=60, env=pushed.sandbox.environment)
    assert done.returncode and pushed.answer("GET", "/v2/team/stranger/manifests/1") == 404, done.stdout.decode()


def test_what_takes_pushes_is_reached_on_loopback_alone(running):
    assert is_registry("127.0.0.1:%d" % running.writable) and is_registry("%s:%d" % (ANOTHER_LOOPBACK, running.serving))
    assert not is_registry("%s:%d" % (ANOTHER_LOOPBACK, running.writable))


def test_garbage_is_collected_in_the_container_that_takes_pushes(running, saved):
    data = running.pod.folder / "data"
    with open(saved.archives["docker-archive"], "rb") as archive:
        running.spooler("push", "team/garbage:1", stdin=archive)
    running.spooler("delete", "team/garbage:1")
    before = len(list(data.glob("**/blobs/sha256/*/*/data")))
    container = running.containers["registry"]
    command = [word if word != "serve" else "garbage-collect" for word in container["command"]]
    with running.pod.started(dict(container, name="garbage", command=command), {}, saved.root) as collector:
        assert collector.process.wait(60) == 0, collector.log.read_text()
    assert len(list(data.glob("**/blobs/sha256/*/*/data"))) < before


def test_what_the_spooler_deletes_is_gone_from_the_node_port(running, saved):
    with open(saved.archives["oci-archive"], "rb") as archive:
        running.spooler("push", "team/gone:1", stdin=archive)
    assert running.answer("GET", "/v2/team/gone/manifests/1") == 200
    running.spooler("delete", "team/gone:1")
    assert running.answer("GET", "/v2/team/gone/manifests/1") == 404
