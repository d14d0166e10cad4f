"""The words of the command line -> values: which options there are, and what each text stands for.

Nothing is done here. Raises BuildError for what is wrong, and for options that contradict each other.
"""
import argparse
import os
import re
from functools import partial
from typing import NoReturn, Optional, Tuple

from builder import VERSION
from builder.payload import packing
from builder.kubernetes import ports, site, persistent_registry
from builder.kubernetes.exposure import DEFAULT, EXPOSURES
from builder.cluster.objects import COMMAND, Cluster
from builder.reading.errors import BuildError
from builder.pipeline import STDIN, Order
from builder.rewriting.platforms import checked_platform

SIZE = re.compile(r"([0-9]+)(KiB|MiB|)", re.IGNORECASE)
UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20}


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line of our form."""

    def error(self, message: str) -> NoReturn:
        raise BuildError("%s: see python3 build.py --help" % message)


def parser() -> argparse.ArgumentParser:
    result = Parser("build.py", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, usage=(
        "python3 build.py [REF=]ARCHIVE... --image NODE_IMAGE [options]\n"
        "       python3 build.py [REF=]ARCHIVE... --cluster FILE [--try N | --host-python] [options]\n"
        "       python3 build.py --cluster FILE --explain\n"
        "       python3 build.py --split [REF=]ARCHIVE... -o DIR\n"
        "       python3 build.py --verify OUT | --demo | --sizes | --pyz FILE | --spooler FILE"),
        description="Image archives -> plain YAML that brings them into a Kubernetes cluster without a registry.",
        epilog="examples:\n"
        "  python3 build.py registry.tar --image quay.io/kiwigrid/k8s-sidecar:1.30.0 -o seed && kubectl apply -f seed\n"
        "  python3 build.py registry:2=image.tar other.tar --image python:3.12 -o - | kubectl apply -f -")
    result.add_argument("archives", metavar="[REF=]ARCHIVE", nargs="*",
                        help="image archive or OCI layout folder (docker save, podman save, crane, skopeo, ...), or - "
                        "for stdin; REF names an image that has no name, or another one")
    result.add_argument("-o", "--out", default=site.NAME,
                        help="folder to write, or - for a YAML stream (default: %(default)s)")
    result.add_argument("--compression", choices=packing.COMPRESSIONS, default=packing.AUTO,
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
    add_registry_options(result.add_argument_group("the registry that stays"))
    whole, result = result, result.add_argument_group("instead of a build")
    result.add_argument("--verify", metavar="OUT",
                        help="read a folder back, check every digest, list what it would serve")
    result.add_argument("--demo", action="store_true",
                        help="the whole way on this machine: no archive, no cluster, no root")
    result.add_argument("--sizes", action="store_true", help="print the bytes of each module of injector.pyz")
    result.add_argument("--pyz", metavar="FILE", help="write injector.pyz alone")
    result.add_argument("--split", action="store_true",
                        help="write one OCI archive for each image, to be pushed into a registry by the spooler")
    result.add_argument("--spooler", metavar="FILE", help="write spooler.pyz alone")
    result.add_argument("--version", action="version", version="Seedpod " + VERSION)
    return whole


def add_registry_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--with-registry", action="store_true", help=(
        "also write a registry with the spooler, at node port %d; the injector then takes %d by default"
        % (ports.IMAGES, ports.SEED)))
    group.add_argument("--registry-image", default="", metavar="REF",
                       help="which of the images it is (default: the only one that is called so)")
    group.add_argument("--registry-storage", type=persistent_registry.storage, default=persistent_registry.Storage(),
                       metavar="STORAGE", help="emptydir (default), claim:NAME or new:SIZE[:CLASS]")


def registry_of(options: argparse.Namespace) -> Optional[persistent_registry.Wanted]:
    """What is wanted of the registry that stays. Raises BuildError."""
    if not options.with_registry:
        if options.registry_image or options.registry_storage != persistent_registry.Storage():
            raise BuildError("--registry-image, --registry-storage: say how: add --with-registry")
        return None
    if options.node_port == ports.IMAGES:
        raise BuildError("--node-port %d: is the port of the registry that --with-registry writes: leave it out (the "
                         "injector then takes %d), or choose another" % (ports.IMAGES, ports.SEED))
    return persistent_registry.Wanted(options.registry_image, options.registry_storage)


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
    group.add_argument("--expose", choices=EXPOSURES, default="", help=(
        "how 127.0.0.1 leads to it on every node: %s (default: %s, or what fits --cluster)" % (
            "; ".join("%s, %s" % (row.name, row.what) for row in EXPOSURES.values()), DEFAULT.name)))
    group.add_argument("--replicas", type=partial(site.count, "--replicas"), default=0, metavar="N",
                       help="make a Deployment, which heals itself, instead of a bare Pod")
    group.add_argument("--namespace", type=site.namespace, default=site.NAME, help="(default: %(default)s)")
    group.add_argument("--create-namespace", action="store_true",
                       help="emit the namespace as well; kubectl delete -f OUT then deletes it")
    group.add_argument("--node-port", type=site.port, metavar="PORT",
                       help="at 127.0.0.1 of every node (default: %d)" % ports.IMAGES)
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


def order_of(options: argparse.Namespace, cluster: Optional[Cluster]) -> Order:
    """What is to be built. Raises BuildError."""
    if not options.archives:
        raise BuildError("no archive: name at least one, or try --demo: see python3 build.py --help")
    registry = registry_of(options)
    archives = [named_archive(text) for text in options.archives]
    if [path for _, path in archives].count(STDIN) + options.cluster.count(STDIN) > 1:
        raise BuildError("-: standard input can be read only once: write all but one to files")
    return Order(archives, site_of(options), options.out, options.compression,
                 options.chunk_size, [checked_platform(text) for text in options.platform], options.squeeze,
                 cluster, registry=registry)


def site_of(options: argparse.Namespace) -> site.Site:
    """Every option of the site. Those that may be repeated come as lists of pairs or of values."""
    given = {name: getattr(options, name) for name in site.Site._fields if getattr(options, name, None) is not None}
    for name, option in (("node_selector", "node_selector"), ("labels", "label"), ("annotations", "annotation")):
        given[name] = dict(getattr(options, option))
    if options.with_registry:
        given.setdefault("node_port", ports.SEED)
    if options.explain and not options.cluster:
        raise BuildError("--explain: needs --cluster FILE, to have something to explain")
    return site.checked(site.Site(**dict(
        given, pull_secrets=tuple(options.pull_secret),
        tolerations=(site.TOLERATE_ALL,) if options.tolerate_all else tuple(options.tolerate))))


def named_archive(text: str) -> Tuple[str, str]:
    """`REF=ARCHIVE` or `ARCHIVE` -> (REF or "", ARCHIVE). A file whose name holds a = wins."""
    name, equals, path = text.partition("=")
    if not equals or os.path.exists(text):
        return "", text
    return name, path
