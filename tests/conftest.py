"""What every test can ask for.

`needs("skopeo", "ctr")` skips a test, or whatever uses a fixture, where a program is not installed, and names the
Debian package to install. With SEEDPOD_REQUIRE_TOOLS=1 in the environment, as in .ci/run, it fails instead: there,
nothing is skipped unseen.
"""
import os
import shutil

import pytest

PACKAGES = {
    "buildah": "buildah",
    "containerd": "containerd",
    "ctr": "containerd",
    "docker": "docker.io",
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "podman": "podman",
    "runc": "runc",
    "skopeo": "skopeo",
    "yq": "yq",
}
ROOT = "root"  # not a program, but what some of them cannot do without


@pytest.fixture(scope="session")
def needs():
    """A function of programs (and ROOT) that ends the test which lacks one."""
    end = pytest.fail if os.environ.get("SEEDPOD_REQUIRE_TOOLS") == "1" else pytest.skip

    def check(*programs):
        for program in programs:
            if program == ROOT:
                if os.geteuid() != 0:
                    end("needs root")
            elif not shutil.which(program):
                end("needs %s: apt-get install --no-install-recommends %s" % (program, PACKAGES.get(program, program)))
    return check
