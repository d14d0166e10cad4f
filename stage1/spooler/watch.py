"""The sidecar's work: what is put into the spool folder goes to the registry, one file after the other, for ever.

`Watcher.turn()` looks once; the loop around it, the clock and the log are the caller's. A file is removed only when
every image in it is in the registry; the process may be killed at any moment and does it again then, sending nothing
twice that the registry has.

Rule: an error with one file is one line of log; the next file is pushed.
"""
import os
from typing import IO, Any, Callable, Dict, List, Tuple

from builder.reading.errors import InputError, shown
from builder.reading.oci import Image
from content import Opened
from image_names import DELETE_MARK, Name, name_of_file, parse_name
from protocol import RegistryError
from push import Pushed, named_by_archive, push
from registry_client import RegistryClient
from spool import File, Spool

Choose = Callable[[List[Image], Name], List[Tuple[Image, List[Name]]]]
Log = Callable[[str], None]  # one line for each event


class Watcher:
    """`counts`: what /ready shows, `waiting` as of now, the others since the start. Used by one thread; `counts` may
    be read by others."""

    def __init__(self, spool: Spool, registry: RegistryClient, choose: Choose, as_layer: bool, log: Log) -> None:
        """`choose`: names the images of a file, as `named` does."""
        self._spool = spool
        self._registry = registry
        self._choose = choose
        self._as_layer = as_layer
        self._log = log
        self.counts: Dict[str, Any] = {"answers": False, "waiting": 0, "pushed": 0, "deleted": 0, "failed": 0}

    def turn(self) -> None:
        """Push every file that is ready."""
        files = self._spool.ready()
        answers = self._registry.answers()
        if answers != self.counts["answers"]:
            self._log("registry %s %s" % ("answers at" if answers else "does not answer at", self._registry.url))
        self.counts.update(answers=answers, waiting=self._spool.waiting())
        for file in files:
            if self.counts["answers"]:
                self._take(file)

    def _take(self, file: File) -> None:
        try:
            reader = self._spool.open(file)
            if reader:  # else the next look sees what became of it
                with reader:
                    self._push_or_delete(file, reader)
        except RegistryError as error:
            self.counts["answers"] = self._registry.answers()
            if self.counts["answers"]:
                self._fail(file, str(error))
            else:  # not the file's fault: it waits
                self._log("waiting %s: %s" % (file.name, error))
        except (InputError, OSError) as error:
            if file.given_up:
                self._fail(file, str(error))
            else:  # it may be damaged, or still on its way
                self._spool.looked_at(file)
        except Exception as error:  # a bug, which must not stop the files after this one
            self._fail(file, "internal error: %s: %s" % (type(error).__name__, error))

    def _push_or_delete(self, file: File, reader: IO[bytes]) -> None:
        if file.name.endswith(DELETE_MARK) and not file.signature.size:
            name = parse_name(file.name[:-len(DELETE_MARK)].replace("\\", "/"))
            self._log(delete(self._registry, name))
            self.counts["deleted"] += 1
        elif not self._push(file, reader):
            self._spool.looked_at(file)
            return
        try:
            if not self._spool.remove(file):
                self._log("changed %s: is read again" % file.name)
        except OSError as error:
            self._spool.looked_at(file, is_settled=True)
            self._log("done %s, but it cannot be removed: %s" % (file.name, error))

    def _push(self, file: File, reader: IO[bytes]) -> bool:
        """Push a file; return False if it may not be complete yet."""
        where, title = os.path.join(self._spool.path, file.name), os.path.basename(file.name.replace("\\", "/"))
        with Opened(reader, where, title, as_layer=self._as_layer) as content:
            if not content.has_end and not file.given_up:
                return False
            done = push(self._registry, self._named(file, content.images))
        for note in content.notes:
            self._log("note %s" % note)
        for pushed in done:
            self._log(line_of(pushed))
        self.counts["pushed"] += len(done)
        return True

    def _named(self, file: File, images: List[Image]) -> List[Tuple[Image, List[Name]]]:
        """Name the images of a file; charts under their own names, under which Helm finds them."""
        if all(image.is_chart and image.references for image in images):
            return named_by_archive(images, None)
        return self._choose(images, name_of_file(file.name))

    def _fail(self, file: File, reason: str) -> None:
        reason = shown(reason)
        try:
            place = self._spool.fail(file, reason)
        except OSError as error:
            self._spool.looked_at(file, is_settled=True)
            place = "%s itself: %s" % (file.name, error)
        if place:  # else it is gone, or another file by now
            self.counts["failed"] += 1
            self._log("failed %s: %s (kept as %s)" % (file.name, reason, place))


def line_of(pushed: Pushed) -> str:
    """Return a push as one line."""
    return "pushed %s %s, %d of %d blobs sent, %d bytes" % (
        pushed.name, pushed.digest, pushed.sent_count, pushed.blob_count, pushed.sent_bytes)


def delete(registry: RegistryClient, name: Name) -> str:
    """Delete what the name leads to, and with it every other tag of the same image; -> what was done, in one line."""
    manifest = registry.manifest(name.repository, name.reference)
    if manifest is None:
        return "absent %s: there is nothing to delete" % str(name)
    registry.delete_manifest(name.repository, manifest.digest)
    return "deleted %s %s" % (name, manifest.digest)
