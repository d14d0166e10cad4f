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
from functools import partial
from typing import Callable, Optional, Sequence, TextIO, Tuple

from builder import VERSION, payload, pyz, site
from builder.choice import Decision, Refused, decide
from builder.cluster import COMMAND, Cluster, cluster_of, parse
from builder.errors import BuildError
from builder.output import write_file
from builder.pipeline import STDOUT, Order, build
from builder.platforms import checked_platform
from builder.preflight import check
from builder.read_back import verify
from builder.site import NAME
from builder.summary import decided, explained, explanation, facts, progress_line, reasons, summary, verified

USAGE, FAILED = 2, 1
INTERRUPTED = "interrupted: nothing was written"
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
            return complain("%s: the disk is full: make room, or choose another folder with -o" % failure.filename,
                            FAILED)
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
        "       python3 build.py [REF=]ARCHIVE... --cluster FILE [--try N | --host-python] [options]\n"
        "       python3 build.py --cluster FILE --explain\n"
        "       python3 build.py --verify OUT | --demo | --sizes | --pyz FILE"),
        description="Image archives -> plain YAML that brings them into a Kubernetes cluster without a registry.",
        epilog="examples:\n"
        "  python3 build.py registry.tar --image quay.io/kiwigrid/k8s-sidecar:1.30.0 -o seed && kubectl apply -f seed\n"
        "  python3 build.py registry:2=image.tar other.tar --image python:3.12 -o - | kubectl apply -f -")
    result.add_argument("archives", metavar="[REF=]ARCHIVE", nargs="*",
                        help="image archive or OCI layout folder (docker save, podman save, crane, skopeo, ...); "
                        "REF names an image that has no name, or another one")
    result.add_argument("-o", "--out", default=NAME,
                        help="folder to write, or - for a YAML stream (default: %(default)s)")
    result.add_argument("--compression", choices=payload.COMPRESSIONS, default=payload.AUTO,
                        help="of the payload (default: auto, which measures whether xz pays)")
    result.add_argument("--chunk-size", type=size, default=0, metavar="SIZE",
                        help="bytes of each chunk, e.g. 512KiB (default: the largest that plain kubectl apply takes)")
    result.add_argument("--platform", action="append", default=[], metavar="OS/ARCH[/VARIANT]",
                        help="take only what runs there, e.g. linux/amd64 (may be given several times; default: all)")
    result.add_argument("--squeeze", action="store_true",
                        help="unpack the layers, so that xz packs them better: same image ID, another manifest digest")
    result.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_runner_options(result.add_argument_group("what runs the injector"))
    add_site_options(result.add_argument_group("how it fits into the cluster"))
    whole, result = result, result.add_argument_group("instead of a build")
    result.add_argument("--verify", metavar="OUT",
                        help="read a folder back, check every digest, list what it would serve")
    result.add_argument("--demo", action="store_true",
                        help="the whole way on this machine: no archive, no cluster, no root")
    result.add_argument("--sizes", action="store_true", help="print the bytes of each module of injector.pyz")
    result.add_argument("--pyz", metavar="FILE", help="write injector.pyz alone")
    result.add_argument("--version", action="version", version="Seedpod " + VERSION)
    return whole


def add_runner_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--image", type=site.image,
                       help="image that runs the injector: on the nodes already, with Python 3.6 or newer in it")
    group.add_argument("--interpreter", metavar="PATH", help="its Python (default: python3, or as is known)")
    group.add_argument("--cluster", action="append", default=[], metavar="FILE", help=(
        "what `%s` says, or - for stdin: choose by it, and check what the cluster would refuse (may be repeated; "
        "with `kubectl get configmap kube-proxy -n kube-system -o json` kube-proxy's mode is known, too)" % COMMAND))
    group.add_argument("--explain", action="store_true", help="tell of every node and image why it was taken or not")
    group.add_argument("--try", type=partial(site.count, "--try"), default=1, metavar="N", dest="tries",
                       help="make up to N Pods on different images of --cluster; the first that works serves")
    group.add_argument("--host-python", type=partial(site.path, "--host-python"), nargs="?", const="", metavar="PATH",
                       help="run the node's own Python in any image that is there, e.g. pause (PATH by default as its "
                       "system has it); needs a namespace that takes hostPath volumes")


def add_site_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--expose", choices=site.EXPOSURES, default="", help=(
        "how 127.0.0.1 leads to it on every node: a NodePort Service, a DaemonSet with a host port, or one on the "
        "host's network (default: nodeport, or what fits --cluster)"))
    group.add_argument("--replicas", type=partial(site.count, "--replicas"), default=0, metavar="N",
                       help="make a Deployment, which heals itself, instead of a bare Pod")
    group.add_argument("--namespace", type=site.namespace, default=NAME, help="(default: %(default)s)")
    group.add_argument("--create-namespace", action="store_true",
                       help="emit the namespace as well; kubectl delete -f OUT then deletes it")
    group.add_argument("--node-port", type=site.port, default=site.Site().node_port, metavar="PORT",
                       help="at 127.0.0.1 of every node (default: %(default)s)")
    for flag, read, text in (
            ("--node-selector", partial(site.label, "--node-selector"), "KEY=VALUE: label that the node must have"),
            ("--tolerate", site.toleration, "KEY[=VALUE][:EFFECT]: taint that the node may have"),
            ("--pull-secret", partial(site.subdomain, "--pull-secret"), "NAME: secret in the namespace, for its image"),
            ("--label", site.own_label, "KEY=VALUE: on every object"),
            ("--annotation", site.annotation, "KEY=VALUE: on every object")):
        name, text = text.split(": ")
        group.add_argument(flag, type=read, action="append", default=[], metavar=name, help=text + " (may be repeated)")
    group.add_argument("--tolerate-all", action="store_true", help="any taint")
    group.add_argument("--no-user", action="store_true", help="name no user: the cluster assigns one (OpenShift)")
    for flag, text in (("--requests", "in place of cpu=50m,memory=48Mi"), ("--limits", "in place of those computed")):
        group.add_argument(flag, type=partial(site.quantities, flag), default={}, metavar="cpu=C,memory=M",
                           help="of each container, " + text)
    group.add_argument("--priority-class", type=partial(site.subdomain, "--priority-class"), metavar="NAME",
                       help="of its Pods")


def size(text: str) -> int:
    """`512KiB` -> bytes."""
    match = SIZE.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError("%r is no size: write 512KiB, 1MiB or a number of bytes" % text)
    return int(match.group(1)) * UNITS[match.group(2).lower()]


def run(options: argparse.Namespace) -> None:
    """Do what the options ask for. What a cluster refuses is explained before it is an error."""
    try:
        run_mode(options)
    except Refused as refusal:
        tell(refusal.decision, options, sys.stderr if options.out == STDOUT else sys.stdout, refusal.errors)
        raise


def run_mode(options: argparse.Namespace) -> None:
    if options.demo:
        from builder.demo import demo
        demo()
    elif options.sizes:
        print(pyz.format_sizes(pyz.sizes(pyz.read_stage1())))
    elif options.pyz:
        write_file(options.pyz, pyz.pack(pyz.read_stage1()))
    elif options.verify:
        told = verify(options.verify)
        print(json.dumps(told, indent=2) if options.json else verified(told))
    elif options.explain and not options.archives:
        cluster = read_cluster(options.cluster)
        decision = decide(site_of(options), cluster, options.platform)
        tell(check(decision, cluster) if cluster else decision, options, sys.stdout)
    else:
        run_build(order_of(options), options)


def run_build(order: Order, options: argparse.Namespace) -> None:
    """Build, and tell of it: on stdout, unless that is where the YAML goes."""
    stream = sys.stderr if order.out == STDOUT else sys.stdout
    meter = Meter(sys.stderr)
    try:
        result = build(order, sys.stdout.buffer, meter)
    finally:
        meter.close()
    if options.explain and not options.json:
        print(explanation(result.decision) + "\n", file=stream)
    told = facts(order, result)
    if options.explain:
        told.update(explained(result.decision))
    print(json.dumps(told, indent=2) if options.json else summary(told), file=stream, flush=True)


def tell(decision: Decision, options: argparse.Namespace, stream: TextIO, errors: Sequence[str] = ()) -> None:
    """The decision alone, where there is no build to tell of."""
    if options.json:
        print(json.dumps(dict(decided(decision), errors=list(errors), **explained(decision)), indent=2), file=stream)
    elif options.explain:
        print("\n".join([explanation(decision), ""] + reasons(decided(decision))), file=stream)


def order_of(options: argparse.Namespace) -> Order:
    if not options.archives:
        raise BuildError("no archive: name at least one, or try --demo: see python3 build.py --help")
    return Order([named_archive(text) for text in options.archives], site_of(options), options.out, options.compression,
                 options.chunk_size, [checked_platform(text) for text in options.platform], options.squeeze,
                 read_cluster(options.cluster))


def site_of(options: argparse.Namespace) -> site.Site:
    """Every option of the site. Those that may be repeated come as lists of pairs or of values."""
    given = {name: getattr(options, name) for name in site.Site._fields if getattr(options, name, None) is not None}
    for name, option in (("node_selector", "node_selector"), ("labels", "label"), ("annotations", "annotation")):
        given[name] = dict(getattr(options, option))
    return site.checked(site.Site(**dict(
        given, pull_secrets=tuple(options.pull_secret),
        tolerations=(site.TOLERATE_ALL,) if options.tolerate_all else tuple(options.tolerate))))


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
