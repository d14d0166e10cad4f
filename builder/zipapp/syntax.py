"""Source -> syntax tree of Python 3.6, and where two trees differ.

Every node of a tree from here knows the file that it was read from (`path`) beside its line, so that whatever is wrong
in a tree made of several files can be reported with path and line.
Python 3.6 grammar: https://docs.python.org/3.6/reference/grammar.html
"""
import ast
import re
import sys
from typing import Any, List, Optional, Tuple, TypeVar

OLDEST = (3, 6)  # what the modules must run on

_LEAVES = (ast.Name, ast.Constant)  # most of all nodes

Position = Tuple[str, int]  # path and line
Node = TypeVar("Node", bound=ast.AST)


class UnfitSource(Exception):
    """A module cannot be packed: it is not Python 3.6, or its names cannot be followed. For the module's author."""

    def __init__(self, position: Position, problem: str) -> None:
        super().__init__("%s:%d: %s" % (position + (problem,)))


class WrongResult(Exception):
    """A bug of the packer: what it made is not what went in."""


def parse(source: str, path: str) -> ast.Module:
    """Raises UnfitSource for what Python 3.6 does not understand, as far as this Python can tell."""
    try:
        tree = ast.parse(source, path, feature_version=OLDEST)
    except SyntaxError as error:
        raise UnfitSource((path, error.lineno or 0), "not Python 3.6: %s" % error.msg)
    for node in walk(tree):
        node.path = path
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                alias.lineno = node.lineno  # before Python 3.10 it has none
        if isinstance(node, ast.ImportFrom) and (node.module == "__future__" or node.names[0].name == "*"):
            raise UnfitSource(position_of(node), "from __future__ and import * cannot be followed")
        if isinstance(node, ast.FormattedValue) and sys.version_info >= (3, 12):
            # Only from 3.12 on has it a position, and only from there on does `feature_version` let f"{x=}" pass.
            if re.match(r"\s*=", _after_value(source, node)):
                raise UnfitSource(position_of(node), "not Python 3.6: f-string with =")
    return tree


def children(node: ast.AST) -> List[ast.AST]:
    """The nodes right under one, as ast.iter_child_nodes gives them in three times the time, but for the context of a
    name and the operator between two values."""
    found: List[ast.AST] = []
    if type(node) in _LEAVES:
        return found
    values = vars(node)
    for name in node._fields:
        value = values.get(name)
        if isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST) and value._fields:
            found.append(value)
    return found


def walk(tree: ast.AST) -> List[ast.AST]:
    """All nodes of a tree, from the top down, but for those that `children` leaves out."""
    found = [tree]
    for node in found:
        found += children(node)
    return found


def _after_value(source: str, node: ast.FormattedValue) -> str:
    """What stands after the expression in the braces of an f-string."""
    whole, value = ast.get_source_segment(source, node), ast.get_source_segment(source, node.value)
    return whole.partition(value)[2]


def position_of(node: ast.AST) -> Position:
    """Where a node that has a line was read."""
    return node.path, node.lineno


def in_place_of(old: ast.AST, new: Node) -> Node:
    """`new`, with the position of `old`."""
    new.path = old.path
    return ast.copy_location(new, old)


def copied(tree: Node) -> Node:
    """A copy of a tree, several times as fast as copy.deepcopy; nodes without fields are shared."""
    if not tree._fields:
        return tree
    new = type(tree).__new__(type(tree))  # without arguments, __init__ warns from Python 3.13 on
    attributes = vars(new)
    attributes.update(vars(tree))
    for name in tree._fields:
        value = attributes.get(name)
        if isinstance(value, list):
            attributes[name] = [copied(item) if isinstance(item, ast.AST) else item for item in value]
        elif isinstance(value, ast.AST):
            attributes[name] = copied(value)
    return new


def difference(one: Any, other: Any, position: Position = ("", 0)) -> Optional[Position]:
    """Where in `one` two trees begin to differ; None if they are equal."""
    if isinstance(one, ast.AST) and hasattr(one, "path") and hasattr(one, "lineno"):
        position = position_of(one)
    if type(one) is not type(other):
        return position
    if isinstance(one, ast.AST):
        one, other = ([getattr(node, field, None) for field in node._fields] for node in (one, other))
    if not isinstance(one, list):
        return None if repr(one) == repr(other) else position  # repr: 0.0 is not -0.0
    if len(one) != len(other):
        return position
    for pair in zip(one, other):
        found = difference(*pair, position)
        if found:
            return found
    return None
