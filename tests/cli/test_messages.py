"""Every option that a message or a help page names is one that its command takes."""
import ast
import pathlib
import re

import pytest

from builder.cli import commands, main as cli, options as arguments
from tests.support import dumps

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
# Options of other programs, in commands and in what is looked for in a cluster.
FOREIGN = {"--digest", "--listen", "--chunks", "--contents", "--seed",  # the injector
           "--owner", "--folder",  # the mirror
           "--source",  # the spooler
           "--decryption-key",  # skopeo
           "--plain-http", "--version",  # helm
           "--server-side", "--type",  # kubectl, oc
           "--enable-admission-plugins", "--proxy-mode", "--iptables-localhost-nodeports", "--nodeport-addresses"}
# Which commands run a module; others run in a build.
RUN_BY = {
    "builder/cli/main.py": tuple(commands.COMMANDS),
    "builder/cli/summary.py": ("build", "verify"),
    "builder/inspection.py": ("inspect",),
    "builder/output/reader.py": ("build", "verify", "split", "inspect"),
    "builder/output/signature.py": ("build", "verify"),
    "builder/split.py": ("split",),
}
# kubectl.py and the packer name no option of ours, former.py those that are none any more.
LEFT_OUT = {"builder/kubernetes/kubectl.py", "builder/cli/former.py"}
MODULES = [path for path in sorted((ROOT / "builder").rglob("*.py"))
           if path.relative_to(ROOT).as_posix() not in LEFT_OUT]


def options_in(text):
    return set(OPTION.findall(text)) - FOREIGN - set(arguments.SYNONYMS)


def taken_by(names):
    return {spelling for name in names for spelling in commands.options_of(name)}


def texts(path):
    """Every string of a module that is not a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements]


def test_a_module_names_options_of_its_commands():
    strange = {}
    for path in MODULES:
        name = path.relative_to(ROOT).as_posix()
        names = tuple(commands.COMMANDS) if path.name == "commands.py" else RUN_BY.get(name, ("build",))
        strange[name] = {option for text in texts(path) for option in options_in(text)} - taken_by(names)
    assert len(strange) > 50 and {name: found for name, found in strange.items() if found} == {}


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_a_help_page_names_options_of_its_command(name):
    page = commands.parser_of(name, "seedpod").format_help()
    assert options_in(page) - taken_by([name]) == set()


@pytest.mark.parametrize("options", [(), ("--image", "example.com/none:1"), ("--try", "3"), ("--host-python",),
                                     ("--names", "mirror"), ("--names", "policy"), ("--expose", "hostport"),
                                     ("--namespace", "none"), ("--node-port", "80")])
def test_explain_names_options_of_its_own(capsys, options):
    for path in sorted(dumps.FOLDER.glob("*.json")):
        cli.main(["explain", str(path), *options])
        found = capsys.readouterr()
        assert options_in(found.out + found.err) - taken_by(["explain"]) == set(), path.name
