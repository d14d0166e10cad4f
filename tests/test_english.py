"""The words of docstrings and comments: those of an engineer, the same ones everywhere."""
import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATHS = [ROOT / "build.py", *sorted((ROOT / "builder").rglob("*.py")), *sorted((ROOT / "stage1").rglob("*.py"))]
BANNED = re.compile(r"\b(?:alone|beside|whoever|stands in|stand in)\b", re.IGNORECASE)
QUESTION = re.compile(r"(?:What|Whether|How|Where|Who|Which|Why|The way)\b")


def test_no_banned_word_is_in_the_product():
    found = [(path.relative_to(ROOT).as_posix(), number) for path in PATHS
             for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if BANNED.search(line)]
    assert len(PATHS) > 100 and found == []


def test_no_docstring_begins_with_a_question():
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [(path.relative_to(ROOT).as_posix(), getattr(node, "lineno", 1)) for path in PATHS
             for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, kinds) and QUESTION.match(ast.get_docstring(node) or "")]
    assert found == []
