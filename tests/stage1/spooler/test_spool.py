"""stage1/spooler/spool and watch: which files are taken, when, and what becomes of them."""
import errno
import json
import os
import sys

import pytest

from tests.support import samples
from tests.support.fake_registry import FakeRegistry, running

import content
import spool
from registry_client import RegistryClient
from push import named, named_by_archive
from spool import Spool
from watch import Watcher

SETTLE, GIVE_UP = 2, 30
ARCHIVE = samples.tar_of(samples.crane(samples.sample(), samples.NAME))


class Sidecar:
    """The watcher over a folder, with a clock of its own."""

    def __init__(self, folder, client, clock):
        self.folder, self.client, self.clock = folder, client, clock
        folder.mkdir()
        self.choose, self.as_layer = named, False
        self.log = []
        self.restart()

    def restart(self):
        folder = Spool(str(self.folder), SETTLE, GIVE_UP, self.clock)
        self.watcher = Watcher(folder, self.client, self.choose, self.as_layer, self.log.append)

    def after(self, seconds):
        """One look now, one when that time is over."""
        self.watcher.turn()
        self.clock.now += seconds
        self.watcher.turn()

    def put(self, name, data):
        path = self.folder / name
        os.makedirs(str(path.parent), exist_ok=True)
        path.write_bytes(data)
        return path

    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def error(self, name):
        return (self.folder / "failed" / (name + ".error")).read_text()


@pytest.fixture
def sidecar(fake, connect, clock, tmp_path):
    return Sidecar(tmp_path / "spool", connect(fake.url, retry_seconds=1), clock)


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
    sidecar.choose = named_by_archive
    sidecar.restart()
    sidecar.put("whatever.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert ("library/sample", "1") in fake.manifests


@pytest.mark.parametrize("name", ("demo-1.2.3+build.5.tgz", "Chart!.tgz", "team\\x:1.tar"))
@pytest.mark.parametrize("as_layer", (False, True))
def test_a_chart_has_its_own_name_whatever_the_file_is_called(as_layer, name, fake, sidecar):
    sidecar.as_layer = as_layer
    sidecar.restart()
    sidecar.put(name, samples.chart())
    sidecar.after(SETTLE)
    assert {repository for repository, _ in fake.manifests} == {"charts/demo"} and sidecar.files() == []
    assert ("charts/demo", "1.2.3_build.5") in fake.manifests


def test_a_chart_that_helm_would_not_load_costs_one_line(fake, sidecar):
    sidecar.put("demo.tgz", samples.chart(b"name: demo"))
    sidecar.after(SETTLE)
    sidecar.after(GIVE_UP)
    assert "its version is ''" in sidecar.error("demo.tgz") and not fake.manifests


@pytest.mark.parametrize("name", ("app.tar~", ".app.tar", "app.tar.part", ".hidden/app.tar", "failed/app.tar"))
def test_what_is_not_meant_yet_waits_for_ever(name, fake, sidecar):
    sidecar.put(name, ARCHIVE)
    sidecar.after(9999)
    assert sidecar.files() == [name] and not fake.sent("PUT")


def test_a_symlink_is_not_taken(fake, sidecar, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "app.tar").write_bytes(ARCHIVE)
    (sidecar.folder / "app.tar").symlink_to(outside / "app.tar")
    (sidecar.folder / "team").symlink_to(outside)
    sidecar.after(9999)
    assert not fake.sent("PUT") and (outside / "app.tar").exists()


def test_a_file_that_grows_waits_until_it_is_whole(fake, sidecar):
    for end in range(1000, len(ARCHIVE) - 1024, 1000):  # the end mark is two blocks, of which one is enough
        sidecar.put("app.tar", ARCHIVE[:end])
        sidecar.after(SETTLE)
        assert sidecar.files() == ["app.tar"] and not fake.sent("PUT")
    sidecar.put("app.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert sidecar.files() == []


def test_a_truncated_file_is_read_once_then_given_up(fake, sidecar):
    sidecar.put("app.tar", ARCHIVE[:-2000])
    for _ in range(GIVE_UP - 1):
        sidecar.after(1)
        assert sidecar.files() == ["app.tar"]
    sidecar.after(2)
    assert sidecar.files() == ["failed/app.tar", "failed/app.tar.error"]
    assert "is truncated" in sidecar.error("app.tar") and sidecar.error("app.tar").count("\n") == 1
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
    (("POST", "/v2/app", 403), "these credentials do not allow it"),
    (("PUT", "/v2/app/blobs", 413), "status 413"),
    (("HEAD", "/v2/app", b"SSH-2.0\r\n"), "is it a registry"),
))
def test_a_refusal_is_reported_at_once(fault, words, fake, sidecar):
    fake.faults = [fault]
    sidecar.put("app.tar", ARCHIVE)
    sidecar.put("next.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert words in sidecar.error("app.tar")
    assert ("next", "latest") in fake.manifests


def test_a_full_registry_is_tried_for_a_while_then_reported(fake, sidecar):
    fake.faults = [("PUT", "/v2/app/blobs", 507)] * 9
    sidecar.put("app.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert "status 507" in sidecar.error("app.tar")


def test_while_the_registry_is_gone_files_wait(fake, sidecar):
    client = sidecar.client
    with running(FakeRegistry()) as gone:
        pass
    sidecar.client = RegistryClient(gone.url, retry_seconds=1, clock=sidecar.clock)
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


def test_without_a_change_to_the_folder_nothing_is_logged(sidecar):
    sidecar.put("page.tar", b"<html>")
    sidecar.after(GIVE_UP)
    lines = len(sidecar.log)
    for _ in range(5):
        sidecar.after(GIVE_UP)
    assert len(sidecar.log) == lines


# --- one bad file costs one line, and the next goes on

def costs_one_line(sidecar, fake, name, data=b"<html>"):
    """Put a bad file and a good one, which is pushed; -> the one line that the bad one costs."""
    sidecar.put(name, data)
    sidecar.put("zebra.tar", ARCHIVE)
    sidecar.after(SETTLE)
    sidecar.after(GIVE_UP)
    sidecar.after(9999)
    lines = [line for line in sidecar.log if line.startswith("failed ")]
    assert len(lines) == 1 and ("zebra", "latest") in fake.manifests
    return lines[0]


def test_where_failed_is_a_file_the_bad_file_stays(fake, sidecar):
    sidecar.put("failed", b"not a folder")
    line = costs_one_line(sidecar, fake, "page.tar")
    assert "is a web page" in line and "kept as page.tar itself: " in line
    assert sidecar.files() == ["failed", "page.tar"]


def test_where_failed_is_a_symlink_nothing_is_written_behind_it(fake, sidecar, tmp_path):
    (tmp_path / "outside").mkdir()
    (sidecar.folder / "failed").symlink_to(tmp_path / "outside")
    costs_one_line(sidecar, fake, "page.tar")
    assert not os.listdir(str(tmp_path / "outside"))


@pytest.mark.parametrize("taken", ("page.tar", "page.tar.error"))
def test_where_a_folder_has_the_name_in_failed_another_is_found(taken, fake, sidecar):
    (sidecar.folder / "failed" / taken).mkdir(parents=True)
    assert costs_one_line(sidecar, fake, "page.tar").endswith("(kept as failed/page.tar.2)")
    assert "is a web page" in sidecar.error("page.tar.2")


@pytest.mark.parametrize("name", ("A" * 246 + ".tar", "\u00e4" * 125, "A" * 255, "Long/" * 60 + "x"))
def test_a_name_that_leaves_no_room_is_shortened(name, fake, sidecar):
    costs_one_line(sidecar, fake, name)
    kept, error = sorted(os.listdir(str(sidecar.folder / "failed")))
    assert error == kept + ".error" and len(os.fsencode(error)) <= 255
    assert kept.startswith(name[:100].replace("/", "\\"))


def test_long_names_that_begin_alike_are_kept_apart(fake, sidecar):
    for end in "abc":
        sidecar.put("X" * 250 + end, end.encode())
    sidecar.after(GIVE_UP)
    kept = [name for name in sidecar.files() if not name.endswith(".error")]
    assert sorted((sidecar.folder / name).read_bytes() for name in kept) == [b"a", b"b", b"c"]


def full(file, *arguments, **more):
    if hasattr(file, "close"):
        file.close()
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_in_a_full_folder_a_bad_file_is_kept_without_its_reason(fake, sidecar, monkeypatch):
    monkeypatch.setattr(spool, "open", lambda *arguments, **more: (full if "w" in arguments else open)(
        *arguments, **more), raising=False)
    assert costs_one_line(sidecar, fake, "page.tar").endswith("(kept as failed/page.tar)")
    assert sidecar.files() == ["failed/page.tar"]


def test_in_a_full_folder_a_file_that_needs_room_is_tried_again_then_kept(fake, sidecar, monkeypatch):
    monkeypatch.setattr(content, "open_file", full)
    sidecar.put("app.tar", ARCHIVE)
    sidecar.after(SETTLE)
    assert sidecar.files() == ["app.tar"]
    monkeypatch.undo()
    sidecar.after(GIVE_UP)
    assert ("app", "latest") in fake.manifests
    monkeypatch.setattr(content, "open_file", full)
    sidecar.put("late.tar", ARCHIVE)
    sidecar.after(GIVE_UP)
    assert "No space left on device" in sidecar.error("late.tar")


def test_a_bug_with_one_file_is_a_line_and_the_next_file_goes_on(fake, sidecar, monkeypatch):
    read_images = content.read_images

    def fail(archive, **more):
        if "app.tar" in archive.path:
            raise ZeroDivisionError("\x1b[31m")
        return read_images(archive, **more)
    monkeypatch.setattr(content, "read_images", fail)
    line = costs_one_line(sidecar, fake, "app.tar", ARCHIVE)
    assert "internal error: ZeroDivisionError: \\x1b[31m" in line


@pytest.mark.parametrize("name", ("\udcff.tar", "a\nb.tar", "\x1b[31m", " ", "@", "\\", "!"))
def test_a_name_of_any_bytes_costs_one_line(name, fake, sidecar):
    costs_one_line(sidecar, fake, name)
    assert len(sidecar.files()) == 2


def test_a_file_that_cannot_be_removed_is_pushed_once(fake, sidecar, monkeypatch):
    def refuse(*arguments, **more):
        raise PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr(os, "unlink", refuse)
    sidecar.put("app.tar", ARCHIVE)
    for _ in range(4):
        sidecar.after(GIVE_UP)
    assert [line.partition(" ")[0] for line in sidecar.log] == ["registry", "pushed", "done"]


def test_a_folder_that_cannot_be_read_hides_no_other_file(fake, sidecar, monkeypatch):
    sidecar.put("closed/app.tar", ARCHIVE)
    sidecar.put("zebra.tar", ARCHIVE)
    scandir = os.scandir

    def refuse(path):
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)
    monkeypatch.setattr(os, "scandir", refuse)
    sidecar.after(SETTLE)
    monkeypatch.undo()
    assert ("zebra", "latest") in fake.manifests and sidecar.files() == ["closed/app.tar"]


@pytest.mark.parametrize("depth", (200, 700))
def test_a_file_in_too_many_folders_costs_one_line(depth, fake, sidecar):
    costs_one_line(sidecar, fake, "d/" * depth + "app.tar")


def calls_for(sidecar, count):
    """How many functions are called to deal with so many bad files: unlike seconds, the same on a busy machine."""
    for number in range(count):
        sidecar.put("%d/%s" % (number, "X" * 230), b"<html>")
    calls = []
    sys.setprofile(lambda frame, event, argument: calls.append(event) if "call" in event else None)
    try:
        sidecar.after(GIVE_UP)
    finally:
        sys.setprofile(None)
    assert sidecar.watcher.counts["failed"] == count
    return len(calls)


def test_many_bad_files_take_linear_time(connect, fake, clock, tmp_path):
    few, many = (calls_for(Sidecar(tmp_path / str(count), connect(fake.url), clock), count) for count in (100, 1000))
    assert many < 10 * few * 1.2


def test_a_name_that_fails_again_and_again_finds_its_place_at_once(sidecar, monkeypatch):
    looked = []
    exists = spool._exists
    monkeypatch.setattr(spool, "_exists", lambda name, folder: looked.append(name) or exists(name, folder))
    for number in range(300):
        sidecar.put("page.tar", b"<html>%d" % number)
        sidecar.after(GIVE_UP)
    assert len(looked) < 300 * 5


# --- what was checked is what is read

def swapped(sidecar, monkeypatch, swap):
    """Put a file that `swap(path)` replaces between the look and the push."""
    path = sidecar.put("app.tar", ARCHIVE)
    sidecar.watcher.turn()
    sidecar.clock.now += SETTLE
    answers = sidecar.client.answers
    monkeypatch.setattr(sidecar.client, "answers", lambda: swap(path) or answers())
    sidecar.watcher.turn()


def test_a_symlink_in_the_place_of_a_file_is_not_followed(fake, sidecar, monkeypatch, tmp_path):
    def swap(path):
        path.unlink()
        (tmp_path / "secret").write_bytes(ARCHIVE)
        path.symlink_to(tmp_path / "secret")
    swapped(sidecar, monkeypatch, swap)
    assert not fake.sent("PUT") and (tmp_path / "secret").exists()


def test_a_symlink_in_the_place_of_a_folder_is_not_followed(fake, sidecar, monkeypatch, tmp_path):
    sidecar.put("team/app.tar", ARCHIVE)

    def swap(path):
        (sidecar.folder / "team").rename(tmp_path / "team")
        (sidecar.folder / "team").symlink_to(tmp_path / "team")
        monkeypatch.undo()
    swapped(sidecar, monkeypatch, swap)
    assert ("app", "latest") in fake.manifests and ("team/app", "latest") not in fake.manifests
    assert (tmp_path / "team" / "app.tar").exists()


def test_a_named_pipe_in_the_place_of_a_file_is_not_waited_for(fake, sidecar, monkeypatch):
    def swap(path):
        path.unlink()
        os.mkfifo(str(path))
    swapped(sidecar, monkeypatch, swap)
    assert not fake.sent("PUT")


def test_another_file_in_the_place_of_one_is_looked_at_anew(fake, sidecar, monkeypatch):
    def swap(path):
        path.unlink()
        path.write_bytes(b"<html>")
        monkeypatch.undo()
    swapped(sidecar, monkeypatch, swap)
    assert not fake.sent("PUT") and sidecar.files() == ["app.tar"]


def test_a_file_is_sent_as_it_was_checked_whatever_takes_its_name(fake, sidecar, monkeypatch):
    newer = samples.tar_of(samples.crane(samples.sample("newer"), samples.NAME))
    path = sidecar.put("app.tar", ARCHIVE)
    upload = sidecar.client.upload

    def replace_then_upload(*arguments):
        (sidecar.folder / ".new").write_bytes(newer)
        (sidecar.folder / ".new").rename(path)
        return upload(*arguments)
    monkeypatch.setattr(sidecar.client, "upload", replace_then_upload)
    sidecar.after(SETTLE)
    digest = json.loads(fake.manifests["app", "latest"][1].decode())["config"]["digest"]
    assert digest == samples.sample().image_id and path.read_bytes() == newer


# --- tars that are not images

def test_a_root_file_system_is_refused_unless_it_is_asked_for_as_a_layer(fake, sidecar):
    export = samples.tar_of([("bin/sh", b"x"), ("etc/passwd", b"y"), (".dockerenv", b"")])
    assert "is a root file system (docker export" in costs_one_line(sidecar, fake, "app.tar", export)
    sidecar.as_layer = True
    sidecar.restart()
    sidecar.put("app.tar", export)
    sidecar.after(SETTLE)
    assert ("app", "latest") in fake.manifests
