import os
import re

import pytest

from builder.output import scratch
from builder.output.lock import lock
from builder.output.scratch import Scratch, recover
from builder.reading.errors import InputError

LEFT = ".out.0123456789abcdef.partial"


@pytest.fixture
def out(tmp_path):
    """A path with content."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "content").write_text("current")
    return folder


def leave(out, *parts, name=LEFT):
    """Make the leftover of a killed run next to `out`, with these parts."""
    folder = out.parent / name
    folder.mkdir()
    for part in parts:
        if part == "lock":
            (folder / part).touch()
        else:
            (folder / part).mkdir()
            (folder / part / "content").write_text(part)
    return folder


def content(out):
    return (out / "content").read_text()


def make(parent):
    """Make new content in a scratch folder's `new`."""
    os.mkdir(parent.new)
    with open(os.path.join(parent.new, "content"), "w") as file:
        file.write("next")


def test_the_new_content_takes_the_place_of_the_old(out, tmp_path):
    with Scratch(str(out)) as folder:
        make(folder)
        folder.swap()
        assert content(out) == "next"
    assert content(out) == "next" and os.listdir(tmp_path) == ["out"]


def test_without_a_swap_everything_is_as_before(out, tmp_path):
    with Scratch(str(out)) as folder:
        make(folder)
        os.mkdir(folder.work)
        assert re.fullmatch(r"\.out\.[0-9a-f]{16}\.partial", os.path.basename(folder.folder))
        assert os.stat(folder.folder).st_mode & 0o777 == 0o700
    assert content(out) == "current" and os.listdir(tmp_path) == ["out"]


def test_a_swap_that_fails_is_undone(out, tmp_path, monkeypatch):
    rename = os.rename

    def fail_for_the_new_one(source, target):
        if source.endswith("new"):
            raise OSError(5, "no more")
        rename(source, target)
    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    with pytest.raises(OSError, match="no more"):
        with Scratch(str(out)) as folder:
            make(folder)
            folder.swap()
    assert content(out) == "current" and os.listdir(tmp_path) == ["out"]


def test_a_swap_that_cannot_be_undone_removes_nothing(out, tmp_path, monkeypatch):
    rename = os.rename

    def fail_once_the_old_one_has_moved(source, target):
        if source != str(out):
            raise OSError(5, "no more")
        rename(source, target)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no more"):
        patch.setattr(os, "rename", fail_once_the_old_one_has_moved)
        with Scratch(str(out)) as folder:
            make(folder)
            folder.swap()
    recover(str(out))
    assert content(out) == "current" and os.listdir(tmp_path) == ["out"]


# --- what killed runs left

@pytest.mark.parametrize("parts", [
    (), ("lock",), ("lock", "new"), ("lock", "work", "new"), ("lock", "old"), ("lock", "work", "old")])
def test_leftovers_of_a_killed_run_are_removed(out, tmp_path, parts):
    leave(out, *parts)
    recover(str(out))
    assert content(out) == "current" and os.listdir(tmp_path) == ["out"]


def test_content_that_a_killed_run_moved_away_is_moved_back(out, tmp_path):
    out.rename(tmp_path / "elsewhere")
    leave(out, "lock", "new", "old", "work")
    recover(str(out))
    assert content(out) == "old" and sorted(os.listdir(tmp_path)) == ["elsewhere", "out"]


def test_replaced_content_is_not_moved_back(out, tmp_path):
    out.rename(tmp_path / "elsewhere")
    leave(out, "lock", "old")
    recover(str(out))
    assert os.listdir(tmp_path) == ["elsewhere"]


def test_existing_content_is_not_replaced_by_that_of_a_killed_run(out, tmp_path):
    leave(out, "lock", "new", "old")
    recover(str(out))
    assert content(out) == "current" and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("part", ["new", "old", "work"])
def test_the_old_content_is_never_moved_back_after_a_removal_that_was_cut_short(out, tmp_path, monkeypatch, part):
    """Whatever is left of it by then is not whole."""
    leave(out, "lock", "new", "old", "work")

    class Killed(BaseException):
        pass
    rmtree = scratch.shutil.rmtree

    def killed(path, **options):
        if path.endswith(part):
            raise Killed
        rmtree(path, **options)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(scratch.shutil, "rmtree", killed)
        recover(str(out))
    before = sorted(os.listdir(tmp_path / LEFT))
    assert ("new" in before) == (part == "new") and "lock" in before
    if part == "new":  # nothing is removed as yet
        return
    out.rename(tmp_path / "elsewhere")
    recover(str(out))
    assert os.listdir(tmp_path) == ["elsewhere"]


def test_the_folder_of_a_live_run_is_kept(out, tmp_path):
    folder = leave(out, "lock", "new", "old")
    with open(folder / "lock", "r+b") as file:
        assert lock(file)
        out.rename(tmp_path / "elsewhere")
        recover(str(out))
        assert sorted(os.listdir(folder)) == ["lock", "new", "old"] and not out.exists()
    recover(str(out))
    assert content(out) == "old"


@pytest.mark.parametrize("name", [
    ".out.0123456789abcde.partial", ".out.0123456789abcdef0.partial", ".out.0123456789ABCDEF.partial",
    ".out.abcd_1xy.partial", "out.0123456789abcdef.partial", ".out.0123456789abcdef.partial.old",
    ".out2.0123456789abcdef.partial", ".a.out.0123456789abcdef.partial", ".out.0123456789abcdef.partial\n"])
def test_a_folder_of_another_name_is_kept(out, name):
    folder = leave(out, "lock", "new", "old", name=name)
    recover(str(out))
    assert sorted(os.listdir(folder)) == ["lock", "new", "old"]


@pytest.mark.parametrize("parts", [("new",), ("old", "new"), ("mine",), ("lock", "mine"), ("lock", "new", "mine")])
def test_a_folder_with_other_files_or_without_a_lock_is_kept(out, parts):
    folder = leave(out, *parts)
    recover(str(out))
    assert sorted(os.listdir(folder)) == sorted(parts)


@pytest.mark.parametrize("make_lock", [
    lambda path: path.mkdir(), lambda path: path.symlink_to("new"), lambda path: os.mkfifo(path)])
def test_a_lock_that_is_not_a_regular_file_is_not_ours(out, make_lock):
    folder = leave(out, "new")
    make_lock(folder / "lock")
    recover(str(out))
    assert sorted(os.listdir(folder)) == ["lock", "new"]


def test_a_link_or_a_file_named_like_a_leftover_is_kept(out, tmp_path):
    leave(out, "lock", "new", name="target")
    (tmp_path / LEFT).symlink_to("target")
    (tmp_path / LEFT.replace("0", "1")).touch()
    recover(str(out))
    assert len(os.listdir(tmp_path)) == 4 and sorted(os.listdir(tmp_path / "target")) == ["lock", "new"]


def test_a_folder_of_another_user_is_kept(out, monkeypatch):
    folder = leave(out, "lock", "new")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    recover(str(out))
    assert folder.exists()


def test_a_link_in_a_leftover_is_not_followed(out, tmp_path):
    leave(out, name="mine", *("work",))
    folder = leave(out, "lock", "old")
    (folder / "work").symlink_to(tmp_path / "mine")
    recover(str(out))
    assert (tmp_path / "mine" / "work" / "content").exists()


def test_a_name_with_special_characters_is_taken_literally(tmp_path):
    folder = leave(tmp_path / "o.t+[a]", "lock", "new", name=".o.t+[a].0123456789abcdef.partial")
    other = leave(tmp_path / "oxt", "lock", "new", name=".oxt.0123456789abcdef.partial")
    recover(str(tmp_path / "o.t"))
    assert folder.exists() and other.exists()
    recover(str(tmp_path / "o.t+[a]"))
    assert not folder.exists() and other.exists()


# --- several runs at once

def test_a_run_holds_the_lock_of_its_folder_until_the_end(out):
    with Scratch(str(out)) as folder:
        make(folder)
        recover(str(out))
        assert sorted(os.listdir(folder.folder)) == ["lock", "new"]


@pytest.mark.parametrize("moment", ["mkdir", "open", "lock"])
def test_a_folder_that_another_run_takes_for_a_leftover_is_made_again(out, tmp_path, monkeypatch, moment):
    """Another run looks for leftovers after the folder is made, and before it is locked."""
    made = []
    real = {"mkdir": os.mkdir, "open": open, "lock": scratch.lock}[moment]

    def then_recover(*arguments, **options):
        made.append(arguments[0])
        result = real(*arguments, **options) if moment != "lock" else None
        if len(made) == 1:
            monkeypatch.undo()
            recover(str(out))
            monkeypatch.setattr(*where, then_recover, raising=False)
        return result if moment != "lock" else real(*arguments)
    where = {"mkdir": (os, "mkdir"), "open": (scratch, "open"), "lock": (scratch, "lock")}[moment]
    monkeypatch.setattr(*where, then_recover, raising=False)
    with Scratch(str(out)) as folder:
        assert len(made) == 2 and os.listdir(folder.folder) == ["lock"]
        recover(str(out))
        assert os.listdir(folder.folder) == ["lock"]
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_whose_lock_another_run_has_is_given_up(out, tmp_path, monkeypatch):
    answers = [False, True]
    monkeypatch.setattr(scratch, "lock", lambda file: answers.pop(0))
    with Scratch(str(out)):
        assert not answers and len(os.listdir(tmp_path)) == 3, "the other run removes the first"


def test_without_locks_everything_works_and_no_leftover_is_touched(out, tmp_path, monkeypatch):
    def no_lock(file):
        raise OSError(38, "Function not implemented")
    monkeypatch.setattr(scratch, "lock", no_lock)
    leave(out, "lock", "new")
    recover(str(out))
    with Scratch(str(out)) as folder:
        make(folder)
        folder.swap()
    assert content(out) == "next" and sorted(os.listdir(tmp_path)) == [LEFT, "out"]


@pytest.mark.parametrize("moment, winner", [("old", "next"), ("new", "other")])
def test_of_two_runs_at_once_one_wins_and_nothing_is_mixed(out, tmp_path, monkeypatch, moment, winner):
    """The other one replaces it while this one moves the old content away, or before it moves the new one there."""
    rename = os.rename

    def after_the_other(source, target):
        if os.path.basename(target if moment == "old" else source) == moment:
            monkeypatch.undo()
            with Scratch(str(out)) as other:
                os.mkdir(other.new)
                with open(os.path.join(other.new, "content"), "w") as file:
                    file.write("other")
                other.swap()
        rename(source, target)
    monkeypatch.setattr(os, "rename", after_the_other)
    try:
        with Scratch(str(out)) as folder:
            make(folder)
            folder.swap()
    except InputError as failure:
        assert winner == "other" and "written by another run in the meantime: run this one again" in str(failure)
    assert content(out) == winner and os.listdir(tmp_path) == ["out"]


def test_a_folder_that_vanishes_before_it_is_moved_away_is_no_failure(out, tmp_path, monkeypatch):
    rename = os.rename

    def gone(source, target):
        if source == str(out):
            rename(source, str(tmp_path / "elsewhere"))
        rename(source, target)
    monkeypatch.setattr(os, "rename", gone)
    with Scratch(str(out)) as folder:
        make(folder)
        folder.swap()
    assert content(out) == "next"


def test_a_folder_that_cannot_be_made_leaves_nothing(out, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(scratch, "open", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        with Scratch(str(out)):
            raise AssertionError("it was made")
    assert os.listdir(tmp_path) == ["out"]


def test_a_planted_link_is_not_followed(out, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "new").write_text("mine")
    monkeypatch.setattr(os, "urandom", bytes)  # as if someone had guessed the name
    (tmp_path / ".out.0000000000000000.partial").symlink_to("mine")
    with pytest.raises(FileExistsError):
        with Scratch(str(out)):
            raise AssertionError("it was followed")
    assert (tmp_path / "mine" / "new").read_text() == "mine"
