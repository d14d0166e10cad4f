"""Statements -> their source, with no blank that the tokenizer does not need.

`ast.unparse` prints some brackets only in some versions of Python, so a program has the same text only on one version.
This text has no blank around operators, one blank to indent a level, and a simple statement after the colon if it is
the whole body.
"""
import ast
import io
import re
import tokenize
from typing import List, Tuple

_NEEDED = re.compile(r"\w [\w.]")  # a blank between two words, or a number and its attribute: `1 .real`


def unparse(body: List[ast.stmt]) -> str:
    """Return the source of statements of a module."""
    lines = _lines(ast.unparse(ast.Module(body, [])) + "\n")
    text = ""
    for (above, _), (indent, line), (below, _) in zip([(0, "")] + lines, lines, lines[1:] + [(0, "")]):
        is_whole_body = above < indent > below
        text += line if is_whole_body else "\n" + " " * indent + line
    return text[1:] + "\n"


def _lines(source: str) -> List[Tuple[int, str]]:
    """Return (indent, text) of each line."""
    lines, indent, text = [], 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            lines.append((indent, text))
            text = ""
        elif token.type == tokenize.INDENT:
            indent += 1
        elif token.type == tokenize.DEDENT:
            indent -= 1
        elif token.type != tokenize.NL:
            start = token.start[1]
            text += " " * bool(text and _NEEDED.match(token.line[start - 2:start + 1])) + token.string
    return lines
