"""A path to one index of members, whether it is a tar, a compressed tar or a folder.

`open_archive` gives an `Archive`: names, sizes, readers. Compression is undone once, into a temporary file without
a name. Links are resolved only in the index.

Rules: no name from an archive becomes a path (a folder is listed, and its files are opened by the paths of that
listing, and only if they lie in the folder); bytes are streamed, only `read` and `read_json` hold some, up to their
limit; a faulty archive raises InputError. Python 3.6 syntax and library only (it also runs in the
cluster).
"""
import contextlib
import hashlib
import io
import os
import stat
import tempfile
import threading
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from builder.reading.decompress import BLOCK_BYTES, Expansion, compression_of, decompressed
from builder.reading.documents import parse_json
from builder.reading.errors import InputError
from builder.reading.progress import Count
from builder.reading.tar_walk import (BLOCK, FILE, FOLDER, LINK, MAX_MEMBERS, MAX_NAME_BYTES, SYMLINK, is_header,
                                      normalise, shown, walk)

WHOLE = "the file"  # the one member of `Archive.given`
_MAX_LAYERS_OF_COMPRESSION = 2  # a .tar.gz that a browser or a script compressed once more
_MAX_LINK_HOPS = 8  # chains in real archives have one or two links

# What people pass by mistake: its first bytes, what it is, what to do.
_NOT_ARCHIVES = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file it stands for: run git lfs pull"),
    (b"<!doctype", "is a web page: the download went to a login or error page; download the file itself"),
    (b"<html", "is a web page: the download went to a login or error page; download the file itself"),
    (b"<?xml", "is an XML document: the download went to an error page; download the file itself"),
    (b"pk\x03\x04", "is a zip file: unpack it and pass the image archive inside"),
    (b"\x7felf", "is a program: pass an image archive (docker save, crane pull, skopeo copy)"),
    (b"{", "is a JSON file: pass the whole folder or archive that it belongs to"),
    (b"[", "is a JSON file: pass the whole folder or archive that it belongs to"),
)


class Entry(NamedTuple):
    """The place of a member in the file."""
    kind: str
    offset: int  # of its data, in bytes
    size: int  # in bytes
    target: str  # of a link; of a file in a folder: its path


def open_archive(path: str, progress: Count = lambda byte_count: None) -> "Archive":
    """Index the tar, compressed tar or folder at `path`; use it in a `with`, which closes it.

    Raises InputError and OSError.
    """
    if os.path.isdir(path):
        entries = _folder_entries(path)
        files = {entry.target: entry.size for found in entries.values() for entry in found}
        return Archive(path, entries, _Source(None, progress, Expansion(sum(files.values()))))
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError("%s: no such file or folder: check the path" % shown(path))
    if not stat.S_ISREG(mode):
        raise InputError("%s: is neither a file nor a folder: write it to a file first, or pipe it, and write -"
                         % shown(path))
    return open_file(open(path, "rb"), path, progress)


def open_stream(stream: IO[bytes], name: str, progress: Count = lambda byte_count: None) -> "Archive":
    """The same for a tar that comes through a pipe: it is copied once, to a temporary file without a name."""
    file = tempfile.TemporaryFile()
    try:
        for block in _counted_blocks(stream, progress):
            file.write(block)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return open_file(file, name, progress)


def open_file(file: IO[bytes], name: str, progress: Count = lambda byte_count: None) -> "Archive":
    """The same for a tar in an open file, which the archive closes; `name` begins every message."""
    with contextlib.ExitStack() as stack:
        stack.callback(file.close)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        expansion = Expansion(size)
        plain, compressions = _plain(file, shown(name), progress, expansion)
        stack.callback(plain.close)
        archive = _open_tar(name, plain, _Source(plain, progress, expansion))
        archive.given = Archive(name, {WHOLE: [Entry(FILE, 0, size, "")]}, _Source(file, progress, expansion))
        archive.compressions = compressions
        stack.pop_all()
    return archive


def open_members(path: str, entries: Dict[str, List[Entry]], file: IO[bytes], expansion: Expansion,
                 progress: Count = lambda byte_count: None) -> "Archive":
    """The same for members whose places in an open file are known; the archive closes it."""
    return Archive(path, entries, _Source(file, progress, expansion))


class _Source:
    """The state that all readers of an archive share."""

    def __init__(self, file: Optional[IO[bytes]], progress: Count, expansion: Expansion) -> None:
        self.file = file  # None for a folder
        self.progress = progress
        self.expansion = expansion
        self.lock = threading.Lock()  # readers share one file position
        self.digests: Dict[Tuple[Entry, str], str] = {}


class Archive:
    """Members by normalised name. Readers are independent of each other and work until the archive is closed."""

    def __init__(self, path: str, entries: Dict[str, List[Entry]], source: _Source, prefix: str = "",
                 notes: Tuple[str, ...] = (), has_end_mark: bool = True) -> None:
        self.path = path
        self.notes = notes  # one line each, what the user should know of the file itself
        self.expansion = source.expansion
        self.has_end_mark = has_end_mark  # False: a tar that may be truncated between two members
        self.given: Optional[Archive] = None  # the file as it was given, compressed or not; None for a folder
        self.compressions: Tuple[str, ...] = ()  # that were undone, the outer one first
        self._entries = entries
        self._source = source
        self._prefix = prefix  # of names in messages, where this is a folder of the archive

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._source.file:
            self._source.file.close()
        self.close_given()

    def close_given(self) -> None:
        """Close the file as it was given, where it is not the one that is read: a pipe's takes room until then."""
        if self.given and self.compressions:
            self.given.__exit__()

    def names(self) -> List[str]:
        """The names of all members except folders, sorted."""
        return sorted(name for name, entries in self._entries.items() if entries[-1].kind != FOLDER)

    def has(self, name: str) -> bool:
        """Return whether there is a member of this name with bytes to read; a link without a target has none."""
        return self._find(name) is not None

    def size(self, name: str) -> int:
        """In bytes."""
        return self.entry(name).size

    def entry(self, name: str) -> Entry:
        """Return the place of the bytes of `name`: equal for two names of the same bytes."""
        entry = self._find(name)
        if entry is None:
            raise self.error(name, "is not in the archive: copy or make the archive again")
        if entry.kind != FILE:
            raise self.error(name, "is a %s: make the archive again, of plain files" % entry.kind)
        return entry

    def header(self, name: str) -> bytes:
        """The tar header of the member itself, even if it is a link; b"" in a folder."""
        if not self._source.file:
            return b""
        offset = self._entries[name][-1].offset - BLOCK
        with self._reader(Entry(FILE, offset, BLOCK, ""), name) as reader:
            return reader.read(BLOCK)

    def open(self, name: str) -> IO[bytes]:
        """A reader of exactly its bytes; the caller closes it."""
        return self._reader(self.entry(name), name)

    def blocks(self, name: str) -> Iterator[bytes]:
        """Its bytes, a block at a time."""
        with self.open(name) as reader:
            for block in iter(lambda: reader.read(BLOCK_BYTES), b""):
                yield block

    def decompressed(self, name: str, compression: str, stored: Any) -> Iterator[bytes]:
        """Its plain bytes, a block at a time; the bytes as they are go to the hasher `stored`."""
        return decompressed(_hashed(self.blocks(name), stored), compression, self.where(name), self.expansion)

    def read(self, name: str, limit_bytes: int) -> bytes:
        """All its bytes, refused when there are more than `limit_bytes`."""
        if self.size(name) > limit_bytes:
            raise self.error(name, "has %d bytes, the limit is %d: is it what its name says?"
                             % (self.size(name), limit_bytes))
        with self.open(name) as reader:
            return b"".join(iter(lambda: reader.read(BLOCK_BYTES), b""))

    def read_json(self, name: str, limit_bytes: int) -> Any:
        """The JSON document in it."""
        return parse_json(self.read(name, limit_bytes), self.where(name))

    def digest(self, name: str, algorithm: str = "sha256") -> str:
        """`algorithm:<hex>` of its bytes, which are read once however often it is asked for."""
        key, digests = (self.entry(name), algorithm), self._source.digests
        if key not in digests:
            hasher = hashlib.new(algorithm)
            for block in self.blocks(name):
                hasher.update(block)
            digests[key] = "%s:%s" % (algorithm, hasher.hexdigest())
        return digests[key]

    def note_digest(self, name: str, digest: str) -> None:
        """Remember the digest that a caller has computed while it read all the bytes."""
        self._source.digests[self.entry(name), digest.partition(":")[0]] = digest

    def text_link(self, name: str) -> str:
        """Return the target of a symlink that is stored as a text file, as git does; "" if it has none."""
        if self.size(name) > MAX_NAME_BYTES:
            return ""
        target = _beside(normalise(name) or "", self.read(name, MAX_NAME_BYTES).decode("utf-8", "surrogateescape"))
        return target if target and self.has(target) else ""

    def sub(self, folder: str) -> "Archive":
        """The same archive as seen from one of its folders; it is closed with the whole."""
        start = folder + "/"
        entries = {name[len(start):]: entry for name, entry in self._entries.items() if name.startswith(start)}
        return Archive(self.path, entries, self._source, self._prefix + start, self.notes, self.has_end_mark)

    def where(self, name: str = "") -> str:
        """Return the beginning of messages on the member `name`."""
        return shown(self.path) + (": " + shown(self._prefix + name) if name else "")

    def error(self, name: str, what: str) -> InputError:
        """The error that concerns the member `name`."""
        return InputError("%s: %s" % (self.where(name), what))

    def _reader(self, entry: Entry, name: str) -> IO[bytes]:
        """Open the bytes that `entry` describes; `name` is in every message."""
        reader: Any = _Slice(self._source, entry, self.where(name))  # Any: to mypy, no RawIOBase is an IO[bytes]
        return reader

    def _find(self, name: str) -> Optional[Entry]:
        key = normalise(name)
        for _ in range(_MAX_LINK_HOPS + 1):
            if key is None or key not in self._entries or self._entries[key][-1].kind == FOLDER:
                return None
            entries = self._entries[key]
            self._check_same(key, entries)
            entry = entries[-1]
            if entry.kind == LINK:
                key = normalise(entry.target)
            elif entry.kind == SYMLINK:
                key = _beside(key, entry.target)
            else:
                return entry
        raise self.error(name, "is a link that leads in a circle or through more than %d others: make the archive again"
                         % _MAX_LINK_HOPS)

    def _check_same(self, name: str, entries: List[Entry]) -> None:
        """Several members of one name are one if they say the same; tools differ in which of them they take."""
        for first in entries[:-1]:
            last = entries[-1]
            if first._replace(offset=0) != last._replace(offset=0) or not self._same_bytes(name, first, last):
                raise self.error(name, "is there more than once with different content: make the archive again")
        del entries[:-1]

    def _same_bytes(self, name: str, first: Entry, last: Entry) -> bool:
        """Return whether two members of the same kind, size and target have the same content."""
        readers = [self._reader(entry, name) for entry in (first, last)]
        while first.kind == FILE:
            one, other = [reader.read(BLOCK_BYTES) for reader in readers]
            if one != other:
                return False
            if not one:
                break
        return True


class _Slice(io.RawIOBase):
    """A part of the archive's file, or a file of a folder, as a file."""

    def __init__(self, source: _Source, entry: Entry, where: str) -> None:
        self._is_owner = source.file is None
        self._file: Any = open(entry.target, "rb", buffering=0) if self._is_owner else source.file
        self._lock = threading.Lock() if self._is_owner else source.lock
        self._next = entry.offset
        self._end = entry.offset + entry.size
        self._progress = source.progress
        self._where = where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._end - self._next)
        if not wanted:
            return 0
        with self._lock:
            self._file.seek(self._next)
            count = self._file.readinto(memoryview(buffer)[:wanted])
        if not count:
            raise InputError("%s: became shorter while it was read: try again when it is complete" % self._where)
        self._next += count
        self._progress(count)
        return count

    def close(self) -> None:
        if self._is_owner and not self.closed:
            self._file.close()
        super().close()


def _beside(name: str, target: str) -> Optional[str]:
    """The key that a symlink at `name` leads to; None when it leads out of the archive."""
    parts = [] if target.startswith("/") else name.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _plain(file: IO[bytes], where: str, progress: Count, expansion: Expansion) -> Tuple[IO[bytes], Tuple[str, ...]]:
    """The file with its compressions undone, at its first byte, and which they were; `file` itself stays open."""
    undone: List[str] = []
    plain = file
    for compression in iter(lambda: _compression(plain), ""):
        with contextlib.ExitStack() as stack:
            if undone:
                stack.callback(plain.close)
            if len(undone) == _MAX_LAYERS_OF_COMPRESSION:
                raise InputError("%s: is compressed more than %d times over: decompress it first"
                                 % (where, _MAX_LAYERS_OF_COMPRESSION))
            plain = _expanded(plain, compression, where, progress, expansion)
        undone.append(compression)
    return plain, tuple(undone)


def _compression(file: IO[bytes]) -> str:
    """Return the compression of the file; a tar whose first name looks like a magic number is not."""
    head = file.read(BLOCK)
    file.seek(0)
    return "" if is_header(head) else compression_of(head)


def _expanded(file: IO[bytes], compression: str, where: str, progress: Count, expansion: Expansion) -> IO[bytes]:
    plain = tempfile.TemporaryFile()
    try:
        for block in decompressed(_counted_blocks(file, progress), compression, where, expansion):
            plain.write(block)
        plain.seek(0)
    except BaseException:
        plain.close()
        raise
    return plain


def _counted_blocks(file: IO[bytes], progress: Count) -> Iterator[bytes]:
    for block in iter(lambda: file.read(BLOCK_BYTES), b""):
        progress(len(block))
        yield block


def _hashed(blocks: Iterator[bytes], hasher: Any) -> Iterator[bytes]:
    for block in blocks:
        hasher.update(block)
        yield block


def _open_tar(path: str, file: IO[bytes], source: _Source) -> Archive:
    where = shown(path)
    head = file.read(BLOCK)
    size = file.seek(0, os.SEEK_END)
    if not head:
        raise InputError("%s: is an empty file: copy or make the archive again" % where)
    if head.strip(b"\0") and not is_header(head):
        raise _not_a_tar(head, where)
    found = walk(file, size, where)
    entries: Dict[str, List[Entry]] = {}
    for member in found.members:
        entries.setdefault(member.name, []).append(Entry(member.kind, member.offset, member.size, member.target))
    notes = []
    if not found.has_end_mark:
        notes.append("%s: has no end-of-archive mark: it may be truncated between two members" % where)
    if found.trailing_bytes:
        notes.append("%s: %d bytes after the end of the tar are not read: two archives joined with cat or tar -A must "
                     "be passed one by one" % (where, found.trailing_bytes))
    return Archive(path, entries, source, notes=tuple(notes), has_end_mark=found.has_end_mark)


def _not_a_tar(head: bytes, where: str) -> InputError:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, what in _NOT_ARCHIVES:
        if start.startswith(magic):
            return InputError("%s: %s" % (where, what))
    return InputError("%s: is not a tar archive, or its first bytes are damaged: pass what docker save, podman save, "
                      "crane pull or skopeo copy wrote" % where)


def _folder_entries(path: str) -> Dict[str, List[Entry]]:
    """The files of a folder. A link counts as the file it leads to, if that lies in the folder, too."""
    root = os.path.realpath(path)
    entries: Dict[str, List[Entry]] = {}
    for folder, _, names in os.walk(root, onerror=_raise):
        for name in names:
            real = os.path.realpath(os.path.join(folder, name))
            if not real.startswith(os.path.join(root, "")) or not os.path.isfile(real):
                continue
            key = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")
            entries[key] = [Entry(FILE, 0, os.path.getsize(real), real)]
            if len(entries) > MAX_MEMBERS:
                raise InputError("%s: has more than %d files: is it the folder of one image?"
                                 % (shown(path), MAX_MEMBERS))
    return entries


def _raise(error: OSError) -> None:
    raise error
