"""The life of the Pod: it runs as PID 1, unprivileged, on a read-only root (pod.py)."""
import contextlib
import hashlib
import http.client
import json
import signal
import subprocess
import sys
import threading

from tests.e2e.conftest import STOPPED_SECONDS
from tests.e2e.programs import free_port, is_registry, wait_until


def test_the_pod_ends_at_once_though_connections_are_open(pods):
    pod, _ = pods("oci-archive")
    with pod.running() as (daemon, address), contextlib.ExitStack() as stack:
        silent, idle = [stack.enter_context(contextlib.closing(http.client.HTTPConnection(address))) for _ in range(2)]
        silent.connect()
        idle.request("GET", "/v2/registry/manifests/2")
        idle.getresponse().read()
        assert daemon.terminate() < STOPPED_SECONDS


def test_a_pull_in_flight_is_whole_though_the_pod_ends(pods):
    pod, _ = pods("oci-archive")
    with pod.running() as (daemon, address), \
            contextlib.closing(http.client.HTTPConnection(address)) as connection:
        connection.request("GET", "/v2/registry/manifests/2")
        (layer,) = json.loads(connection.getresponse().read())["layers"]
        connection.request("GET", "/v2/registry/blobs/" + layer["digest"])
        with connection.getresponse() as response:
            start = response.read(1)
            ending = threading.Thread(target=daemon.terminate)
            ending.start()
            body = start + response.read()
            ending.join()
        assert "sha256:" + hashlib.sha256(body).hexdigest() == layer["digest"]


def test_a_second_run_of_the_pod_serves_what_the_first_one_unpacked(pods):
    pod, _ = pods("oci-archive")
    for _ in range(2):
        with pod.running() as (daemon, address):
            assert is_registry(address)
            assert daemon.terminate() < STOPPED_SECONDS


def test_the_injector_runs_by_hand_both_stages_in_one_process(pods, sandbox, tmp_path):
    pod, told = pods("oci-archive")
    address = "127.0.0.1:%d" % free_port()
    process = subprocess.Popen(
        [sys.executable, pod.out / "injector.pyz", "--chunks", pod.folder / "chunks", "--contents",
         pod.folder / "chunks" / "contents.json", "--seed", tmp_path / "seed", "--digest", told["payload"]["digest"],
         "--listen", address], stdout=subprocess.DEVNULL)
    try:
        wait_until(process, lambda: is_registry(address))
        process.send_signal(signal.SIGTERM)
        process.wait(STOPPED_SECONDS)
    finally:
        process.kill()
        process.wait()
