"""A cluster in small: objects as a dict, and a `kubectl` of its own that printed commands run against.

It knows what those commands need: apply and delete by folder, by name and by selector with the API's meaning of `=` and
`!=` (which also matches objects without the label), namespaces that take along what is in them, and readiness: a Pod is
ready when each ConfigMap that it mounts is there.
"""
import json
import os
import pathlib
import stat
import subprocess
import sys

KUBECTL = r'''#!{python} -IS
import json
import os
import re
import sys

STATE = {state!r}
words = [word for word in sys.argv[1:] if word not in ("--server-side", "--ignore-not-found", "--force")]
namespace = ""
if words[0] == "-n":
    namespace, words = words[1], words[2:]
options = {{}}
for flag in ("-f", "-l", "-o"):
    if flag in words:
        options[flag] = words[words.index(flag) + 1]
        del words[words.index(flag):words.index(flag) + 2]
verb, *words = words
with open(STATE) as file:
    objects = json.load(file)


def parsed(text):
    labels = re.search(r"^  labels:\n((?:    .*\n)*)", text, re.MULTILINE).group(1)
    kind = re.search(r"^kind: (\w+)$", text, re.MULTILINE).group(1).lower()
    own = re.search(r"^  selector:\n((?:    .*\n)*)", text, re.MULTILINE)
    return "%s/%s" % (kind, re.search(r"^  name: (\S+)$", text, re.MULTILINE).group(1)), {{
        "labels": pairs(labels), "selector": pairs(own.group(1)) if own else {{}},
        "namespace": (re.search(r"^  namespace: (\S+)$", text, re.MULTILINE) or [0, ""])[1],
        "needs": sorted(set(re.findall(r"name: (seedpod-\S+)$", text, re.MULTILINE))) if kind == "pod" else [],
        "immutable": text if "immutable: true" in text else ""}}


def pairs(lines):
    return dict(re.findall(r'(\S+): "?([^"\n]*)"?', lines))


def folder(path):
    for name in sorted(os.listdir(path)):
        if name.endswith(".yaml"):
            with open(os.path.join(path, name)) as file:
                yield parsed(file.read())


def selected(labels):
    for part in filter(None, options.get("-l", "").split(",")):
        unequal = "!=" in part
        key, value = part.split("!=" if unequal else "=")
        if (labels.get(key) == value) == unequal:
            return False
    return True


def remove(name):
    del objects[name]
    if name.startswith("namespace/"):
        objects.clear()


def missing(pod):
    own = pod["needs"]
    return [name for name in own if "configmap/" + name not in objects and name not in pod["name"]]


if verb == "apply":
    for name, item in folder(options["-f"]):
        if selected(item["labels"]):
            old = objects.get(name)
            strip = lambda text: re.sub(r"^metadata:\n(  .*\n)*", "", text, flags=re.MULTILINE)
            if old and strip(old["immutable"]) != strip(item["immutable"]):
                sys.exit("%s: is immutable" % name)
            objects[name] = dict(item, name=name)
elif verb == "create":
    print(*[name for name, _ in folder(options["-f"])], sep="\n")
elif verb == "get":
    print(*[name for name, item in objects.items() if name.startswith(words[0] + "/") and selected(item["labels"])],
          sep="\n")
elif verb == "wait":
    (pod,) = [objects[word] for word in words if word.startswith("pod/")]
    if missing(pod):
        sys.exit("timed out: %s: MountVolume.SetUp failed: configmap %s not found" % (pod["name"], missing(pod)))
elif verb == "delete":
    if "-f" in options:
        names = [name for name, _ in folder(options["-f"])]
    elif "-l" in options:
        names = [name for name, item in objects.items()
                 if name.split("/")[0] in words[0].split(",") and selected(item["labels"])]
    else:
        names = words if "/" in words[0] else ["%s/%s" % (words[0], word) for word in words[1:]]
    for name in names:
        if name in objects:
            remove(name)
else:
    sys.exit("what is kubectl %s?" % verb)
with open(STATE, "w") as file:
    json.dump(objects, file)
'''


class Cluster:
    """Its state and its kubectl lie in `folder`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.state = folder / "objects.json"
        self.state.write_text("{}")
        self.programs = folder / "bin"
        self.programs.mkdir()
        program = self.programs / "kubectl"
        program.write_text(KUBECTL.format(python=sys.executable, state=str(self.state)))
        program.chmod(stat.S_IRWXU)

    def run(self, command: str) -> str:
        """A printed command, in a shell -> what it prints. A grep that finds nothing is no failure."""
        done = subprocess.run(["bash", "-uc", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=dict(os.environ, PATH="%s:%s" % (self.programs, os.environ["PATH"])))
        assert not done.stderr and (done.returncode == 0 or "grep" in command), (command, done.stderr)
        return done.stdout

    @property
    def objects(self):
        return json.loads(self.state.read_text())

    def serves(self):
        """The one Pod that the Service leads to; it has all that it mounts."""
        objects = self.objects
        (service,) = [item for name, item in objects.items() if name.startswith("service/")]
        (pod,) = [item for name, item in objects.items() if name.startswith("pod/")
                  and service["selector"].items() <= item["labels"].items()]
        there = {name.partition("/")[2] for name in objects}
        assert set(pod["needs"]) <= there, "%s lacks %s" % (pod["name"], sorted(set(pod["needs"]) - there))
        return pod["name"]
