"""The words of the command line -> values: which options there are, what each text stands for, what excludes what.

Nothing is done here. Raises InputError for what is wrong, and for options that contradict each other or mean nothing
together: no option is ever ignored.
"""
import argparse
import difflib
import os
import re
import shlex
import shutil
from functools import partial
from typing import AbstractSet, Any, BinaryIO, Callable, List, NamedTuple, NoReturn, Optional, Sequence, Set, Tuple

from builder import VERSION
from builder.cli import site_options
from builder.cluster.objects import Cluster
from builder.kubernetes.steps import STDOUT
from builder.finding.named_images import NamedImages
from builder.kubernetes.kubectl import GET_CLUSTER, GET_KUBE_PROXY
from builder.kubernetes import ports, site, persistent_registry
from builder.kubernetes.exposure import DEFAULT, EXPOSURES
from builder.payload import compression
from builder.pipeline import Request
from builder.loading import STDIN, Sources
from builder.reading.errors import InputError
from builder.reading.reference import ARCHIVE_SUFFIX, parse
from builder.rewriting.platforms import checked_platform

SIZE = re.compile(r"([0-9]{1,18})(KiB|MiB|)", re.IGNORECASE)
UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20}
HELP = "see --help"
PROGRAM = "python3 build.py"  # as people start it, where nothing else is known
FIELDS = {"--label": "labels", "--annotation": "annotations", "--pull-secret": "pull_secrets", "--try": "tries",
          "--tolerate": "tolerations", "--no-create-namespace": "create_namespace"}
OUTS = {"--split": "seedpod-images"}  # where a mode writes by default, if not to that of a build


class Mode(NamedTuple):
    """What can be asked for instead of a build."""
    options: Tuple[str, ...] = ()  # that mean something beside it
    archives: bool = False  # whether it takes any


MODES = {
    "--verify": Mode(("--onto", "--signers", "--json", "--quiet")),
    "--split": Mode(("--out", "--onto", "--platform", "--json", "--quiet"), archives=True),
    "--demo": Mode(),
    "--pyz": Mode(),
    "--spooler": Mode(),
    "--self": Mode(),
}
NEEDS = {"--explain": "--cluster", "--signers": "--verify", "--registry-image": "--with-registry",
         "--registry-storage": "--with-registry", "--not-image": "--images-of"}
EXCLUDE = (("--quiet", "--json"), ("--quiet", "--explain"),
           ("--create-namespace", "--no-create-namespace"))
# Without archives there is nothing that these mean.
OF_ARCHIVES = ("--out", "--onto", "--compression", "--chunk-size", "--squeeze", "--sign", "--dry-run",
               "--with-registry")

EPILOG = """\
examples:
  %(prog)s registry.tar --image quay.io/kiwigrid/k8s-sidecar:1.30.0 -o seed && kubectl apply --server-side -f seed
  %(prog)s registry:2=image.tar other.tar --image python:3.12 -o - | kubectl apply --server-side -f -

exit status:
  0 done; 2 the input or the options are wrong; 1 something else failed (the disk is full, say);
  128 + N stopped by signal N. An error is one line on stderr, and leaves nothing half written."""


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line of our form."""

    def error(self, message: str) -> NoReturn:
        prefix = "argument "
        raise InputError("%s: %s" % (message[len(prefix):] if message.startswith(prefix) else message, HELP))


def started(path: str) -> str:
    """What to type to start again the program that was started as `path`, the first word of the process."""
    name = os.path.basename(path)
    if shutil.which(name) == path:
        return name
    return shlex.quote(path) if os.path.dirname(path) and os.access(path, os.X_OK) else "python3 " + shlex.quote(path)


def read(words: Sequence[str], program: str = PROGRAM) -> argparse.Namespace:
    """The command line's words -> options that go together, and archives; -o has the default of its mode."""
    whole = parser(program)
    options, rest = whole.parse_known_intermixed_args(words)
    for word in rest:
        like = difflib.get_close_matches(word.partition("=")[0], option_names(whole), 1)
        raise InputError("%s: unknown option: %s" % (word, "did you mean %s?" % like[0] if like else HELP))
    options.given, options.started = given(words), program
    check(options.given, options.archives)
    options.mode = next(iter(options.given & set(MODES)), "")
    if options.out is None:
        options.out = OUTS.get(options.mode, site.NAME)
    return options


def answer_of(words: Sequence[str]) -> Tuple[bool, str]:
    """Whether --json is among the words, and -o or "": known even where other words are wrong."""
    lenient = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    lenient.add_argument("-o", "--out", nargs="?")
    options, _ = lenient.parse_known_args(words)
    return "--json" in given(words), options.out or ""


def option_names(whole: argparse.ArgumentParser) -> List[str]:
    """Return every spelling of every option."""
    return [name for action in whole._actions for name in action.option_strings]  # argparse has no public list


def given(words: Sequence[str]) -> Set[str]:
    """The options among the words, by their long names. No value looks like one: argparse refuses such values."""
    found = set()
    for word in words:
        if word == "--":
            break
        if word.startswith("--"):
            found.add(word.partition("=")[0])
        elif word.startswith("-o"):
            found.add("--out")
    return found


def check(options: AbstractSet[str], archives: Sequence[str]) -> None:
    """InputError where options exclude each other, or would be ignored."""
    modes = [option for option in MODES if option in options]
    if len(modes) > 1:
        raise InputError("%s: exclude each other: give one of them" % ", ".join(modes))
    for one, other in EXCLUDE:
        if {one, other} <= options:
            raise InputError("%s, %s: exclude each other: give one of them" % (one, other))
    for option in modes:
        if archives and not MODES[option].archives:
            raise InputError("%s: takes no archive: leave out %s" % (option, archives[0]))
        for strange in sorted(options - {option, *MODES[option].options}):
            raise InputError("%s: means nothing with %s: leave out one of them" % (strange, option))
    for option, needed in NEEDS.items():
        if option in options and needed not in options:
            raise InputError("%s: means nothing without %s: add it" % (option, needed))
    if "--images-of" in options and not archives:
        for strange in sorted(options - {"--images-of", "--json"}):
            raise InputError("%s: means nothing with --images-of alone, which lists images: name archives, or leave it "
                             "out" % strange)
    for option in OF_ARCHIVES:
        if "--explain" in options and option in options and not archives:
            raise InputError("%s: means nothing with --explain alone: name archives, or leave it out" % option)


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """All options; `program`: how it was started, for help texts."""
    result = Parser(program, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, usage=(
        "%(prog)s [REF=]ARCHIVE... --image NODE_IMAGE [options]\n"
        "       %(prog)s [REF=]ARCHIVE... --cluster FILE [--try N | --host-python] [options]\n"
        "       %(prog)s --cluster FILE --explain\n"
        "       %(prog)s --images-of FILE\n"
        "       %(prog)s --split [REF=]ARCHIVE... [--onto OLD] -o DIR\n"
        "       %(prog)s --onto OLD [REF=]ARCHIVE... --image NODE_IMAGE -o UPDATE\n"
        "       %(prog)s --verify OUT [--onto OLD] [--signers FILE]\n"
        "       %(prog)s --demo | --pyz FILE | --spooler FILE | --self FILE"),
        description="Turns image archives into plain YAML that brings them into a Kubernetes cluster without a "
        "registry.", epilog=EPILOG)
    result.add_argument("archives", metavar="[REF=]ARCHIVE", nargs="*",
                        help="image archive or OCI layout folder (docker save, podman save, crane, skopeo, ...), or - "
                        "for stdin; REF names an image that has no name, or renames it")
    result.add_argument("-o", "--out",
                        help="folder to write, or - for a YAML stream (default: %s; with --split: %s)"
                        % (site.NAME, OUTS["--split"]))
    result.add_argument("--onto", action="append", default=[], metavar="OLD", help=(
        "write what this seed folder and the archives serve together, but only what it does not hold; repeat it for "
        "more folders in which archives or --verify find chunks; with --split, leave out the layers that seeds or "
        "earlier splits carried"))
    result.add_argument("--compression", choices=compression.COMPRESSIONS, default=compression.AUTO,
                        help="of the payload (default: auto, which measures whether xz pays off)")
    result.add_argument("--chunk-size", type=size, default=0, metavar="SIZE",
                        help="bytes of each chunk, e.g. 512KiB (default: 184KiB, which plain kubectl apply takes)")
    result.add_argument("--platform", action="append", default=[], metavar="OS/ARCH[/VARIANT]",
                        help="take only what runs there, e.g. linux/amd64 (may be repeated; default: all)")
    result.add_argument("--squeeze", action="store_true",
                        help="decompress the layers, so that xz compresses them better: the image IDs stay, the "
                        "manifest digests change")
    result.add_argument("--dry-run", action="store_true",
                        help="do all but write: print size, chunks and warnings")
    result.add_argument("--json", action="store_true", help="print the summary, or the error, as JSON")
    result.add_argument("--quiet", action="store_true", help="print errors only: no summary, no progress")
    result.add_argument("--sign", default="", metavar="KEY",
                        help="sign SHA256SUMS with this private key, by ssh-keygen")
    group = result.add_argument_group("what your manifests need")
    group.add_argument("--images-of", action="append", default=[], metavar="FILE", help=(
        "manifests, YAML or JSON, or - for stdin (may be repeated): without archives, list the images that they name; "
        "with archives, refuse to build without one of them"))
    group.add_argument("--not-image", action="append", default=[], metavar="REF",
                       help="an image that the cluster has already, as the manifests write it (may be repeated)")
    add_runner_options(result.add_argument_group("what runs the injector"))
    add_site_options(result.add_argument_group("how it fits into the cluster"))
    add_registry_options(result.add_argument_group("a persistent registry"))
    add_modes(result.add_argument_group("instead of a build"))
    return result


def add_modes(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--verify", metavar="OUT", help="read a folder back, check every digest, list what it serves")
    group.add_argument("--signers", default="", metavar="FILE", help=(
        "with --verify: who may have signed the folder, as ssh-keygen takes them (ALLOWED SIGNERS)"))
    group.add_argument("--demo", action="store_true",
                       help="go the whole way on this machine: no archive, no cluster, no root")
    group.add_argument("--pyz", metavar="FILE", help="write injector.pyz alone")
    group.add_argument("--split", action="store_true",
                       help="write one OCI archive for each image, for the spooler to push into a registry")
    group.add_argument("--spooler", metavar="FILE", help="write spooler.pyz alone")
    group.add_argument("--self", metavar="FILE", dest="program",
                       help="write this whole program as one executable file, to be carried along")
    group.add_argument("--version", action="version", version="Seedpod " + VERSION)


def add_registry_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--with-registry", action="store_true", help=(
        "also write a registry that keeps what it is given, and the spooler, at node port %d; the injector then has %d"
        % (ports.IMAGES, ports.SEED)))
    group.add_argument("--registry-image", default="", metavar="REF",
                       help="which of the images it is (default: the only one with such a name)")
    group.add_argument("--registry-storage", type=site_options.storage, metavar="STORAGE",
                       help="emptydir[:SIZE] (default, %s), claim:NAME or new:SIZE[:CLASS]"
                            % persistent_registry.DATA_SIZE)


def registry_of(options: argparse.Namespace) -> Optional[persistent_registry.Wanted]:
    """What is wanted of the persistent registry. Raises InputError."""
    if not options.with_registry:
        return None
    return persistent_registry.Wanted(options.registry_image, options.registry_storage)


def add_runner_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--image", type=site_options.image,
                       help="image that runs the injector: on the nodes already, with Python 3.6 or newer in it")
    group.add_argument("--interpreter", type=site_options.interpreter, metavar="PATH",
                       help="path of its Python, or of the node's (default: python3, or as is known)")
    group.add_argument("--cluster", action="append", default=[], metavar="FILE", help=(
        "what `%s` says, or - for stdin: choose by it, and check what the cluster would refuse (may be repeated; "
        "with `%s` kube-proxy's mode is known as well)"
        % (GET_CLUSTER, GET_KUBE_PROXY)))
    group.add_argument("--explain", action="store_true", help="report why each node and image was chosen or not")
    group.add_argument("--try", type=partial(site_options.count, "--try"), default=1, metavar="N", dest="tries",
                       help="make up to N Pods on different images of --cluster; the first one that works serves")
    group.add_argument("--host-python", action="store_true", help=(
        "run the node's own Python in any image that is there, e.g. pause; needs a namespace that takes hostPath "
        "volumes"))


def add_site_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--expose", choices=EXPOSURES, default="", help=(
        "how 127.0.0.1 leads to it on every node: %s (default: %s, or what fits --cluster)" % (
            "; ".join("%s, %s" % (row.name, row.what) for row in EXPOSURES.values()), DEFAULT.name)))
    group.add_argument("--names", choices=site.NAMES, default=site.SERVED, help=(
        "how manifests keep the names of their images: not (%(default)s: they name 127.0.0.1:PORT/...), by a policy of "
        "the API server that rewrites Pods (Kubernetes 1.36), or by containerd on every node, which asks here first"))
    group.add_argument("--containerd-config", type=partial(site_options.folder, "--containerd-config"), metavar="DIR",
                       help="where containerd's config.toml lies on the nodes, for --names mirror "
                       "(default: /etc/containerd, or what --cluster says)")
    group.add_argument("--replicas", type=partial(site_options.count, "--replicas"), default=0, metavar="N",
                       help="make a Deployment, which heals itself, instead of a bare Pod")
    group.add_argument("--namespace", type=site_options.namespace, default=site.NAME, help="(default: %(default)s)")
    group.add_argument("--create-namespace", action="store_true", default=None,
                       help="write the namespace as well; kubectl delete -f OUT then deletes it with everything in it")
    group.add_argument("--no-create-namespace", action="store_false", default=None, dest="create_namespace",
                       help="do not write namespace %s, which then must exist; no other is written without "
                       "--create-namespace" % site.NAME)
    group.add_argument("--node-port", type=site_options.port, metavar="PORT",
                       help="at 127.0.0.1 of every node (default: %d)" % ports.IMAGES)
    repeated: Sequence[Tuple[str, Callable[[str], Any], str]] = (
        ("--node-selector", partial(site_options.label, "--node-selector"), "KEY=VALUE: label that the node must have"),
        ("--tolerate", site_options.toleration, "KEY[=VALUE][:EFFECT]: taint that the node may have, or all"),
        ("--pull-secret", partial(site_options.object_name, "--pull-secret"),
         "NAME: secret in the namespace, for its image"),
        ("--label", site_options.own_label, "KEY=VALUE: on every object"),
        ("--annotation", site_options.annotation, "KEY=VALUE: on every object"))
    for flag, read, text in repeated:
        name, text = text.split(": ")
        group.add_argument(flag, type=read, action="append", default=[], metavar=name, help=text + " (may be repeated)")
    group.add_argument("--no-user", action="store_true", help="name no user: the cluster assigns one (OpenShift)")
    for flag, text in (("--requests", "in place of cpu=50m,memory=48Mi"), ("--limits", "in place of those computed")):
        group.add_argument(flag, type=partial(site_options.quantities, flag), default={}, metavar="cpu=C,memory=M",
                           help="of each container, " + text)


def size(text: str) -> int:
    """`512KiB` -> bytes, more than none."""
    match = SIZE.fullmatch(text)
    if not match or not int(match.group(1)):
        raise InputError("--chunk-size %s: is not a size: write 184KiB, 1MiB or a number of bytes" % text)
    return int(match.group(1)) * UNITS[match.group(2).lower()]


def sources_of(options: argparse.Namespace, stdin: Optional[BinaryIO]) -> Sources:
    """Return the archives, and how to read them. `stdin`: for the archive `-`. Raises InputError."""
    if not options.archives:
        raise InputError("no archive: name at least one, or try --demo: %s" % HELP)
    registry = registry_of(options)
    archives = [named_archive(text) for text in options.archives]
    if ([path for _, path in archives] + options.cluster + options.images_of).count(STDIN) > 1:
        raise InputError("-: standard input can be read only once: write all but one to files")
    return Sources(archives, options.onto, [checked_platform(text) for text in options.platform], options.squeeze,
                   options.compression, stdin, registry)


def request_of(options: argparse.Namespace, stdin: Optional[BinaryIO], cluster: Optional[Cluster],
               manifests: Optional[NamedImages]) -> Request:
    """Return the request. Raises InputError."""
    if options.sign and options.out == STDOUT:
        raise InputError("--sign: a stream has no SHA256SUMS to sign: name a folder with -o")
    return Request(sources_of(options, stdin), site_of(options), options.out, given_fields(options),
                   options.chunk_size, cluster, manifests, options.not_image, options.sign, options.dry_run)


def given_fields(options: argparse.Namespace) -> AbstractSet[str]:
    """Return the fields of Site whose options were typed."""
    fields = {flag: flag[len("--"):].replace("-", "_") for flag in options.given if flag.startswith("--")}
    return {FIELDS.get(flag, name) for flag, name in fields.items()} & set(site.Site._fields)


def site_of(options: argparse.Namespace) -> site.Site:
    """Every option of the site. Those that may be repeated come as lists of pairs or of values."""
    given = {name: getattr(options, name) for name in site.Site._fields if getattr(options, name, None) is not None}
    for name, option in (("node_selector", "node_selector"), ("labels", "label"), ("annotations", "annotation")):
        given[name] = dict(getattr(options, option))
    return site.checked(site.Site(**dict(
        given, pull_secrets=tuple(options.pull_secret),
        tolerations=tuple(options.tolerate))))


def named_archive(text: str) -> Tuple[str, str]:
    """`REF=ARCHIVE` or `ARCHIVE` -> (REF or "", ARCHIVE). A file whose name holds a = wins. InputError for the name of
    an image where an archive of it should be."""
    name, equals, path = text.partition("=")
    if not equals or os.path.exists(text):
        name, path = "", text
    if path != STDIN and not os.path.lexists(path) and is_image_name(path):
        raise InputError("%s: there is no such file: if it is an image, save it first: docker save -o image.tar %s"
                         % (path, path))
    return name, path


def is_image_name(text: str) -> bool:
    """Whether an image can have this name, and no archive is likely to."""
    if ARCHIVE_SUFFIX.search(text):
        return False
    try:
        return bool(parse(text))
    except InputError:
        return False
