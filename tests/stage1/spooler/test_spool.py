"""stage1/spooler/spool, watch and health: which files are taken, when, and what becomes of them."""
import json
import os
import socket
import urllib.error
import urllib.request

import pytest

from tests.support import samples
from tests.support.fake_registry import Clock, FakeRegistry, running

from health import serve_health
from registry_client import Registry
from spool import Spool
from watch import Watcher

SETTLE, GIVE_UP = 2, 30
ARCHIVE = samples.tar_of(samples.crane(samples.sample(), samples.NAME))


class Sidecar:
    """The watcher over a folder, with a clock of its own."""

    def __init__(self, folder, client, clock, use_archive_names=False):
        self.folder, self.client, self.clock = folder, client, clock
        self.use_archive_names = use_archive_names
        self.log = []
        self.restart()

    def restart(self):
        spool = Spool(str(self.folder), SETTLE, GIVE_UP, self.clock)
        self.watcher = Watcher(spool, self.client, self.use_archive_names, self.log.append)

    def after(self, seconds):
        """One look now, one when that time is over."""
        self.watcher.turn()
        self.clock.now += seconds
        self.watcher.turn()

    def put(self, name, data):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def error(self, name):
        return (self.folder / "failed" / (name + ".error")).read_text()


@pytest.fixture
def fake():
    with running() as registry:
        yield registry


@pytest.fixture
def sidecar(fake, tmp_path):
    clock = Clock()
    client = Registry(fake.url, retry_seconds=1, clock=clock)
    yield Sidecar(tmp_path, client, clock)
    client.close()


@pytest.mark.parametrize("file, name", (
    ("registry.tar", ("registry", "latest")), ("team/app:1.2.tar", ("team/app", "1.2")),
    ("team\\app:1.2.tar", ("team/app", "1.2"))))
def test_a_file_is_pushed_then_removed(file, name, fake, sidecar):
    sidecar.put(file, ARCHIVE)
    sidecar.after(SETTLE)
    assert name in fake.manifests and sidecar.files() == []
    assert sidecar.log[-1].startswith("pushed %s:%s sha256:" % name)
    assert sidecar.watcher.counts == {"answers": True, "waiting": 1, "pushed": 1, "deleted": 0, "failed": 0}


def test_several_files_at_once(fake, sidecar):
    for name in ("a.tar", "b.tar", "c/d.tar"):
        sidecar.put(name, ARCHIVE)
    sidecar.after(SETTLE)
    assert {name for name, _ in fake.manifests} == {"a", "b", "c/d"} and sidecar.files() == []
    assert len(fake.sent("POST")) == 3 * 3 and len([path for path in fake.sent("PUT") if "uploads" in path]) == 3


def test_the_names_of_the_archive(fake, sidecar):
    sidecar.use_archive_names = True
    sidecar.restart()
    sidecar.put("whatever.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert ("library/sample", "1") in fake.manifests


@pytest.mark.parametrize("name", ("app.tar~", ".app.tar", "app.tar.part", ".hidden/app.tar", "failed/app.tar"))
def test_what_is_not_meant_yet_waits_for_ever(name, fake, sidecar):
    sidecar.put(name, ARCHIVE)
    sidecar.after(9999)
    assert sidecar.files() == [name] and not fake.sent("PUT")


def test_a_link_is_no_file(fake, sidecar, tmp_path):
    outside = tmp_path.parent / (tmp_path.name + "-outside.tar")
    outside.write_bytes(ARCHIVE)
    (tmp_path / "app.tar").symlink_to(outside)
    sidecar.after(9999)
    assert not fake.sent("PUT") and outside.exists()


def test_a_file_that_grows_waits_until_it_is_whole(fake, sidecar):
    for end in range(1000, len(ARCHIVE) - 1024, 1000):  # the end mark is two blocks, of which one is enough
        sidecar.put("app.tar", ARCHIVE[:end])
        sidecar.after(SETTLE)
        assert sidecar.files() == ["app.tar"] and not fake.sent("PUT")
    sidecar.put("app.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert sidecar.files() == []


def test_a_file_that_is_cut_off_is_read_once_then_given_up(fake, sidecar):
    sidecar.put("app.tar", ARCHIVE[:-2000])
    for _ in range(GIVE_UP - 1):
        sidecar.after(1)
        assert sidecar.files() == ["app.tar"]
    sidecar.after(2)
    assert sidecar.files() == ["failed/app.tar", "failed/app.tar.error"]
    assert "is cut off" in sidecar.error("app.tar") and sidecar.error("app.tar").count("\n") == 1
    assert [line for line in sidecar.log if line.startswith("failed app.tar: ")] == sidecar.log[-1:]
    assert sidecar.watcher.counts["failed"] == 1


def test_a_file_without_an_end_to_see_is_taken_when_nobody_writes_it_any_more(fake, sidecar):
    sidecar.put("values.yaml", b"a: 1\n")
    sidecar.after(GIVE_UP - 1)
    assert sidecar.files() == ["values.yaml"]
    sidecar.after(1)
    assert sidecar.files() == [] and ("values.yaml", "latest") in fake.manifests


@pytest.mark.parametrize("name, data, words", (
    ("App.tar", ARCHIVE, "is not an image name"),
    ("page.tar", b"<html>", "is a web page"),
    ("empty.tar", b"", "is an empty file"),
    ("app!", b"not empty", "is not an image name"),
))
def test_bad_input_is_kept_with_its_reason_and_the_next_file_goes_on(name, data, words, fake, sidecar):
    sidecar.put(name, data)
    sidecar.put("zebra.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert ("zebra", "latest") in fake.manifests
    sidecar.after(GIVE_UP)
    assert words in sidecar.error(name)
    assert (sidecar.folder / "failed" / name).read_bytes() == data


@pytest.mark.parametrize("fault, words", (
    (("POST", "/v2/app", 403), "these credentials may not do that"),
    (("PUT", "/v2/app/blobs", 413), "status 413"),
    (("HEAD", "/v2/app", b"SSH-2.0\r\n"), "is it a registry"),
))
def test_a_refusal_is_told_at_once(fault, words, fake, sidecar):
    fake.faults = [fault]
    sidecar.put("app.tar", ARCHIVE)
    sidecar.put("next.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert words in sidecar.error("app.tar")
    assert ("next", "latest") in fake.manifests


def test_a_full_registry_is_tried_for_a_while_then_told(fake, sidecar):
    fake.faults = [("PUT", "/v2/app/blobs", 507)] * 9
    sidecar.put("app.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert "status 507" in sidecar.error("app.tar")


def test_while_the_registry_is_gone_files_wait(fake, sidecar):
    client = sidecar.client
    with running(FakeRegistry()) as gone:
        pass
    sidecar.client = Registry(gone.url, retry_seconds=1, clock=sidecar.clock)
    sidecar.restart()
    sidecar.put("app.tar", ARCHIVE)
    sidecar.after(9999)
    assert sidecar.files() == ["app.tar"] and not sidecar.watcher.counts["answers"]
    sidecar.client = client
    sidecar.restart()
    sidecar.after(SETTLE)
    assert sidecar.files() == []


def test_a_registry_that_goes_away_during_a_push_fails_no_file(fake, sidecar):
    fake.faults = [("PUT", "/v2/app", 503)] * 9
    answers = sidecar.client.answers
    sidecar.client.answers = lambda: not fake.sent("PUT") and answers()
    sidecar.put("app.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert sidecar.files() == ["app.tar"] and sidecar.log[-1].startswith("waiting app.tar: ")


def test_a_second_failure_overwrites_nothing(fake, sidecar):
    for data in (b"<html>1", b"<html>2", b"<html>3"):
        sidecar.put("app.tar", data)
        sidecar.after(GIVE_UP)
    kept = [name for name in sidecar.files() if not name.endswith(".error")]
    assert [(sidecar.folder / name).read_bytes() for name in kept] == [b"<html>1", b"<html>2", b"<html>3"]


def test_a_file_that_changes_while_it_is_pushed_is_kept_and_read_again(fake, sidecar):
    path = sidecar.put("app.tar", ARCHIVE)
    put_manifest = sidecar.client.put_manifest
    newer = samples.tar_of(samples.crane(samples.sample("newer"), samples.NAME))

    def change_then_put(*arguments):
        path.write_bytes(newer)
        return put_manifest(*arguments)
    sidecar.client.put_manifest = change_then_put
    sidecar.after(SETTLE)
    sidecar.client.put_manifest = put_manifest
    assert sidecar.files() == ["app.tar"]
    sidecar.after(SETTLE)
    assert sidecar.files() == []
    digest = json.loads(fake.manifests["app", "latest"][1].decode())["config"]["digest"]
    assert digest == samples.sample("newer").image_id


def test_an_empty_file_with_a_mark_deletes(fake, sidecar):
    sidecar.put("team/app:1.2.tar", ARCHIVE)
    sidecar.after(SETTLE)
    sidecar.put("team\\app:1.2!", b"")
    sidecar.after(SETTLE)
    assert not fake.manifests and sidecar.files() == []
    assert sidecar.log[-1].startswith("deleted team/app:1.2 sha256:")
    sidecar.put("team\\app:1.2!", b"")
    sidecar.after(SETTLE)
    assert sidecar.files() == [] and sidecar.log[-1].startswith("absent team/app:1.2")


def test_after_a_restart_it_goes_on_and_sends_nothing_twice(fake, sidecar):
    sidecar.put("app.tar", ARCHIVE)
    fake.faults = [("PUT", "manifests", 403)]
    sidecar.after(SETTLE)
    os.rename(str(sidecar.folder / "failed" / "app.tar"), str(sidecar.folder / "app.tar"))
    uploads = len(fake.sent("POST"))
    sidecar.restart()
    sidecar.after(SETTLE)
    assert ("app", "latest") in fake.manifests and len(fake.sent("POST")) == uploads


def test_health_tells_whether_the_registry_answers_and_the_counts():
    counts = {"answers": False, "pushed": 3}
    server = serve_health(0, counts)
    try:
        def get(path, host="127.0.0.1"):
            try:
                with urllib.request.urlopen("http://%s:%d%s" % (host, server.server_address[1], path)) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()
        assert get("/live") == (200, b'{"answers": false, "pushed": 3}\n')
        assert get("/ready")[0] == 503
        counts["answers"] = True
        assert get("/ready") == (200, b'{"answers": true, "pushed": 3}\n')
        assert get("/else") == (404, b"")
        if server.address_family == socket.AF_INET6:
            assert get("/live", "[::1]")[0] == 200
    finally:
        server.shutdown()
        server.server_close()
