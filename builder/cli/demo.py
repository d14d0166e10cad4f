"""The command `demo`: run end to end on this machine, with a tiny built-in image; no archive, no cluster, no root.

It runs the same code as a real build, runs injector.pyz as the Pod would, pulls every byte over HTTP and checks it.
Raises OSError if any of it fails, InputError on systems where it cannot run. Leaves no files behind.
"""
import contextlib
import hashlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any, Iterator, List

from builder import pipeline
from builder.kubernetes.file_names import PYZ
from builder.kubernetes.site import Site
from builder.loading import Sources
from builder.output import reader
from builder.payload.contents import FILE, digest_of
from builder.reading.errors import InputError

REFERENCE = "docker.io/library/hello:demo"
GREETING = b"Hello from an image that came out of a ConfigMap.\n"
CLIENT_HELLO = bytes.fromhex("160301")  # the first bytes from a containerd that tries HTTPS first
START_SECONDS = 30  # for Python to start on a slow disk; usually 0.1 s


def demo(program: str) -> None:
    """Run the demo, and print each step with its duration. `program`: how it was started."""
    if os.name != "posix":
        raise InputError("demo: the injector runs on Linux: try it there, or build for a cluster")
    with tempfile.TemporaryDirectory(prefix="seedpod-demo-") as folder:
        archive, out, chunks, seed = (os.path.join(folder, name) for name in ("hello.tar", "out", "chunks", "seed"))
        with step("made    a tiny image, as crane pull would save it: %s" % REFERENCE):
            write_archive(archive)
        with step("built   manifests from it (hello.tar --image ... -o out):"):
            result = pipeline.build(pipeline.Request(Sources([("", archive)]), Site("example.com/python:3"), out),
                                    sys.stdout.buffer, lambda *_: None)
        for name in sorted(os.listdir(out)):
            shown_name = name if len(name) <= 26 else name[:23] + "..."
            print("          out/%-26s %8d bytes" % (shown_name, os.path.getsize(os.path.join(out, name))))
        with step("copied  the chunks into a folder, as a kubelet would mount it"):
            os.mkdir(chunks)
            for name, data in reader.mounted_files(out).items():
                with open(os.path.join(chunks, name), "wb") as file:
                    file.write(data)
        with injector(os.path.join(out, PYZ), chunks, digest_of(result.plan.contents), seed) as port:
            with step("got     an answer to a TLS ClientHello, so that containerd falls back to HTTP"):
                check_client_hello(port)
            with step("pulled  every byte back over HTTP and checked each digest:"):
                pulled = pull(port, result.images.addresses[REFERENCE])
            for line in pulled:
                print("          " + line)
        print("done    temporary files removed; next: %s ARCHIVE --image NODE_IMAGE -o seedpod" % program)


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print("%s  (%.2f s)" % (text, time.monotonic() - started))


def write_archive(path: str) -> None:
    """Write a tarball as crane does: config, layer, manifest.json."""
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as tar:
        add(tar, "hello.txt", GREETING)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(root.getvalue()).hexdigest()]}}).encode()
    config_name = "sha256:" + hashlib.sha256(config).hexdigest()
    with tarfile.open(path, "w") as tar:
        add(tar, config_name, config)
        add(tar, "layer.tar", root.getvalue())
        add(tar, "manifest.json", json.dumps([
            {"Config": config_name, "RepoTags": [REFERENCE], "Layers": ["layer.tar"]}]).encode())


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


@contextlib.contextmanager
def injector(pyz: str, chunks: str, digest: str, seed: str) -> Iterator[int]:
    """Run injector.pyz, both stages, as the Pod would; yield its port. SIGTERM ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-I", "-S", pyz, "--chunks", chunks, "--contents",
               os.path.join(chunks, FILE), "--digest", digest, "--seed", seed, "--listen", "127.0.0.1:%d" % port]
    started = time.monotonic()
    process: Any  # to mypy, its stdout may be None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line.strip())
                if line.startswith("listening"):
                    break
            else:
                raise OSError("the injector ended with status %d: %s" % (process.wait(), " / ".join(lines)))
            print("ran     injector.pyz (%d bytes), unpack and serve  (%.2f s)"
                  % (os.path.getsize(pyz), time.monotonic() - started))
            yield port
        finally:
            with step("ended   the injector by SIGTERM"):
                process.send_signal(signal.SIGTERM)
                process.communicate()


def check_client_hello(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), START_SECONDS) as connection:
        connection.sendall(CLIENT_HELLO)
        answer = connection.recv(5)
    if answer != b"HTTP/":
        raise OSError("the injector answers %r to a TLS ClientHello; containerd expects HTTP/" % answer)


def pull(port: int, address: str) -> List[str]:
    """Pull manifest, config and layers of one image, and check each; return a line for each."""
    name, _, tag = address.rpartition(":")
    manifest = get(port, "/v2/%s/manifests/%s" % (name, tag))
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    parts = json.loads(manifest)
    wanted = [("manifests", {"digest": digest}), ("blobs", parts["config"])]
    lines = []
    for kind, descriptor in wanted + [("blobs", layer) for layer in parts["layers"]]:
        body = get(port, "/v2/%s/%s/%s" % (name, kind, descriptor["digest"]))
        if "sha256:" + hashlib.sha256(body).hexdigest() != descriptor["digest"]:
            raise OSError("digest mismatch: the injector serves wrong bytes for %s" % descriptor["digest"])
        lines.append("%s %8d bytes" % (descriptor["digest"], len(body)))
    return lines


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError("the injector answers %d to GET %s" % (answer.status, path))
        return answer.read()
