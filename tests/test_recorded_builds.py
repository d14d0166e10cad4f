"""What 30 builds write, as digests: a change of the builder's structure changes none of them.

SEEDPOD_RENEW_RECORDED=1 records them again; the commit that does so says why. README.txt, SHA256SUMS and FACTS are left
out, and the programs are stand-ins, since their bytes differ between Pythons.
"""
import hashlib
import json
import os
import pathlib

import pytest

from builder.zipapp import pyz
from tests.support import dumps, forked, samples

RECORDED = pathlib.Path(__file__).with_name("recorded_builds.json")
RENEW = os.environ.get("SEEDPOD_RENEW_RECORDED") == "1"
LEFT_OUT = ("README.txt", "SHA256SUMS", "FACTS")
IMAGE = "--image python:3.12 --compression none "
LINES = (
    "app.tar " + IMAGE,
    "app.tar registry.tar " + IMAGE,
    "quay.io/a/b:1=app.tar " + IMAGE,
    "both.tar --platform linux/amd64 " + IMAGE,
    "both.tar --chunk-size 1024 " + IMAGE,
    "layout chart.tgz " + IMAGE,
    "app.tar --expose hostport " + IMAGE,
    "app.tar --expose hostnetwork --node-port 31998 " + IMAGE,
    "app.tar --replicas 2 --label team=core --annotation a.b/c=d " + IMAGE,
    "app.tar --names policy " + IMAGE,
    "app.tar both.tar --names policy --expose hostnetwork " + IMAGE,
    "app.tar --names mirror " + IMAGE,
    "app.tar --names mirror --containerd-config /opt/containerd " + IMAGE,
    "registry.tar --with-registry " + IMAGE,
    "registry.tar app.tar --with-registry --registry-storage new:20Gi --names mirror " + IMAGE,
    "registry.tar --with-registry --registry-storage claim:data --names policy --replicas 1 " + IMAGE,
    "registry.tar --with-registry --expose hostnetwork " + IMAGE,
    "app.tar --image pause:3 --host-python --compression none",
    "app.tar --namespace tools --create-namespace " + IMAGE,
    "app.tar --namespace tools --no-user --pull-secret node-pull " + IMAGE,
    "app.tar --requests cpu=100m,memory=64Mi --limits cpu=2,memory=512Mi " + IMAGE,
    "app.tar --node-selector disk=fast --tolerate dedicated=infra:NoSchedule " + IMAGE,
    "app.tar --cluster cluster.json --compression none",
    "app.tar --cluster cluster.json --expose hostport --names mirror --compression none",
    "other.tar --onto seed " + IMAGE,
    "other.tar --onto seed --names policy --replicas 1 " + IMAGE,
    "seed other.tar " + IMAGE,
    "app.tar both.tar -o - " + IMAGE,
    "app.tar both.tar --dry-run " + IMAGE,
    "split app.tar both.tar registry.tar chart.tgz",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with archives, a seed and a dump."""
    folder = tmp_path_factory.mktemp("site")
    image = samples.sample("app")
    samples.write(folder / "app.tar", samples.podman_save(image, "docker.io/library/app:1"))
    samples.write(folder / "other.tar", samples.podman_save(samples.sample("other"), "quay.io/team/other:2"))
    registry = samples.with_layers([b"registry" * 100], command=["registry", "serve"])
    samples.write(folder / "registry.tar", samples.podman_save(registry, "docker.io/library/registry:2"))
    both = [samples.sample("amd64"), samples.sample("arm64", platform="linux/arm64")]
    samples.write(folder / "both.tar", samples.multi_platform(both, "ghcr.io/team/both:3"))
    samples.write_folder(folder / "layout", samples.layout(samples.sample("layout"), "docker.io/library/layout:4"))
    (folder / "chart.tgz").write_bytes(samples.chart())
    node = dumps.node("n1", images=["python:3.12"])
    (folder / "cluster.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [node]}))
    return folder


@pytest.fixture(scope="module")
def outcomes(site):
    """Command line -> file -> digest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyz, "injector", lambda: b"stands for injector.pyz")
        patch.setattr(pyz, "spooler", lambda: b"stands for spooler.pyz")
        built("app.tar -o seed " + IMAGE, site)
        return {line: built(line, site) for line in LINES}


def built(line, site):
    words = line.split()
    status, page, errors = forked.run(*words, *([] if "-o" in words else ["-o", "out"]), cwd=site)
    assert status == 0, (line, errors)
    if "-" in words:
        return {"-": hashlib.sha256(page.encode()).hexdigest()}
    out = site / ("seed" if "seed" in words and "-o" in words else "out")
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("*"))
             if not path.name.startswith(LEFT_OUT)} if "--dry-run" not in words else {}
    if out.name == "out":
        for path in out.glob("*"):
            path.unlink()
    return files


def test_builds_write_what_they_wrote(outcomes):
    if RENEW:
        RECORDED.write_text(json.dumps(outcomes, indent=1) + "\n")
    recorded = json.loads(RECORDED.read_text())
    assert list(outcomes) == list(recorded)
    assert {line: sorted(set(outcomes[line].items()) ^ set(recorded[line].items())) for line in recorded
            if outcomes[line] != recorded[line]} == {}
