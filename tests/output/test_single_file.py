import io
import os
import socket
import stat
import subprocess
import sys
import threading
import zipfile

import pytest

from builder.output import single_file
from builder.output.single_file import is_zipapp, write_file
from builder.reading.errors import InputError
from tests.support import samples


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "pass\n" * 100)
    return buffer.getvalue()


PROGRAM = zipped("__main__.py", "unpack.py")


def tarred(data):
    """A tar that holds a program, as one of a seed folder does."""
    return samples.tar_of([("seed/injector.pyz", data)])


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_file_has_the_rights_of_any_new_file(tmp_path):
    write_file(str(tmp_path / "a.pyz"), b"new")
    write_file(str(tmp_path / "b.pyz"), b"new", 0o777)
    (tmp_path / "c").touch()
    rights = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)}
    umask = 0o666 & ~rights["c"]
    assert rights == {"a.pyz": rights["c"], "b.pyz": 0o777 & ~umask, "c": rights["c"]}


@pytest.mark.parametrize("old", [PROGRAM, b"#!/usr/bin/env python3\n" + PROGRAM], ids=["zip", "executable zip"])
def test_a_program_is_replaced(tmp_path, old):
    (tmp_path / "a.pyz").write_bytes(old)
    write_file(str(tmp_path / "a.pyz"), b"new")
    assert content(tmp_path) == {"a.pyz": b"new"}


def damaged():
    """Files that are no programs, among them programs that were cut short or changed by one byte."""
    yield from (b"", b"mine", zipped("mine.txt"), zipped("sub/__main__.py"), b"PK\5\6" + bytes(18), bytes(100000))
    yield from (tarred(PROGRAM), b"#! no line end" + PROGRAM, b"#!line\nmore" + PROGRAM, PROGRAM + b"mine", PROGRAM + PROGRAM)
    yield from (PROGRAM[:length] for length in range(1, len(PROGRAM), 7))
    end = PROGRAM.index(b"PK\1\2")  # the directory, which is all that is read
    for place in range(end, len(PROGRAM)):
        for value in (0, 1, 0x80, 0xff):
            yield PROGRAM[:place] + bytes([value]) + PROGRAM[place + 1:]
    yield from (b"PK\6\7" + b"\xff" * 16 + PROGRAM[-22:-16] + b"\xff" * 16, b"PK\6\6" + b"\xff" * 52 + PROGRAM[end:])


def test_the_check_never_raises(tmp_path):
    path = tmp_path / "a.pyz"
    answers = set()
    for data in damaged():
        path.write_bytes(data)
        answers.add(is_zipapp(str(path)))
    assert answers == {False, True}


@pytest.mark.parametrize("data", [b"", b"mine", zipped("mine.txt"), zipped("sub/__main__.py"), PROGRAM[:-30]])
def test_any_other_file_is_kept(tmp_path, data):
    (tmp_path / "mine").write_bytes(data)
    with pytest.raises(InputError, match="mine: not a program that Seedpod wrote: move it away, or choose another file"):
        write_file(str(tmp_path / "mine"), b"new")
    assert content(tmp_path) == {"mine": data}


def test_a_program_that_is_larger_than_any_of_ours_is_kept(tmp_path, monkeypatch):
    (tmp_path / "mine").write_bytes(PROGRAM)
    monkeypatch.setattr(single_file, "MAX_PROGRAM_BYTES", len(PROGRAM) - 1)
    with pytest.raises(InputError, match="mine: not a program that Seedpod wrote"):
        write_file(str(tmp_path / "mine"), b"new")
    monkeypatch.setattr(single_file, "MAX_PROGRAM_BYTES", len(PROGRAM))
    write_file(str(tmp_path / "mine"), b"new")


@pytest.mark.parametrize("target", ["program", "other", "missing", "link", "folder"])
def test_a_link_to_anything_but_a_device_is_refused(tmp_path, target):
    (tmp_path / "program").write_bytes(PROGRAM)
    (tmp_path / "other").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(InputError, match="link: is a symbolic link: name its target, or choose another file"):
        write_file(str(tmp_path / "link"), b"new")
    assert os.readlink(tmp_path / "link") == target and (tmp_path / "program").read_bytes() == PROGRAM
    assert len(os.listdir(tmp_path)) == 4


def test_a_folder_and_a_socket_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        for name in ("folder", "socket"):
            with pytest.raises(InputError, match="%s: is not a regular file: choose another" % name):
                write_file(name, b"new")
    assert sorted(os.listdir(tmp_path)) == ["folder", "socket"]


@pytest.mark.parametrize("via_link", [False, True])
def test_a_fifo_is_written_through(tmp_path, via_link):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "fifo").read_bytes()))
    reader.start()
    write_file(str(tmp_path / ("link" if via_link else "fifo")), b"new")
    reader.join()
    assert read == [b"new"] and stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["fifo", "link"]


@pytest.mark.parametrize("via_link", [False, True])
def test_a_device_is_written_through(tmp_path, via_link):
    master, slave = os.openpty()
    name = os.ttyname(slave)
    (tmp_path / "link").symlink_to(name)
    write_file(str(tmp_path / "link") if via_link else name, b"new")
    assert os.read(master, 100) == b"new" and os.listdir(tmp_path) == ["link"]
    assert stat.S_ISCHR(os.stat(name).st_mode)
    os.close(slave)
    os.close(master)


def test_a_device_that_has_become_a_file_is_not_written(tmp_path, monkeypatch):
    (tmp_path / "mine").write_bytes(b"mine")
    answers = [True]
    real = single_file._is_stream
    monkeypatch.setattr(single_file, "_is_stream", lambda path: answers.pop() if answers else real(path))
    with pytest.raises(InputError, match="mine: changed while it was opened"):
        write_file(str(tmp_path / "mine"), b"new")
    assert content(tmp_path) == {"mine": b"mine"}


WRITER = "import sys\nfrom builder.output.single_file import write_file\nwrite_file(sys.argv[1], b'new')"
NAMES = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/../dev/stdout", "link"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("before, mode, after", [(b"", "wb", b"new"), (b"old ", "ab", b"old new")])
def test_standard_output_is_written_through_even_into_a_file(tmp_path, name, before, mode, after):
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "file").write_bytes(before)
    path = str(tmp_path / name) if name == "link" else name
    with open(tmp_path / "file", mode) as file:
        subprocess.run([sys.executable, "-c", WRITER, path], stdout=file, check=True)
    assert (tmp_path / "file").read_bytes() == after and sorted(os.listdir(tmp_path)) == ["file", "link"]


@pytest.mark.parametrize("name", NAMES[:-1])
def test_standard_output_is_written_through_where_it_is_a_pipe_or_a_socket(name):
    assert subprocess.run([sys.executable, "-c", WRITER, name], stdout=subprocess.PIPE).stdout == b"new"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run([sys.executable, "-c", WRITER, name], stdout=theirs, check=True)
        assert ours.recv(10) == b"new"


def test_an_open_file_of_another_number_is_written_through(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        write_file("/dev/fd/%d" % file.fileno(), b"new")
    assert content(tmp_path) == {"file": b"new"}


@pytest.mark.parametrize("name", ["/dev/fd/77", "/dev/fd/99999999999999999999", "/dev/fd/\u0661", "/dev/fd/x",
                                  "/dev/full", "no/such/file", "folder/"])
def test_an_error_of_writing_names_the_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError) as failure:
        write_file(name, b"new")
    assert failure.value.filename == name and os.listdir(tmp_path) == []


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "a.pyz").write_bytes(PROGRAM)

    def fail(*_):
        raise OSError(5, "no more")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no more"):
        write_file(str(tmp_path / "a.pyz"), b"new")
    assert content(tmp_path) == {"a.pyz": PROGRAM}


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    left = tmp_path / ".a.pyz.0123456789abcdef.partial"
    left.mkdir()
    (left / "lock").touch()
    (left / "new").write_bytes(b"half")
    write_file(str(tmp_path / "a.pyz"), b"new")
    assert content(tmp_path) == {"a.pyz": b"new"}


def test_a_run_counts_as_done_just_before_the_file_changes(tmp_path):
    (tmp_path / "a.pyz").write_bytes(PROGRAM)
    seen = []
    write_file(str(tmp_path / "a.pyz"), b"new", commit=lambda: seen.append((tmp_path / "a.pyz").read_bytes()))
    write_file("/dev/null", b"new", commit=lambda: seen.append("device"))
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(InputError):
        write_file(str(tmp_path / "mine"), b"new", commit=lambda: seen.append("refused"))
    assert seen == [PROGRAM, "device"]
