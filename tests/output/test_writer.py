import hashlib
import os

import pytest

from builder.kubernetes import file_names
from builder.output import writer
from builder.reading.errors import BuildError

FILES = [("00-namespace.yaml", [b"kind: Namespace\n"]), (file_names.README, [writer.MARK.encode(), b"\n"])]
CONTENT = {name: b"".join(parts) for name, parts in FILES}


def write(out, files=tuple(FILES)):
    """A whole build's worth of writing."""
    writer.check_out(str(out))
    with writer.Folder(str(out)) as folder:
        folder.write(files)
        folder.keep()


def content(folder):
    """File name -> bytes, but for the sums of the files."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != file_names.SUMS}


def test_the_sums_are_those_of_every_other_file(tmp_path):
    write(tmp_path / "out")
    assert (tmp_path / "out" / "SHA256SUMS").read_text() == "".join(
        "%s  %s\n" % (hashlib.sha256(data).hexdigest(), name) for name, data in sorted(CONTENT.items()))


def test_a_new_folder_appears_with_all_its_files(tmp_path):
    write(tmp_path / "out")
    assert content(tmp_path / "out") == CONTENT
    assert os.listdir(tmp_path) == ["out"]


def test_an_older_build_of_ours_is_replaced_as_a_whole(tmp_path):
    write(tmp_path / "out", FILES + [("10-chunk-0001-of-0001.yaml", [b"old"])])
    write(tmp_path / "out")
    assert content(tmp_path / "out") == CONTENT
    assert os.listdir(tmp_path) == ["out"]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert content(tmp_path / "out") == CONTENT


@pytest.mark.parametrize("files", [
    {"notes.txt": b"mine"},
    {"deployment.yaml": b"kind: Deployment"},
    {"README.txt": b"Read me!"},
    {"README.txt": writer.MARK.encode(), "00-namespace.yaml": b"", "mine.yaml": b""},
    {"00-namespace.yaml": b"named as ours, but without the mark"},
    {"injector.pyz": b""},
    {".hidden": b""},
])
def test_somebody_elses_folder_is_refused_and_untouched(tmp_path, files):
    out = tmp_path / "out"
    out.mkdir()
    for name, data in files.items():
        (out / name).write_bytes(data)
    with pytest.raises(BuildError, match=r"out: holds files that Seedpod did not write \('.*'\): name another folder"):
        write(out)
    assert content(out) == files


def test_a_file_in_the_place_of_the_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(BuildError, match="out: exists and is not a folder"):
        write(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"mine"


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / target)
    with pytest.raises(BuildError, match="out: exists and is not a folder"):
        write(tmp_path / "out")


def test_a_link_is_one_with_a_slash_behind_it_too(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BuildError, match="out: exists and is not a folder"):
        writer.check_out(str(tmp_path / "out") + "/")


@pytest.mark.parametrize("name", ["", ".", "../here"])
def test_the_folder_that_one_is_in_is_refused_however_it_is_named(tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(BuildError, match="here: is the current folder: name another with -o"):
        writer.check_out(name)


def test_no_name_is_not_the_name_of_whatever_is_here(tmp_path, monkeypatch):
    (tmp_path / "mine").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BuildError, match="holds files that Seedpod did not write"):
        writer.check_out("")


def test_a_folder_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BuildError, match="its parent folder does not exist"):
        write(tmp_path / "a" / "out")
    assert os.listdir(tmp_path) == []


def test_a_failure_in_the_middle_leaves_the_old_folder_and_no_litter(tmp_path):
    write(tmp_path / "out")

    def files():
        yield "00-namespace.yaml", [b"new"]
        raise OSError("the disk is full")
    with pytest.raises(OSError, match="the disk is full"):
        write(tmp_path / "out", files())
    assert content(tmp_path / "out") == CONTENT
    assert os.listdir(tmp_path) == ["out"]


def test_a_failure_of_the_last_step_puts_the_old_folder_back(tmp_path, monkeypatch):
    write(tmp_path / "out", FILES + [("10-chunk-0001-of-0001.yaml", [b"old"])])
    rename = os.rename

    def fail_for_the_new_one(source, target):
        if target == str(tmp_path / "out") and source.endswith("out"):
            raise OSError(5, "no more")
        rename(source, target)
    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    with pytest.raises(OSError, match="no more"):
        write(tmp_path / "out")
    assert content(tmp_path / "out")["10-chunk-0001-of-0001.yaml"] == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_that_is_not_kept_vanishes(tmp_path):
    with writer.Folder(str(tmp_path / "out")) as folder:
        folder.write(FILES)
    assert os.listdir(tmp_path) == []


def test_a_new_folder_has_the_rights_of_any_new_folder(tmp_path):
    write(tmp_path / "out")
    (tmp_path / "other").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "injector.pyz"
    writer.write_file(str(path), b"old")
    writer.write_file(str(path), b"new")
    assert path.read_bytes() == b"new"

    def fail(*_):
        raise OSError(5, "no more")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no more"):
        writer.write_file(str(path), b"newer")
    assert content(tmp_path) == {"injector.pyz": b"new"}


def test_a_link_that_somebody_planted_beside_a_file_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"mine")
    monkeypatch.setattr(os, "urandom", bytes)  # as if somebody had guessed the name
    for planted in ("injector.pyz.partial", ".%s.partial" % ("00" * 16)):
        (tmp_path / planted).symlink_to("secret")
    with pytest.raises(FileExistsError):
        writer.write_file(str(tmp_path / "injector.pyz"), b"new")
    assert (tmp_path / "secret").read_bytes() == b"mine"


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"mine")
    (tmp_path / "injector.pyz").symlink_to("secret")
    writer.write_file(str(tmp_path / "injector.pyz"), b"new")
    assert content(tmp_path) == {"injector.pyz": b"new", "secret": b"mine"}


def test_every_file_that_is_written_is_known_as_ours(tmp_path):
    names = ["00-namespace.yaml", "10-chunk-0001-of-0045.yaml", "10-chunk-12345-of-12345.yaml", "20-injector.yaml",
             "SHA256SUMS", "30-service.yaml", "40-pod.yaml", "40-pod-12.yaml", "40-daemonset.yaml",
             "40-deployment.yaml", "README.txt", "injector.pyz"]
    assert [name for name in names if not file_names.is_ours(name)] == []
