"""build.py against what a user would do by hand, and against the least that anybody has to do, in one run.

    python3 -m tests.bench.builder [--size 1000] [--compressed-size 100] [--json FILE] [--folder DIR]

By hand: `split`, and `kubectl create configmap --dry-run=client -o yaml` for each chunk, of the size that ours has.
kubectl is taken from PATH; a sample of the chunks is timed and extrapolated, which the table says. The floor:
`sha256sum` and `base64` of the same bytes, the quickest of several runs. An update that brings nothing new is held
against `sha256sum` alone. Prints a table of seconds, ratios and peak
memory, with the targets; exit status 1 if one is missed. Nothing is left in the folder.
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Dict, List, NamedTuple, Sequence, Tuple

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT))

from tests.support import samples  # noqa: E402

MB = 10 ** 6
LAYER_BYTES = 100 * MB
BLOCK_BYTES = 1 * MB
SAMPLE_CHUNKS = 30  # turned into YAML by kubectl
FLOOR, HAND, HASH = "sha256sum + base64", "split + kubectl", "sha256sum"
UNCHANGED = "build.py, --onto"

# The promises: memory in MiB, for xz with all cores; how many times as fast.
MEMORY_MIB = {"none": 96, "--onto": 96, "gzip": 96, "xz": 64 + 100 * (os.cpu_count() or 1)}
OF_FLOOR, OF_HAND = 0.5, 5
OF_HASH = 1.3  # times as long, of an update that brings nothing new


class Row(NamedTuple):
    """One way to make YAML of an archive."""
    way: str
    megabytes: float  # of the archive
    seconds: float
    peak_mib: float  # of one process; 0: not measured
    note: str = ""

    @property
    def speed(self) -> float:
        """MB of the archive a second."""
        return self.megabytes / self.seconds


def write_archive(path: str, size: int, layer_bytes: int = LAYER_BYTES) -> int:
    """A docker-archive of about `size` bytes, half noise and half text, the same each time; -> its bytes."""
    text = b"".join(b"line %d of a text that can be made smaller: %x\n" % (n, n * n) for n in range(BLOCK_BYTES // 50))
    generator = random.Random(0)
    diff_ids: List[str] = []
    with open(path, "wb") as file:
        while len(diff_ids) * layer_bytes < size:
            digest, place = hashlib.sha256(), file.tell()
            file.write(samples.header(b"layer-%d.tar" % len(diff_ids), layer_bytes))
            for number in range(layer_bytes // BLOCK_BYTES):
                block = text[:BLOCK_BYTES].ljust(BLOCK_BYTES) if number % 2 else generator.getrandbits(
                    8 * BLOCK_BYTES).to_bytes(BLOCK_BYTES, "little")
                digest.update(block)
                file.write(block)
            file.write(bytes(-(file.tell() - place) % 512))
            diff_ids.append("sha256:" + digest.hexdigest())
        config = samples.to_json({"os": "linux", "architecture": "amd64",
                                  "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        layers = ["layer-%d.tar" % number for number in range(len(diff_ids))]
        file.write(samples.tar_of([
            ("config.json", config),
            ("manifest.json", samples.to_json([samples.item("config.json", layers, ["bench:1"])]))]))
        return file.tell()


def timed(command: Sequence[str], stdout: str = os.devnull) -> Tuple[float, float]:
    """Run it, its output into the file `stdout`; -> seconds, peak memory in MiB."""
    with open(stdout, "wb") as target:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=target)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1
    if process.returncode:
        sys.exit("%s: exit status %d" % (" ".join(command), process.returncode))
    return seconds, usage.ru_maxrss / 1024


def floor(archive: str, folder: str, megabytes: float, rounds: int) -> List[Row]:
    """What cannot be saved: one checksum, one encoding; and the checksum alone."""
    output, note = os.path.join(folder, "base64"), "quickest of %d" % rounds
    runs = [(timed(["sha256sum", archive])[0], timed(["base64", "--wrap=0", archive], output)[0])
            for _ in range(rounds)]
    os.unlink(output)
    return [Row(FLOOR, megabytes, min(map(sum, runs)), 0, note), Row(HASH, megabytes, min(runs)[0], 0, note)]


def ours(archive: str, folder: str, megabytes: float, compression: str, rounds: int, out: str = "out",
         *options: str) -> Row:
    """build.py; -> the quickest run with the most memory."""
    runs = [timed([sys.executable, str(ROOT / "build.py"), archive, "--image", "example.com/python:3", "--compression",
                   compression, "-o", os.path.join(folder, out), *options]) for _ in range(rounds)]
    return Row("build.py, " + compression, megabytes, min(run[0] for run in runs), max(run[1] for run in runs),
               "quickest of %d" % rounds)


def unchanged(archive: str, folder: str, megabytes: float, rounds: int) -> Row:
    """An update of what `ours` built last, with the same archive again."""
    return ours(archive, folder, megabytes, "none", rounds, "update", "--onto", os.path.join(folder, "out"))._replace(
        way=UNCHANGED)


def chunk_bytes(archive: str, folder: str) -> int:
    """The size of a chunk that build.py takes for this archive."""
    told = subprocess.run([sys.executable, str(ROOT / "build.py"), archive, "--image", "example.com/python:3",
                           "--compression", "none", "--json", "-o", os.path.join(folder, "out")],
                          stdout=subprocess.PIPE, check=True)
    return json.loads(told.stdout.decode())["chunks"]["bytes"]


def by_hand(archive: str, folder: str, megabytes: float, chunk_size: int) -> Row:
    """Everything is split; some chunks become YAML, and the time of the others is reckoned."""
    parts = os.path.join(folder, "parts")
    os.mkdir(parts)
    split, _ = timed(["split", "--numeric-suffixes", "--suffix-length=5", "--bytes=%d" % chunk_size, archive,
                      os.path.join(parts, "chunk-")])
    names = sorted(os.listdir(parts))
    sample = names[:SAMPLE_CHUNKS]
    runs = [timed(["kubectl", "create", "configmap", name, "--dry-run=client", "--output=yaml",
                   "--from-file=" + os.path.join(parts, name)], os.path.join(folder, "yaml")) for name in sample]
    shutil.rmtree(parts)
    seconds = split + sum(run[0] for run in runs) * len(names) / len(sample)
    return Row(HAND, megabytes, seconds, max(run[1] for run in runs),
               "%d of %d chunks, extrapolated" % (len(sample), len(names)))


def targets(row: Row, compression: str, rows: Dict[str, Row]) -> List[str]:
    """What is missed by one of ours."""
    missed = []
    if row.peak_mib > MEMORY_MIB[compression]:
        missed.append("%s: %.0f MiB, at most %d" % (row.way, row.peak_mib, MEMORY_MIB[compression]))
    if row.way == UNCHANGED and row.seconds > OF_HASH * rows[HASH].seconds:
        missed.append("%s: %.2f times as long as %s, at most %g"
                      % (row.way, row.seconds / rows[HASH].seconds, HASH, OF_HASH))
    if compression == "none":
        for way, wanted in ((FLOOR, OF_FLOOR), (HAND, OF_HAND)):
            if way in rows and row.speed < wanted * rows[way].speed:
                missed.append("%s: %.2f times as fast as %s, at least %g" % (
                    row.way, row.speed / rows[way].speed, way, wanted))
    return missed


def table(rows: Sequence[Row], base: Row) -> str:
    lines = ["%-20s %8s %9s %8s %9s  %s" % ("", "MB", "seconds", "MB/s", "of floor", "peak memory of a process")]
    for row in rows:
        peak = "%.0f MiB" % row.peak_mib if row.peak_mib else ""
        lines.append("%-20s %8.0f %9.2f %8.1f %9.2f  %-8s %s" % (
            row.way, row.megabytes, row.seconds, row.speed, row.speed / base.speed, peak, row.note))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser("python3 -m tests.bench.builder", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1000, help="MB of the archive (default: 1000)")
    parser.add_argument("--compressed-size", type=int, default=100, metavar="SIZE",
                        help="MB of the archive for gzip and xz, which are slow; 0: leave them out (default: 100)")
    parser.add_argument("--rounds", type=int, default=3, help="of each but the compressed ones (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument("--folder", help="where there is room for four times the size (default: for temporary files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seedpod-bench-", dir=options.folder) as folder:
        archive = os.path.join(folder, "archive.tar")
        megabytes = write_archive(archive, options.size * MB, min(LAYER_BYTES, options.size * MB)) / MB
        rows = [*floor(archive, folder, megabytes, options.rounds),
                ours(archive, folder, megabytes, "none", options.rounds),
                unchanged(archive, folder, megabytes, options.rounds)]
        missing = ""
        if shutil.which("kubectl"):
            rows.append(by_hand(archive, folder, megabytes, chunk_bytes(archive, folder)))
        else:
            missing = "kubectl is not in PATH: the way by hand is left out"
        if options.compressed_size:
            size = options.compressed_size * MB
            megabytes = write_archive(archive, size, min(LAYER_BYTES, size)) / MB
            rows += [ours(archive, folder, megabytes, compression, 1) for compression in ("gzip", "xz")]
    by_way = {row.way: row for row in rows}
    missed = [line for row in rows if row.way.startswith("build.py")
              for line in targets(row, row.way.rpartition(" ")[2], by_way)]
    print(table(rows, rows[0]))
    print(*["missed    " + line for line in missed] or ["all targets are met"], *[missing] * bool(missing), sep="\n")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"rows": [dict(row._asdict(), megabytes_per_second=row.speed) for row in rows],
                       "missed": missed, "cores": os.cpu_count()}, file, indent=2)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
