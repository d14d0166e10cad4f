"""spooler.pyz: the commands and their arguments. `python spooler.pyz --help` tells both.

A command is a function and one row in COMMANDS. Every option can also be given as a variable, SEEDPOD_SPOOLER_ and its
name (`SEEDPOD_SPOOLER_REGISTRY`). Credentials are never an argument: a file of --credentials, or the variables
SEEDPOD_SPOOLER_USERNAME and SEEDPOD_SPOOLER_PASSWORD.

Exit status: 0 done; 2 the input or the options are wrong; 1 the registry refused or the machine failed; 143 ended by
SIGTERM. Errors are one line on stderr, `error: WHERE: what: what to do`. A traceback is a bug.
"""
import argparse
import os
import signal
import sys
import tempfile
import time
import urllib.parse
from typing import Any, Iterable, List, Optional

from builder.reading.errors import BuildError
from content import ARCHITECTURE, Opened
from credentials import credentials_of
from names import Name, parse_name
from pull import FORMATS, pull
from push import named, named_by_archive, push
from registry_client import Registry, RegistryError, Tls
from watch import delete, told

VARIABLE = "SEEDPOD_SPOOLER_"
POLL_SECONDS = 1  # between two looks into the spool folder
BLOCK_BYTES = 1 << 20

OPTIONS = (
    ("--registry", "http://127.0.0.1:5000", "URL of the registry"),
    ("--spool", "/spool", "folder of the files to push; temporary files lie there, too"),
    ("--credentials", "", "file with user:password, or a config.json of docker login"),
    ("--ca-file", "", "PEM file of the authority of the registry's certificate"),
    ("--client-certificate", "", "PEM file"),
    ("--client-key", "", "PEM file"),
    ("--retry-seconds", 120.0, "how long to try again what may pass by itself"),
)
SPOOL_OPTIONS = (
    ("--settle-seconds", 2.0, "a whole archive is taken when it did not change for so long"),
    ("--give-up-seconds", 30.0, "any other file is taken or refused then"),
    ("--health-port", 5001, "where /live and /ready are answered"),
    ("--use-archive-names", False, "name images as the archive does, not as the file is called"),
)
PUSH_OPTIONS = (("--title", "", "it is no archive but a file of this name: push it as an artifact"),)
COPY_OPTIONS = (("--source", "http://seedpod:31998", "URL of the other registry"),)
PULL_OPTIONS = (
    ("--format", FORMATS[0], " or ".join(FORMATS)),
    ("--platform", "linux/" + ARCHITECTURE, "of an image for several, where the format holds one"),
)


def spool(registry: Registry, options: Any) -> None:
    from health import serve_health
    from spool import Spool
    from watch import Watcher
    folder = Spool(options.spool, options.settle_seconds, options.give_up_seconds, time.monotonic)
    watcher = Watcher(folder, registry, options.use_archive_names, log)
    serve_health(options.health_port, watcher.counts)
    log("watching %s for %s" % (options.spool, registry.url))
    while True:
        watcher.turn()
        time.sleep(min(POLL_SECONDS, options.settle_seconds or POLL_SECONDS))


def push_stream(registry: Registry, options: Any) -> None:
    name = parse_name(options.name) if options.name else None
    push_parts(registry, iter(lambda: sys.stdin.buffer.read(BLOCK_BYTES), b""), name, options.title)


def push_parts(registry: Registry, parts: Iterable[bytes], name: Optional[Name], title: str) -> None:
    """Push an archive that comes in parts: all of it has to be there before it can be read."""
    with tempfile.TemporaryFile() as file:
        file.writelines(parts)
        if not file.tell():
            raise BuildError("stdin: is empty: kubectl exec needs -i, and < FILE behind the command")
        file.flush()
        path = "/proc/self/fd/%d" % file.fileno()  # it has no name
        try:
            with Opened(path, title, bool(title)) as content:
                images = named(content.images, name) if name else named_by_archive(content.images, None)
                done = push(registry, images)
        except BuildError as error:
            raise BuildError(str(error).replace(path, "stdin"))
    for pushed in done:
        print(told(pushed))


def copy_images(registry: Registry, options: Any) -> None:
    source = Registry(options.source, retry_seconds=options.retry_seconds, log=log)
    for name in names_in(source):
        push_parts(registry, pull(source, name, FORMATS[0], ""), name, "")


def delete_image(registry: Registry, options: Any) -> None:
    print(delete(registry, parse_name(options.name)))


def list_images(registry: Registry, options: Any) -> None:
    for name in names_in(registry):
        print(name)


def names_in(registry: Registry) -> List[Name]:
    return [Name(repository, tag) for repository in sorted(registry.repositories())
            for tag in sorted(registry.tags(repository))]


def pull_image(registry: Registry, options: Any) -> None:
    for part in pull(registry, parse_name(options.name), options.format, options.platform):
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


# word, function, whether it takes a NAME (nargs of argparse), options, help
COMMANDS = (
    ("spool", spool, 0, SPOOL_OPTIONS, "push every file that is put into the spool folder, then remove it; for ever"),
    ("push", push_stream, "?", PUSH_OPTIONS, "push the archive that comes by stdin, as NAME or under its own names"),
    ("delete", delete_image, None, (), "delete an image, and with it all its other tags"),
    ("copy", copy_images, 0, COPY_OPTIONS, "push every image of another registry: of the injector, to begin with"),
    ("list", list_images, 0, (), "print the name of every image"),
    ("pull", pull_image, None, PULL_OPTIONS, "write an image to stdout, an archive that docker, podman, skopeo load"),
)


def parser() -> argparse.ArgumentParser:
    result = Parser("spooler.pyz", description="Image archives and other files -> a registry.", allow_abbrev=False)
    commands = result.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands.required = True
    for word, function, nargs, options, told in COMMANDS:
        command = commands.add_parser(word, help=told, description=told, allow_abbrev=False,
                                      formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        if nargs != 0:
            command.add_argument("name", metavar="NAME", nargs=nargs, help="REPOSITORY[:TAG]")
        for flag, default, text in options + OPTIONS:
            value = os.environ.get(VARIABLE + flag[2:].upper().replace("-", "_"))
            if default is False:
                command.add_argument(flag, action="store_true", default=value in ("1", "true", "yes"), help=text)
            else:
                command.add_argument(flag, type=type(default), default=default if value is None else value, help=text)
        command.set_defaults(run=function)
    return result


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line of our form."""

    def error(self, message: str) -> None:
        sys.exit(complain("%s: see --help" % message, 2))


def registry_of(options: Any) -> Registry:
    host = urllib.parse.urlsplit(options.registry).netloc
    if not options.registry.startswith(("http://", "https://")) or not host or "@" in host:
        raise BuildError("--registry: is no http://HOST:PORT or https://HOST:PORT: write it so")
    credentials = "%s:%s" % (os.environ.get(VARIABLE + "USERNAME", ""), os.environ.get(VARIABLE + "PASSWORD", ""))
    if options.credentials:
        with open(options.credentials, encoding="utf-8", errors="surrogateescape") as file:
            credentials = credentials_of(file.read(), host, options.credentials)
    return Registry(options.registry, "" if credentials == ":" else credentials,
                    Tls(options.ca_file, options.client_certificate, options.client_key), options.retry_seconds,
                    log=log)


def log(line: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), printable(line), file=sys.stderr, flush=True)


def printable(line: str) -> str:
    """One line of ASCII, whatever a file's name or a registry's answer holds."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in line)


def complain(line: str, status: int) -> int:
    print("error:", printable(line), file=sys.stderr)
    return status


def main(arguments: List[str]) -> int:
    """Run; -> exit status."""
    # As PID 1 a process has no default action for SIGTERM: without this it would wait out the whole grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = parser().parse_args(arguments)
    if os.access(options.spool, os.W_OK):
        tempfile.tempdir = options.spool  # in the Pod nothing else can be written to
    try:
        options.run(registry_of(options), options)
    except BuildError as error:
        return complain(str(error), 2)
    except (RegistryError, OSError) as error:
        return complain(str(error), 1)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
