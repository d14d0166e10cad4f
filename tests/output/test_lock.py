import subprocess
import sys

from builder.output.lock import lock


def test_only_one_process_has_the_lock(tmp_path):
    with open(tmp_path / "lock", "wb") as one, open(tmp_path / "lock", "wb") as other:
        assert lock(one) and not lock(other)
        one.close()
        assert lock(other)


def test_a_killed_process_releases_the_lock(tmp_path):
    program = "import sys, os, signal\nfrom builder.output.lock import lock\n" \
              "file = open(sys.argv[1], 'wb')\nassert lock(file)\nos.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "lock")])
    assert done.returncode == -9
    with open(tmp_path / "lock", "r+b") as file:
        assert lock(file)
