"""spooler.pyz against Debian's docker-registry: plain, with TLS on both sides, with a password."""
import contextlib
import copy
import json
import os
import pathlib
import random
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from tests.e2e.images import FORMS
from tests.e2e.site import PASSWORD, PLAIN, TLS, Site
from tests.support import at_once
from tests.support.interpreters import interpreters

DEADLINE_SECONDS = 30
LARGE_BYTES = 160 << 20  # three parts of an upload
MAX_RESIDENT_BYTES = 64 << 20
KILLS = 10  # of each of two spoolers


def wait_for(condition) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(.01)


def resident_bytes(pid: int) -> int:
    """The most that a process ever had resident; 0 when it has ended."""
    try:
        status = pathlib.Path("/proc/%d/status" % pid).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))


@pytest.fixture(scope="module")
def sites(needs, sandbox, spooler, tmp_path_factory):
    """A function of a kind: a registry of that kind, for all tests."""
    needs("docker-registry", "openssl", "skopeo")
    with contextlib.ExitStack() as stack:
        known = {}

        def site_of(kind):
            if kind not in known:
                known[kind] = Site(sandbox, tmp_path_factory.mktemp(kind), kind, spooler)
                stack.enter_context(known[kind].registry())
                known[kind].run("list")  # waits until it answers
            return known[kind]
        yield site_of


@pytest.fixture(scope="module")
def tars(saved, tmp_path_factory):
    """form -> one file, as it can be copied or streamed; a folder is packed."""
    folder = tmp_path_factory.mktemp("tars")
    found = {}
    for form in FORMS:
        path = pathlib.Path(saved.archives[form].split("=")[-1])
        if path.is_dir():
            subprocess.run(["tar", "-C", path, "-cf", folder / (form + ".tar"), "."], check=True)
            path = folder / (form + ".tar")
        found[form] = path
    return found


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_goes_in_by_stream_and_comes_out_with_its_image_id(form, sites, saved, tars, tmp_path):
    site = sites(PLAIN)
    with open(tars[form], "rb") as archive:
        assert site.run("push", "stream/%s:1" % form, stdin=archive).startswith(b"pushed stream/%s:1 " % form.encode())
    assert site.image_id("stream/%s:1" % form, tmp_path) == saved.image_id


@pytest.mark.parametrize("kind", (PLAIN, TLS, PASSWORD))
def test_archives_go_in_by_file_and_come_out_with_their_image_id(kind, sites, saved, tars, tmp_path):
    site, spool = sites(kind), tmp_path / "spool"
    spool.mkdir()
    for form in FORMS:
        os.link(tars[form], spool / ("file\\%s:1.2.tar" % form))
    with site.spooling(spool) as process:
        wait_for(lambda: not os.listdir(spool))
        with urllib.request.urlopen(process.health) as answer:
            assert json.loads(answer.read())["pushed"] == len(FORMS)
    for form in FORMS:
        assert site.image_id("file/%s:1.2" % form, tmp_path / form) == saved.image_id
    assert site.log().count(" pushed ") == len(FORMS)
    assert "secret" not in site.log()


@pytest.mark.parametrize("archive_form", ("oci-archive", "docker-archive"))
def test_what_is_pulled_is_loaded_by_podman_and_read_by_skopeo(archive_form, needs, sites, saved, tars, sandbox,
                                                               tmp_path):
    needs("podman")
    site = sites(PLAIN)
    with open(tars["crane"], "rb") as archive:
        site.run("push", "pulled/app:1", stdin=archive)
    (tmp_path / "app.tar").write_bytes(site.run("pull", "pulled/app:1", "--format", archive_form))
    podman = ["podman", "--root", tmp_path / "root", "--storage-driver", "vfs"]
    sandbox.run(*podman, "load", "-i", tmp_path / "app.tar")
    output = sandbox.run(*podman, "images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}")
    image_id, name = output.split()
    assert (image_id, name.rpartition("pulled/")[2]) == (saved.image_id, "app:1")
    output = json.loads(sandbox.run("skopeo", "inspect", "--raw", "%s:%s" % (archive_form, tmp_path / "app.tar")))
    assert output["config"]["digest"] == saved.image_id


def test_docker_loads_what_is_pulled_in_either_form(sites, saved, tars, dockerd, sandbox, tmp_path):
    site = sites(PLAIN)
    with open(tars["oci"], "rb") as archive:
        site.run("push", "pulled/docker:1", stdin=archive)
    (tmp_path / "app.tar").write_bytes(site.run("pull", "pulled/docker:1", "--format", "docker-archive"))
    docker = ["docker", "--host", "unix://%s" % dockerd]
    sandbox.run(*docker, "load", "-i", tmp_path / "app.tar")
    assert sandbox.run(*docker, "images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}").split() == [
        saved.image_id, "pulled/docker:1"]


def test_what_the_injector_serves_is_copied_under_all_its_names(sites, served, saved, tmp_path):
    site = sites(PLAIN)
    site.run("copy", "--source", "http://" + served("docker-archive").address)
    for name in ("registry:2", "library/registry:2", "docker.io/library/registry:2"):
        assert site.image_id(name, tmp_path / name.replace("/", "-")) == saved.image_id


def test_list_and_delete_by_command_and_by_file(sites, tars, tmp_path):
    site = sites(PLAIN)
    for name in ("gone/one:1", "gone/other:1"):
        with open(tars["oci-archive"], "rb") as archive:
            site.run("push", name, stdin=archive)
    assert {"gone/one:1", "gone/other:1"} <= set(site.run("list").decode().split())
    assert site.run("delete", "gone/one:1").startswith(b"deleted gone/one:1 sha256:")
    (tmp_path / "gone\\other:1!").touch()
    with site.spooling(tmp_path):
        wait_for(lambda: not os.listdir(tmp_path))
    assert not {"gone/one:1", "gone/other:1"} & set(site.run("list").decode().split())


def test_the_oldest_and_the_newest_python_speak_tls_and_spool(sites, tars, tmp_path):
    tls, found = sites(TLS), interpreters()

    def speak_tls_and_spool(version_and_python):
        version, python = version_and_python
        site, spool = copy.copy(tls), tmp_path / ("%d.%d" % version)
        site.command = [python] + tls.command[1:]
        spool.mkdir()
        os.link(tars["crane"], spool / ("python:%d.%d.tar" % version))
        with site.spooling(spool):
            wait_for(lambda: not os.listdir(spool))
        assert b"python:%d.%d\n" % version in site.run("list")
        site.options = ["--registry", tls.url.replace("localhost", "127.0.0.1")] + tls.options[2:]
        assert "its certificate is not trusted" in site.run("list", status=1)
    at_once.each(speak_tls_and_spool, dict.fromkeys((found[0], found[-1])))


def test_wrong_credentials_and_certificates_are_one_line_and_keep_the_file(sites, tars, tmp_path):
    site, tls = sites(PASSWORD), sites(TLS)
    (tmp_path / "wrong").write_text("user:guess")

    def fail(options_and_words):
        options, words = options_and_words
        with open(tars["crane"], "rb") as archive:
            done = subprocess.run(site.command + ["push", "app"] + options, stdin=archive, stderr=subprocess.PIPE,
                                  timeout=60)
        output = done.stderr.decode()
        assert (done.returncode, output.count("\n")) == (1, 1) and words in output and "guess" not in output
    at_once.each(fail, (
        (site.options[:-1] + [tmp_path / "wrong"], "status 401: give the right --credentials"),
        (tls.options[:4], "its certificate is not trusted"),
        (["--registry", tls.url.replace("localhost", "127.0.0.1")] + tls.options[2:],
         "its certificate is not trusted"),
        (["--registry", tls.url.replace("https", "http")], "status 400")))
    spool = tmp_path / "spool"
    spool.mkdir()
    os.link(tars["crane"], spool / "app.tar")
    stranger = copy.copy(site)
    stranger.options = site.options[:-1] + [tmp_path / "wrong"]
    with stranger.spooling(spool):
        wait_for(lambda: (spool / "failed" / "app.tar").exists())
    assert "status 401" in (spool / "failed" / "app.tar.error").read_text()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A tar of random bytes."""
    path = tmp_path_factory.mktemp("large") / "large.tar"
    content = path.with_name("content")
    content.write_bytes(random.Random(1).randbytes(LARGE_BYTES // 32) * 32)
    subprocess.run(["tar", "-C", path.parent, "-cf", path, "content"], check=True)
    return path


def test_a_push_survives_the_death_of_the_registry_in_little_memory(large, sandbox, spooler, needs, tmp_path):
    needs("docker-registry")
    site = Site(sandbox, tmp_path, PLAIN, spooler)

    def upload_bytes():
        return sum(path.stat().st_size for path in tmp_path.glob("storage/**/_uploads/*/data"))
    with open(large, "rb") as archive, site.registry():
        site.run("list")
        process = subprocess.Popen(site.command + ["push", "large:1", "--as-layer"] + site.options, stdin=archive)
        wait_for(lambda: upload_bytes() > 70 << 20)  # in the second part
    assert process.poll() is None
    with site.registry():
        most_bytes = 0
        while process.poll() is None:
            most_bytes = max(most_bytes, resident_bytes(process.pid))
            time.sleep(.01)
        assert process.returncode == 0
        assert 0 < most_bytes < MAX_RESIDENT_BYTES
        assert site.is_whole("large", "1")


def test_a_spooler_killed_at_any_moment_loses_nothing_and_half_pushes_nothing(sites, tars, tmp_path):
    site = sites(PLAIN)

    def kill_again_and_again(which):
        moments, spool = random.Random(which), tmp_path / which
        spool.mkdir()
        names, files = [], {}  # files: that of each name whose image is not known to be whole yet
        for number in range(KILLS):
            name = "%s/%d" % (which, number)
            names.append(name)
            files[name] = name.replace("/", "\\") + ":1.tar"
            os.link(tars[FORMS[number % len(FORMS)]], spool / files[name])
            with site.spooling(spool) as process:
                time.sleep(moments.uniform(.1, .6))
                process.send_signal(signal.SIGKILL)
                process.wait()
            waiting = os.listdir(spool)
            files = {name: file for name, file in files.items() if not site.is_whole(name, "1")}
            assert set(files.values()) <= set(waiting)
        with site.spooling(spool):
            wait_for(lambda: not os.listdir(spool))
        assert all(site.is_whole(name, "1") for name in names)
    at_once.each(kill_again_and_again, ("first", "second"))
