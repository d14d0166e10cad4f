import hashlib
import os

import pytest

from builder.output import old_folder
from builder.output.old_folder import OldFolder
from builder.reading.errors import InputError

MARK = "Written by this test."
FILES = {"00-namespace.yaml": b"kind: Namespace\n", "README.txt": MARK.encode() + b"\n"}


def sums(files):
    return "".join("%s  %s\n" % (hashlib.sha256(data).hexdigest(), name) for name, data in files.items()).encode()


@pytest.fixture
def out(tmp_path):
    """A folder that Seedpod wrote."""
    folder = tmp_path / "out"
    folder.mkdir()
    for name, data in dict(FILES, SHA256SUMS=sums(FILES)).items():
        (folder / name).write_bytes(data)
    return folder


def check(folder, mark=MARK):
    OldFolder(str(folder), mark).check()


def refused(folder, line):
    with pytest.raises(InputError) as refusal:
        check(folder)
    assert str(refusal.value) == "%s: move it away, or choose another folder" % (line % folder)


def test_a_missing_or_empty_folder_may_be_replaced(tmp_path):
    check(tmp_path)
    check(tmp_path / "out")


def test_a_folder_whose_files_are_listed_and_unchanged_may_be_replaced(out):
    check(out)


def test_a_signature_of_the_list_is_ours(out):
    (out / "SHA256SUMS.sig").write_bytes(b"-----BEGIN SSH SIGNATURE-----")
    check(out)


def test_a_listed_file_may_be_missing(out):
    (out / "00-namespace.yaml").unlink()
    check(out)


@pytest.mark.parametrize("name", ["40-my-netpol.yaml", "70-policy-mine.yaml", "10-chunk-mine.yaml", ".hidden", "z.txt",
                                  "SHA256SUMS.old", "CHUNKS"])
def test_a_file_that_is_not_listed_is_refused_whatever_its_name(out, name):
    (out / name).write_bytes(b"mine")
    refused(out, "%%s/%s: not written by Seedpod" % name)


@pytest.mark.parametrize("name", ["70-policy-mine.yaml", "00-namespace.yaml", "SHA256SUMS.sig"])
@pytest.mark.parametrize("make", [
    lambda path: path.mkdir(), lambda path: path.symlink_to("README.txt"), lambda path: os.mkfifo(path)])
def test_anything_but_a_regular_file_is_refused_even_if_listed(out, name, make):
    if (out / name).exists():
        (out / name).unlink()
    make(out / name)
    refused(out, "%%s/%s: not written by Seedpod" % name)


def test_a_link_to_an_unchanged_file_is_refused(out, tmp_path):
    os.rename(out / "00-namespace.yaml", tmp_path / "kept")
    (out / "00-namespace.yaml").symlink_to(tmp_path / "kept")
    refused(out, "%s/00-namespace.yaml: not written by Seedpod")


@pytest.mark.parametrize("name, data", [
    ("00-namespace.yaml", b"kind: namespace\n"), ("00-namespace.yaml", b""), ("README.txt", MARK.encode() + b" mine")])
def test_a_file_that_was_edited_is_refused(out, name, data):
    (out / name).write_bytes(data)
    refused(out, "%%s/%s: changed since Seedpod wrote it" % name)


@pytest.mark.parametrize("files", [
    {"notes.txt": b"mine"},
    {"README.txt": b"Read me!"},
    {"README.txt": FILES["README.txt"]},
    {"00-namespace.yaml": b"with the name of one of our files"},
    {"injector.pyz": b""},
])
@pytest.mark.parametrize("is_listed", [False, True])
def test_a_folder_without_our_list_and_our_mark_is_refused(tmp_path, files, is_listed):
    """A release folder of another program has a SHA256SUMS, too; and without one a folder proves nothing."""
    for name, data in dict(files, **({"SHA256SUMS": sums(files)} if is_listed else {})).items():
        (tmp_path / name).write_bytes(data)
    if is_listed and files.get("README.txt") == FILES["README.txt"]:
        check(tmp_path)
    else:
        first = min([*files, "SHA256SUMS"] if is_listed else files)
        refused(tmp_path, "%%s: not a folder that Seedpod wrote (it holds %s)" % first)


def test_a_mark_that_is_not_listed_proves_nothing(out):
    listed = {"00-namespace.yaml": FILES["00-namespace.yaml"]}
    (out / "SHA256SUMS").write_bytes(sums(listed))
    refused(out, "%s: not a folder that Seedpod wrote (it holds 00-namespace.yaml)")


def test_a_folder_of_another_mark_is_refused(out):
    with pytest.raises(InputError, match="not a folder that Seedpod wrote"):
        check(out, "Written by another test.")


DIGEST = b"0" * 64


@pytest.mark.parametrize("line", [
    b"", b"\n", DIGEST + b"  ../README.txt\n", DIGEST + b"  /etc/passwd\n", DIGEST + b"  a/b\n", DIGEST + b" *a\n",
    DIGEST + b"  a", DIGEST.replace(b"0", b"A") + b"  a\n", b"\xff" * 1000, b"x" * 100000, DIGEST + b"  \n"])
def test_a_malformed_list_proves_nothing(out, line):
    (out / "SHA256SUMS").write_bytes(sums(FILES) + line if line else b"")
    refused(out, "%s: not a folder that Seedpod wrote (it holds 00-namespace.yaml)")


@pytest.mark.parametrize("name", [b"\xff", b"..", b"a" * 300, b"\x1b[2J"])
def test_an_odd_name_in_the_list_is_harmless(out, name):
    (out / "SHA256SUMS").write_bytes(sums(FILES) + DIGEST + b"  " + name + b"\n")
    check(out)


def test_a_list_that_is_too_long_is_not_read(out, monkeypatch):
    size = (out / "SHA256SUMS").stat().st_size
    monkeypatch.setattr(old_folder, "MAX_SUMS_BYTES", size)
    check(out)
    monkeypatch.setattr(old_folder, "MAX_SUMS_BYTES", size - 1)
    refused(out, "%s: not a folder that Seedpod wrote (it holds 00-namespace.yaml)")


@pytest.mark.parametrize("name", ["SHA256SUMS", "README.txt"])
def test_a_fifo_does_not_stop_the_check(out, name):
    (out / name).unlink()
    os.mkfifo(out / name)
    refused(out, "%s: not a folder that Seedpod wrote (it holds 00-namespace.yaml)")


def test_a_name_that_is_not_utf8_is_shown_escaped(out):
    with open(os.fsencode(out) + b"/\xff\x1b", "wb"):
        pass
    with pytest.raises(InputError, match=r"out/\\udcff\\x1b: not written by Seedpod"):
        check(out)


def test_the_second_check_reads_only_what_changed(out):
    read = []
    checked = OldFolder(str(out), MARK, lambda stage, count, total: read.append((stage, count, total)))
    checked.check()
    total = sum(path.stat().st_size for path in out.iterdir())
    assert read == [("checking", len(FILES[name]), total) for name in sorted(FILES)]
    checked.check()
    assert len(read) == len(FILES)
    os.utime(out / "README.txt")
    checked.check()
    assert len(read) == len(FILES) + 1


@pytest.mark.parametrize("change, line", [
    (lambda out: (out / "00-namespace.yaml").write_bytes(FILES["00-namespace.yaml"].upper()), "changed since Seedpod"),
    (lambda out: (out / "mine").touch(), "not written by Seedpod"),
    (lambda out: (out / "SHA256SUMS").write_bytes(sums(dict(FILES, **{"00-namespace.yaml": b""}))), "changed since")])
def test_the_second_check_finds_what_changed(out, change, line):
    checked = OldFolder(str(out), MARK)
    checked.check()
    change(out)
    with pytest.raises(InputError, match=line):
        checked.check()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(InputError, match="out: exists and is not a folder"):
        check(tmp_path / "out")


@pytest.mark.parametrize("name", ["elsewhere", "nowhere"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path, name, slash):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / name)
    with pytest.raises(InputError, match="out: exists and is not a folder"):
        check(str(tmp_path / "out") + slash)


@pytest.mark.parametrize("name", ["", ".", "../out"])
def test_the_current_folder_is_refused_however_it_is_named(out, monkeypatch, name):
    monkeypatch.chdir(out)
    with pytest.raises(InputError, match="out: is the current folder: name another with -o"):
        check(name)


def test_an_empty_path_means_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "mine").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not a folder that Seedpod wrote"):
        check("")
