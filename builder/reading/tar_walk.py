"""The headers of a tar, read strictly: every member and where its data lies; damage is reported with its offset.

A file in, a `Walk` out. The standard tarfile is not used: it takes a damaged header in the middle for the end, so that
a damaged archive looks like a shorter one, and fails in many other ways (recursion, negative sizes).

Rules: a name that leaves here is normalised by `normalise` (no "", ".", "..", no leading slash); it is a key of a map
and never becomes a path. A sparse member is marked as such, since its stored bytes are not its content. Time and memory
are linear in the size of the tar.
Python 3.6 syntax and library only (it also runs in the cluster).

Specs: POSIX pax, "ustar Interchange Format" and "pax Header"; GNU tar manual, "Basic Tar Format"
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html  https://www.gnu.org/software/tar/manual/
"""
import re
from typing import IO, Dict, List, NamedTuple, Optional

from builder.reading.errors import InputError, shown

BLOCK = 512  # bytes: the unit of the format
_READ_BYTES = 1 << 20  # at once, where the rest of the file is looked at
MAX_MEMBERS = 100000  # an image archive has a few hundred; more is a root file system
MAX_NAME_BYTES = 4096  # PATH_MAX of Linux
# Of one member, in all its pax and GNU headers together. Go's reader takes as many bytes; real members have about ten
# records, and with many more the headers of a small archive would take minutes.
_MAX_NAMES_BYTES = 32 << 20  # of all members together, three times that of so many real ones
_MAX_EXTENDED_BYTES = 1 << 20
_MAX_PAX_RECORDS = 100

FILE, LINK, SYMLINK, FOLDER, SPARSE, OTHER = "file", "hard link", "symlink", "folder", "sparse file", "special file"
_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"1": LINK, b"2": SYMLINK, b"5": FOLDER, b"S": SPARSE,
          b"3": OTHER, b"4": OTHER, b"6": OTHER}
_WITHOUT_DATA = (LINK, SYMLINK, FOLDER, OTHER)  # for any size in the header
_ZEROS = bytes(BLOCK)
_POSITIVE = bytes(range(128))  # what is not negative as a signed byte
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
# The length of a record in bytes, this field and its line end included; its key.
_PAX_HEAD = re.compile(rb"([0-9]{1,7}) ([^=]*)=")


class Member(NamedTuple):
    """One entry of the archive."""
    name: str  # normalised; "" for the root folder itself
    kind: str
    offset: int  # of its data, in bytes
    size: int  # of its data, in bytes
    target: str  # of a link, as the archive has it


class Walk(NamedTuple):
    """Everything a tar says of itself."""
    members: List[Member]
    has_end_mark: bool  # the end-of-archive block: without one the tar may be truncated between two members
    trailing_bytes: int  # after the end, from the first that is not zero


def normalise(name: str) -> Optional[str]:
    """The key of a name: no empty parts, no "."; None when it has a ".."."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else "/".join(parts)


def is_header(block: bytes) -> bool:
    """Return whether 512 bytes are a tar header, by its checksum."""
    if len(block) < BLOCK or block[:BLOCK] == _ZEROS:
        return False
    written = _OCTAL.fullmatch(block[148:156])
    if not written or not written.group(1):
        return False
    rest = block[:148] + b" " * 8 + block[156:BLOCK]
    unsigned = sum(rest)
    signed = unsigned - 256 * len(rest.translate(None, _POSITIVE))  # some old writers summed signed bytes
    return int(written.group(1), 8) in (unsigned, signed)


def walk(file: IO[bytes], size: int, where: str) -> Walk:
    """Read all headers of the tar of `size` bytes in `file`; `where` begins every error (InputError)."""
    return _Walker(file, size, where).run()


class _Walker:
    def __init__(self, file: IO[bytes], size: int, where: str) -> None:
        self.file = file
        self.size = size
        self.where = where
        self.offset = 0  # of the next header
        self.members: List[Member] = []
        self.extended: Dict[str, bytes] = {}  # what pax and GNU headers say of the next member
        self.extended_bytes = 0  # of those headers
        self.pax_record_count = 0  # in those headers
        self.name_bytes = 0  # of all members

    def run(self) -> Walk:
        while self.offset < self.size:
            block = self.read(self.offset, BLOCK)
            if block == _ZEROS:
                if self.extended:
                    raise self.damaged("follows an extended header without a member")
                return Walk(self.members, True, self.trailing_bytes())
            if len(block) < BLOCK:
                raise self.truncated()
            if not is_header(block):
                raise self.damaged("is not a tar header (wrong checksum)")
            self.header(block)
        if self.extended:
            raise self.truncated()
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
        self.extended, self.extended_bytes, self.pax_record_count = {}, 0, 0
        if member.offset + member.size > self.size:
            raise self.truncated(member.name)
        self.members.append(member)
        if len(self.members) > MAX_MEMBERS:
            raise InputError("%s: has more than %d members, an image archive has a few hundred: if it is a root file "
                             "system (docker export), use docker save" % (self.where, MAX_MEMBERS))
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
        self.extended_bytes += size
        if self.extended_bytes > _MAX_EXTENDED_BYTES:
            raise self.damaged("makes more than %d bytes of extended headers for one member" % _MAX_EXTENDED_BYTES)
        if data + size > self.size:
            raise self.truncated()
        value = self.read(data, size)
        if kind == b"L":
            self.extended["path"] = _text(value)
        elif kind == b"K":
            self.extended["linkpath"] = _text(value)
        elif kind != b"g":  # global ones (git archive) are about no member
            self.extended.update(self.pax_records(value))
        self.offset = data + _padded(size)

    def pax_records(self, value: bytes) -> Dict[str, bytes]:
        records = {}
        start, end = 0, len(value.rstrip(b"\0"))
        while start < end:
            head = _PAX_HEAD.match(value, start)
            stop = start + int(head.group(1)) if head else 0
            if not head or not head.end() <= stop <= end or value[stop - 1:stop] != b"\n":
                raise self.damaged("is a damaged pax header")
            records[head.group(2).decode("utf-8", "surrogateescape")] = value[head.end():stop - 1]
            start = stop
            self.pax_record_count += 1
            if self.pax_record_count > _MAX_PAX_RECORDS:
                raise self.damaged("makes more than %d pax records for one member" % _MAX_PAX_RECORDS)
        return records

    def skip_sparse_map(self, block: bytes) -> int:
        """Return the offset of the data of an old GNU sparse member: after the blocks that continue its map."""
        offset, more = self.offset + BLOCK, block[482]
        while more:
            block = self.read(offset, BLOCK)
            if len(block) < BLOCK:
                raise self.truncated()
            offset, more = offset + BLOCK, block[504]
        return offset

    def trailing_bytes(self) -> int:
        """Count the bytes after the end mark: this block of zeros, and a second one unless the file ends here."""
        second = self.read(self.offset + BLOCK, BLOCK)
        if second.strip(b"\0"):
            raise self.damaged("is a single block of zeros between two members")
        offset = self.offset + 2 * BLOCK
        while offset < self.size:
            block = self.read(offset, _READ_BYTES)
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
        written = _OCTAL.fullmatch(field)
        if not written:
            raise self.bad_size()
        return int(written.group(1) or b"0", 8)

    def decimal(self, text: bytes) -> int:
        if not text.isdigit() or len(text) > 19:  # 19 digits hold 2**63
            raise self.bad_size()
        return int(text)

    def checked_name(self, name: bytes) -> str:
        text = self.decoded(name)
        normal = normalise(text)
        if normal is None:
            raise self.damaged("has the name %s, with a .. in it" % shown(text))
        return normal

    def decoded(self, name: bytes) -> str:
        if len(name) > MAX_NAME_BYTES or b"\0" in name:
            raise self.damaged("has a name of more than %d bytes or with a zero byte" % MAX_NAME_BYTES)
        self.name_bytes += len(name)
        if self.name_bytes > _MAX_NAMES_BYTES:
            raise self.damaged("is the first beyond %d bytes of names" % _MAX_NAMES_BYTES)
        return name.decode("utf-8", "surrogateescape")

    def bad_size(self) -> InputError:
        return self.damaged("has a size that is negative or not a number")

    def damaged(self, what: str) -> InputError:
        after = ", after %s," % shown(self.members[-1].name) if self.members else ""
        return InputError("%s: is damaged: the tar header at byte %d%s %s: copy or make the archive again"
                          % (self.where, self.offset, after, what))

    def truncated(self, name: str = "") -> InputError:
        inside = shown(name) or "the header at byte %d" % self.offset
        return InputError("%s: is truncated in %s: copy or make the archive again" % (self.where, inside))


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
