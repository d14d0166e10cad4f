"""What every test can ask for.

`needs("skopeo", "root")` skips a test, or whatever uses a fixture, where a program is not installed, and names the
Debian package to install. With SEEDPOD_REQUIRE_TOOLS=1 in the environment, as in .ci/run, whatever is skipped fails
instead: there, nothing goes untested unseen.
"""
import os
import shutil

import pytest

PACKAGES = {"ctr": "containerd", "docker": "docker.io", "dockerd": "docker.io"}  # of programs not named like theirs
ROOT = "root"  # not a program, but some cannot do without


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
