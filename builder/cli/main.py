"""The command line: arguments in, summary and progress out, exit status. Only demo.py and meter.py print, too.

Exit status: 0 done; 2 the input or the options are wrong; 1 something else failed; 128 + N stopped by signal N. Errors
are printed as one line, `error: WHERE: what: what to do`, on stderr. A bug shows its traceback.

A signal stops a run only as long as nothing has been replaced: as soon as OUT or FILE takes its place, the run is done,
and signals are ignored.
"""
import argparse
import contextlib
import errno
import json
import os
import signal
import sys
from typing import IO, Any, BinaryIO, Callable, Dict, Iterator, Optional, Sequence, TextIO, Tuple, TypeVar, Union

from builder import split
from builder.cli import inspected, options as arguments
from builder.cli.commands import (BUILD, DEMO, EXPLAIN, IMAGES, INJECTOR, INSPECT, SEEDPOD, SPLIT, VERIFY, WRITE)
from builder.cli.options import request_of, site_of, sources_of
from builder.cli.words import HELP
from builder.cluster.decision import Decision, Needs, Refused, decide
from builder.cluster.objects import Cluster, cluster_of, parse_dump
from builder.kubernetes.steps import STDOUT
from builder.finding.missing_images import MissingImages
from builder.finding.named_images import NamedImages, combined, find_images, notes_on
from builder.kubernetes.file_names import SUMS
from builder.inspection import inspect
from builder.loading import STDIN, STDIN_NAME, Sources
from builder.output import signature
from builder.output.single_file import write_file
from builder.pipeline import build
from builder.reading.errors import InputError, shown
from builder.reading.progress import Progress
from builder.verification import verify
from builder.cli.meter import Meter
from builder.cli.summary import decided, explained, explanation, reasons, report_of, summary, verified
from builder.zipapp import pyz
from builder.zipapp.program import pack_program

USAGE, FAILED = 2, 1
INTERRUPTED = "interrupted: nothing was written"
INTERRUPTED_STREAM = "interrupted: the stream may be incomplete"
Item = TypeVar("Item")
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(BaseException):
    """A signal that ends the run."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(words: Optional[Sequence[str]] = None) -> int:
    """Run the command line; return the exit status. `words` default to the process's arguments."""
    typed = sys.argv[1:] if words is None else words
    prepare_streams()
    try:
        handle_signals()
        program = arguments.started(sys.argv[0]) if words is None else arguments.PROGRAM
        status = run(arguments.read(typed, program))
    except (InputError, OSError, Interrupted) as failure:
        ignore_signals()
        as_json, out = arguments.answer_of(typed)
        line, status = outcome(failure, out)
        leave_broken_output()
        if as_json:
            answer = {"errors": [line], "warnings": []}
            if isinstance(failure, Refused):
                answer = dict(decided(failure.decision), errors=failure.errors, **explained(failure.decision))
            with contextlib.suppress(OSError):
                say(json.dumps(answer, indent=2), stream_for(out))
        return complain(line, status)
    ignore_signals()
    return status


def handle_signals() -> None:
    """Let signals end the run, except those that are already ignored (nohup; jobs in the background)."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)


def interrupt(number: int, frame: object) -> None:
    """End the run. A second signal does not interrupt the clean-up."""
    ignore_signals()
    raise Interrupted(number)


def ignore_signals() -> None:
    """Ignore signals from now on: the outcome of the run is decided."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def prepare_streams() -> None:
    """Replace closed standard streams (`>&-`) by the null device. Escape characters that stdout cannot encode."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    stdout: Any = sys.stdout  # Any: its type, TextIO, has no reconfigure
    stdout.reconfigure(errors="backslashreplace")


def leave_broken_output() -> None:
    """Discard unflushed output if stdout is broken, so that shutdown does not raise."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def outcome(failure: Union[InputError, OSError, Interrupted], out: str) -> Tuple[str, int]:
    """Return the error line and the exit status for the failure of a run that writes to `out`."""
    if isinstance(failure, InputError):
        return str(failure), USAGE
    if isinstance(failure, Interrupted):
        return INTERRUPTED_STREAM if out == STDOUT else INTERRUPTED, 128 + failure.number
    if isinstance(failure, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        where = failure.filename or "the current folder"  # os.getcwd fails without a file name
        return "%s: %s: name another" % (where, failure.strerror.lower()), USAGE
    if isinstance(failure, PermissionError):
        return "%s: permission denied: change the permissions, or name another file" % failure.filename, USAGE
    if isinstance(failure, BrokenPipeError):
        return "the output was closed before its end", FAILED
    if failure.errno == errno.ENOSPC:
        return ("%s: the disk is full: make room, or choose another folder with -o, and TMPDIR for temporary files"
                % (failure.filename or "writing")), FAILED
    return str(failure), FAILED


def complain(line: str, status: int) -> int:
    with contextlib.suppress(OSError):
        say("error: " + shown(line), sys.stderr)
    return status


def say(text: str, stream: TextIO) -> None:
    """Print and flush, so that output to stdout and stderr keeps its order."""
    print(text, file=stream, flush=True)


def stream_for(out: str) -> TextIO:
    """Return the stream for reports: stdout, unless the YAML goes there."""
    return sys.stderr if out == STDOUT else sys.stdout


def report(options: argparse.Namespace, found: Dict[str, Any], page: str) -> None:
    """Print the result of a command, as JSON or as a page; nothing with --quiet."""
    if not options.quiet:
        say(json.dumps(found, indent=2) if options.json else page, stream_for(options.out))


def report_written(options: argparse.Namespace, found: Dict[str, Any], page: str) -> None:
    """Report a folder that is in place. The run has succeeded, even if stdout is closed during the report."""
    try:
        report(options, found, page)
    except BrokenPipeError:
        if options.out == STDOUT or options.dry_run:
            raise
        leave_broken_output()


def run(options: argparse.Namespace) -> int:
    """Run the command; return the exit status. Explain a refusal before it becomes an error."""
    try:
        return RUN[options.command](options)
    except Refused as refusal:
        if (options.explain or options.command == EXPLAIN) and not options.json:
            say(full_explanation(refusal.decision), stream_for(options.out))
        raise
    except MissingImages as missing:
        if not options.json:
            say("\n".join(map(shown, missing.images)), stream_for(options.out))
        raise


def run_help(options: argparse.Namespace) -> int:
    say(options.page, sys.stdout)
    return 0


def run_demo(options: argparse.Namespace) -> int:
    from builder.cli.demo import demo
    demo(options.program)
    return 0


def run_verify(options: argparse.Namespace) -> int:
    """Check each folder; report those that are intact."""
    def look(out: str) -> Dict[str, Any]:
        signer = signature.verify(os.path.join(out, SUMS), options.signers) if options.signers else ""
        return dict(verify(out, options.onto), signer=signer)
    return report_each(options, "folders", options.files, look,
                       lambda folders: "\n\n".join(map(verified, folders)))


def run_inspect(options: argparse.Namespace) -> int:
    """List the images of each archive."""
    def look(archive: Tuple[str, str]) -> Dict[str, Any]:
        sources = Sources([archive], options.onto, stdin=standard_input())
        with progress_of(options) as progress:
            return inspected.facts(inspect(sources, progress))
    return report_each(options, "archives", options.archives, look, inspected.table)


def report_each(options: argparse.Namespace, key: str, items: Sequence[Item], look: Callable[[Item], Dict[str, Any]],
                page: Callable[[Sequence[Dict[str, Any]]], str]) -> int:
    """Process each item separately; report the good ones, then the failures; return the exit status."""
    found, failures = [], []
    for item in items:
        try:
            found.append(look(item))
        except (InputError, OSError) as failure:
            failures.append(outcome(failure, ""))
    if found or options.json:
        report(options, {key: found, "errors": [line for line, _ in failures]}, page(found))
    return max([complain(line, status) for line, status in failures], default=0)


def run_split(options: argparse.Namespace) -> int:
    request = split.Request(sources_of(options, standard_input()), options.out)
    with progress_of(options) as progress:
        parts, notes = split.split(request, progress, ignore_signals)
    found = {"out": request.out, "archives": [part._asdict() for part in parts], "notes": notes}
    report_written(options, found, split.table(parts, notes))
    return 0


def run_build(options: argparse.Namespace) -> int:
    """Run a build, and report it."""
    named = read_manifests(options.images_of) if options.images_of else None
    request = request_of(options, standard_input(), read_cluster(options.cluster), named)
    with progress_of(options) as progress:
        result = build(request, sys.stdout.buffer, progress, ignore_signals)
    found, page = report_of(request, result, options.program), ""
    if options.explain:
        page = explanation(result.decision) + "\n\n"
        found.update(explained(result.decision))
    report_written(options, found, page + summary(found))
    return 0


def run_explain(options: argparse.Namespace) -> int:
    """Report the decision for a cluster, without archives."""
    decision = decide(site_of(options), read_cluster(options.files), Needs(options.platform))
    report(options, dict(decided(decision), **explained(decision)), full_explanation(decision))
    return 0


def run_images(options: argparse.Namespace) -> int:
    """Print the images of manifests on stdout, one a line, for a program that pulls them; print doubts on stderr."""
    named = read_manifests(options.files)
    if options.json:
        say(json.dumps(named._asdict(), indent=2), sys.stdout)
        return 0
    for text in named.images:
        say(shown(text), sys.stdout)
    for note in notes_on(named):
        say("note: " + shown(note), sys.stderr)
    return 0


def run_write(options: argparse.Namespace) -> int:
    program, path = options.files
    if program == SEEDPOD:
        write_file(path, pack_program(), mode=0o777, commit=ignore_signals)
    else:
        write_file(path, pyz.injector() if program == INJECTOR else pyz.spooler(), commit=ignore_signals)
    return 0


def full_explanation(decision: Decision) -> str:
    """Return a decision as a page, for `explain` and for refusals."""
    return "\n".join([explanation(decision), ""] + reasons(decided(decision)))


RUN = {HELP: run_help, BUILD: run_build, VERIFY: run_verify, EXPLAIN: run_explain, IMAGES: run_images,
       INSPECT: run_inspect, SPLIT: run_split, WRITE: run_write, DEMO: run_demo}


def read_cluster(paths: Sequence[str]) -> Optional[Cluster]:
    """Return the cluster that the dumps describe together; None without any."""
    objects = []
    for path in paths:
        with open_input(path) as file:
            objects += parse_dump(file.read(), name_of(path))
    return cluster_of(objects) if paths else None


def read_manifests(paths: Sequence[str]) -> NamedImages:
    """Return the images of all these manifests."""
    parts = []
    for path in paths:
        with open_input(path) as file:
            parts.append(find_images(file.read().decode("utf-8", "replace"), name_of(path)))
    return combined(parts)


def open_input(path: str) -> IO[bytes]:
    """Open a file, or standard input, for reading."""
    return open(sys.stdin.fileno() if path == STDIN else path, "rb", closefd=path != STDIN)


def name_of(path: str) -> str:
    """Return the name of an input file in messages."""
    return STDIN_NAME if path == STDIN else path


def standard_input() -> Optional[BinaryIO]:
    """Return standard input as bytes; None where a test replaced it by text."""
    return getattr(sys.stdin, "buffer", None)


@contextlib.contextmanager
def progress_of(options: argparse.Namespace) -> Iterator[Progress]:
    """Yield the progress callback: a meter on stderr, or nothing with --quiet or where JSON goes to stderr."""
    if options.quiet or options.json and stream_for(options.out) is sys.stderr:
        yield lambda stage, count, total: None
        return
    meter = Meter(sys.stderr)
    try:
        yield meter
    finally:
        meter.close()
