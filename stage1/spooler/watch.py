"""The sidecar's work: what lies in the spool folder goes to the registry, one file after the other, for ever.

`Watcher.turn()` looks once; the loop around it, the clock and the log are the caller's. A file is removed only when
every image in it is in the registry; the process may be killed at any moment and does it again then, sending nothing
twice that the registry has.
"""
import os
from typing import Any, Callable

from builder.reading.errors import BuildError
from content import Opened
from names import DELETE_MARK, name_of_file, parse_name
from push import named, named_by_archive, push
from registry_client import Registry, RegistryError
from spool import File, Spool

Log = Callable[[str], None]  # one line for each event


class Watcher:
    """`counts`: what /ready tells. Used by one thread; `counts` may be read by others."""

    def __init__(self, spool: Spool, registry: Registry, use_archive_names: bool, log: Log) -> None:
        self._spool = spool
        self._registry = registry
        self._use_archive_names = use_archive_names
        self._log = log
        self.counts = {"answers": False, "waiting": 0, "pushed": 0, "deleted": 0,
                       "failed": spool.failed()}  # type: Dict[str, Any]

    def turn(self) -> None:
        """Deal with every file that is ready."""
        files = self._spool.ready()
        answers = self._registry.answers()
        if answers != self.counts["answers"]:
            self._log("registry %s %s" % ("answers at" if answers else "does not answer at", self._registry.url))
        self.counts.update(answers=answers, waiting=self._spool.waiting())
        for file in files:
            if self.counts["answers"]:
                self._take(file)
            self.counts.update(waiting=self._spool.waiting(), failed=self._spool.failed())

    def _take(self, file: File) -> None:
        try:
            if file.name.endswith(DELETE_MARK) and not file.signature.size:
                self._delete(file)
            else:
                self._push(file)
        except BuildError as error:
            if file.given_up:
                self._fail(file, str(error))
            else:  # it may be damaged, or still on its way
                self._spool.looked_at(file)
        except RegistryError as error:
            self.counts["answers"] = self._registry.answers()
            if self.counts["answers"]:
                self._fail(file, str(error))
            else:  # not the file's fault: it waits
                self._log("waiting %s: %s" % (file.name, error))
        except OSError as error:
            if os.path.lexists(file.path):
                self._fail(file, str(error))
            else:
                self._log("gone %s" % file.name)

    def _push(self, file: File) -> None:
        name = name_of_file(file.name)
        with Opened(file.path, os.path.basename(file.name.replace("\\", "/"))) as content:
            if not content.has_end and not file.given_up:
                self._spool.looked_at(file)
                return
            choose = named_by_archive if self._use_archive_names else named
            done = push(self._registry, choose(content.images, name))
        for note in content.notes:
            self._log("note %s" % note)
        for pushed in done:
            self._log(told(pushed))
        self.counts["pushed"] += len(done)
        if not self._spool.remove(file):
            self._log("changed %s: is read again" % file.name)

    def _delete(self, file: File) -> None:
        name = parse_name(file.name[:-len(DELETE_MARK)].replace("\\", "/"))
        self._log(delete(self._registry, name))
        self.counts["deleted"] += 1
        self._spool.remove(file)

    def _fail(self, file: File, reason: str) -> None:
        place = self._spool.fail(file, reason)
        self._log("failed %s: %s (kept as %s)" % (file.name, reason, place))


def told(pushed: Any) -> str:
    """A push in one line."""
    return "pushed %s %s, %d of %d blobs sent, %d bytes" % (
        pushed.name, pushed.digest, pushed.sent_count, pushed.blob_count, pushed.sent_bytes)


def delete(registry: Registry, name: Any) -> str:
    """Delete what the name leads to, and with it every other tag of the same image; -> what was done, in one line."""
    manifest = registry.manifest(name.repository, name.reference)
    if manifest is None:
        return "absent %s: there is nothing to delete" % str(name)
    registry.delete_manifest(name.repository, manifest.digest)
    return "deleted %s %s" % (name, manifest.digest)
