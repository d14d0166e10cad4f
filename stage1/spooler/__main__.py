"""spooler.pyz: the commands and their arguments. `python spooler.pyz --help` prints both.

A command is a function and one row in COMMANDS. Every option can also be given as a variable, SEEDPOD_SPOOLER_ and its
name (`SEEDPOD_SPOOLER_REGISTRY`). Credentials are never an argument: a file of --credentials, or the variables
SEEDPOD_SPOOLER_USERNAME and SEEDPOD_SPOOLER_PASSWORD.

Exit status: 0 done; 2 the input or the options are wrong; 1 the registry refused or the machine failed; 143 ended by
SIGTERM. Errors are one line on stderr, `error: WHERE: what: what to do`. A traceback is a bug.
"""
import argparse
import functools
import contextlib
import os
import select
import signal
import sys
import tempfile
import time
from typing import Any, Callable, Iterable, List, NoReturn, Optional, Tuple

from builder.reading.errors import InputError, shown
from builder.reading.images import as_one
from content import ARCHITECTURE, Opened
from credentials import credentials_of
from health import serve_health
from image_names import Name, parse_name
from protocol import RegistryError, is_url
from pull import FORMATS, pull
from push import AS_NAMED, named, named_by_archive, push
from registry_client import RegistryClient
from spool import Spool
from transport import Tls, origin_of
from watch import Choose, Watcher, delete, line_of

VARIABLE = "SEEDPOD_SPOOLER_"
POLL_SECONDS = 1  # between two looks into the spool folder
BLOCK_BYTES = 1 << 20
LOG_BYTES = 4096  # PIPE_BUF of Linux: a pipe that has room for a line of so many takes it whole, without waiting
STDIN, STDOUT, STDERR = 0, 1, 2

OPTIONS = (
    ("--registry", "http://127.0.0.1:5000", "URL of the registry"),
    ("--spool", "/spool", "folder of the files to push, and of temporary files"),
    ("--credentials", "", "file with user:password, or a config.json of docker login"),
    ("--ca-file", "", "PEM file of the authority of the registry's certificate"),
    ("--client-certificate", "", "PEM file"),
    ("--client-key", "", "PEM file"),
    ("--retry-seconds", 120.0, "how long to try again what may pass by itself"),
)
WITH_HOST = ("--with-host", False, "name the images of an archive with their registry's host as well")
AS_LAYER = ("--as-layer", False, "push a tar that holds no image as an image of one layer")
SPOOL_OPTIONS = (
    ("--settle-seconds", 2.0, "a whole archive is taken when it has not changed for so long"),
    ("--give-up-seconds", 30.0, "any other file is taken or refused then"),
    ("--health-port", 5001, "where /live and /ready are answered"),
    ("--use-archive-names", False, "name images as the archive does, not as the file is called"),
    WITH_HOST,
    AS_LAYER,
)
PUSH_OPTIONS = (("--title", "", "push the file as an artifact of this name, with any content"), WITH_HOST, AS_LAYER)
COPY_OPTIONS = (("--source", "http://seedpod:31998", "URL of the other registry"),)
PULL_OPTIONS = (
    ("--format", FORMATS[0], " or ".join(FORMATS)),
    ("--platform", "linux/" + ARCHITECTURE, "of an image for several, where the format holds one"),
)


def spool(registry: RegistryClient, options: Any) -> None:
    os.listdir(options.spool)  # a folder that is not there would look like an empty one
    folder = Spool(options.spool, options.settle_seconds, options.give_up_seconds, time.monotonic)
    choose: Choose = named
    if options.use_archive_names:
        choose = functools.partial(named_by_archive, with_host=options.with_host)
    watcher = Watcher(folder, registry, choose, options.as_layer, log)
    serve_health(options.health_port, watcher.counts)
    log("watching %s for %s" % (options.spool, registry.url))
    while True:
        watcher.turn()
        time.sleep(min(POLL_SECONDS, options.settle_seconds or POLL_SECONDS))


def push_stream(registry: RegistryClient, options: Any) -> None:
    name = parse_name(options.name) if options.name else None
    with open(STDIN, "rb", closefd=False) as stream:
        push_parts(registry, iter(lambda: stream.read(BLOCK_BYTES), b""), "stdin", name, options.title,
                   options.as_layer, options.with_host)


def push_parts(registry: RegistryClient, parts: Iterable[bytes], where: str, name: Optional[Name], title: str = "",
               as_layer: bool = False, with_host: bool = False) -> None:
    """Push an archive that comes in parts: all of it has to be there before it can be read."""
    with tempfile.TemporaryFile() as file:
        file.writelines(parts)
        if not file.tell():
            raise InputError("%s: is empty: kubectl exec needs -i, and < FILE after the command" % where)
        file.flush()
        with Opened(file, where, title, bool(title), as_layer) as content:
            if name:
                images = named(as_one(content.images, where, AS_NAMED), name)
            else:
                images = named_by_archive(content.images, None, with_host)
            done = push(registry, images)
    for pushed in done:
        say(line_of(pushed))


def copy_images(registry: RegistryClient, options: Any) -> None:
    url = checked_url("--source", options.source)
    source = RegistryClient(url, retry_seconds=options.retry_seconds, log=log)
    names, failed = names_in(source), 0
    for name in names:
        try:
            push_parts(registry, pull(source, name, FORMATS[0], ""), str(name), name)
        except (InputError, RegistryError) as error:
            failed += 1
            complain(str(error))
    if failed:
        raise RegistryError("%s: %d of %d images were not copied: copy again" % (url, failed, len(names)))


def delete_image(registry: RegistryClient, options: Any) -> None:
    say(delete(registry, parse_name(options.name)))


def list_images(registry: RegistryClient, options: Any) -> None:
    for name in names_in(registry):
        say(str(name))


def names_in(registry: RegistryClient) -> List[Name]:
    return [Name(repository, tag) for repository in sorted(registry.repositories())
            for tag in sorted(registry.tags(repository))]


def pull_image(registry: RegistryClient, options: Any) -> None:
    with open(STDOUT, "wb", closefd=False) as stream:
        for part in pull(registry, parse_name(options.name), options.format, options.platform):
            stream.write(part)


# word, function, whether it takes a NAME (nargs of argparse), options, help
COMMANDS: Tuple[Tuple[str, Callable[[RegistryClient, Any], None], Any, Any, str], ...] = (
    ("spool", spool, 0, SPOOL_OPTIONS, "push every file that is put into the spool folder, then remove it; for ever"),
    ("push", push_stream, "?", PUSH_OPTIONS, "push the archive that comes by stdin, as NAME or under its own names"),
    ("delete", delete_image, None, (), "delete an image, and with it all its other tags"),
    ("copy", copy_images, 0, COPY_OPTIONS, "push every image of another registry: of the injector, to begin with"),
    ("list", list_images, 0, (), "print the name of every image"),
    ("pull", pull_image, None, PULL_OPTIONS, "write an image to stdout, an archive that docker, podman, skopeo load"),
)


def parser() -> argparse.ArgumentParser:
    result = _Parser("spooler.pyz", description="Image archives and other files -> a registry.", allow_abbrev=False)
    commands = result.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    commands.required = True
    for word, function, nargs, options, text in COMMANDS:
        command = commands.add_parser(word, help=text, description=text, allow_abbrev=False,
                                      formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        if nargs != 0:
            command.add_argument("name", metavar="NAME", nargs=nargs, help="REPOSITORY[:TAG]")
        for flag, default, what in options + OPTIONS:
            value = os.environ.get(VARIABLE + flag[2:].upper().replace("-", "_"))
            if default is False:
                command.add_argument(flag, action="store_true", default=value in ("1", "true", "yes"), help=what)
            else:
                command.add_argument(flag, type=type(default), default=default if value is None else value, help=what)
        command.set_defaults(run=function)
    return result


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is one line of our form."""

    def error(self, message: str) -> NoReturn:
        complain("%s: see --help" % message)
        sys.exit(2)


def registry_of(options: Any) -> RegistryClient:
    url = checked_url("--registry", options.registry)
    credentials = "%s:%s" % (os.environ.get(VARIABLE + "USERNAME", ""), os.environ.get(VARIABLE + "PASSWORD", ""))
    if options.credentials:
        with open(options.credentials, encoding="utf-8", errors="surrogateescape") as file:
            credentials = credentials_of(file.read(), origin_of(url)[1], options.credentials)
    return RegistryClient(url, "" if credentials == ":" else credentials,
                    Tls(options.ca_file, options.client_certificate, options.client_key), options.retry_seconds,
                    log=log)


def checked_url(flag: str, url: str) -> str:
    if not is_url(url):  # which may hold a password
        raise InputError("%s: is not the URL of a registry: write http://HOST:PORT or https://HOST:PORT" % flag)
    return url


def log(line: str) -> None:
    """Write an event to stderr. A line is lost if the reader is gone or the pipe is full: nothing waits for it."""
    line = "%s %s" % (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), line)
    with contextlib.suppress(OSError):
        if select.select([], [STDERR], [], 0)[1]:
            os.write(STDERR, encoded(line))


def say(line: str) -> None:
    """Write a line to stdout. Raise OSError if its reader is gone."""
    os.write(STDOUT, encoded(line))


def complain(line: str) -> None:
    """Write an error to stderr."""
    with contextlib.suppress(OSError):
        os.write(STDERR, encoded("error: " + line))


def encoded(line: str) -> bytes:
    """Return one printable line of any text, such as a file's name or a registry's answer."""
    return shown(line).encode("utf-8")[:LOG_BYTES - 1] + b"\n"


def open_closed_streams() -> None:
    """Open /dev/null in place of closed streams (`>&-`): a file or socket with their number would get the log."""
    descriptor = STDIN
    while descriptor <= STDERR:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


def main(arguments: List[str]) -> int:
    """Run; -> exit status."""
    # As PID 1 a process has no default action for SIGTERM: without this it would wait out the whole grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    open_closed_streams()
    options = parser().parse_args(arguments)
    if os.access(options.spool, os.W_OK):
        tempfile.tempdir = options.spool  # in the Pod nothing else can be written to
    try:
        options.run(registry_of(options), options)
    except InputError as error:
        complain(str(error))
        return 2
    except (RegistryError, OSError) as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
