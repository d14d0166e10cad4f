"""The command line: arguments in, summary and progress out, exit status. With demo.py, the only module that prints.

Exit status: 0 done; 2 the user's input or options are wrong; 1 the machine failed. Both errors are told in one line,
`error: WHERE: what: what to do`, on stderr. A bug shows its traceback.
"""
import argparse
import contextlib
import errno
import json
import os
import signal
import sys
import threading
import time
from typing import Callable, Iterator, Optional, Sequence, TextIO

from builder.zipapp import pyz
from builder import split
from builder.arguments import order_of, parser, site_of
from builder.cluster.choice import Decision, Refused, decide
from builder.cluster.objects import Cluster, cluster_of, parse
from builder.reading.errors import BuildError, shown
from builder.output.writer import write_file
from builder.pipeline import STDOUT, Order, Progress, build
from builder.rewriting.platforms import checked_platform
from builder.cluster.preflight import check
from builder.output.reader import verify
from builder.summary import decided, explained, explanation, facts, progress_line, reasons, summary, verified

USAGE, FAILED = 2, 1
INTERRUPTED = "interrupted: nothing was written"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run; -> exit status. Arguments default to the process's."""
    open_closed_streams()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(complain(INTERRUPTED, 128 + signal.SIGTERM)))  # clean up first
    try:
        run(parser().parse_args(arguments))
    except BuildError as failure:
        return complain(str(failure), USAGE)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as failure:
        where = failure.filename or "the folder that you are in"  # os.getcwd names nothing
        return complain("%s: %s: name another" % (where, failure.strerror.lower()), USAGE)
    except PermissionError as failure:
        return complain("%s: no permission: change it, or name another file" % failure.filename, USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in it has nowhere to go
        return complain("the output was closed before its end", FAILED)
    except OSError as failure:
        if failure.errno == errno.ENOSPC:
            return complain("%s: the disk is full: make room, or choose another folder with -o, and TMPDIR for "
                            "temporary files" % (failure.filename or "writing"), FAILED)
        return complain(str(failure), FAILED)
    except KeyboardInterrupt:
        return complain(INTERRUPTED, 128 + signal.SIGINT)
    return 0


def open_closed_streams() -> None:
    """Whoever starts this may have closed one (`>&-`): then there is nothing to read, and nobody to tell."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def complain(line: str, status: int) -> int:
    print("error:", shown(line), file=sys.stderr)
    return status


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for. What a cluster refuses is explained before it is an error."""
    try:
        run_mode(options)
    except Refused as refusal:
        tell(refusal.decision, options, stream_for(options.out), refusal.errors)
        raise
    except BuildError as failure:
        if options.json:
            print(json.dumps({"errors": [str(failure)], "warnings": []}, indent=2), file=stream_for(options.out))
        raise


def stream_for(out: str) -> TextIO:
    """Where to tell of a build: on stdout, unless that is where the YAML goes."""
    return sys.stderr if out == STDOUT else sys.stdout


def run_mode(options: argparse.Namespace) -> None:
    if options.demo:
        from builder.demo import demo
        demo()
    elif options.sizes:
        print(pyz.format_sizes(pyz.sizes(pyz.read_stage1())))
    elif options.pyz:
        write_file(options.pyz, pyz.pack(pyz.read_stage1()))
    elif options.spooler:
        write_file(options.spooler, pyz.pack(pyz.read_spooler()))
    elif options.split:
        run_split(with_stdin(order_of(options, None)), options)
    elif options.verify:
        told = verify(options.verify)
        print(json.dumps(told, indent=2) if options.json else verified(told))
    elif options.explain and not options.archives:
        cluster = read_cluster(options.cluster)
        decision = decide(site_of(options), cluster, [checked_platform(text) for text in options.platform])
        tell(check(decision, cluster), options, sys.stdout)
    else:
        run_build(with_stdin(order_of(options, read_cluster(options.cluster))), options)


def run_build(order: Order, options: argparse.Namespace) -> None:
    """Build, and tell of it."""
    stream = stream_for(order.out)
    with progress_of(options) as progress:
        result = build(order, sys.stdout.buffer, progress)
    if options.explain and not options.json:
        print(explanation(result.decision) + "\n", file=stream)
    told = facts(order, result)
    if options.explain:
        told.update(explained(result.decision))
    print(json.dumps(told, indent=2) if options.json else summary(told), file=stream, flush=True)


def run_split(order: Order, options: argparse.Namespace) -> None:
    """Split, and tell of it."""
    with progress_of(options) as progress:
        parts, notes = split.split(order, progress)
    told = {"out": order.out, "archives": [part._asdict() for part in parts], "notes": notes}
    print(json.dumps(told, indent=2) if options.json else split.told(parts, notes), flush=True)


def tell(decision: Decision, options: argparse.Namespace, stream: TextIO, errors: Sequence[str] = ()) -> None:
    """The decision alone, where there is no build to tell of."""
    if options.json:
        print(json.dumps(dict(decided(decision), errors=list(errors), **explained(decision)), indent=2), file=stream)
    elif options.explain:
        print("\n".join([explanation(decision), ""] + reasons(decided(decision))), file=stream)


def read_cluster(paths: Sequence[str]) -> Optional[Cluster]:
    """All dumps, joined."""
    objects = []
    for path in paths:
        if path == STDOUT:
            objects += parse(sys.stdin.buffer.read(), "--cluster -")
        else:
            with open(path, "rb") as file:
                objects += parse(file.read(), path)
    return cluster_of(objects) if paths else None


def with_stdin(order: Order) -> Order:
    """The order with the process's own standard input, which has no bytes where a test put text in its place."""
    return order._replace(stdin=getattr(sys.stdin, "buffer", None))


@contextlib.contextmanager
def progress_of(options: argparse.Namespace) -> Iterator[Progress]:
    """Who is told of progress: stderr, but for JSON that goes there, which a program reads."""
    if options.json and stream_for(options.out) is sys.stderr:
        yield lambda stage, count, total: None
        return
    meter = Meter(sys.stderr)
    try:
        yield meter
    finally:
        meter.close()


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
