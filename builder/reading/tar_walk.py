"""The headers of a tar, read strictly: every member with its place, and what is wrong told with its place.

A file in, a `Walk` out. The standard tarfile is not used: it takes a damaged header in the middle for the end, so that
a damaged archive looks like a shorter one, and fails in many other ways (recursion, negative sizes).

Rules: a name that leaves here is normalised by `normalise` (no "", ".", "..", no leading slash), it is a key of
a map and never becomes a path; no member is sliced whose stored bytes are not its content (sparse ones).
Python 3.6 syntax and library only (it also runs in the cluster).

Specs: POSIX pax, "ustar Interchange Format" and "pax Header"; GNU tar manual, "Basic Tar Format"
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html  https://www.gnu.org/software/tar/manual/
"""
import re
from typing import BinaryIO, Dict, List, NamedTuple, Optional

from builder.reading.errors import BuildError, shown

BLOCK = 512  # bytes: the unit of the format
READ_BYTES = 1 << 20  # at once, where the rest of the file is looked at
MAX_MEMBERS = 100000  # an image archive has a few hundred; more is a root file system
MAX_NAME_BYTES = 4096  # PATH_MAX of Linux
MAX_HEADER_BYTES = 1 << 20  # of one pax or GNU long name header

FILE, LINK, SYMLINK, FOLDER, SPARSE, OTHER = "file", "hard link", "symlink", "folder", "sparse file", "special file"
_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"1": LINK, b"2": SYMLINK, b"5": FOLDER, b"S": SPARSE,
          b"3": OTHER, b"4": OTHER, b"6": OTHER}
_WITHOUT_DATA = (LINK, SYMLINK, FOLDER, OTHER)  # whatever their size field says
_ZEROS = bytes(BLOCK)
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")


class Member(NamedTuple):
    """One entry of the archive."""
    name: str  # normalised; "" for the root folder itself
    kind: str
    offset: int  # of its data, in bytes
    size: int  # of its data, in bytes
    target: str  # of a link, as it stands in the archive


class Walk(NamedTuple):
    """Everything a tar says of itself."""
    members: List[Member]
    ended: bool  # whether there was an end-of-archive block: without one it may have been cut off between two members
    trailing_bytes: int  # behind the end, from the first that is not zero


def normalise(name: str) -> Optional[str]:
    """The key of a name: no empty parts, no "."; None when it has a ".."."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else "/".join(parts)


def is_header(block: bytes) -> bool:
    """Whether 512 bytes are a tar header by their check sum."""
    if len(block) < BLOCK or block[:BLOCK] == _ZEROS:
        return False
    told = _OCTAL.fullmatch(block[148:156])
    if not told or not told.group(1):
        return False
    rest = block[:148] + b" " * 8 + block[156:BLOCK]
    signed = sum(rest) - 256 * sum(1 for byte in rest if byte > 127)  # some old writers summed signed bytes
    return int(told.group(1), 8) in (sum(rest), signed)


def walk(file: BinaryIO, size: int, where: str) -> Walk:
    """Read all headers of the tar of `size` bytes in `file`; `where` begins every error (BuildError)."""
    return _Walker(file, size, where).run()


class _Walker:
    def __init__(self, file: BinaryIO, size: int, where: str) -> None:
        self.file = file
        self.size = size
        self.where = where
        self.offset = 0  # of the next header
        self.members = []  # type: List[Member]
        self.extended = {}  # type: Dict[str, bytes]  # what pax and GNU headers say of the next member

    def run(self) -> Walk:
        while self.offset < self.size:
            block = self.read(self.offset, BLOCK)
            if block == _ZEROS:
                if self.extended:
                    raise self.bad("ends after an extended header that belongs to no member")
                return Walk(self.members, True, self.trailing_bytes())
            if len(block) < BLOCK:
                raise self.cut_off()
            if not is_header(block):
                raise self.bad("is no tar header (its check sum is wrong)")
            self.header(block)
        if self.extended:
            raise self.cut_off()
        return Walk(self.members, False, 0)

    def header(self, block: bytes) -> None:
        size = self.number(block[124:136])
        data = self.offset + BLOCK
        kind = block[156:157]
        if kind in b"xXgLK":
            self.extended_header(kind, data, size)
            return
        member = self.member(block, kind, data, size)
        if kind == b"S":
            member = member._replace(offset=self.skip_sparse_map(block))
        self.extended = {}
        if member.offset + member.size > self.size:
            raise self.cut_off(member.name)
        self.members.append(member)
        if len(self.members) > MAX_MEMBERS:
            raise BuildError("%s: has more than %d members: an image archive has a few hundred; a root file system "
                             "(docker export) is none: use docker save" % (self.where, MAX_MEMBERS))
        self.offset = member.offset + _padded(member.size)

    def member(self, block: bytes, flag: bytes, offset: int, size: int) -> Member:
        name, target = _text(block[0:100]), _text(block[157:257])
        if block[257:263] == b"ustar\0" and block[345]:
            name = _text(block[345:500]) + b"/" + name
        name = self.extended.get("path", name)
        target = self.extended.get("linkpath", target)
        kind = _KINDS.get(flag, OTHER)
        if "size" in self.extended:
            size = self.decimal(self.extended["size"])
        if any(key.startswith("GNU.sparse.") for key in self.extended):
            kind = SPARSE
            name = self.extended.get("GNU.sparse.name", name)
        if kind == FILE and name.endswith(b"/"):
            kind = FOLDER  # before POSIX a folder was a file with a slash at its end
        if kind in _WITHOUT_DATA and flag in _KINDS:
            size = 0
        return Member(self.checked_name(name), kind, offset, size, self.decoded(target))

    def extended_header(self, kind: bytes, data: int, size: int) -> None:
        if size > MAX_HEADER_BYTES:
            raise self.bad("is an extended header of more than %d bytes" % MAX_HEADER_BYTES)
        if data + size > self.size:
            raise self.cut_off()
        value = self.read(data, size)
        if kind == b"L":
            self.extended["path"] = _text(value)
        elif kind == b"K":
            self.extended["linkpath"] = _text(value)
        elif kind != b"g":  # global ones (git archive) speak of no member
            self.extended.update(self.pax_records(value))
        self.offset = data + _padded(size)

    def pax_records(self, value: bytes) -> Dict[str, bytes]:
        records = {}
        while value.strip(b"\0"):
            length, space, _ = value.partition(b" ")
            end = int(length) if length.isdigit() and len(length) < 8 else 0
            key, equals, text = value[len(length) + 1:end - 1].partition(b"=")
            if not space or not equals or end > len(value) or value[end - 1:end] != b"\n":
                raise self.bad("is a damaged pax header")
            records[key.decode("utf-8", "surrogateescape")] = text
            value = value[end:]
        return records

    def skip_sparse_map(self, block: bytes) -> int:
        """Where the data of an old GNU sparse member begins: behind the blocks that go on with its map."""
        offset, more = self.offset + BLOCK, block[482]
        while more:
            block = self.read(offset, BLOCK)
            if len(block) < BLOCK:
                raise self.cut_off()
            offset, more = offset + BLOCK, block[504]
        return offset

    def trailing_bytes(self) -> int:
        """Whether the archive is over behind this block of zeros: one more, the end of the file, or else damage."""
        second = self.read(self.offset + BLOCK, BLOCK)
        if second.strip(b"\0"):
            raise self.bad("is a single block of zeros between two members")
        offset = self.offset + 2 * BLOCK
        while offset < self.size:
            block = self.read(offset, READ_BYTES)
            rest = block.lstrip(b"\0")
            if rest:
                return self.size - offset - len(block) + len(rest)
            offset += len(block)
        return 0

    def read(self, offset: int, count: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(count)

    def number(self, field: bytes) -> int:
        if field[0] == 0x80:  # base 256, for what does not fit in octal digits
            return int.from_bytes(field[1:], "big")
        told = _OCTAL.fullmatch(field)
        if not told:
            raise self.bad("has a size that is negative or no number")
        return int(told.group(1) or b"0", 8)

    def decimal(self, text: bytes) -> int:
        if not text.isdigit() or len(text) > 19:  # 19 digits hold 2**63
            raise self.bad("has a size that is negative or no number")
        return int(text)

    def checked_name(self, name: bytes) -> str:
        text = self.decoded(name)
        normal = normalise(text)
        if normal is None:
            raise self.bad("is called %s, with a .. in it" % shown(text))
        return normal

    def decoded(self, name: bytes) -> str:
        if len(name) > MAX_NAME_BYTES or b"\0" in name:
            raise self.bad("has a name of more than %d bytes or with a zero byte" % MAX_NAME_BYTES)
        return name.decode("utf-8", "surrogateescape")

    def bad(self, what: str) -> BuildError:
        after = ", after %s," % shown(self.members[-1].name) if self.members else ""
        return BuildError("%s: is damaged: the tar header at byte %d%s %s: copy or make the archive again"
                          % (self.where, self.offset, after, what))

    def cut_off(self, name: str = "") -> BuildError:
        inside = shown(name) or "the header at byte %d" % self.offset
        return BuildError("%s: is cut off in %s: copy or make the archive again" % (self.where, inside))


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
