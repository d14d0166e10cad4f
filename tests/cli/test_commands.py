"""The command line by its rules: a table of command lines and their answers, the same on every Python.

1. The first word is the command if it is one of the table; else the command is `build`. Nothing else is guessed.
2. `help` counts as a command; without a word it is meant. Help and version are printed on stdout, with status 0.
3. Everything behind `--` is a file. Options and words mix freely. No option has an optional value.
4. Faults are looked for in an order: a former option, one of another command, an unknown one, one without its value or
   given twice, a word that is no file, a wrong value, a contradiction, what is missing.
5. A former option is answered with the line to type.
6. `verify` looks at each folder by itself (test_main.py).
7. -n, -o, -q and -h are the only letters.
8. The program is named as it was started.
9. REF=ARCHIVE: a file whose name contains = wins; an empty REF is refused.
"""
import json
import os
import pathlib
import shlex
import subprocess

import pytest

from builder import VERSION
from builder.cli import commands, former, options as arguments
from builder.cli.words import HELP
from tests.support import at_once
from tests.support.interpreters import environment, interpreters

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHONS = [pytest.param(path, id="%d.%d" % version) for version, path in interpreters((3, 9))]
COLUMNS, MOST_LINES = 80, 60
PROGRAM = arguments.PROGRAM
FILES = ("a.tar", "b=c.tar", "--c.tar", "demo", "python", "cluster.json", "m.yaml")
FOLDERS = ("seed", "old")

OVERVIEW = "Seedpod %s: container images into a Kubernetes cluster that has no registry" % VERSION
BUILD_HELP = "usage: %s [REF=]ARCHIVE... --image NODE_IMAGE [-o OUT]" % PROGRAM
VERIFY_HELP = "usage: %s verify OUT... [--onto OLD]... [--signers FILE]" % PROGRAM

# What is typed behind the program -> what runs (command, words, options that are not the default), or the first line of
# the page, or the error.
RULES = {
    "a.tar --image x": "build a.tar image=x",
    "build a.tar --image x": "build a.tar image=x",
    "demo": "demo",
    "./demo --image x": "build ./demo image=x",
    "build demo --image x": "build demo image=x",
    "verify seed": "verify seed",
    "verify seed old --json": "verify seed old json=True",
    "explain cluster.json --try 3": "explain cluster.json tries=3",
    "explain - -n tools": "explain - namespace=tools",
    "images m.yaml -": "images m.yaml -",
    "inspect x:1=a.tar": "inspect x:1=a.tar",
    "split a.tar": "split a.tar",
    "write injector new.pyz": "write injector new.pyz",
    "write seedpod -": "write seedpod -",

    "": OVERVIEW, "-h": OVERVIEW, "--help": OVERVIEW, "help": OVERVIEW, "help help": OVERVIEW, "--help a.tar": OVERVIEW,
    "help verify": VERIFY_HELP, "--help verify": VERIFY_HELP, "verify --help": VERIFY_HELP, "verify -h none": VERIFY_HELP,
    "help build": BUILD_HELP, "a.tar --help": BUILD_HELP, "--image x --nonsense -h": BUILD_HELP,
    "--version": "Seedpod " + VERSION, "verify --version": "Seedpod " + VERSION,
    "help verfy": "error: verfy: no such command: did you mean verify?",
    "help nonsense": "error: nonsense: no such command: see python3 build.py help",

    "--image x -- --c.tar": "build --c.tar image=x",
    "--image x -- a.tar --": "error: --: no such file or folder: check the path",
    "-- a.tar --image": "error: --image: no such file or folder: check the path",
    "verify -- seed --json": "error: --json: no such file or folder: check the path",
    "--image x a.tar --squeeze demo": "build a.tar demo image=x squeeze=True",
    "--host-python a.tar --image x": "build a.tar host_python=True image=x",
    "a.tar --image=x --out=y": "build a.tar image=x out=y",
    "a.tar --image x --annotation=a=--b": "build a.tar annotations=[('a', '--b')] image=x",
    "a.tar --image x --replicas -1": "error: --replicas '-1': must be 1 to 99",
    "a.tar --image": "error: --image: requires a value: write --image NODE_IMAGE",
    "a.tar --image --json": "error: --image: requires a value: write --image NODE_IMAGE",

    "--verify seed --signers f --nonsense": "error: --verify is a command now: python3 build.py verify seed --signers f",
    "none.tar --signers f --nonsense": "error: --signers: belongs to verify, not to build: see python3 build.py verify --help",
    "verify seed --dry-run --nonsense": "error: --dry-run: belongs to build, not to verify: see python3 build.py build --help",
    "verify seed --platform linux/amd64": "error: --platform: belongs to build, explain and split, not to verify: see "
                                          "python3 build.py build --help",
    "none.tar --ima x --image y --image z": "error: --ima: unknown option: did you mean --image?",
    "none.tar --nodeport=31999": "error: --nodeport: unknown option: did you mean --node-port?",
    "none.tar --ns tools": "error: --ns: unknown option: did you mean --namespace?",
    "verify seed --sign": "error: --sign: belongs to build, not to verify: see python3 build.py build --help",
    "verify seed --signer f": "error: --signer: unknown option: did you mean --signers?",
    "verify seed --what": "error: --what: unknown option: see python3 build.py verify --help",
    "none.tar --image x --image y": "error: --image: given twice: leave out one of them",
    "none.tar --image x -o a --out b": "error: --out: given twice: leave out one of them",
    "a.tar --image x --label a=b --label c=d": "build a.tar image=x labels=[('a', 'b'), ('c', 'd')]",
    "a.tar --image x --json --json": "build a.tar image=x json=True",
    "verfy seed": "error: verfy: no such file or command: did you mean verify?",
    "verfy": "error: verfy: no such file or command: did you mean verify?",
    "--json verify seed": "error: verify: the command comes first: python3 build.py verify --json seed",
    "a.tar verify": "error: verify: the command comes first: python3 build.py verify a.tar",
    "verify help": "error: help: the command comes first: python3 build.py help",
    "none.tar --node-port x": "error: none.tar: no such file or folder: check the path",
    "''": "error: '': no such file or folder: check the path",
    "verify none": "error: none: no such file or folder: check the path",
    "explain none.json": "error: none.json: no such file or folder: check the path",
    "registry:2 --image x": "error: registry:2: no such file: if it is an image, save it first: docker save -o image.tar "
                            "registry:2",
    "docker-archive:a.tar": "error: docker-archive:a.tar: no such file: leave out docker-archive:",
    "a.tar --node-port 80 --json --quiet": "error: --node-port '80': must be 1024 to 65535: choose one from "
                                           "30000 to 32767, the default range of node ports",
    "a.tar --expose loadbalancer": "error: --expose 'loadbalancer': must be nodeport, hostport or hostnetwork",
    "a.tar --platform amd64": "error: --platform amd64: is not a platform: write os/architecture, such as linux/amd64 or "
                              "linux/arm/v7",
    "--json --quiet": "error: --quiet: cannot be combined with --json: leave out one of them",
    "a.tar --quiet --explain": "error: --quiet: cannot be combined with --explain: leave out one of them",
    "a.tar --create-namespace --no-create-namespace": "error: --create-namespace: cannot be combined with "
                                                      "--no-create-namespace: leave out one of them",
    "a.tar --explain": "error: --explain: requires --cluster: add it",
    "a.tar --not-image x": "error: --not-image: requires --images-of: add it",
    "a.tar --registry-image x": "error: --registry-image: requires --with-registry: add it",
    "a.tar --registry-storage new:1Gi": "error: --registry-storage: requires --with-registry: add it",
    "--image x": "error: no archive: name at least one: see python3 build.py build --help",
    "build": "error: no archive: name at least one: see python3 build.py build --help",
    "verify": "error: no folder: name at least one that a build wrote: see python3 build.py verify --help",
    "images": "error: no manifest: name at least one file, or - for stdin: see python3 build.py images --help",
    "write": "error: no program: write injector|spooler|seedpod FILE: see python3 build.py write --help",
    "write injector": "error: write: takes a program and a file: python3 build.py write injector|spooler|seedpod FILE",
    "write python python": "error: write: takes a program and a file: python3 build.py write injector|spooler|seedpod FILE",
    "demo a.tar": "error: a.tar: demo takes no file: leave it out",
    "a.tar": "build a.tar",  # --image is asked for by the request, when dumps have been read
    "- - --image x": "error: -: standard input can be read only once: write all but one to files",
    "- --cluster -": "error: -: standard input can be read only once: write all but one to files",
    "explain - -": "error: -: standard input can be read only once: write all but one to files",

    "--verify=seed --onto old": "error: --verify is a command now: python3 build.py verify seed --onto old",
    "--json --verify seed --chunk-size 1": "error: --verify is a command now: python3 build.py verify seed --json",
    "--verify": "error: --verify is a command now: python3 build.py verify OUT",
    "verify --verify seed": "error: --verify is a command now: python3 build.py verify seed",
    "a.tar --split -o 'a b'": "error: --split is a command now: python3 build.py split a.tar --out 'a b'",
    "--split -- --c.tar": "error: --split is a command now: python3 build.py split ./--c.tar",
    "--demo a.tar": "error: --demo is a command now: python3 build.py demo",
    "--pyz f --json": "error: --pyz is a command now: python3 build.py write injector f",
    "--spooler=f": "error: --spooler is a command now: python3 build.py write spooler f",
    "--self": "error: --self is a command now: python3 build.py write seedpod FILE",
    "--explain --cluster a --cluster b --try 2": "error: --explain without archives is a command now: python3 build.py "
                                                 "explain a b --try 2",
    "--images-of a --images-of - --json": "error: --images-of without archives is a command now: python3 build.py images "
                                          "a - --json",
    "a.tar --cluster cluster.json --explain": "build a.tar cluster=['cluster.json'] explain=True",
    "a.tar --images-of m.yaml": "build a.tar images_of=['m.yaml']",
    "--sizes": "error: --sizes is a program now: python3 -m builder.zipapp",
    "--completion bash": "error: --completion is gone: leave it out",
    "a.tar --tolerate-all": "error: --tolerate-all is --tolerate all now",
    "a.tar --names-kube-system": "error: --names-kube-system is gone: --names policy leaves the Pods of kube-system as they "
                                 "are",
    "a.tar --priority-class x": "error: --priority-class is gone: patch the Pod, as builder/README.md shows with kustomize",
    "a.tar --host-python /usr/bin/python3": "error: --host-python takes no value: --host-python --interpreter "
                                            "/usr/bin/python3",
    "--host-python=/opt/p": "error: --host-python takes no value: --host-python --interpreter /opt/p",

    "a.tar --image x -n tools -o y -q": "build a.tar image=x namespace=tools out=y quiet=True",
    "a.tar --image x -ntools -oy": "build a.tar image=x namespace=tools out=y",
    "a.tar --image x -o=y": "build a.tar image=x out=y",
    "a.tar -x": "error: -x: unknown option: see python3 build.py build --help",
    "a.tar -qo y": "error: -qo: unknown option: see python3 build.py build --help",
    "a.tar --image x --dry-run=client": "error: --dry-run takes no value: write --dry-run",

    "x:1=a.tar --image x": "build x:1=a.tar image=x",
    "x:1=- --image x": "build x:1=- image=x",
    "b=c.tar --image x": "build b=c.tar image=x",
    "=a.tar --image x": "error: =a.tar: the name before = is empty: write NAME=a.tar, or a.tar",
    "x=registry:2 --image x": "error: registry:2: no such file: if it is an image, save it first: docker save -o image.tar "
                              "registry:2",
    "split x:1=a.tar -o y": "split x:1=a.tar out=y",
}

# Answers every line with what it would run, in a process for all: starting one takes longer than an answer.
ANSWERS = """
import contextlib, io, json, sys
sys.path.insert(0, %r)
from builder.cli import commands, main as cli
from builder.cli.words import HELP

def ran(options):
    parser = commands.parser_of(options.command, options.program)
    words = [name + "=" + path if name else path for name, path in options.archives] or options.files
    given = ["%%s=%%s" %% (name, value) for name, value in sorted(vars(options).items())
             if name not in ("command", "program", "archives", "files", "words", "given") and value and
             value != parser.get_default(name)]
    print(" ".join([options.command, *words, *given]))
    return 0

cli.RUN.update(dict.fromkeys(commands.COMMANDS, ran))
answers = []
for words in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        sys.stdout.reconfigure = lambda **_: None
        status = cli.main(words)
    answers.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
""" % str(ROOT)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the files of the table."""
    folder = tmp_path_factory.mktemp("site")
    for name in FILES:
        (folder / name).touch()
    for name in FOLDERS:
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def answers_of(request, site):
    """A Python -> its answers to the lines: status, stdout, stderr."""
    def ask(python):
        done = subprocess.run([python, "-c", ANSWERS], cwd=str(site), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              input=json.dumps([shlex.split(line) for line in RULES]), text=True,
                              env=dict(environment(), COLUMNS=str(COLUMNS), PYTHONDONTWRITEBYTECODE="1"))
        assert done.returncode == 0, done.stderr
        return dict(zip(RULES, json.loads(done.stdout)))
    return at_once.outcomes(request, "python", ask)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_answers_every_line_alike(answers_of, python):
    found = {}
    for line, (status, out, err) in answers_of(python).items():
        if status:
            assert (status, err.count("\n")) == (2, 1) and (out == "" or "--json" in line), (line, out, err)
        else:
            assert err == "", (line, err)
        found[line] = (err or out).split("\n")[0]
    assert {line: answer for line, answer in found.items() if answer != RULES[line]} == {}


@pytest.mark.parametrize("name", commands.COMMANDS)
@pytest.mark.parametrize("python", PYTHONS)
def test_a_help_page_fits_the_screen(answers_of, python, name, site):
    done = subprocess.run([python, str(ROOT / "build.py"), name, "--help"], stdout=subprocess.PIPE, text=True, check=True,
                          env=dict(environment(), COLUMNS=str(COLUMNS)), cwd=str(site))
    lines = done.stdout.replace(str(ROOT) + "/build.py", PROGRAM).splitlines()
    assert len(lines) <= MOST_LINES or name == commands.BUILD
    assert [line for line in lines if len(line) > COLUMNS] == []


def test_the_help_of_a_build_begins_with_its_most_used_options():
    page = commands.parser_of(commands.BUILD, PROGRAM).format_help()
    shown = page[:page.index("what runs the injector:")]
    for option in ("--image", "--cluster", "-o", "--platform", "--onto", "--dry-run", "--json", "-q"):
        assert "\n  %s" % option in shown
    for part in ("exit status:", "0 done", "2 the input or the options are wrong", "1 something else failed", "128 + N"):
        assert part in page


def test_the_overview_names_each_command_and_three_examples():
    page = commands.overview("seedpod")
    assert all("\n  %-9s " % name in page for name in commands.COMMANDS)
    assert page.count("\n  seedpod ") == 3 and "python3 build.py" not in page
    assert max(map(len, page.splitlines())) <= COLUMNS


def test_every_command_runs_and_every_former_option_is_none_now():
    from builder.cli import main
    assert set(main.RUN) == {HELP, *commands.COMMANDS}
    now = {name for command in commands.COMMANDS for name in commands.options_of(command)}
    assert not now & {*former.BECAME, *former.GONE} and set(former.WITHOUT_ARCHIVES) <= now


@pytest.mark.parametrize("path, typed", [
    ("build.py", "python3 build.py"), ("not/there/build.py", "python3 not/there/build.py"), ("/bin/sh", "sh"),
    ("/proc/self/exe", "/proc/self/exe"), ("a b.pyz", "python3 'a b.pyz'")])
def test_a_program_is_named_as_it_was_started(path, typed, monkeypatch):
    monkeypatch.setenv("PATH", "/bin")
    assert arguments.started(path) == typed


@pytest.mark.parametrize("name, typed", [
    ("kubectl-seedpod", "kubectl seedpod"), ("kubectl-seed_pod", "kubectl seed-pod"), ("kubectl-a-b", "kubectl a b"),
    ("seedpod", "seedpod")])
def test_a_plug_in_of_kubectl_is_named_as_kubectl_starts_it(tmp_path, monkeypatch, name, typed):
    (tmp_path / name).symlink_to(ROOT / "build.py")
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    assert arguments.started(str(tmp_path / name)) == typed
    done = subprocess.run([str(tmp_path / name)], stdout=subprocess.PIPE, text=True)
    assert "\nusage: %s [REF=]ARCHIVE... " % typed in done.stdout
