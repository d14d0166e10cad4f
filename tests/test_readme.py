"""The READMEs: every command in them runs. kubectl, docker, helm and skopeo are stand-ins that check what they get."""
import compileall
import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

import pytest

from builder.cli import commands
from builder.kubernetes import steps
from builder.kubernetes import workloads
from builder.kubernetes.runner import Runner
from builder.output import reader
from builder.zipapp import pyz
from builder.zipapp.syntax import OLDEST
from tests.support import at_once, builds, dumps, samples

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = ("README.md", "builder/README.md", "stage1/README.md", "stage1/spooler/README.md")
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
README = TEXTS["README.md"]
SCREEN_LINES, SCREEN_COLUMNS, MOST_LINES = 40, 80, 200  # of README.md: what a person in a hurry sees, and reads


def blocks(text):
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


TEST_COMMAND = next(block.strip() for block in blocks(README) if "pytest" in block)
BLOCKS = {name: [block for block in blocks(text) if block.strip() != TEST_COMMAND] for name, text in TEXTS.items()}
COMMANDS = [pytest.param(name, number, id="%s: %s" % (name, block.strip().splitlines()[-1][:50]))
            for name, found in BLOCKS.items() for number, block in enumerate(found)]
REGISTRY = re.search(r"`registry.yaml`:\n\n```yaml\n(.*?)^```", TEXTS["stage1/spooler/README.md"],
                     re.MULTILINE | re.DOTALL).group(1)
REGISTRY_IMAGE = samples.crane(samples.sample("a", command=["registry", "serve"]), "registry:2")
CPU_SECONDS = 30  # at most, of each program; the slowest takes two
STUCK_SECONDS = 600  # on the clock, for a program that waits for ever: on a busy machine a block may take minutes

# Shrinking the programs takes most of a build's time and gives the same bytes each time: done once for all commands.
PACKED = """

def pack(modules, folder=%r):
    import hashlib, os
    with open(os.path.join(folder, hashlib.sha256(repr(modules).encode()).hexdigest()), "rb") as file:
        return file.read()
"""

KUBECTL = r'''#!{python}
"""kubectl for one test: takes what the real one takes of folders, streams and kustomizations, and does nothing."""
import json
import os
import re
import sys

words = sys.argv[1:]
verbs = ("apply", "cp", "create", "delete", "exec", "get", "kustomize", "logs", "port-forward", "rollout", "set",
         "wait")
verb = next(word for word in words if word in verbs)
if verb == "exec":
    command = words[words.index("--") + 1:]
    if words[words.index("-c") + 1] in ("registry", "serve"):
        assert command[:2] == ["registry", "garbage-collect"] or command == ["kill", "1"], command
        sys.exit()
    assert command[:4] == ["python3", "-I", "-S", "/spooler/spooler.pyz"], command
    assert command[4] in ("copy", "delete", "list", "pull", "push"), command
    assert command[4] != "push" or sys.stdin.read(1)
elif verb == "cp":
    assert os.path.isfile(words[words.index("cp") + 1]) and words[-1].startswith("registry-0:/spool/"), words
elif verb == "create":
    names = [name[9:-5] for name in os.listdir(words[-1]) if name.startswith("10-chunk-")]
    print(*["configmap/seedpod-" + name for name in names], sep="\n")
elif verb == "get" and words[-1] == "name":
    print("pod/registry-0")
elif verb == "get" and "json" in words:
    what = "kube-proxy.json" if "configmap" in words else "cluster.json"
    print(open(os.path.join(os.path.dirname(os.path.realpath(sys.argv[0])), what)).read())
elif verb == "kustomize":
    folder = words[-1]
    resources, _, patches = open(os.path.join(folder, "kustomization.yaml")).read().partition("patches:\n")
    listed = resources.splitlines()
    assert listed[0] == "resources:" and len(listed) > 4, listed
    kind, changes = re.fullmatch(r"- target: {kind: (\w+)}\n  patch: '(.*)'\n", patches).groups()
    (change,) = json.loads(changes)
    parent, key = change["path"].rsplit("/", 1)
    assert (change["op"], parent) == ("add", "/spec"), change
    for line in listed[1:]:
        text = open(os.path.join(folder, line[2:])).read()
        if "\nkind: %s\n" % kind in text:
            text = text.replace("\nspec:\n", "\nspec:\n  %s: %s\n" % (key, change["value"]), 1)
        print("---\n" + text)
elif verb in ("apply", "delete") and "-f" in words:
    target = words[words.index("-f") + 1]
    if target == "-":
        texts = sys.stdin.read().split("---\n")[1:]
    else:
        names = sorted(os.listdir(target)) if os.path.isdir(target) else [""]
        names = [name for name in names if name == "" or name.endswith(".yaml")]
        texts = [open(os.path.join(target, name).rstrip("/")).read() for name in names]
    kinds = [line[6:].strip() for text in texts for line in text.splitlines() if line.startswith("kind: ")]
    assert kinds[0] == "Namespace" and {"Pod", "Deployment"} & set(kinds) and "Service" in kinds, kinds
'''
DOCKER = r'''#!/bin/sh
if [ "$1 $2" = "save -o" ]; then cp "{archive}" "$3"; else [ "$1 $#" = "save 2" ] && cat "{archive}"; fi
'''
SKOPEO = """#!/bin/sh
[ "$1" = copy ] && [ -f "${3#docker-archive:}" ]
"""


@pytest.fixture(scope="module")
def ran(request, tmp_path_factory, needs):
    """A README -> what each of its commands did. They build on each other, so that a README has a site of its own; for
    other READMEs, a reader has what README.md says first: the cluster's dumps."""
    needs("ssh-keygen")
    project, programs = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("programs")
    make_project(project, tmp_path_factory.mktemp("packed"))
    make_programs(programs)
    environment = dict(os.environ, PATH="%s:%s" % (programs, os.environ["PATH"]))

    def follow(name):
        site = tmp_path_factory.mktemp("site")
        make_site(site, project, tmp_path_factory.mktemp("parts"))
        if TEXTS[name] != README:
            for dump in ("cluster.json", "kube-proxy.json"):
                shutil.copy(str(programs / dump), str(site))
        return [subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "ulimit -t %d\n%s" % (CPU_SECONDS, block)], cwd=str(site),
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=STUCK_SECONDS) for block in BLOCKS[name]]

    return at_once.outcomes(request, "name", follow)


def make_project(folder, packed):
    """What the commands run: the builder, compiled, since it leaves no compiled modules itself, and all else packed."""
    for name in ("stage1", "LICENSE"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(str(ROOT / "build.py"), str(folder))
    shutil.copytree(str(ROOT / "builder"), str(folder / "builder"), ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "builder" / "zipapp" / "pyz.py").open("a") as file:
        file.write(PACKED % str(packed))
    for modules, code in ((pyz.read_injector(), pyz.injector()), (pyz.read_spooler(), pyz.spooler())):
        (packed / hashlib.sha256(repr(modules).encode()).hexdigest()).write_bytes(code)
    assert compileall.compile_dir(str(folder / "builder"), quiet=1)


def make_site(folder, project, parts):
    """A folder as the READMEs' reader has it: the project's files, some archives, a key, and the chunks of a seed."""
    for path in project.iterdir():
        (folder / path.name).symlink_to(path)
    make_archives(folder)
    make_seed_parts(folder, parts)
    (folder / "registry.yaml").write_text(REGISTRY)
    (folder / "manifests.yaml").write_text("image: registry:2\n---\nimage: registry.k8s.io/pause:3.10\n")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id_release")], check=True)
    (folder / "signers").write_text("release@example.com " + (folder / "id_release.pub").read_text())


def make_archives(folder):
    for name in ("registry.tar", "app.tar"):
        samples.write(folder / name, REGISTRY_IMAGE)
    (folder / "chart.tgz").write_bytes(samples.chart())
    (folder / "unnamed.tar").write_bytes(samples.tar_of(samples.crane(samples.sample("b"))))
    samples.write_folder(folder / "layout", samples.layout(samples.sample("c"), "docker.io/library/other:1"))


def make_seed_parts(folder, parts):
    """What ConfigMaps mount in the Pod, in `chunks`."""
    builds.build(parts, compression="xz")
    (folder / "chunks").mkdir()
    for name, data in reader.mounted_files(str(parts / "out")).items():
        (folder / "chunks" / name).write_bytes(data)


def make_programs(folder):
    """kubectl and others that a site has, and what they answer."""
    archive = samples.write(folder / "saved.tar", REGISTRY_IMAGE)
    for name, text in (("kubectl", KUBECTL.replace("{python}", sys.executable)), ("skopeo", SKOPEO),
                       ("docker", DOCKER.replace("{archive}", archive)),
                       ("helm", "#!/bin/sh\necho 'image: registry:2'\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    (folder / "python3").symlink_to(sys.executable)
    shutil.copy(str(dumps.FOLDER / "kubeadm-kube-prometheus-stack.json"), str(folder / "cluster.json"))
    (folder / "kube-proxy.json").write_text(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "kube-proxy", "namespace": "kube-system"}, "data": {"config.conf": "mode: iptables\n"}}))


@pytest.mark.parametrize("name, number", COMMANDS)
def test_every_command_of_the_readmes_runs(ran, name, number, needs):
    needs(*{"jq", "xz"} & set(BLOCKS[name][number].split()))
    command = ran(name)[number]
    assert command.returncode == 0, command.stdout.decode()


@pytest.mark.parametrize("kubectl", sorted({"stand-in", shutil.which("kubectl") or "stand-in"}))
def test_the_patch_of_the_readme_sets_a_field_of_the_pod(tmp_path, kubectl):
    """The stand-in applies it by a few lines; a real kubectl is asked as well where there is one."""
    if kubectl == "stand-in":
        kubectl = tmp_path / "kubectl"
        kubectl.write_text(KUBECTL.replace("{python}", sys.executable))
        kubectl.chmod(stat.S_IRWXU)
    builds.build(tmp_path, "seed")
    (block,) = [block for block in BLOCKS["builder/README.md"] if "patches:" in block]
    write, _, _ = block.partition("kubectl kustomize")
    subprocess.run(["bash", "-euc", write], cwd=str(tmp_path), check=True)
    done = subprocess.run([str(kubectl), "kustomize", "."], cwd=str(tmp_path), stdout=subprocess.PIPE, text=True,
                          check=True)
    patched = [text for text in done.stdout.split("---\n") if "\n  priorityClassName: system-cluster-critical\n" in text]
    assert len(patched) == 1 and "\nkind: Pod\n" in patched[0]


def test_every_option_is_shown_by_example():
    words = {word.partition("=")[0] for text in TEXTS.values() for block in blocks(text) for word in block.split()}
    options = {option.name for name in commands.COMMANDS for option in commands.options_of(name).values()}
    assert options - {"--help", "--out"} - words == set()


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_is_shown_by_example(name):
    typed = "build.py %s " % name if name != commands.BUILD else "build.py registry.tar "
    assert any(typed in block.replace("\n", " ") for text in TEXTS.values() for block in blocks(text))


def test_the_readmes_remove_a_seed_by_the_commands_that_are_printed():
    assert "\n".join(["```sh", *steps.removals("seedpod").values(), "```"]) in TEXTS["builder/README.md"]


def test_the_readmes_show_the_steps_of_an_update_as_they_are_printed():
    plan = workloads.plan_of(builds.Site(builds.IMAGE, expose="nodeport"), [Runner(builds.IMAGE)], "{}", [], b"", 0, 0)
    printed = steps.commands(plan, "update", is_update=True)
    for key in ("apply_rest", "turn"):
        assert "\n%s\n" % printed[key] in TEXTS["builder/README.md"]


def test_the_first_screen_holds_what_it_needs_and_both_commands():
    screen = README.splitlines()[:SCREEN_LINES]
    assert [line for line in screen if len(line) > SCREEN_COLUMNS] == []
    assert "python3 build.py demo" in screen and TEST_COMMAND in "\n".join(screen)
    text = " ".join(screen[:screen.index("python3 build.py demo")])
    oldest = re.search(r"sys.version_info < \((\d+), (\d+)\)", (ROOT / "build.py").read_text()).groups()
    for version, where in ((oldest, "on your machine"), (map(str, OLDEST), "on a node"), (None, "kubectl")):
        assert where in text and (not version or "Python %s or newer" % ".".join(version) in text)
    assert "%.0f KB of Python" % (pyz.BUDGET_BYTES / 1000) in text


def test_the_readme_is_short():
    assert len(README.splitlines()) <= MOST_LINES


def test_ci_runs_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert TEST_COMMAND in script


def anchors(text):
    """What GitHub makes of the headings."""
    headings = re.findall("^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("name", NAMES)
def test_links_to_files_and_headings_of_the_project_lead_somewhere(name):
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", TEXTS[name]) if "://" not in target]
    assert targets or name == "stage1/README.md"
    for target in targets:
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_the_version_is_the_same_everywhere():
    from builder import VERSION
    assert 'version = "%s"' % VERSION in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "## %s" % VERSION in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
