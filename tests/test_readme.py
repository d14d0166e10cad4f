"""README.md: every command in it runs. kubectl and docker are stand-ins that check what they get."""
import json
import os
import pathlib
import re
import stat
import subprocess
import sys

import pytest

from tests.support import samples

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
TEST_COMMAND = next(block.strip() for block in BLOCKS if "pytest" in block)
CPU_SECONDS = 30  # at most, of each program; the slowest takes two
STUCK_SECONDS = 600  # on the clock, for a program that waits for ever: on a busy machine a block may take minutes
REGISTRY = re.search(r"`registry.yaml`:\n\n```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL).group(1)
COMMANDS = [block for block in BLOCKS if block.strip() != TEST_COMMAND]

KUBECTL = r'''#!{python}
"""kubectl for one test: takes what the real one takes of folders, streams and kustomizations, and does nothing."""
import os
import sys

words = sys.argv[1:]
verbs = ("apply", "cp", "create", "delete", "exec", "get", "kustomize", "logs", "rollout", "wait")
verb = next(word for word in words if word in verbs)
if verb == "exec":
    command = words[words.index("--") + 1:]
    assert command[:4] == ["python3", "-I", "-S", "/spooler/spooler.pyz"], command
    assert command[4] in ("copy", "delete", "list", "pull", "push"), command
    assert command[4] != "push" or sys.stdin.read(1)
elif verb == "cp":
    assert os.path.isfile(words[words.index("cp") + 1]) and words[-1].startswith("registry-0:/spool/"), words
elif verb == "create":
    print(*["configmap/seedpod-" + name[9:-5] for name in os.listdir(words[-1]) if name.startswith("10-chunk-")], sep="\n")
elif verb == "get" and words[-1] == "name":
    print("pod/registry-0")
elif verb == "get" and "json" in words:
    what = "kube-proxy.json" if "configmap" in words else "cluster.json"
    print(open(os.path.join(os.path.dirname(os.path.realpath(sys.argv[0])), what)).read())
elif verb == "kustomize":
    folder = words[-1]
    listed = open(os.path.join(folder, "kustomization.yaml")).read().splitlines()
    assert listed[0] == "resources:" and len(listed) > 4, listed
    for line in listed[1:]:
        print("---\n" + open(os.path.join(folder, line[2:])).read())
elif verb in ("apply", "delete") and "-f" in words:
    target = words[words.index("-f") + 1]
    if target == "-":
        texts = sys.stdin.read().split("---\n")[1:]
    else:
        names = [name for name in sorted(os.listdir(target)) if name.endswith(".yaml")] if os.path.isdir(target) else [""]
        texts = [open(os.path.join(target, name).rstrip("/")).read() for name in names]
    kinds = [line[6:].strip() for text in texts for line in text.splitlines() if line.startswith("kind: ")]
    assert kinds[0] == "Namespace" and {"Pod", "Deployment"} & set(kinds) and "Service" in kinds, kinds
'''
DOCKER = r'''#!/bin/sh
if [ "$1 $2" = "save -o" ]; then cp "{archive}" "$3"; else [ "$1 $#" = "save 2" ] && cat "{archive}"; fi
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory, needs):
    """A folder as the README's reader has it: the project's files, some archives, kubectl and docker."""
    needs("ssh-keygen")
    folder = tmp_path_factory.mktemp("site")
    for name in ("build.py", "builder", "stage1", "LICENSE"):
        (folder / name).symlink_to(ROOT / name)
    archive = folder / "saved.tar"
    archive.write_bytes(samples.tar_of(samples.crane(samples.sample("a", command=["registry", "serve"]), "registry:2")))
    (folder / "app.tar").write_bytes(archive.read_bytes())
    (folder / "chart.tgz").write_bytes(samples.gzipped(b"a chart"))
    (folder / "registry.yaml").write_text(REGISTRY)
    (folder / "manifests.yaml").write_text("image: registry:2\n---\nimage: registry.k8s.io/pause:3.10\n")
    (folder / "unnamed.tar").write_bytes(samples.tar_of(samples.crane(samples.sample("b"))))
    samples.write_folder(folder / "layout", samples.layout(samples.sample("c"), "docker.io/library/other:1"))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id_release")], check=True)
    (folder / "signers").write_text("release@example.com " + (folder / "id_release.pub").read_text())
    programs = folder / "bin"
    programs.mkdir()
    for name, text in (("kubectl", KUBECTL.replace("{python}", sys.executable)),
                       ("docker", DOCKER.replace("{archive}", str(archive))),
                       ("helm", "#!/bin/sh\necho 'image: registry:2'\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    (programs / "python3").symlink_to(sys.executable)
    (programs / "cluster.json").symlink_to(ROOT / "tests" / "cluster" / "dumps" / "kubeadm-kube-prometheus-stack.json")
    (programs / "kube-proxy.json").write_text(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "kube-proxy", "namespace": "kube-system"}, "data": {"config.conf": "mode: iptables\n"}}))
    return folder


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.strip().splitlines()[-1][:50])
def test_every_command_of_the_readme_runs(site, block):
    environment = dict(os.environ, PATH="%s:%s" % (site / "bin", os.environ["PATH"]))
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "ulimit -t %d\n%s" % (CPU_SECONDS, block)], cwd=site, env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=STUCK_SECONDS)
    assert ran.returncode == 0, ran.stdout.decode()


def test_every_option_of_the_help_is_shown_in_the_readme():
    page = subprocess.run([sys.executable, str(ROOT / "build.py"), "--help"], stdout=subprocess.PIPE, check=True)
    options = set(re.findall(r"--[a-z][a-z-]+", page.stdout.decode())) - {"--help", "--version", "--out"}
    assert options, "no options found"
    assert {option for option in options if option not in README} == set()


def test_ci_runs_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert TEST_COMMAND in script


def test_links_to_files_of_the_project_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    assert targets and [target for target in targets if not (ROOT / target).exists()] == []


def test_the_version_is_the_same_everywhere():
    from builder import VERSION
    assert 'version = "%s"' % VERSION in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "## %s" % VERSION in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
