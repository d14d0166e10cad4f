import bz2
import gzip
import lzma
import os
import threading

import pytest

from builder.reading import archive as archive_module
from builder.reading.archive import open_archive
from builder.reading.errors import InputError
from builder.reading.oci import digest_of
from tests.support.samples import FOLDER, HARD, Link, gzipped, header, padded, tar_of, write_folder, zstd_stored

pytestmark = pytest.mark.usefixtures("zstd_program")

MEMBERS = [("folder/", FOLDER), ("folder/a", b"apple"), ("b", b""), ("folder/deep/c", bytes(range(256)) * 9)]
FORMS = {"tar": bytes, "gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress, "zstd": zstd_stored,
         "gzip twice": lambda data: gzip.compress(gzip.compress(data)),
         "two gzip streams and zeros": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]) + bytes(512)}


def opened(tmp_path, data, **more):
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    return open_archive(str(path), **more)


def refused(action):
    with pytest.raises(InputError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(params=sorted(FORMS) + ["folder"])
def archive(request, tmp_path):
    if request.param == "folder":
        path = write_folder(tmp_path / "folder", MEMBERS)
    else:
        path = str(tmp_path / "a")
        with open(path, "wb") as file:
            file.write(FORMS[request.param](tar_of(MEMBERS)))
    with open_archive(path) as archive:
        yield archive


def test_every_form_gives_the_same_members(archive):
    assert archive.names() == ["b", "folder/a", "folder/deep/c"]
    assert [archive.size(name) for name in archive.names()] == [0, 5, 2304]
    assert [archive.read(name, 4096) for name in archive.names()] == [b"", b"apple", MEMBERS[3][1]]
    assert archive.notes == ()


def test_names_are_normalised_when_asked_for(archive):
    assert archive.has("./folder//a") and archive.has("/folder/a")
    assert not archive.has("folder/../b") and not archive.has("folder") and not archive.has("c") and not archive.has("")


def test_readers_are_independent(archive):
    with archive.open("folder/a") as one, archive.open("folder/a") as other, archive.open("folder/deep/c") as third:
        assert one.read(2) == b"ap"
        assert other.read(1) == b"a"
        assert third.read(3) == b"\0\1\2"
        assert (one.read(), other.read(), one.read(1)) == (b"ple", b"pple", b"")


def test_readers_may_be_used_by_several_threads(archive):
    wrong = []

    def read():
        for _ in range(20):
            with archive.open("folder/deep/c") as reader:
                if b"".join(iter(lambda: reader.read(100), b"")) != MEMBERS[3][1]:
                    wrong.append(1)
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_folder_of_it_is_an_archive(archive):
    sub = archive.sub("folder")
    assert sub.names() == ["a", "deep/c"]
    assert sub.read("a", 5) == b"apple"
    assert sub.sub("deep").has("c") and not sub.has("b")
    assert refused(lambda: sub.read("x", 5)).endswith(
        ": folder/x: is not in the archive: copy or make the archive again")


def test_reading_is_limited(archive):
    assert "has 5 bytes, the limit is 4" in refused(lambda: archive.read("folder/a", 4))


def test_a_digest_is_computed_once(archive):
    assert archive.digest("folder/a") == archive.sub("folder").digest("a") == digest_of(b"apple")
    assert archive.digest("folder/a", "sha512") == digest_of(b"apple", "sha512")


def test_progress_counts_all_bytes_that_are_read(tmp_path):
    counts = []
    with opened(tmp_path, tar_of(MEMBERS), progress=counts.append) as archive:
        for _ in range(2):
            archive.digest("folder/deep/c")
    assert sum(counts) == 2304


def test_progress_counts_the_compressed_bytes_too(tmp_path):
    counts, data = [], gzip.compress(tar_of(MEMBERS))
    with opened(tmp_path, data, progress=counts.append):
        assert sum(counts) == len(data)


def test_no_member_becomes_a_file_beside_the_archive(tmp_path):
    with opened(tmp_path, gzip.compress(tar_of(MEMBERS + [("/etc/x", b"y")]))):
        assert os.listdir(str(tmp_path)) == ["a.tar"]


LINKS = [
    ("a symlink beside", [("d/l", Link("a")), ("d/a", b"1")], "d/l"),
    ("a symlink over the parent, before its target", [("d/l", Link("../e/a")), ("e/a", b"1")], "d/l"),
    ("an absolute symlink", [("d/l", Link("/e/a")), ("e/a", b"1")], "d/l"),
    ("a hard link, from the root", [("e/a", b"1"), ("d/l", Link("e/a", HARD))], "d/l"),
    ("a hard link to a symlink", [("e/a", b"1"), ("d/s", Link("../e/a")), ("d/l", Link("./d/s", HARD))], "d/l"),
    ("a chain of eight", [("l%d" % n, Link("l%d" % (n + 1))) for n in range(8)] + [("l8", b"1")], "l0"),
]


@pytest.mark.parametrize("members, name", [row[1:] for row in LINKS], ids=[row[0] for row in LINKS])
def test_links_are_followed_in_the_archive(tmp_path, members, name):
    with opened(tmp_path, tar_of(members)) as archive:
        assert archive.read(name, 1) == b"1"


BROKEN_LINKS = [
    ("dangling", [("l", Link("nothing"))], "is not in the archive"),
    ("out of the archive", [("l", Link("../../etc/passwd"))], "is not in the archive"),
    ("an absolute path of the machine", [("l", Link("/etc/passwd"))], "is not in the archive"),
    ("a hard link with a ..", [("l", Link("../etc/passwd", HARD))], "is not in the archive"),
    ("to a folder", [("d/", FOLDER), ("l", Link("d"))], "is not in the archive"),
    ("to itself", [("l", Link("l"))], "in a circle"),
    ("in a circle", [("l", Link("m")), ("m", Link("l", HARD))], "in a circle"),
    ("a chain of nine", [("l", Link("l0"))] + [("l%d" % n, Link("l%d" % (n + 1))) for n in range(8)] + [("l8", b"1")],
     "through more than 8"),
]


@pytest.mark.parametrize("members, word", [row[1:] for row in BROKEN_LINKS], ids=[row[0] for row in BROKEN_LINKS])
def test_a_link_that_leads_nowhere_matters_only_when_it_is_needed(tmp_path, members, word):
    with opened(tmp_path, tar_of(members + [("good", b"1")])) as archive:
        assert archive.read("good", 1) == b"1"
        assert word in refused(lambda: archive.read("l", 9))


def test_a_sparse_or_special_file_is_refused_when_it_is_needed(tmp_path):
    data = header(b"s", 3, b"S") + padded(b"abc") + header(b"dev", flag=b"3") + tar_of([("good", b"1")])
    with opened(tmp_path, data) as archive:
        assert archive.read("good", 1) == b"1"
        assert "is a sparse file" in refused(lambda: archive.read("s", 9))
        assert "is a special file" in refused(lambda: archive.open("dev"))


@pytest.mark.parametrize("second", [b"grape", b"", Link("x"), Link("b")])
def test_a_name_that_is_there_twice_with_different_content_is_refused_when_it_is_needed(tmp_path, second):
    with opened(tmp_path, tar_of([("x", b"apple"), ("b", b"1"), ("./x", second)])) as archive:
        assert archive.read("b", 1) == b"1"
        for _ in range(2):
            assert "x: is there more than once with different content" in refused(lambda: archive.read("x", 5))


def test_a_name_that_is_there_several_times_with_the_same_content_is_one(tmp_path):
    with opened(tmp_path, tar_of([("x", b"apple"), ("b", b"1"), ("./x", b"apple"), ("/x", b"apple")])) as archive:
        assert archive.names() == ["b", "x"] and archive.read("x", 5) == b"apple"


def test_a_folder_that_is_there_twice_is_one(tmp_path):
    with opened(tmp_path, tar_of([("d/", FOLDER), ("d/", FOLDER), ("d/a", b"1")])) as archive:
        assert archive.names() == ["d/a"]


def test_a_missing_end_mark_is_noted(tmp_path):
    with opened(tmp_path, tar_of(MEMBERS)[:-1024]) as archive:
        assert "no end-of-archive mark" in archive.notes[0] and not archive.has_end_mark
        assert not archive.sub("folder").has_end_mark


def test_a_second_archive_after_the_first_is_noted(tmp_path):
    with opened(tmp_path, tar_of(MEMBERS) * 2) as archive:
        assert "bytes after the end of the tar are not read" in archive.notes[0]


def test_every_truncation_is_noticed_or_leaves_whole_members(tmp_path):
    data = tar_of(MEMBERS)
    for length in list(range(0, len(data), 101)) + [512, 1024]:
        try:
            with opened(tmp_path, data[:length]) as archive:
                for name in archive.names():
                    assert archive.read(name, 4096) == dict(MEMBERS)[name]
                assert archive.notes or length > len(data) - 1024
        except InputError as e:
            assert "is truncated" in str(e) or "is an empty file" in str(e) or "is not a tar" in str(e)


NOT_ARCHIVES = [
    (b"", "is an empty file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "is a Git LFS pointer"),
    (b"\n<!DOCTYPE html><html>", "is a web page"),
    (b"<HTML>", "is a web page"),
    (b"\xef\xbb\xbf<?xml version", "is an XML document"),
    (b"PK\x03\x04", "is a zip file"),
    (b"\x7fELF", "is a program"),
    (b"[{", "is a JSON file"),
    (b"anything else" * 100, "is not a tar archive"),
    (b"x", "is not a tar archive"),
    (gzipped(b""), "is an empty file"),
    (gzipped(b"text"), "is not a tar archive"),
    (gzipped(tar_of(MEMBERS))[:-9], "gzip data is truncated"),
    (gzipped(gzipped(gzipped(tar_of([])))), "compressed more than 2 times"),
    (tar_of(MEMBERS)[:1600] + b"\1" + tar_of(MEMBERS)[1601:], "is damaged"),
]


@pytest.mark.parametrize("data, word", NOT_ARCHIVES)
def test_what_is_not_an_archive_is_refused_by_what_it_is(tmp_path, data, word):
    message = refused(lambda: opened(tmp_path, data))
    assert message.startswith(str(tmp_path / "a.tar") + ": ") and word in message


def test_a_tar_whose_first_name_looks_compressed_is_a_tar(tmp_path):
    with opened(tmp_path, tar_of([("BZh9", b"1")])) as archive:
        assert archive.names() == ["BZh9"]


def test_a_path_that_leads_nowhere_is_the_users_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert "no such file or folder" in refused(lambda: open_archive(str(tmp_path / "nothing")))
    assert "no such file or folder" in refused(lambda: open_archive(str(tmp_path / "file" / "x")))


def test_a_pipe_or_device_is_never_opened(tmp_path):
    os.mkfifo(str(tmp_path / "pipe"))
    assert "is neither a file nor a folder" in refused(lambda: open_archive(str(tmp_path / "pipe")))
    with open_archive(str(tmp_path)) as archive:
        assert archive.names() == []


def test_links_of_a_folder_are_followed_only_within_it(tmp_path):
    (tmp_path / "secret").write_bytes(b"1")
    folder = write_folder(tmp_path / "layout", [
        ("blobs/sha256/a", Link("../../rootfs.tar")), ("rootfs.tar", b"1"), ("out", Link("../secret")),
        ("absolute", Link(str(tmp_path / "secret"))), ("dangling", Link("nothing")), ("self", Link("self"))])
    os.makedirs(folder + "2")
    with open_archive(folder) as archive:
        assert archive.names() == ["blobs/sha256/a", "rootfs.tar"]
        assert archive.read("blobs/sha256/a", 1) == b"1"
        assert archive.entry("blobs/sha256/a") == archive.entry("rootfs.tar")


def test_a_symlink_kept_as_a_text_file_is_recognised(tmp_path):
    members = [("blobs/l", b"../a"), ("a", b"1"), ("blobs/out", b"../../a"), ("blobs/no", b"text\n"), ("e", b"")]
    with opened(tmp_path, tar_of(members)) as archive:
        assert archive.text_link("blobs/l") == "a"
        assert [archive.text_link(name) for name in ("blobs/out", "blobs/no", "e", "a")] == ["", "", "", ""]


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    with opened(tmp_path, tar_of([("big", bytes(1 << 20))])) as archive:
        os.truncate(str(tmp_path / "a.tar"), 1 << 16)
        assert "became shorter" in refused(lambda: archive.digest("big"))


def test_too_many_files_in_a_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_MEMBERS", 1)
    assert "more than 1 files" in refused(lambda: open_archive(write_folder(tmp_path / "d", MEMBERS)))


def test_json_is_read_and_refused_with_file_and_member(tmp_path):
    with opened(tmp_path, tar_of([("x.json", b'{"a": 1}'), ("y.json", b"{} {}")])) as archive:
        assert archive.read_json("x.json", 1 << 20) == {"a": 1}
        message = refused(lambda: archive.read_json("y.json", 1 << 20))
    assert message.startswith(str(tmp_path / "a.tar") + ": y.json: is not valid JSON (")
