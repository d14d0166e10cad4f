"""A model of a cluster: objects in a dict, and the parts of kubectl and of a shell that printed commands use.

`Cluster.run` runs a printed command in this process. `Cluster.install` puts a `kubectl` on PATH that works on the same
objects, for commands that a real shell runs. Modelled as the real ones do it:

- selectors, as the API server reads them: `!=` and `notin` also match objects without the key;
- kubectl deletes nothing where it does not know one of the kinds, and all others where one is forbidden;
- a namespace takes along everything in it; a claim, a policy or a Namespace goes only if it is named;
- data of an immutable ConfigMap, a Pod's spec and a controller's selector do not change under the same name;
- plain apply adds an annotation with the whole object, which has a limit; a server-side apply of a field that
  `kubectl create` set to another value is a conflict, one over a plain apply is not;
- two Services never have one node port, in any namespace;
- a Pod is ready once each ConfigMap that it mounts exists.
"""
import json
import os
import pathlib
import re
import shlex
import stat
import subprocess
import sys
from typing import Dict, List, NamedTuple, Tuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANNOTATION_LIMIT_BYTES = 262144
LAST_APPLIED_BYTES = len("kubectl.kubernetes.io/last-applied-configuration")
CLUSTER_WIDE = ("namespace", "mutatingadmissionpolicy", "mutatingadmissionpolicybinding")
KINDS = CLUSTER_WIDE + ("configmap", "daemonset", "deployment", "persistentvolumeclaim", "pod", "service")
CONTROLLERS = ("daemonset", "deployment")
Key = Tuple[str, str, str]  # namespace ("" of cluster-wide kinds), kind, name

SHIM = """#!{python} -IS
import sys
sys.path.insert(0, {root!r})
from tests.support.model_cluster import Cluster, Failure
cluster = Cluster.load({state!r})
try:
    sys.stdout.write(cluster.kubectl(sys.argv[1:]))
except Failure as failure:
    sys.exit(str(failure))
finally:
    cluster.save({state!r})
"""


class Failure(Exception):
    """A command failed: its text is what kubectl prints."""


class Item(NamedTuple):
    """An object."""
    labels: Dict[str, str]
    chosen: Dict[str, str]  # what its selector asks for
    mounts: Tuple[str, ...]  # names of ConfigMaps
    fixed: str  # what does not change under this name
    manager: str  # create, plain, server-side
    node_port: str = ""  # of a Service; "": none


def pairs(lines: str) -> Dict[str, str]:
    return dict(re.findall(r'(\S+): "?([^"\n]*)"?', lines))


def parse(text: str) -> Tuple[Key, Item]:
    """One document of our own YAML."""
    def first(pattern, default=None):
        match = re.search(pattern, text, re.MULTILINE)
        return match.group(1) if match else default
    kind = first(r"^kind: (\w+)$").lower()
    matched = re.search(r"^  selector:\n((?:    .*\n)*)", text, re.MULTILINE)
    chosen = pairs(matched.group(1)) if matched else {}
    chosen.pop("matchLabels", None)
    mounts = re.findall(r"^ *(?:- )?configMap:\n(?: .*\n)*? *name: (\S+)$", text, re.MULTILINE)
    fixed = ""
    if "\nimmutable: true\n" in text or kind == "pod":
        fixed = re.sub(r"\A(?:#.*\n)*|^metadata:\n(?:  .*\n)*", "", text, flags=re.MULTILINE)
    elif kind in CONTROLLERS:
        fixed = json.dumps(chosen)
    key = (first(r"^  namespace: \"?([a-z0-9-]+)\"?$", ""), kind, first(r"^  name: (\S+)$"))
    return key, Item(pairs(first(r"^  labels:\n((?:    .*\n)*)", "")), chosen, tuple(sorted(set(mounts))), fixed, "",
                     first(r"nodePort: (\d+)$", ""))


def documents(path: str) -> List[Tuple[Key, Item, int]]:
    """The objects of a folder or a file, each with the length of its text."""
    names = sorted(name for name in os.listdir(path) if name.endswith(".yaml")) if os.path.isdir(path) else [""]
    texts = [pathlib.Path(path, name).read_text() for name in names]
    return [parse(text) + (len(text),) for text in texts]


def selects(selector: str, labels: Dict[str, str]) -> bool:
    """Whether labels match a selector."""
    for term in filter(None, re.split(r",(?![^(]*\))", selector)):
        in_set = re.fullmatch(r"(\S+) (in|notin) \((.*)\)", term)
        if in_set:
            key, word, values = in_set.groups()
            fits = (labels.get(key) in values.split(",")) == (word == "in")
        elif "!=" in term:
            key, value = term.split("!=")
            fits = labels.get(key) != value
        elif "=" in term:
            key, value = term.split("=")
            fits = labels.get(key) == value
        else:
            fits = (term.lstrip("!") in labels) != term.startswith("!")
        if not fits:
            return False
    return True


class Cluster:
    """`unknown`: kinds that the API server does not have; `forbidden`: those that the user may not delete."""

    def __init__(self, unknown=(), forbidden=()) -> None:
        self.objects: Dict[Key, Item] = {}
        self.unknown, self.forbidden = tuple(unknown), tuple(forbidden)

    # --- the shell

    def run(self, command: str) -> str:
        """Run a printed command; -> its output. Failure where its last program fails, but for a grep without lines."""
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        tokens = list(lexer)
        output = self._list(tokens)
        assert not tokens, (command, tokens)
        return output

    def _list(self, tokens: List[str]) -> str:
        output = self._pipeline(tokens)
        while tokens and tokens[0] in ("&&", ";"):
            tokens.pop(0)
            output += self._pipeline(tokens)
        return output

    def _pipeline(self, tokens: List[str], text: str = "") -> str:
        if tokens[0] == "!":
            tokens.pop(0)
            output = self._pipeline(tokens)
            if output:  # of a grep
                raise Failure(output)
            return ""
        if tokens[0] == "(":
            tokens.pop(0)
            text = self._list(tokens)
            assert tokens.pop(0) == ")"
        else:
            words = []
            while tokens and tokens[0] not in ("|", "&&", ";", ")"):
                words.append(tokens.pop(0))
            text = self._program(words, text)
        if tokens and tokens[0] == "|":
            tokens.pop(0)
            return self._pipeline(tokens, text)
        return text

    def _program(self, words: List[str], text: str) -> str:
        if words[:2] == ["xargs", "-r"]:
            return self._program(words[2:] + text.split(), "") if text.split() else ""
        if words[:2] == ["grep", "-vxFf"]:
            lists = [text if name == "-" else pathlib.Path(name).read_text() for name in words[2:]]
            patterns, lines = (lists + [text])[:2]
            return "".join(line for line in lines.splitlines(True)
                           if line.rstrip("\n") not in patterns.splitlines())
        assert words[0] == "kubectl", words
        return self.kubectl(words[1:])

    # --- kubectl

    def kubectl(self, arguments: List[str]) -> str:
        words = [word for word in arguments if word not in ("--ignore-not-found", "--force", "--dry-run=client")]
        options = {}
        for flag in ("-n", "-f", "-l", "-o"):
            if flag in words:
                options[flag] = words[words.index(flag) + 1]
                del words[words.index(flag):words.index(flag) + 2]
        manager = "server-side" if "--server-side" in words else "plain"
        forced = "--force-conflicts" in words
        verb, *words = [word for word in words if word not in ("--server-side", "--force-conflicts")]
        namespace, selector = options.get("-n", "default"), options.get("-l", "")
        if verb == "apply":
            return self._apply(options["-f"], selector, manager, forced)
        if verb == "create" and "--dry-run=client" in arguments:
            return "".join("%s/%s\n" % key[1:] for key, _, _ in documents(options["-f"]))
        if verb == "create":
            return self._apply(options["-f"], "", "create", False)
        if verb == "get":
            return "".join("%s/%s\n" % key[1:] for key in self._found(namespace, words[0], selector))
        if verb == "delete":
            return self._delete(namespace, words, options)
        if verb == "wait":
            (name,) = [word.partition("/")[2] for word in words if word.startswith("pod/")]
            return self._ready((namespace, "pod", name))
        if verb == "rollout":
            return self._ready((namespace, *words[1].split("/")))
        raise AssertionError(arguments)

    def _apply(self, path: str, selector: str, manager: str, forced: bool) -> str:
        failures = []
        for key, item, size in documents(path):
            if not selects(selector, item.labels):
                continue
            old = self.objects.get(key)
            if key[0] and ("", "namespace", key[0]) not in self.objects:
                failures.append("namespaces %r not found" % key[0])
            elif key[1] in self.unknown:
                failures.append("no matches for kind %r" % key[1])
            elif old and old.fixed != item.fixed:
                failures.append("%s: field is immutable" % (key,))
            elif item.node_port and any(item.node_port == other.node_port for name, other in self.objects.items()
                                        if name != key):
                failures.append("%s: spec.ports[0].nodePort: provided port is already allocated" % (key,))
            elif manager == "create" and old:
                failures.append("%s: already exists" % (key,))
            elif manager == "plain" and size + LAST_APPLIED_BYTES > ANNOTATION_LIMIT_BYTES:
                failures.append("%s: metadata.annotations: Too long" % (key,))
            elif manager == "server-side" and not forced and old and old.manager == "create" and any(
                    before.get(name, value) != value for before, after in ((old.labels, item.labels),
                                                                           (old.chosen, item.chosen))
                    for name, value in after.items()):
                failures.append("Apply failed with 1 conflict")
            else:
                self.objects[key] = item._replace(manager=manager)
        if failures:
            raise Failure("\n".join(failures))
        return ""

    def _found(self, namespace: str, kind: str, selector: str) -> List[Key]:
        return [key for key, item in self.objects.items()
                if key[:2] == ("" if kind in CLUSTER_WIDE else namespace, kind) and selects(selector, item.labels)]

    def _delete(self, namespace: str, words: List[str], options: Dict[str, str]) -> str:
        if "-f" in options:
            keys = [key for key, _, _ in documents(options["-f"])]
        elif "-l" in options:
            kinds = words[0].split(",")
            assert set(kinds) <= set(KINDS), kinds
            if set(kinds) & set(self.unknown):
                raise Failure("the server doesn't have a resource type")
            keys = [key for kind in kinds if kind not in self.forbidden
                    for key in self._found(namespace, kind, options["-l"])]
        else:
            names = [word.split("/") for word in words] if "/" in words[0] else [[words[0], word] for word in words[1:]]
            keys = [("" if kind in CLUSTER_WIDE else namespace, kind, name) for kind, name in names]
        for key in keys:
            self.objects.pop(key, None)
            if key[1] == "namespace":
                self.objects = {other: item for other, item in self.objects.items() if other[0] != key[2]}
        if "-l" in options and set(words[0].split(",")) & set(self.forbidden):
            raise Failure("forbidden")
        return ""

    def _ready(self, key: Key) -> str:
        missing = self.missing(key)
        if missing:
            raise Failure("timed out: %s: MountVolume.SetUp failed: configmap %s not found" % (key, missing))
        return ""

    # --- what it shows

    def missing(self, key: Key) -> List[str]:
        """The ConfigMaps that an object mounts and that do not exist."""
        return [name for name in self.objects[key].mounts if (key[0], "configmap", name) not in self.objects]

    def pods(self, namespace: str) -> List[Key]:
        """What runs Pods."""
        return [key for key in self.objects if key[0] == namespace and key[1] in CONTROLLERS + ("pod",)]

    def serving(self, namespace: str) -> List[Key]:
        """The workloads whose Pods the injector's Service leads to; each has all that it mounts."""
        chosen = self.objects[namespace, "service", "seedpod"].chosen
        found = [key for key in self.pods(namespace) if chosen.items() <= self.objects[key].labels.items()]
        assert not any(map(self.missing, found)), found
        return found

    # --- for a real shell

    def install(self, folder: pathlib.Path) -> "Installed":
        """Put a kubectl that works on these objects into `folder`."""
        state = folder / "objects.json"
        self.save(str(state))
        (folder / "bin").mkdir()
        program = folder / "bin" / "kubectl"
        program.write_text(SHIM.format(python=sys.executable, root=str(ROOT), state=str(state)))
        program.chmod(stat.S_IRWXU)
        return Installed(folder)

    def save(self, path: str) -> None:
        pathlib.Path(path).write_text(json.dumps([[list(key), list(item)] for key, item in self.objects.items()]))

    @classmethod
    def load(cls, path: str) -> "Cluster":
        found = cls()
        found.objects = {tuple(key): Item(*item) for key, item in json.loads(pathlib.Path(path).read_text())}
        return found


class Installed:
    """A folder with a kubectl."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def run(self, command: str) -> str:
        """Run a printed command in bash; -> its output. Failure, with the output, if it fails."""
        done = subprocess.run(["bash", "-uc", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=dict(os.environ, PATH="%s:%s" % (self.folder / "bin", os.environ["PATH"])))
        assert not done.stderr, (command, done.stderr)
        if done.returncode:
            raise Failure(done.stdout)
        return done.stdout

    @property
    def cluster(self) -> Cluster:
        return Cluster.load(str(self.folder / "objects.json"))
