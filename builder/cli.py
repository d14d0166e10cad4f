"""The command line: arguments in, summary and progress out, exit status. With demo.py, the only module that prints.

Exit status: 0 done; 2 the user's input or options are wrong; 1 the machine failed. Both errors are told in one line,
`error: WHERE: what: what to do`, on stderr. A bug shows its traceback.
"""
import argparse
import errno
import json
import os
import re
import signal
import sys
import threading
import time
from typing import Callable, Optional, Sequence, TextIO, Tuple

from builder import VERSION, payload, pyz
from builder.errors import BuildError
from builder.manifests import NAME, Site
from builder.output import write_file
from builder.platforms import checked_platform
from builder.pipeline import STDOUT, Order, build
from builder.summary import facts, progress_line, summary

USAGE, FAILED = 2, 1
INTERRUPTED = "interrupted: nothing was written"
NO_IMAGE = ("--image: which image runs the injector? name one with Python that is on the nodes already "
            "(kubectl get pods -A -o wide, crictl images), as the nodes know it: --image REGISTRY/NAME:TAG")
SIZE = re.compile(r"([0-9]+)(KiB|MiB|)", re.IGNORECASE)
UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run; -> exit status. Arguments default to the process's."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(complain(INTERRUPTED, 128 + signal.SIGTERM)))  # clean up first
    try:
        run(parser().parse_args(arguments))
    except BuildError as failure:
        return complain(str(failure), USAGE)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as failure:
        return complain("%s: %s: name another" % (failure.filename, failure.strerror.lower()), USAGE)
    except PermissionError as failure:
        return complain("%s: no permission: change it, or name another file" % failure.filename, USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in it has nowhere to go
        return complain("the output was closed before its end", FAILED)
    except OSError as failure:
        if failure.errno == errno.ENOSPC:
            return complain("%s: the disk is full: make room, or choose another folder with -o" % failure.filename, FAILED)
        return complain(str(failure), FAILED)
    except KeyboardInterrupt:
        return complain(INTERRUPTED, 128 + signal.SIGINT)
    return 0


def complain(line: str, status: int) -> int:
    print("error:", line, file=sys.stderr)
    return status


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line of our form."""

    def error(self, message: str) -> None:
        sys.exit(complain("%s: see python3 build.py --help" % message, USAGE))


def parser() -> argparse.ArgumentParser:
    result = Parser("build.py", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, usage=(
        "python3 build.py [REF=]ARCHIVE... --image NODE_IMAGE [options]\n"
        "       python3 build.py --demo | --sizes | --pyz FILE"),
        description="Image archives -> plain YAML that brings them into a Kubernetes cluster without a registry.",
        epilog="examples:\n"
        "  python3 build.py registry.tar --image quay.io/kiwigrid/k8s-sidecar:1.30.0 -o seed && kubectl apply -f seed\n"
        "  python3 build.py registry:2=image.tar other.tar --image python:3.12 -o - | kubectl apply -f -")
    result.add_argument("archives", metavar="[REF=]ARCHIVE", nargs="*",
                        help="image archive or OCI layout folder (docker save, podman save, crane, skopeo, ...); "
                        "REF names an image that has no name, or another one")
    result.add_argument("--image", help="image that runs the injector: on the nodes already, with Python 3.6 or newer in it")
    result.add_argument("--interpreter", default="python3", metavar="PATH", help="its Python (default: python3)")
    result.add_argument("-o", "--out", default=NAME, help="folder to write, or - for a YAML stream (default: %(default)s)")
    result.add_argument("--compression", choices=payload.COMPRESSIONS, default=payload.AUTO,
                        help="of the payload (default: auto, which measures whether xz pays)")
    result.add_argument("--chunk-size", type=size, default=0, metavar="SIZE",
                        help="bytes of each chunk, e.g. 512KiB (default: the largest that plain kubectl apply takes)")
    result.add_argument("--platform", action="append", default=[], metavar="OS/ARCH[/VARIANT]",
                        help="take only what runs there, e.g. linux/amd64 (may be given several times; default: all)")
    result.add_argument("--squeeze", action="store_true",
                        help="unpack the layers, so that xz packs them better: same image ID, another manifest digest")
    result.add_argument("--json", action="store_true", help="print the summary as JSON")
    result.add_argument("--demo", action="store_true", help="the whole way on this machine: no archive, no cluster, no root")
    result.add_argument("--sizes", action="store_true", help="print the bytes of each module of injector.pyz")
    result.add_argument("--pyz", metavar="FILE", help="write injector.pyz alone")
    result.add_argument("--version", action="version", version="Seedpod " + VERSION)
    return result


def size(text: str) -> int:
    """`512KiB` -> bytes."""
    match = SIZE.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError("%r is no size: write 512KiB, 1MiB or a number of bytes" % text)
    return int(match.group(1)) * UNITS[match.group(2).lower()]


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    if options.demo:
        from builder.demo import demo
        demo()
    elif options.sizes:
        print(pyz.format_sizes(pyz.sizes(pyz.read_stage1())))
    elif options.pyz:
        write_file(options.pyz, pyz.pack(pyz.read_stage1()))
    else:
        order = order_of(options)
        meter = Meter(sys.stderr)
        try:
            result = build(order, sys.stdout.buffer, meter)
        finally:
            meter.close()
        told = facts(order, result)
        print(json.dumps(told, indent=2) if options.json else summary(told),
              file=sys.stderr if order.out == STDOUT else sys.stdout, flush=True)


def order_of(options: argparse.Namespace) -> Order:
    if not options.archives:
        raise BuildError("no archive: name at least one, or try --demo: see python3 build.py --help")
    if not options.image:
        raise BuildError(NO_IMAGE)
    site = Site(options.image, options.interpreter)
    return Order([named_archive(text) for text in options.archives], site, options.out, options.compression,
                 options.chunk_size, [checked_platform(text) for text in options.platform], options.squeeze)


def named_archive(text: str) -> Tuple[str, str]:
    """`REF=ARCHIVE` or `ARCHIVE` -> (REF or "", ARCHIVE). A file whose name holds a = wins."""
    name, equals, path = text.partition("=")
    if not equals or os.path.exists(text):
        return "", text
    return name, path


class Meter:
    """Progress on a stream: a bar where that is a terminal, else a line now and then; silent for the first second."""

    SILENT_SECONDS = 1
    BAR_SECONDS, LINE_SECONDS = .1, 10

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.clock = clock
        self.terminal = stream.isatty()
        self.stage = ""
        self.lock = threading.Lock()  # blocks are compressed on several threads

    def __call__(self, stage: str, count: int, total: int) -> None:
        with self.lock:
            now = self.clock()
            if stage != self.stage:
                self.stage, self.done, self.started, self.next = stage, 0, now, now + self.SILENT_SECONDS
            self.done += count
            if now >= self.next:
                self.next = now + (self.BAR_SECONDS if self.terminal else self.LINE_SECONDS)
                line = progress_line(stage, self.done, total, now - self.started)
                self.stream.write("\r\x1b[K" + line if self.terminal else line + "\n")
                self.stream.flush()

    def close(self) -> None:
        """Leave the line to what comes next."""
        if self.terminal and self.stage:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
