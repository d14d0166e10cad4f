"""Keep containerd's hosts.toml on a node, so that images keep their names; remove it on SIGTERM.

    python3 -c SOURCE --owner NAMESPACE --folder /etc/containerd docker.io=http://127.0.0.1:31999/v2/docker.io ...

In:  for each registry host, the URLs to ask first, and the folder of containerd's configuration, mounted below --root.
Out: DIR/HOST/hosts.toml in every DIR that containerd looks into; one line on stdout whenever something changes.

Rules for editors:
- Nothing is touched that was not written here. A host's folder appears whole, by a rename, with the owner's mark in
  its first line; folders above it that had to be made hold a mark of their own, and go when they are empty again.
- Killed at any moment, it leaves what the next one finds, completes or removes. Two at once take turns by a lock, and
  each removes only the files that bear its own token: a Pod that ends never removes what its successor wrote.
- Python 3.6, no module of the project: this file is the manifest's text.

What containerd reads: https://github.com/containerd/containerd/blob/main/docs/hosts.md
"""
import argparse
import contextlib
import fcntl
import os
import re
import shutil
import signal
import sys
import time
from typing import Dict, Iterator, List, Mapping, NamedTuple, Sequence

SECONDS = 10  # between two looks: a node's set-up may come later, and k3s empties its folder when it starts
MARK = ".seedpod"  # begins every other name that is written here: containerd only looks for names of hosts
FILE = "hosts.toml"
FILE_BYTES = 1 << 16  # of a foreign file that are read
DEFAULT_FOLDER = "/etc/containerd"
# containerd 2.2 and newer without a setting: pulls take the whole text as one folder, others as a list of two.
DEFAULT_PATH = "/etc/containerd/certs.d:/etc/docker/certs.d"
SECTION = re.compile(r"\s*\[+\s*([^\]]*?)\s*\]")
SETTING = re.compile(r"""\s*(registry\.)?config_path\s*=\s*(?:"([^"\\]*)"|'([^']*)')""")


class Places(NamedTuple):
    """The values of config_path."""
    inside: List[str]  # the folders to write into, below the folder that is mounted
    outside: List[str]  # the values that lead nowhere below it


def config_paths(text: str) -> Iterator[str]:
    """Yield the values of config_path in a containerd configuration (TOML), by lines: Python has no TOML reader before
    3.11."""
    section = ""
    for line in text.splitlines():
        header = SECTION.match(line)
        if header:
            section = header.group(1)
        match = SETTING.match(line)
        if match and (match.group(1) or section.endswith("registry")) and (match.group(2) or match.group(3)):
            yield match.group(2) or match.group(3)


def places(paths: Sequence[str], folder: str) -> Places:
    """Sort the values of config_path by whether they lead to places below `folder`."""
    inside: List[str] = []
    outside: List[str] = []
    for path in paths or [DEFAULT_PATH if folder == DEFAULT_FOLDER else folder + "/certs.d"]:
        # Which of the two a containerd takes, the text or the list, depends on its version: both are written.
        found = [os.path.normpath(part) for part in [path] + path.split(":")]
        found = [part for part in found if part.startswith(folder + "/")]
        inside += [part for part in found if part not in inside]
        if not found:
            outside.append(path)
    return Places(inside, outside)


def spelled(host: str) -> str:
    """The name of a host's folder."""
    name, colon, port = host.rpartition(":")
    return "%s_%s_" % (name, port) if colon else host


def section(url: str) -> str:
    """Return the section of a hosts.toml for one URL. The path of the URL is whole: containerd adds no /v2 to it."""
    return '[host."%s"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n' % url


def read(path: str) -> str:
    """The text of a small file, "" where there is none that can be read."""
    with contextlib.suppress(OSError):
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8", errors="replace") as file:
            return file.read(FILE_BYTES)
    return ""


class Mirror:
    """The hosts.toml files in one folder of a node: `hosts` maps registry hosts to lists of URLs."""

    def __init__(self, root: str, folder: str, owner: str, token: str, hosts: Mapping[str, Sequence[str]]) -> None:
        self.root, self.folder = root, folder
        self.places: List[str] = []  # that were ever written into: the configuration may change while this runs
        self.mark = "# Written by Seedpod for namespace %s, and removed with it. " % owner
        self.texts: Dict[str, str] = {}
        for host, urls in hosts.items():
            self.texts[host] = self.mark + token + "\n" + "".join(map(section, urls))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of all processes that write below the folder."""
        descriptor = os.open(self.root + self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def look(self) -> Places:
        """Return the places that the node's configuration names."""
        base = self.root + self.folder
        names = ["config.toml"]
        if os.path.isdir(base + "/conf.d"):
            names += sorted("conf.d/" + name for name in os.listdir(base + "/conf.d") if name.endswith(".toml"))
        return places([path for name in names for path in config_paths(read(os.path.join(base, name)))], self.folder)

    def is_ours(self, path: str) -> bool:
        """Return whether a host's folder was written here, by this process or an earlier one."""
        return read(path + "/" + FILE).startswith(self.mark)

    def keep(self) -> List[str]:
        """Write every file; return a line for each thing that the operator should know."""
        try:
            with self.locked():
                found = self.look()
                lines = ["%s: config_path lies outside %s: mount it by --containerd-config" % (path, self.folder)
                         for path in found.outside]
                for place in found.inside:
                    if place not in self.places:
                        self.places.append(place)
                    lines += self.keep_place(place)
                return lines
        except OSError as failure:
            return [problem(self.folder, failure)]

    def keep_place(self, place: str) -> List[str]:
        lines = []
        try:
            self.make(place)
            for name in sorted(set(os.listdir(self.root + place)) - set(map(spelled, self.texts))):
                path = "%s/%s" % (place, name)
                if not name.startswith(MARK) and self.is_ours(self.root + path):
                    self.remove_host(self.root + path)
                    lines.append("%s: removed: no image of the seed is from there" % path)
        except OSError as failure:
            return [problem(place, failure)]
        for host, text in sorted(self.texts.items()):
            try:
                lines.append(self.keep_host(place, host, text))
            except OSError as failure:
                lines.append(problem("%s/%s" % (place, spelled(host)), failure))
        return lines

    def keep_host(self, place: str, host: str, text: str) -> str:
        names = [spelled(host), host, "_default"]  # as containerd looks for them: the first one that is there counts
        foreign = ["%s/%s" % (place, name) for name in names if os.path.lexists("%s%s/%s" % (self.root, place, name))
                   and not self.is_ours("%s%s/%s" % (self.root, place, name))]
        if foreign:
            return "%s: exists and is not Seedpod's: not touched, so images of %s are not mirrored" % (foreign[0], host)
        path = "%s%s/%s" % (self.root, place, names[0])
        if read(path + "/" + FILE) != text:
            temporary = "%s%s/%s-%s" % (self.root, place, MARK, names[0])
            shutil.rmtree(temporary, ignore_errors=True)
            os.mkdir(temporary)
            with open(temporary + "/" + FILE, "w", encoding="utf-8") as file:
                file.write(text)
            if os.path.isdir(path):
                os.replace(temporary + "/" + FILE, path + "/" + FILE)
                os.rmdir(temporary)
            else:
                os.rename(temporary, path)
        return "%s/%s/%s: written" % (place, names[0], FILE)

    def make(self, place: str) -> None:
        """Make a folder and those above it that are missing, each with a mark in it."""
        if os.path.isdir(self.root + place) or place == self.folder:
            return
        parent, name = os.path.split(place)
        self.make(parent)
        temporary = "%s%s/%s-%s" % (self.root, parent, MARK, name)
        shutil.rmtree(temporary, ignore_errors=True)
        os.mkdir(temporary)
        open(temporary + "/" + MARK, "w").close()
        os.rename(temporary, self.root + place)

    def remove_host(self, path: str) -> None:
        """Remove a host's folder; by a rename, since an empty one would look foreign."""
        if os.listdir(path) != [FILE]:  # with another file
            os.unlink(path + "/" + FILE)
            return
        temporary = "%s/%s-%s" % (os.path.dirname(path), MARK, os.path.basename(path))
        shutil.rmtree(temporary, ignore_errors=True)
        os.rename(path, temporary)
        os.unlink(temporary + "/" + FILE)
        os.rmdir(temporary)

    def remove(self) -> List[str]:
        """Remove the files of this process that no other has replaced; return lines as keep() does."""
        lines: List[str] = []
        try:
            with self.locked():
                for place in self.places:
                    try:
                        lines += self.remove_place(place)
                    except OSError as failure:
                        lines.append(problem(place, failure))
        except OSError as failure:
            lines.append(problem(self.folder, failure))
        return lines

    def remove_place(self, place: str) -> Iterator[str]:
        for host, text in sorted(self.texts.items()):
            path = "%s%s/%s" % (self.root, place, spelled(host))
            if read(path + "/" + FILE) == text:
                self.remove_host(path)
                yield "%s/%s/%s: removed" % (place, spelled(host), FILE)
        while len(place) >= len(self.folder):
            path = self.root + place
            names = os.listdir(path) if os.path.isdir(path) else []
            for name in names:
                if name.startswith(MARK + "-"):  # of one that was killed
                    shutil.rmtree("%s/%s" % (path, name), ignore_errors=True)
            if MARK in names and os.listdir(path) == [MARK]:
                os.unlink("%s/%s" % (path, MARK))
                os.rmdir(path)
            place = os.path.dirname(place)


def problem(path: str, failure: OSError) -> str:
    return "%s: %s: trying again every %d s" % (path, failure.strerror or failure, SECONDS)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Keep containerd's hosts.toml until SIGTERM.")
    parser.add_argument("--root", default="/host", help="where the node's folder is mounted (default: %(default)s)")
    parser.add_argument("--folder", default=DEFAULT_FOLDER, help="of containerd's configuration (default: %(default)s)")
    parser.add_argument("--owner", required=True, help="namespace of the seed")
    parser.add_argument("hosts", nargs="+", metavar="HOST=URL", help="a registry host, and whom to ask first")
    options = parser.parse_args(arguments)
    hosts: Dict[str, List[str]] = {}
    for text in options.hosts:
        host, _, url = text.partition("=")
        hosts.setdefault(host, []).append(url)
    mirror = Mirror(options.root, options.folder, options.owner, os.urandom(8).hex(), hosts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    printed: List[str] = []
    try:
        while True:
            lines = mirror.keep()
            if lines != printed:
                print("\n".join(lines), flush=True)
                printed = lines
            time.sleep(SECONDS)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("\n".join(mirror.remove()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
