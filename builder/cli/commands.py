"""The commands: one row for each, and a parser of its options, which also prints its help. Pure.

The first word selects the command, by default `build`. To add a command, add a row to COMMANDS here, and one to
RUN in main.py. No option has an optional value.
"""
import argparse
import functools
from functools import partial
from typing import Any, Callable, Dict, NamedTuple, NoReturn, Sequence

from builder import VERSION
from builder.cli import site_options
from builder.kubernetes import persistent_registry, ports, site
from builder.kubernetes.exposure import DEFAULT as DEFAULT_EXPOSURE, EXPOSURES
from builder.kubernetes.kubectl import APPLY, GET_CLUSTER, GET_KUBE_PROXY
from builder.payload import compression
from builder.reading.errors import InputError
from builder.rewriting.platforms import checked_platform

BUILD, VERIFY, EXPLAIN, IMAGES, INSPECT, SPLIT, WRITE, DEMO = (
    "build", "verify", "explain", "images", "inspect", "split", "write", "demo")
INJECTOR, SPOOLER, SEEDPOD = PROGRAMS = ("injector", "spooler", "seedpod")  # that `write` writes
HELP_NAMES, VERSION_NAME = ("-h", "--help"), "--version"
_HELP_POSITION = 27  # column of the texts in help pages

Group = argparse._ArgumentGroup


class Words(NamedTuple):
    """The positional arguments of a command."""
    name: str  # in usage lines
    text: str = ""  # for people
    lacking: str = ""  # the error if there are none
    stdin: bool = True  # whether `-` is one of them
    named: bool = False  # whether one may be REF=ARCHIVE


class Command(NamedTuple):
    """A command."""
    purpose: str  # one line for people
    usage: Sequence[str]  # the text after its name, a line for each form
    words: Words
    add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    more: str = ""  # at the end of its help, with {program}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors have our form, on one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}: see {self.prog} --help")


@functools.lru_cache(maxsize=None)
def parser_of(name: str, program: str) -> argparse.ArgumentParser:
    """Return the parser of a command. `program`: how it was started, for its help."""
    command = COMMANDS[name]
    start = program if name == BUILD else f"{program} {name}"
    result = Parser(
        start, add_help=False, allow_abbrev=False, description=command.purpose[0].upper() + command.purpose[1:] + ".",
        usage="\n       ".join(" ".join([start, *form.split()]) for form in command.usage),
        epilog=command.more.format(program=program),
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=_HELP_POSITION))
    if command.words.text:
        result.add_argument_group("arguments").add_argument("words", nargs="*", metavar=command.words.name,
                                                            help=command.words.text)
    command.add_options(result)
    result.add_argument_group("help").add_argument(*HELP_NAMES, action="help", help="print this page")
    return result


class Option(NamedTuple):
    """An option, for splitting a command line."""
    name: str  # the long one
    value: str  # name of its value; "": it takes none
    repeated: bool
    field: str  # of the parsed options


@functools.lru_cache(maxsize=None)
def options_of(name: str) -> Dict[str, Option]:
    """Return spelling -> option of a command."""
    found = {}
    for action in parser_of(name, "")._actions:  # argparse has no public list
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        for spelling in action.option_strings:
            found[spelling] = Option(action.option_strings[-1], value, isinstance(action.default, list),
                                     action.dest)
    return found


def overview(program: str) -> str:
    """Return the page for an empty command line: the commands, and examples."""
    lines = [f"Seedpod {VERSION}: container images into a Kubernetes cluster that has no registry", "",
             f"usage: {program} [REF=]ARCHIVE... --image NODE_IMAGE [-o OUT]",
             f"       {program} COMMAND ...", "", "commands:"]
    lines += [f"  {name:9} {command.purpose}" for name, command in COMMANDS.items()]
    lines += ["", "examples:", *(f"  {program} {words}" for words in _EXAMPLES)]
    return "\n".join(lines + ["", f"{program} COMMAND --help lists the options of a command."])


_EXAMPLES = ("demo", "registry.tar --image python:3.12 -o seed", "verify seed")
_BUILD_MORE = """\
examples:
  {program} registry.tar --image python:3.12 -o seed
  {program} registry:2=image.tar other.tar --cluster cluster.json
  {program} app.tar --image python:3.12 -o - |
    """ + APPLY + """ -f -

exit status:
  0 done; 2 the input or the options are wrong; 1 something else failed (the
  disk is full, say); 128 + N stopped by signal N. An error is one line on
  stderr, and leaves no partial output."""


_EXPLAIN_MORE = """\
examples:
  """ + GET_CLUSTER + """ > cluster.json
  """ + GET_KUBE_PROXY + """ > kube-proxy.json
  {program} explain cluster.json kube-proxy.json"""


def _one_of(option: str, choices: Sequence[str]) -> Dict[str, Any]:
    """Return the settings of an option that takes one of several words."""
    def read(text: str) -> str:
        if text not in choices:
            raise InputError(f"{option} {ascii(text)}: must be {', '.join(choices[:-1])} or {choices[-1]}")
        return text
    return {"type": read, "metavar": "|".join(choices)}


def _many(read: Callable[[str], Any] = str) -> Dict[str, Any]:
    """Return the settings of an option that may be repeated."""
    return {"action": "append", "default": [], "type": read}


def _add_report(group: Group, quiet: bool = True) -> None:
    group.add_argument("--json", action="store_true", help="print the report, or the error, as JSON")
    if quiet:
        group.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def _add_out(group: Group, text: str, default: str) -> None:
    group.add_argument("-o", "--out", metavar="OUT", default=default, help=text + " (default: %(default)s)")


def _add_platform(group: Group, text: str) -> None:
    group.add_argument("--platform", **_many(checked_platform), metavar="PLATFORM", help=text)


def _add_node_image(group: Group) -> None:
    group.add_argument("--image", type=site_options.image, metavar="NODE_IMAGE",
                       help="run the injector in this image, with Python 3.6 or newer, which the nodes already have")


def _add_runner(group: Group) -> None:
    group.add_argument("--interpreter", type=site_options.interpreter, metavar="PATH",
                       help="path of its Python, or of the node's (default: the known path, else python3)")
    group.add_argument("--host-python", action="store_true", help=(
        "run the node's own Python in any image, such as pause; the namespace must allow hostPath volumes"))
    group.add_argument("--try", type=partial(site_options.count, "--try"), default=1, metavar="N", dest="tries",
                       help="write up to N Pods on different images; the first that works serves")


def _add_namespace(group: Group) -> None:
    group.add_argument("-n", "--namespace", type=site_options.namespace, default=site.NAME, metavar="NAME",
                       help="namespace of every object (default: %(default)s)")
    group.add_argument("--create-namespace", action="store_true", default=None,
                       help="write the namespace, too; deleting OUT then deletes all in it")
    group.add_argument("--no-create-namespace", action="store_false", default=None, dest="create_namespace",
                       help=f"do not write namespace {site.NAME}")


def _add_placement(group: Group) -> None:
    group.add_argument("--expose", **_one_of("--expose", tuple(EXPOSURES)), help=(
        f"how 127.0.0.1 of each node leads to it (default: {DEFAULT_EXPOSURE.name}, or what fits the cluster)"))
    group.add_argument("--node-port", type=site_options.port, metavar="PORT",
                       help=f"at 127.0.0.1 of each node (default: {ports.IMAGES})")
    group.add_argument("--replicas", type=partial(site_options.count, "--replicas"), default=0, metavar="N",
                       help="write a Deployment of N Pods, which replaces lost ones, instead of a Pod")
    group.add_argument("--node-selector", **_many(partial(site_options.label, "--node-selector")),
                       metavar="KEY=VALUE", help="only on nodes with this label")
    group.add_argument("--tolerate", **_many(site_options.toleration), dest="tolerations",
                       metavar="KEY[=VALUE][:EFFECT]|all", help="also on nodes with this taint, or with any")


def _add_security(group: Group) -> None:
    group.add_argument("--pull-secret", **_many(partial(site_options.object_name, "--pull-secret")),
                       dest="pull_secrets", metavar="NAME", help="secret to pull the node image with")
    group.add_argument("--no-user", action="store_true", help="set no user: the cluster assigns one (OpenShift)")
    group.add_argument("--requests", type=partial(site_options.quantities, "--requests"), default={},
                       metavar="cpu=C,memory=M", help="of each container (default: cpu=50m,memory=48Mi)")


def _add_names(group: Group) -> None:
    group.add_argument("--names", **_one_of("--names", site.NAMES), default=site.SERVED, help=(
        "whether manifests keep the names of their images: %(default)s (default): no, they name 127.0.0.1:PORT/...; "
        "policy: yes, a policy rewrites Pods (Kubernetes 1.36); mirror: yes, by containerd's mirrors on each node"))
    group.add_argument("--containerd-config", type=partial(site_options.folder, "--containerd-config"), metavar="DIR",
                       help="folder of containerd's config.toml on the nodes, for --names mirror (default: as the "
                       "cluster has it, else /etc/containerd)")


def _build(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("most used")
    _add_node_image(group)
    group.add_argument("--cluster", **_many(), metavar="FILE", help=(
        f"output of `{GET_CLUSTER}`: choose the image, the nodes and the exposure for this cluster, and check what it "
        "would refuse"))
    _add_out(group, "folder to write, or - for a YAML stream", site.NAME)
    _add_platform(group, "only these platforms, such as linux/amd64 (default: all)")
    group.add_argument("--onto", **_many(), metavar="OLD", help=(
        "add the images to this seed, and write only what it does not contain; repeat it for the bases of that seed"))
    group.add_argument("--dry-run", action="store_true", help="report what would be built; write nothing")
    _add_report(group)
    group = parser.add_argument_group("what runs the injector")
    _add_runner(group)
    group.add_argument("--explain", action="store_true",
                       help="with --cluster: report why each node and image was chosen or not")
    group = parser.add_argument_group("how it fits into the cluster")
    _add_namespace(group)
    _add_placement(group)
    _add_security(group)
    group.add_argument("--limits", type=partial(site_options.quantities, "--limits"), default={},
                       metavar="cpu=C,memory=M", help="of each container (default: computed)")
    group.add_argument("--label", **_many(site_options.own_label), dest="labels", metavar="KEY=VALUE",
                       help="on every object")
    group.add_argument("--annotation", **_many(site_options.annotation), dest="annotations", metavar="KEY=VALUE",
                       help="on every object")
    group = parser.add_argument_group("what your manifests need")
    _add_names(group)
    group.add_argument("--images-of", **_many(), metavar="FILE",
                       help="refuse to build without the images that these manifests name; - for stdin")
    group.add_argument("--not-image", **_many(), metavar="REF",
                       help="do not require this image, which the cluster already has; REF as in the manifests")
    group = parser.add_argument_group("the payload")
    group.add_argument("--compression", **_one_of("--compression", compression.COMPRESSIONS), default=compression.AUTO,
                       help="(default: auto, which measures whether xz pays off)")
    group.add_argument("--squeeze", action="store_true", help=(
        "decompress the layers, so that xz compresses them better: image IDs stay, manifest digests change"))
    group.add_argument("--chunk-size", type=site_options.size, default=0, metavar="SIZE",
                       help="of each chunk, such as 512KiB (default: 184KiB, which plain kubectl apply accepts)")
    group.add_argument("--sign", default="", metavar="KEY", help="sign SHA256SUMS with this private SSH key")
    group = parser.add_argument_group("a persistent registry")
    group.add_argument("--with-registry", action="store_true", help=(
        f"persistent registry on port {ports.IMAGES}; the injector moves to {ports.SEED}"))
    group.add_argument("--registry-image", default="", metavar="REF",
                       help="which of the images it is (default: the only image named registry or distribution)")
    group.add_argument("--registry-storage", type=site_options.storage, metavar="STORAGE", help=(
        f"emptydir[:SIZE], claim:NAME or new:SIZE[:CLASS] (default: emptydir:{persistent_registry.DATA_SIZE})"))


def _verify(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options")
    group.add_argument("--onto", **_many(), metavar="OLD",
                       help="base of OUT; repeat it for the bases of that one")
    group.add_argument("--signers", default="", metavar="FILE",
                       help="check the signature as well: a file of ALLOWED SIGNERS, see ssh-keygen(1)")
    _add_report(group)


def _explain(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what you would build with")
    _add_node_image(group)
    _add_runner(group)
    _add_platform(group, "of the images, such as linux/amd64 (default: any)")
    _add_names(group)
    _add_namespace(group)
    _add_placement(group)
    _add_security(group)
    _add_report(parser.add_argument_group("report"), quiet=False)


def _images(parser: argparse.ArgumentParser) -> None:
    _add_report(parser.add_argument_group("options"), quiet=False)


def _inspect(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options")
    group.add_argument("--onto", **_many(), metavar="OLD", help="base of an ARCHIVE that is a seed")
    _add_report(group, quiet=False)


def _split(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options")
    _add_out(group, "folder to write", "seedpod-images")
    group.add_argument("--onto", **_many(), metavar="OLD", help=(
        "leave out the layers of this seed or earlier split; may be repeated"))
    _add_platform(group, "only these platforms, such as linux/amd64 (default: all)")
    _add_report(group)


_PROGRAM = "|".join(PROGRAMS)
_ARCHIVES = Words(
    "[REF=]ARCHIVE", "archive of docker save, podman save, skopeo, crane or others, an OCI layout, a Helm chart, a "
    "seed, or - for stdin; REF names an image that has no name, or renames it", "no archive: name at least one",
    named=True)

COMMANDS = {
    BUILD: Command("write manifests that carry images into a cluster (the default)", (
        "[REF=]ARCHIVE... --image NODE_IMAGE [-o OUT]", "[REF=]ARCHIVE... --cluster FILE [-o OUT]",
        "[REF=]ARCHIVE... --image NODE_IMAGE --onto OLD -o UPDATE"), _ARCHIVES, _build, _BUILD_MORE),
    VERIFY: Command("check folders that a build wrote; list the images that they serve", (
        "OUT... [--onto OLD]... [--signers FILE]",),
        Words("OUT", "folder that a build wrote", "no folder: name at least one that a build wrote", stdin=False),
        _verify),
    EXPLAIN: Command("report why each node and image can run the injector, or cannot", ("DUMP... [options]",),
                     Words("DUMP", "output of kubectl for a cluster, or - for stdin; the second dump is optional",
                           "no dump: make one with " + GET_CLUSTER), _explain, _EXPLAIN_MORE),
    IMAGES: Command("list the images that Kubernetes manifests name", ("MANIFEST... [--json]",),
                    Words("MANIFEST", "Kubernetes manifests, YAML or JSON, or - for stdin",
                          "no manifest: name at least one file, or - for stdin"), _images,
                    more="Images are printed one a line, for docker pull; doubts go to stderr."),
    INSPECT: Command("list the images in archives: names, IDs, digests, what is missing", (
        "[REF=]ARCHIVE... [--json]",), _ARCHIVES, _inspect),
    SPLIT: Command("write one OCI archive for each image, for a registry", (
        "[REF=]ARCHIVE... [--onto OLD]... [-o OUT]",), _ARCHIVES, _split),
    WRITE: Command(f"write a program as one file: {INJECTOR}, {SPOOLER} or {SEEDPOD}", (f"{_PROGRAM} FILE",), Words(
        f"{_PROGRAM} FILE", f"program, and the file to write, or - for stdout; {SEEDPOD} is this whole program",
        f"no program: write {_PROGRAM} FILE")),
    DEMO: Command("run end to end on this machine: no archive, no cluster, no root", ("",), Words("")),
}
