"""What every test can ask for.

`needs("skopeo", "root")` skips a test, or whatever uses a fixture, where a program is not installed, and names the
Debian package to install. With SEEDPOD_REQUIRE_TOOLS=1 in the environment, as in .ci/run, whatever is skipped fails
instead: there, nothing goes untested unseen.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

PACKAGES = {  # of programs not named like theirs
    "ctr": "containerd", "docker": "docker.io", "dockerd": "docker.io", "ssh-keygen": "openssh-client", "xz": "xz-utils"}
ROOT = "root"  # not a program, but some cannot do without

# Decodes what tests.support.samples.zstd_stored writes: the unit tests need no zstd of the machine.
ZSTD_PROGRAM = """#!%s
import sys
data = sys.stdin.buffer.read()
while data:
    if data[:4] != b"\\x28\\xb5\\x2f\\xfd":
        sys.exit(1)
    data, last = data[9:], 0
    while not last:
        if len(data) < 3:
            sys.exit(1)
        head = int.from_bytes(data[:3], "little")
        last, size = head & 1, head >> 3
        if len(data) < 3 + size:
            sys.exit(1)
        sys.stdout.buffer.write(data[3:3 + size])
        data = data[3 + size:]
""" % sys.executable


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory):
    """build.py leaves no compiled modules behind; those that tests start find them here, and start four times as fast.
    The library's are there too: with a prefix, Python does not look beside its modules."""
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("compiled"))
    writing = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", "import builder.cli.main, builder.cli.demo, lzma"], check=True, env=writing,
                   cwd=str(pathlib.Path(__file__).resolve().parents[1]))
    yield
    sys.pycache_prefix = None
    del os.environ["PYTHONPYCACHEPREFIX"]


@pytest.fixture(autouse=True)
def own_signals():
    """The command line, run in this process, ends with signals ignored; what tests start would inherit that."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def needs():
    """A function of the names of programs (and ROOT) that ends the test which lacks one."""
    def check(*programs):
        for program in programs:
            if program == ROOT:
                if os.geteuid() != 0:
                    pytest.skip("needs root")
            elif not shutil.which(program):
                package = PACKAGES.get(program, program)
                pytest.skip("needs %s: apt-get install --no-install-recommends %s" % (program, package))
    return check


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("SEEDPOD_REQUIRE_TOOLS") == "1":
        report.outcome = "failed"


@pytest.fixture
def zstd_program(tmp_path_factory, monkeypatch):
    """A `zstd` first on the PATH; a module asks for it by pytest.mark.usefixtures."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "zstd").write_text(ZSTD_PROGRAM)
    (folder / "zstd").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])
