"""Fixtures: a sandbox for programs, images made by them, and the emitted Pod that serves each."""
import concurrent.futures
import contextlib
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import NamedTuple

import pytest

from builder.zipapp import pyz
from tests.e2e import images
from tests.e2e.pod import Pod
from tests.e2e.programs import Sandbox, listens

TOP = pathlib.Path(__file__).resolve().parents[2]
# In which order they are begun: the one that takes longest, then the ones that tests ask for first.
BUILT_FORMS = ("squeezed", "oci-archive", "dir", "oci", "docker-archive", "crane")
STOPPED_SECONDS = .5  # after SIGTERM; a kubelet waits for the grace period, and with it a node that is drained

CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{socket}"
"""


class Served(NamedTuple):
    """One image in a registry."""
    address: str  # HOST:PORT of the registry
    digest: str  # of the manifest or index, as the summary of build.py tells it
    image_id: str  # of the config; "" for an index
    log: pathlib.Path  # of the registry

    def at(self, name: str) -> str:
        """`name`, which ends in a tag or digest, as a client asks for it."""
        return "%s/%s" % (self.address, name)


@pytest.fixture(scope="session")
def sandbox(needs, tmp_path_factory):
    needs("root")
    return Sandbox(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def saved(needs, sandbox, tmp_path_factory):
    """`registry:2` in every form of archive."""
    needs("buildah", "skopeo", "docker-registry")
    return images.save_registry(sandbox, tmp_path_factory.mktemp("registry"))


def build(archive: str, out: pathlib.Path, *options: str):
    """`build.py` as an operator starts it; -> its summary."""
    done = subprocess.run([sys.executable, TOP / "build.py", archive, "--image", "example.com/python:3", "-o", out,
                           "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def built(request, saved, tmp_path_factory):
    """A function of a form: the folder with `registry:2` from that archive, and the summary of its build.

    `squeezed` is the form `oci-archive`, built with --squeeze; the others travel as gzip, as xz takes its time. What
    the parameters of tests name is built while others run.
    """
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        @functools.lru_cache(maxsize=None)
        def begun(form):
            out = tmp_path_factory.mktemp(form) / "out"
            archive, options = ("oci-archive", ["--squeeze"]) if form == "squeezed" else (
                form, ["--compression", "gzip"])
            return out, pool.submit(build, saved.archives[archive], out, *options)

        def built_as(form):
            out, told = begun(form)
            return out, told.result()
        named = {item.callspec.params.get("form") for item in request.session.items
                 if "built" in item.fixturenames and hasattr(item, "callspec")}
        for form in filter(named.__contains__, BUILT_FORMS):
            begun(form)
        yield built_as
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def pods(needs, sandbox, built, tmp_path_factory):
    """A function of a form: a new Pod with `registry:2` from that archive, and the summary of its build."""
    needs("yq")

    def pod_of(form):
        out, told = built(form)
        return Pod(sandbox, out, tmp_path_factory.mktemp("pod")), told
    return pod_of


@pytest.fixture(scope="session")
def served(pods, saved):
    """A function of a form: `registry:2` from that archive, served as long as the tests run."""
    with contextlib.ExitStack() as stack:
        @functools.lru_cache(maxsize=None)
        def served_as(form):
            pod, told = pods(form)
            return stack.enter_context(serving(pod, told, saved.image_id))
        yield served_as


@pytest.fixture(scope="session")
def two_platforms(needs, sandbox, tmp_path_factory):
    """An index of two platforms, served as long as the tests run, and its OCI layout."""
    needs("buildah", "yq")
    folder = tmp_path_factory.mktemp("two-platforms")
    layout = images.save_two_platforms(sandbox, folder)
    told = build(str(layout), folder / "out")
    with serving(Pod(sandbox, folder / "out", folder), told, "") as index:
        yield index, layout


@pytest.fixture(scope="session")
def spooler(tmp_path_factory):
    """The path of spooler.pyz."""
    path = tmp_path_factory.mktemp("spooler") / "spooler.pyz"
    path.write_bytes(pyz.spooler())
    return path


@contextlib.contextmanager
def serving(pod, told, image_id):
    """The one image of a Pod, as long as the block lasts."""
    with pod.running() as (daemon, address):
        (image,) = told["images"]
        yield Served(address, image["digest"], image_id, daemon.log)
        assert daemon.terminate() < STOPPED_SECONDS


@pytest.fixture
def containerd(needs, sandbox, tmp_path):
    """The socket of an empty containerd."""
    needs("containerd", "runc")
    socket = tmp_path / "containerd.sock"
    settings = tmp_path / "containerd.toml"
    settings.write_text(CONTAINERD.format(folder=tmp_path, socket=socket))
    with sandbox.daemon(tmp_path / "containerd.log", "containerd", "--config", settings) as daemon:
        daemon.wait_until(lambda: listens(socket))
        yield socket


@pytest.fixture
def dockerd(needs, sandbox, containerd, tmp_path):
    """The socket of an empty dockerd that has no network."""
    needs("dockerd")
    socket = tmp_path / "docker.sock"
    with tempfile.TemporaryDirectory() as short, sandbox.daemon(  # its own sockets have names of up to 108 bytes
            tmp_path / "dockerd.log", "dockerd", "--host", "unix://%s" % socket, "--containerd", containerd,
            "--storage-driver", "vfs", "--data-root", tmp_path / "docker", "--exec-root", short,
            "--pidfile", tmp_path / "docker.pid", "--iptables=false", "--ip6tables=false", "--bridge=none") as daemon:
        daemon.wait_until(lambda: listens(socket))
        yield socket
