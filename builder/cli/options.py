"""The arguments of the command line -> a command with its options, checked. Nothing is run here.

Errors are detected in this order, and the first one is raised as InputError: a former option; an option of another
command; an unknown option; one without its value, or given twice; a missing file; a wrong value; options that cannot
be combined; missing options and arguments. No option is ever ignored.
"""
import argparse
import difflib
import os
import re
import shlex
import shutil
from typing import BinaryIO, List, Mapping, Optional, Sequence, Set, Tuple

from builder import VERSION
from builder.cli import former
from builder.cli.commands import (BUILD, COMMANDS, DEMO, HELP_NAMES, PROGRAMS, VERSION_NAME, WRITE, Option, options_of,
                                  overview, parser_of)
from builder.cli.words import HELP, Line, split
from builder.cluster.choice import check_image
from builder.cluster.objects import Cluster
from builder.finding.named_images import NamedImages
from builder.kubernetes import persistent_registry, site
from builder.kubernetes.steps import STDOUT
from builder.loading import STDIN, Sources
from builder.pipeline import Request
from builder.reading.errors import InputError
from builder.reading.reference import ARCHIVE_SUFFIX, parse

PROGRAM = "python3 build.py"  # how the program is started, unless its own path is known
PLUGIN = "kubectl-"  # prefix of kubectl's plug-ins
EXCLUDE = (("--quiet", "--json"), ("--quiet", "--explain"), ("--create-namespace", "--no-create-namespace"))
NEEDS = {"--explain": "--cluster", "--registry-image": "--with-registry", "--registry-storage": "--with-registry",
         "--not-image": "--images-of"}
# Options that main.py reads for every command, with their values for commands that lack them.
DEFAULTS = {"json": False, "quiet": False, "explain": False, "dry_run": False, "out": "", "cluster": (),
            "images_of": ()}
SYNONYMS = {"--ns": "--namespace"}
TRANSPORT = re.compile(r"(?:docker-archive|oci-archive|oci|dir):")  # before a path, as skopeo has it
COMMAND_LIKE = re.compile("[a-z]+")
LIKENESS = .7  # least similarity of a word to the suggestion


def started(path: str) -> str:
    """Return the command that starts this program again. `path`: the first argument of the process."""
    name = os.path.basename(path)
    if shutil.which(name) == path:
        is_plugin = name.startswith(PLUGIN)
        return "kubectl " + name[len(PLUGIN):].replace("-", " ").replace("_", "-") if is_plugin else name
    return shlex.quote(path) if os.path.dirname(path) and os.access(path, os.X_OK) else "python3 " + shlex.quote(path)


def read(words: Sequence[str], program: str = PROGRAM) -> argparse.Namespace:
    """Return the options of a command line, and more fields: `command`; `program`; `given`, the fields of the options
    that were given; `archives`, pairs of name and path; `files`, the positional arguments. For help or the version,
    return only `command` and `page`."""
    line = split(words, former.VALUES)
    page = _page(words, line, program)
    if page:
        return argparse.Namespace(command=HELP, page=page)
    _check_options(line, program)
    own = options_of(line.command)
    archives: List[Tuple[str, str]] = []
    if COMMANDS[line.command].words.named:
        archives = [_archive(text, line, program) for text in line.files]
    else:
        _check_files(line, program)
    options = parser_of(line.command, program).parse_args(
        [given.name if given.value is None else f"{given.name}={given.value}" for given in line.options],
        argparse.Namespace(command=line.command, program=program, archives=archives, files=list(line.files),
                           given={own[given.name].field for given in line.options}))
    for name, value in DEFAULTS.items():
        setattr(options, name, getattr(options, name, value))
    _check_together(line, program)
    paths = [path for _, path in archives] or line.files
    if [*paths, *options.cluster, *options.images_of].count(STDIN) > 1:
        raise InputError("-: standard input can be read only once: write all but one to files")
    return options


def answer_of(words: Sequence[str]) -> Tuple[bool, str]:
    """Return whether --json is given, and the value of -o or "", even if the command line is wrong."""
    line = split(words, former.VALUES)
    return line.has("--json"), (line.values("--out") or [""])[-1]


def _page(words: Sequence[str], line: Line, program: str) -> str:
    """Return the requested page: the version, the list of commands, or the help of one; "" if none is requested."""
    if line.has(VERSION_NAME):
        return "Seedpod " + VERSION
    if line.command != HELP:
        return parser_of(line.command, program).format_help().rstrip() if line.has(*HELP_NAMES) else ""
    name = (*line.files, HELP)[0]
    if name in COMMANDS:
        return parser_of(name, program).format_help().rstrip()
    if name != HELP and words[0] == HELP:
        raise InputError(f"{name}: no such command: {_meant(name) or f'see {program} {HELP}'}")
    return overview(program)


# --- options

def _check_options(line: Line, program: str) -> None:
    """Raise InputError for an option that the command does not take in this form."""
    answer = former.answer(line, program)
    if answer:
        raise InputError(answer)
    own = options_of(line.command)
    strange = [given.name for given in line.options if given.name not in own]
    for name in strange:
        owners = [command for command in COMMANDS if name in options_of(command)]
        if owners:
            raise InputError(f"{name}: belongs to {_and(owners)}, not to {line.command}: "
                             f"see {program} {owners[0]} --help")
    if strange:
        advice = _nearest(strange[0], own) or f"see {program} {line.command} --help"
        raise InputError(f"{strange[0]}: unknown option: {advice}")
    seen: Set[str] = set()
    for name, value in line.options:
        option = own[name]
        if value is not None and not option.value:
            raise InputError(f"{name} takes no value: write {name}")
        if value is None and option.value:
            raise InputError(f"{name}: requires a value: write {name} {option.value}")
        if name in seen and option.value and not option.repeated:
            raise InputError(f"{name}: given twice: leave out one of them")
        seen.add(name)


def _nearest(name: str, own: Mapping[str, Option]) -> str:
    """Return a question with the most similar option; "" if none is similar."""
    names = sorted({option.name for option in own.values()})
    like = [one for one in names if one == SYNONYMS.get(name) or one.startswith(name)]
    if len(like) != 1:
        like = difflib.get_close_matches(name, names, 1, LIKENESS)
    return f"did you mean {like[0]}?" if like else ""


def _and(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _check_together(line: Line, program: str) -> None:
    """Raise InputError for options that cannot be combined, and for missing options or arguments."""
    for one, other in EXCLUDE:
        if line.has(one) and line.has(other):
            raise InputError(f"{one}: cannot be combined with {other}: leave out one of them")
    for option, needed in NEEDS.items():
        if line.has(option) and not line.has(needed):
            raise InputError(f"{option}: requires {needed}: add it")
    if not line.files and line.command != DEMO:
        raise InputError(f"{COMMANDS[line.command].words.lacking}: see {program} {line.command} --help")


# --- files

def _check_files(line: Line, program: str) -> None:
    """Raise InputError for a positional argument that is not a file."""
    if line.command == WRITE:
        if line.files and (len(line.files) != 2 or line.files[0] not in PROGRAMS):
            raise InputError(f"{WRITE}: takes a program and a file: {program} {WRITE} {'|'.join(PROGRAMS)} FILE")
        return
    for text in line.files:
        if line.command == DEMO:
            raise InputError(f"{text}: {DEMO} takes no file: leave it out")
        if not (text == STDIN and COMMANDS[line.command].words.stdin or os.path.lexists(text)):
            raise _no_file(text, text, line, program)


def _archive(text: str, line: Line, program: str) -> Tuple[str, str]:
    """Parse `REF=ARCHIVE` or `ARCHIVE` into REF or "", and ARCHIVE. An existing file with = in its name is an
    ARCHIVE."""
    name, equals, path = text.partition("=")
    if not equals or os.path.lexists(text):
        name, path = "", text
    elif not name:
        raise InputError(f"{text}: the name before = is empty: write NAME={path}, or {path}")
    if path != STDIN and not os.path.lexists(path):
        raise _no_file(text, path, line, program)
    return name, path


def _no_file(word: str, path: str, line: Line, program: str) -> InputError:
    """Return the error for a missing file: it may be a command, a misspelt one, an image, or a wrong path."""
    is_first = not line.is_named and line.words[0] == word
    before_dashes = line.words[:line.words.index("--")] if "--" in line.words else line.words
    if word in (*COMMANDS, HELP) and word in before_dashes:
        rest = [one for number, one in enumerate(line.words) if number != line.words.index(word)]
        return InputError(f"{word}: the command comes first: {program} {shlex.join([word, *rest])}")
    if is_first and _meant(word):
        return InputError(f"{word}: no such file or command: {_meant(word)}")
    transport = TRANSPORT.match(path)
    if transport and os.path.lexists(path[transport.end():]):
        return InputError(f"{path}: no such file: leave out {transport.group()}")
    if COMMANDS[line.command].words.named and _is_image_name(path):
        return InputError(f"{path}: no such file: if it is an image, save it first: docker save -o image.tar {path}")
    return InputError(f"{path or repr(path)}: no such file or folder: check the path")


def _meant(word: str) -> str:
    """Return a question with the most similar command; "" if none is similar."""
    like = difflib.get_close_matches(word, [*COMMANDS, HELP], 1, LIKENESS) if COMMAND_LIKE.fullmatch(word) else []
    return f"did you mean {like[0]}?" if like else ""


def _is_image_name(text: str) -> bool:
    """Return whether a text is a legal image name, and does not look like the name of an archive."""
    if ARCHIVE_SUFFIX.search(text):
        return False
    try:
        return bool(parse(text))
    except InputError:
        return False


# --- values

def sources_of(options: argparse.Namespace, stdin: Optional[BinaryIO]) -> Sources:
    """Return the archives of a build or a split, and how to read them. `stdin`: for the archive `-`."""
    found = Sources(options.archives, options.onto, options.platform, stdin=stdin)
    if options.command != BUILD:
        return found
    return found._replace(squeeze=options.squeeze, compression=options.compression, registry=registry_of(options))


def request_of(options: argparse.Namespace, stdin: Optional[BinaryIO], cluster: Optional[Cluster],
               manifests: Optional[NamedImages]) -> Request:
    """Return the request of a build. Raise InputError for options that cannot be combined."""
    if options.sign and options.out == STDOUT:
        raise InputError("--sign: a stream has no SHA256SUMS to sign: name a folder with -o")
    request = Request(sources_of(options, stdin), site_of(options), options.out,
                      options.given & set(site.Site._fields), options.chunk_size, cluster, manifests,
                      options.not_image, options.sign, options.dry_run)
    if not cluster and not options.onto:
        check_image(request.site)
    return request


def site_of(options: argparse.Namespace) -> site.Site:
    """Return the options of the site, checked. Repeated options are lists of pairs or of values."""
    given = {name: getattr(options, name) for name in site.Site._fields if getattr(options, name, None) is not None}
    pairs = {name: dict(given[name]) for name in ("node_selector", "labels", "annotations") if name in given}
    values = {name: tuple(given[name]) for name in ("tolerations", "pull_secrets") if name in given}
    return site.checked(site.Site(**{**given, **pairs, **values}))


def registry_of(options: argparse.Namespace) -> Optional[persistent_registry.RegistryOptions]:
    """Return the options of the persistent registry; None without --with-registry."""
    if not options.with_registry:
        return None
    return persistent_registry.RegistryOptions(options.registry_image, options.registry_storage)
