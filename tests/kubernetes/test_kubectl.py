"""Commands of kubectl and oc: spelled in one module."""
import ast
import pathlib
import re

from builder.kubernetes import kubectl

BUILDER = pathlib.Path(kubectl.__file__).parents[1]
COMMAND = re.compile(r"\b(kubectl [a-z-]+ +[-%{]|kubectl -n |oc [a-z-]+ )")
HELP_TEXTS = ("add_argument", "EPILOG")


def strings(tree):
    """The texts of a module that are neither docstrings nor help texts, with their lines."""
    left_out = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            left_out.add(node.body[0].value)
        is_help = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in HELP_TEXTS or \
            isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in HELP_TEXTS
        if is_help:
            left_out.update(ast.walk(node))
    return [(node.lineno, node.value) for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in left_out]


def test_no_other_module_spells_a_command():
    found = {}
    for path in sorted(BUILDER.rglob("*.py")):
        lines = [line for line, text in strings(ast.parse(path.read_text(encoding="utf-8"))) if COMMAND.search(text)]
        if lines:
            found[path.name] = lines
    assert set(found) == {"kubectl.py"}, found


def test_every_apply_is_server_side():
    texts = [text for _, text in strings(ast.parse(pathlib.Path(kubectl.__file__).read_text(encoding="utf-8")))]
    assert [text for text in texts if re.search(r"kubectl apply(?! --server-side)", text)] == [kubectl.PLAIN_APPLY]
    assert kubectl.apply("my seed", "a=b") == "kubectl apply --server-side -f 'my seed' -l 'a=b'"
