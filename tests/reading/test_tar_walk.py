import io
import tarfile

import pytest

from builder.reading import tar_walk
from builder.reading.errors import InputError
from builder.reading.tar_walk import FILE, FOLDER, LINK, OTHER, SPARSE, SYMLINK, Member, is_header, normalise, walk
from tests.support.samples import Link, header, padded, tar_of, with_checksum

HELLO = header(b"hello", 5) + padded(b"world")
END = bytes(1024)


def read(data):
    return walk(io.BytesIO(data), len(data), "a.tar")


def refused(data):
    with pytest.raises(InputError) as error:
        read(data)
    assert str(error.value).startswith("a.tar: ") and "\n" not in str(error.value)
    return str(error.value)


def pax(records, flag=b"x"):
    body = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        while len(b"%d" % length) + len(key) + len(value) + 3 != length:
            length += 1
        body += b"%d %s=%s\n" % (length, key, value)
    return header(b"pax", len(body), flag) + padded(body)


def gnu_long(flag, text):
    return header(b"././@LongLink", len(text) + 1, flag, magic=b"ustar  ") + padded(text + b"\0")


LONG = b"blobs/sha512/" + b"0123456789abcdef" * 8

MEMBERS = [
    ("a file", HELLO, Member("hello", FILE, 512, 5, "")),
    ("an empty file", header(b"e"), Member("e", FILE, 512, 0, "")),
    ("an old type flag", header(b"x", 1, b"\0", magic=b"") + padded(b"y"), Member("x", FILE, 512, 1, "")),
    ("a contiguous file", header(b"x", 1, b"7") + padded(b"y"), Member("x", FILE, 512, 1, "")),
    ("an old folder", header(b"x/", 0, b"\0", magic=b""), Member("x", FOLDER, 512, 0, "")),
    ("a folder", header(b"./x/", 0, b"5"), Member("x", FOLDER, 512, 0, "")),
    ("the root", header(b"./", 0, b"5"), Member("", FOLDER, 512, 0, "")),
    ("a symlink", header(b"a/b", 0, b"2", b"../c"), Member("a/b", SYMLINK, 512, 0, "../c")),
    ("a hard link", header(b"a/b", 0, b"1", b"a/c"), Member("a/b", LINK, 512, 0, "a/c")),
    ("a hard link with the size of its target", header(b"a", 9, b"1", b"b"), Member("a", LINK, 512, 0, "b")),
    ("a device", header(b"null", 9, b"3"), Member("null", OTHER, 512, 0, "")),
    ("an unknown type with data", header(b"x", 1, b"Q") + padded(b"y"), Member("x", OTHER, 512, 1, "")),
    ("an absolute name", header(b"/a//./b"), Member("a/b", FILE, 512, 0, "")),
    ("a prefix", header(b"name", prefix=b"folder"), Member("folder/name", FILE, 512, 0, "")),
    ("times in place of a GNU prefix", header(b"name", magic=b"ustar  ", prefix=b"123"),
     Member("name", FILE, 512, 0, "")),
    ("a name that fills its field", header(b"n" * 100), Member("n" * 100, FILE, 512, 0, "")),
    ("a name that is not UTF-8", header(b"\xff"), Member("\udcff", FILE, 512, 0, "")),
    ("a size in base 256", header(b"x", size_field=b"\x80" + bytes(10) + b"\x01") + padded(b"y"),
     Member("x", FILE, 512, 1, "")),
    ("a size with spaces", header(b"x", size_field=b"         1  ") + padded(b"y"), Member("x", FILE, 512, 1, "")),
    ("a size of nothing", header(b"x", size_field=bytes(12)), Member("x", FILE, 512, 0, "")),
    ("a GNU long name", gnu_long(b"L", LONG) + header(b"cut"), Member(LONG.decode(), FILE, 1536, 0, "")),
    ("a GNU long link", gnu_long(b"K", LONG) + header(b"x", flag=b"2", target=b"cut"),
     Member("x", SYMLINK, 1536, 0, LONG.decode())),
    ("a pax name, size and link", pax([(b"path", LONG), (b"size", b"1"), (b"linkpath", b"l")])
     + header(b"cut") + padded(b"y"), Member(LONG.decode(), FILE, 1536, 1, "l")),
    ("a global pax header", pax([(b"comment", b"c"), (b"path", b"p")], b"g") + header(b"x"),
     Member("x", FILE, 1536, 0, "")),
    ("a sparse file by pax", pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.name", b"real")])
     + header(b"GNUSparseFile.0/x", 1) + padded(b"y"), Member("real", SPARSE, 1536, 1, "")),
]


@pytest.mark.parametrize("data, member", [row[1:] for row in MEMBERS], ids=[row[0] for row in MEMBERS])
def test_a_member_is_read(data, member):
    assert read(data + END) == ([member], True, 0)


@pytest.mark.parametrize("data, member", [row[1:] for row in MEMBERS], ids=[row[0] for row in MEMBERS])
def test_what_follows_a_member_is_found(data, member):
    assert read(data + HELLO + END).members[1] == Member("hello", FILE, len(data) + 512, 5, "")


@pytest.mark.parametrize("data", [row[1] for row in MEMBERS if "global" not in row[0]])
def test_an_archive_truncated_within_a_member_is_refused(data):
    for length in [*range(1, 512, 61), *range(513, len(data) - 511, 61)]:
        assert "is truncated in " in refused(data[:length])


@pytest.mark.parametrize("data", [row[1] for row in MEMBERS if row[1][156:157] in b"xLK"])
def test_an_extended_header_without_its_member_is_refused(data):
    assert "is truncated in " in refused(data[:512])
    assert "is truncated in " in refused(data[:1024])


def test_an_old_sparse_file_is_skipped_with_the_blocks_of_its_map():
    block = bytearray(header(b"sparse", 3, b"S", magic=b"ustar  "))
    block[482] = 1
    more = bytes(504) + b"\x01" + bytes(7)
    data = with_checksum(bytes(block)) + more + bytes(512) + padded(b"abc") + HELLO + END
    assert read(data).members == [Member("sparse", SPARSE, 1536, 3, ""), Member("hello", FILE, 2560, 5, "")]
    assert "truncated" in refused(data[:600])


def test_data_without_its_padding_is_whole():
    assert read(HELLO[:517]) == ([Member("hello", FILE, 512, 5, "")], False, 0)


@pytest.mark.parametrize("end, has_end_mark", [
    (b"", False), (bytes(512), True), (bytes(1024), True), (bytes(20480), True)])
def test_a_missing_end_mark_is_noticed(end, has_end_mark):
    assert read(HELLO + end).has_end_mark is has_end_mark


def test_an_archive_of_nothing_but_zeros_is_empty():
    assert read(bytes(10240)) == ([], True, 0)


@pytest.mark.parametrize("zeros", [0, 512, 3 << 20])
def test_what_follows_the_end_is_counted(zeros):
    assert read(HELLO + END + bytes(zeros) + HELLO).trailing_bytes == len(HELLO)


@pytest.mark.parametrize("data, word", [
    (HELLO + b"x" * 512 + HELLO + END, "checksum"),
    (HELLO + b"x" * 100, "truncated"),
    (HELLO + bytes(512) + HELLO + END, "single block of zeros"),
    (header(b"x", size_field=b"\xff" * 12), "negative"),
    (header(b"x", size_field=b"-0000000001\0"), "negative"),
    (header(b"x", size_field=b"0000000000x\0"), "not a number"),
    (header(b"x", size_field=b"\x80" + b"\xff" * 11), "truncated in x"),
    (header(b"a/../../etc/passwd"), "with a .. in it"),
    (header(b".."), "with a .. in it"),
    (pax([(b"path", b"a\0b")]) + header(b"x"), "zero byte"),
    (pax([(b"path", b"n" * 5000)]) + header(b"x"), "more than 4096"),
    (pax([(b"size", b"-1")]) + header(b"x"), "negative"),
    (pax([(b"size", b"9" * 30)]) + header(b"x"), "negative or not a number"),
    (header(b"pax", 4, b"x") + padded(b"9 a\n") + header(b"x"), "pax"),
    (header(b"pax", 6, b"x") + padded(b"99 a=b") + header(b"x"), "pax"),
    (header(b"pax", 4, b"x") + padded(b"a=b\n") + header(b"x"), "pax"),
    (header(b"pax", 2 << 20, b"x"), "more than 1048576 bytes of extended headers for one member"),
    (gnu_long(b"K", b"k" * (1 << 20)) + header(b"x"), "more than 1048576 bytes of extended headers for one member"),
    (pax([(b"a", b"1")] * 60) * 2 + header(b"x"), "more than 100 pax records for one member"),
    (header(b"pax", 6, b"x") + padded(b"6 a=b\0") + header(b"x"), "is a damaged pax header"),
    (header(b"pax", 6, b"x") + padded(b"0 a=b\n") + header(b"x"), "is a damaged pax header"),
    (header(b"pax", 6, b"x") + padded(b"3 a=b\n") + header(b"x"), "is a damaged pax header"),
    (header(b"pax", 14, b"x") + padded(b"6 a=b\n6 c:d\n=\n") + header(b"x"), "is a damaged pax header"),
    (pax([(b"path", b"x")]), "truncated"),
    (pax([(b"path", b"x")]) + END, "without a member"),
])
def test_damage_is_refused_with_its_offset(data, word):
    assert word in refused(data)


def test_the_limits_of_extended_headers_are_of_each_member_alone():
    data = (pax([(b"a", b"1")] * 100) + header(b"x")) * 3
    assert len(read(data + END).members) == 3


def test_a_flipped_bit_in_a_header_is_found_wherever_it_is():
    for place in range(512):
        for bit in range(8):
            data = bytearray(HELLO + HELLO + END)
            data[1024 + place] ^= 1 << bit
            try:
                assert read(bytes(data)) == read(HELLO + HELLO + END)
                assert 148 <= place < 156  # the checksum ends with a zero or a space, either will do
            except InputError as e:
                assert "at byte 1024, after hello, is not a tar header" in str(e)


def test_a_checksum_of_signed_bytes_is_accepted():
    block = bytearray(header(b"\xe4"))
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * 32 - 256)
    assert is_header(bytes(block))


def test_too_many_members_are_refused(monkeypatch):
    monkeypatch.setattr(tar_walk, "MAX_MEMBERS", 3)
    assert len(read(HELLO * 3 + END).members) == 3
    assert "more than 3 members" in refused(HELLO * 4 + END)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_the_standard_library_writes_is_read_alike(form):
    out = io.BytesIO()
    names = ["short", "folder/" + "n" * 90, "p" * 90 + "/" + "n" * 90] + (
        [] if form == tarfile.USTAR_FORMAT else ["d/" * 100 + "x" * 200, "ümlaut" * 30])
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = number * 300
            info.mtime = 1.5 if form == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        expected = [(info.name, info.offset_data, info.size) for info in tar]
    assert [(m.name, m.offset, m.size) for m in read(out.getvalue()).members] == expected
    assert [m[0] for m in expected] == names


def test_the_samples_are_what_the_standard_library_reads():
    with tarfile.open(fileobj=io.BytesIO(tar_of([("a", b"1"), ("b/c", Link("../a"))]))) as tar:
        assert tar.getnames() == ["a", "b/c"]
        assert tar.extractfile("b/c").read() == b"1"


@pytest.mark.parametrize("name, normal", [("./a//b/", "a/b"), ("/", ""), ("a/./b", "a/b"), ("a/../b", None),
                                          ("...", "..."), ("a/b..", "a/b..")])
def test_names_are_normalised(name, normal):
    assert normalise(name) == normal
