"""A large archive into Docker's registry, by stream: spooler.pyz and `skopeo copy` in turn, in one run.

    python3 -m tests.bench.spooler [MiB, default 1024]

Prints seconds and the most memory of each, medians of all rounds, and the share of skopeo's speed. Needs Debian's
docker-registry and skopeo. Nothing else should be running.
"""
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import List, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support import samples  # noqa: E402
from builder.zipapp import pyz  # noqa: E402
from tests.e2e.programs import free_port  # noqa: E402

MIB = 1 << 20
LAYERS = 4
ROUNDS = 3
POLL_SECONDS = .02
SETTINGS = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/storage}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class Run(NamedTuple):
    seconds: float
    resident_bytes: int  # the most


def write_archive(path: pathlib.Path, size: int) -> None:
    """An OCI layout of layers that no compression makes smaller."""
    layers = []
    for number in range(LAYERS):
        layer = path.with_name("layer-%d" % number)
        noise = os.urandom(MIB)
        with open(layer, "wb") as file:
            file.write(samples.header(b"noise", size // LAYERS))
            for _ in range(size // LAYERS // MIB):
                file.write(noise)
            file.write(bytes(1024))
        layers.append(layer)
    folder = path.with_name("layout")
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    digests, entries = [], []
    for layer in layers:
        digest = subprocess.run(["sha256sum", layer], stdout=subprocess.PIPE, check=True).stdout.decode().split()[0]
        entries.append({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + digest,
                        "size": layer.stat().st_size})
        digests.append("sha256:" + digest)
        layer.rename(blobs / digest)
    rootfs = {"type": "layers", "diff_ids": digests}
    config = samples.to_json({"os": "linux", "architecture": "amd64", "rootfs": rootfs})
    manifest = samples.to_json({"schemaVersion": 2, "mediaType": samples.oci.OCI_MANIFEST, "layers": entries,
                                "config": samples.descriptor(samples.oci.OCI_CONFIG, config)})
    for data in (config, manifest):
        (blobs / samples.hex_of(data)).write_bytes(data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_bytes(samples.index_of([samples.descriptor(samples.oci.OCI_MANIFEST, manifest)]))
    subprocess.run(["tar", "-C", folder, "-cf", path, "oci-layout", "index.json", "blobs"], check=True)
    shutil.rmtree(folder)


def measured(command, stdin) -> Run:
    started, most = time.monotonic(), 0
    process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL)
    status = pathlib.Path("/proc/%d/status" % process.pid)
    while process.poll() is None:
        with contextlib.suppress(OSError):
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    most = max(most, int(line.split()[1]) << 10)
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit("%s: status %d" % (command[0], process.returncode))
    return Run(time.monotonic() - started, most)


def row(name: str, runs: List[Run]) -> str:
    return "%-10s %7.2f s %7.1f MiB" % (name, statistics.median(run.seconds for run in runs),
                                        max(run.resident_bytes for run in runs) / MIB)


def main(size: int) -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, port = pathlib.Path(name), free_port()
        archive = folder / "large.tar"
        write_archive(archive, size)
        spooler = folder / "spooler.pyz"
        spooler.write_bytes(pyz.spooler())
        (folder / "settings.yml").write_text(SETTINGS.format(folder=folder, port=port))
        registry = subprocess.Popen(["docker-registry", "serve", str(folder / "settings.yml")],
                                    stderr=subprocess.DEVNULL)  # it logs each blob that it does not have yet
        stack.callback(lambda: (registry.terminate(), registry.wait()))
        url = "http://127.0.0.1:%d" % port
        ours, theirs = [], []
        for number in range(ROUNDS):
            with open(archive, "rb") as stdin:
                ours.append(measured([sys.executable, "-I", "-S", spooler, "push", "ours:%d" % number,
                                      "--registry", url, "--spool", folder], stdin))
            with urllib.request.urlopen(url + "/v2/_catalog") as answer:
                assert json.loads(answer.read())["repositories"]
            shutil.rmtree(folder / "storage" / "docker")
            theirs.append(measured(["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
                                    "--preserve-digests", "oci-archive:%s" % archive,
                                    "docker://127.0.0.1:%d/theirs:%d" % (port, number)], subprocess.DEVNULL))
            shutil.rmtree(folder / "storage" / "docker")
        print("%d MiB, %d rounds" % (size // MIB, ROUNDS))
        print(row("spooler", ours))
        print(row("skopeo", theirs))
        print("share of skopeo's speed: %.2f" % (statistics.median(run.seconds for run in theirs)
                                                 / statistics.median(run.seconds for run in ours)))


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["1024"])[0]) * MIB)
