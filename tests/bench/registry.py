"""This injector, Docker's registry and nginx side by side: the same bytes, the same clients, the same minute.

    python3 -m tests.bench.registry [--seconds 1] [--rounds 3] [--out .bench]

Needs the Debian packages docker-registry, nginx and skopeo; without one of the two servers, its column is left out.
Every case is run in rounds, in which the servers take turns; the median counts. What is compared is a ratio within one
run: the figures themselves are the machine's. Prints a table, writes it as JSON and as an SVG chart to --out.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2]))

from tests.support import injector  # noqa: E402
from tests.support import samples  # noqa: E402
from tests.support.sent import Sent  # noqa: E402
from builder.payload import compression  # noqa: E402
from builder.payload.chunks import CHUNK_BYTES  # noqa: E402
from builder.reading.archive import open_archive  # noqa: E402
from builder.reading.images import read_images  # noqa: E402
from builder.reading.oci import digest_of  # noqa: E402
from tests.bench.chart import Panel, chart  # noqa: E402
from tests.bench.load import Job, Outcome, run  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
SIZES = {"4 KiB": 4 * KIB, "8 MiB": 8 * MIB, "256 MiB": 256 * MIB}
CONNECTIONS = (1, 16, 64)
CLIENTS_AT_ONCE = 200
NAME = "bench/image"  # of the layers of 4 KiB and 8 MiB
LARGE_NAME = "bench/large"
START_PAYLOAD_BYTES = 8 * 10 ** 6
START_SECONDS = 10  # that a server may take until it answers
PROCESSES = 2  # of the load generator, where there is more than one connection
OURS, DOCKERS, NGINX = "seedpod", "docker-registry", "nginx"


class Case(NamedTuple):
    """What the clients do."""
    title: str
    path: str
    connections: int
    new_connection: bool


class Server(NamedTuple):
    """A running one."""
    name: str
    port: int
    process: Any

    def pids(self) -> List[int]:
        """The process and its workers."""
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as file:
            return [self.process.pid] + [int(pid) for pid in file.read().split()]

    def cpu_seconds(self) -> float:
        ticks = 0
        for pid in self.pids():
            with open("/proc/%d/stat" % pid) as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self, field: str) -> int:
        """`VmRSS`: resident now, `VmHWM`: at most until now; of all its processes together."""
        total = 0
        for pid in self.pids():
            with open("/proc/%d/status" % pid) as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(field + ":"))
        return total * KIB


# --- the servers

def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def started(name: str, command: Sequence[str], port: int, folder: str) -> Iterator[Server]:
    """A server, from its first answer until the end of the block. All log to files."""
    with open(os.path.join(folder, name + ".log"), "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(port, process)
        yield Server(name, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(port: int, process: Any, step_seconds: float = .002) -> None:
    """Until `/v2/` is answered with 200."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit("error: it ended with %d: see its log" % process.returncode)
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"GET /v2/ HTTP/1.0\r\n\r\n")
                if b" 200 " in connection.recv(100):
                    return
        except OSError:
            pass
        time.sleep(step_seconds)
    sys.exit("error: port %d: nothing answers" % port)


def make_seed(folder: str) -> Dict[str, str]:
    """The images as an OCI layout -> digest of the layer of each size."""
    block = random.Random(1).getrandbits(8 * MIB).to_bytes(MIB, "big")
    layers = {title: (title.encode() + block * (size // MIB + 1))[:size] for title, size in SIZES.items()}
    injector.seed_of(folder,
                     samples.layout(samples.with_layers([layers["4 KiB"], layers["8 MiB"]]),
                                    "localhost/%s:1" % NAME, compress=bytes),
                     samples.layout(samples.with_layers([layers["256 MiB"]]),
                                    "localhost/%s:1" % LARGE_NAME, compress=bytes))
    return {title: digest_of(layer) for title, layer in layers.items()}


def our_command(seed: str, port: int, folder: str) -> List[str]:
    return injector.command("serve", "--seed", seed, "--listen", "127.0.0.1:%d" % port, code=injector.write_pyz(folder))


def docker_command(folder: str, port: int) -> List[str]:
    """As Debian sets it up, but for the folder and the address."""
    config = os.path.join(folder, "registry.yml")
    with open(config, "w") as file:
        json.dump({"version": 0.1, "storage": {"filesystem": {"rootdirectory": os.path.join(folder, "registry")},
                                                  "cache": {"blobdescriptor": "inmemory"}},
                   "http": {"addr": "127.0.0.1:%d" % port}}, file)
    return ["docker-registry", "serve", config]


def fill(port: int, seed: str) -> None:
    """Copy the images into Docker's registry, byte for byte."""
    for name in (NAME, LARGE_NAME):
        subprocess.run(["skopeo", "copy", "--quiet", "--preserve-digests", "--insecure-policy",
                        "--dest-tls-verify=false", "oci:%s:localhost/%s:1" % (seed, name),
                        "docker://127.0.0.1:%d/%s:1" % (port, name)], check=True)


def nginx_command(seed: str, folder: str, port: int) -> List[str]:
    """The same files under the same paths."""
    for name in (NAME, LARGE_NAME):
        target = os.path.join(folder, "www", "v2", name)
        os.makedirs(os.path.join(target, "manifests"))
        os.symlink(os.path.join(seed, "blobs", "sha256"), os.path.join(target, "blobs"))
        with open(os.path.join(seed, "index.json")) as file:
            entry = next(entry for entry in json.load(file)["manifests"] if name in str(entry["annotations"]))
        shutil.copy(os.path.join(seed, "blobs", "sha256", entry["digest"][7:]), os.path.join(target, "manifests", "1"))
    config = os.path.join(folder, "nginx.conf")
    with open(config, "w") as file:
        file.write("""
daemon off; worker_processes auto; pid nginx.pid; error_log nginx-error.log;
events { worker_connections 4096; }
http {
    access_log nginx-access.log; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    server {
        listen 127.0.0.1:%d; root www;
        location = /v2/ { default_type application/json; return 200 "{}"; }
        location ~ /manifests/ { default_type application/vnd.oci.image.manifest.v1+json; }
        location ~ ^/v2/(.+)/blobs/sha256:(.+)$ { default_type application/octet-stream; alias %s/www/v2/$1/blobs/$2; }
    }
}
""" % (port, folder))
    return ["nginx", "-p", folder, "-c", config]


# --- the cases

def cases(digests: Dict[str, str]) -> List[Case]:
    found = []
    for title, path in [("manifest", "/v2/%s/manifests/1" % NAME)] + [
            ("blob of " + size, "/v2/%s/blobs/%s" % (LARGE_NAME if size == "256 MiB" else NAME, digest))
            for size, digest in digests.items()]:
        found += [Case(title, path, count, False) for count in CONNECTIONS]
        found.append(Case(title, path, CONNECTIONS[1], True))
    return found


def measure(server: Server, job: Job) -> Dict[str, float]:
    """One round of one case."""
    cpu = server.cpu_seconds()
    outcome = run(job, min(PROCESSES, job.connections))
    return figures(outcome, server.cpu_seconds() - cpu, server.memory_bytes("VmRSS"))


def figures(outcome: Outcome, cpu_seconds: float, resident_bytes: int) -> Dict[str, float]:
    """What goes into a row. Throughput in decimal GB, as disks and networks are sold."""
    gigabytes = outcome.body_bytes / 1e9
    return {"requests_per_second": outcome.requests / outcome.seconds,
            "gigabytes_per_second": gigabytes / outcome.seconds,
            "p50_seconds": outcome.percentile(.5), "p99_seconds": outcome.percentile(.99), "errors": outcome.errors,
            "cpu_seconds_per_gigabyte": cpu_seconds / gigabytes if gigabytes else 0,
            "resident_mebibytes": resident_bytes / MIB, "seconds": outcome.seconds}


def medians(rounds: Sequence[Dict[str, float]]) -> Dict[str, float]:
    """The middle round of each figure; of errors and memory, the worst."""
    result = {}
    for key in rounds[0]:
        values = sorted(found[key] for found in rounds)
        result[key] = values[-1] if key in ("errors", "resident_mebibytes") else values[len(values) // 2]
    return result


def compare(servers: Sequence[Server], job: Job, rounds: int) -> Dict[str, Dict[str, float]]:
    """Rounds of one case on every server in turn -> medians by server."""
    found: Dict[str, List[Dict[str, float]]] = {server.name: [] for server in servers}
    for number in range(rounds):
        turn = number % len(servers)
        for server in list(servers[turn:]) + list(servers[:turn]):
            found[server.name].append(measure(server, job._replace(port=server.port)))
    return {name: medians(rows) for name, rows in found.items()}


# --- the start

def start_figures(folder: str, rounds: int) -> Dict[str, float]:
    """Seconds from the start of both stages to the first 200 of `/v2/`, and of what they are made."""
    pyz = injector.write_pyz(folder)
    with open(os.path.realpath(shutil.which("docker-registry") or sys.executable), "rb") as file:
        layer = file.read(START_PAYLOAD_BYTES)  # a program, as layers are
    archive = samples.write(os.path.join(folder, "start.tar"),
                            samples.layout(samples.with_layers([layer]), "localhost/start:1", compress=bytes))
    found = {"imports alone": seconds_of(lambda: subprocess.run([sys.executable, "-I", "-S", pyz, "--help"],
                                                                stdout=subprocess.DEVNULL, check=True), rounds)}
    for wanted in (compression.NONE, compression.XZ):
        with open_archive(archive) as source:
            sent = Sent(os.path.join(folder, "start-" + wanted), read_images(source), wanted, CHUNK_BYTES)
        found["payload %s" % wanted] = seconds_of(lambda: start_once(folder, pyz, sent.arguments), rounds)
    return found


def start_once(folder: str, pyz: str, arguments: Sequence[str]) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory(dir=folder) as seed:
        process = subprocess.Popen(injector.command("", *arguments, "--seed", seed, "--listen",
                                                    "127.0.0.1:%d" % port, code=pyz),
                                   stdout=subprocess.DEVNULL)
        wait_for(port, process, .001)
        process.send_signal(signal.SIGTERM)
        process.wait()


def seconds_of(action: Any, rounds: int) -> float:
    """The median of its durations."""
    found = []
    for _ in range(rounds):
        before = time.monotonic()
        action()
        found.append(time.monotonic() - before)
    return sorted(found)[rounds // 2]


# --- the report

def table(result: Dict[str, Any]) -> str:
    names = result["servers"]
    head = "%-28s" % "" + "".join("%30s" % name for name in names) + "".join(
        "%10s" % ("/ " + name.partition("-")[0]) for name in names[1:])
    lines = [head]
    for row in result["rows"]:
        unit = "gigabytes_per_second" if "MiB" in row["case"] or "clients" in row["case"] else "requests_per_second"
        form = "%.2f GB/s" if unit.startswith("giga") else "%.0f /s"
        cells = []
        for name in names:
            found = row["servers"][name]
            cells.append("%30s" % ("%s %s/%s ms" % (form % found[unit], milliseconds(found["p50_seconds"]),
                                                    milliseconds(found["p99_seconds"]))))
        ours = row["servers"][names[0]][unit]
        ratios = ["%10.2f" % (ours / (row["servers"][name][unit] or float("inf"))) for name in names[1:]]
        lines.append("%-28s" % row["case"] + "".join(cells) + "".join(ratios))
    lines.append("(throughput, latency p50/p99 of whole answers; last columns: this injector divided by the others)")
    lines.append("")
    for title, key, form in (("CPU s per GB, 8 MiB, 16", "cpu_seconds_per_gigabyte", "%.2f"),
                             ("resident MiB, %d clients" % CLIENTS_AT_ONCE, "resident_mebibytes", "%.0f")):
        row = result["rows"][-1] if "resident" in key else next(
            row for row in result["rows"] if row["case"] == "blob of 8 MiB, 16")
        lines.append("%-28s" % title + "".join("%30s" % (form % row["servers"][name][key]) for name in names))
    lines.append("%-28s" % "errors" + "".join("%30d" % sum(
        row["servers"][name]["errors"] for row in result["rows"]) for name in names))
    lines.append("%-28s" % "resident MiB at most" + "".join(
        "%30.0f" % result["peak_mebibytes"][name] for name in names))
    lines.append("")
    lines += ["start, %-21s %27.3f s" % item for item in result["start_seconds"].items()]
    return "\n".join(lines)


def milliseconds(seconds: float) -> str:
    return "%.*f" % (3 if seconds < .001 else 1 if seconds < .1 else 0, seconds * 1000) if seconds else "-"


def picture(result: Dict[str, Any]) -> str:
    names = result["servers"]

    def panel(title: str, cases_shown: Sequence[str], key: str, form: str) -> Panel:
        rows = {row["case"]: row["servers"] for row in result["rows"]}
        return Panel(title, [label(case) for case in cases_shown],
                     [[rows[case][name][key] for name in names] for case in cases_shown], form)
    return chart(names, [
        panel("Blobs, gigabytes per second: longer is better",
              ["blob of %s, %d" % (size, count) for size in ("8 MiB", "256 MiB") for count in (1, 16)],
              "gigabytes_per_second", "%.2f GB/s"),
        panel("Manifests per second: longer is better",
              ["manifest, 1", "manifest, 16", "manifest, 64", "manifest, 16 new"],
              "requests_per_second", "%.0f /s"),
        panel("%d clients at once, resident memory: shorter is better" % CLIENTS_AT_ONCE, [result["rows"][-1]["case"]],
              "resident_mebibytes", "%.0f MiB")])


def label(case: str) -> str:
    title, _, connections = case.partition(", ")
    words = {"1": "1 connection", "16": "16 connections", "64": "64 connections", "16 new": "new connections"}
    return "%s, %s" % (title, words.get(connections, connections))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round of a case (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="of each case (default: 3)")
    parser.add_argument("--out", default=".bench", help="folder for registry.json and registry.svg (default: .bench)")
    options = parser.parse_args()
    result: Dict[str, Any] = {"machine": "%d cores, %s, Python %s" % (
        os.cpu_count() or 1, platform.machine(), platform.python_version()), "rows": []}
    with tempfile.TemporaryDirectory(prefix="seedpod-bench-") as folder, contextlib.ExitStack() as stack:
        os.chmod(folder, 0o755)  # nginx's workers are another user
        seed = os.path.join(folder, "seed")
        digests = make_seed(seed)
        result["start_seconds"] = start_figures(folder, options.rounds)
        servers = []
        for name, program, command in ((OURS, "", lambda port: our_command(seed, port, folder)),
                                       (DOCKERS, "docker-registry", lambda port: docker_command(folder, port)),
                                       (NGINX, "nginx", lambda port: nginx_command(seed, folder, port))):
            if program and not shutil.which(program):
                print("%s is not installed: left out" % program, file=sys.stderr)
                continue
            port = free_port()
            servers.append(stack.enter_context(started(name, command(port), port, folder)))
            if name == DOCKERS:
                fill(port, seed)
        result["servers"] = [server.name for server in servers]
        for case in cases(digests):
            job = Job(0, case.connections, [case.path], options.seconds, case.new_connection)
            title = "%s, %d%s" % (case.title, case.connections, " new" * case.new_connection)
            print(title, file=sys.stderr)
            result["rows"].append({"case": title, "servers": compare(servers, job, options.rounds)})
        with open(os.path.join(seed, "index.json")) as file:
            entry = json.load(file)["manifests"][0]
        with open(os.path.join(seed, "blobs", "sha256", entry["digest"][7:])) as file:
            manifest = json.load(file)
        paths = ["/v2/%s/manifests/1" % NAME] + ["/v2/%s/blobs/%s" % (NAME, blob["digest"])
                                                for blob in [manifest["config"]] + manifest["layers"]]
        title = "%d clients, an image each" % CLIENTS_AT_ONCE
        print(title, file=sys.stderr)
        result["rows"].append({"case": title, "servers": compare(
            servers, Job(0, CLIENTS_AT_ONCE, paths, 0, False), options.rounds)})
        result["peak_mebibytes"] = {server.name: server.memory_bytes("VmHWM") / MIB for server in servers}
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "registry.json"), "w") as file:
        json.dump(result, file, indent=1)
    with open(os.path.join(options.out, "registry.svg"), "w") as file:
        file.write(picture(result))
    print(result["machine"])
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
