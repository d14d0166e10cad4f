"""Source -> syntax tree of Python 3.6, and tools for such trees.

`parse` refuses what Python 3.6 cannot read. `feature_version` is not enough: each version accepts some newer syntax all
the same, and `ast.unparse`, which prints the result, writes some old constructs in newer syntax. So only the nodes of
Python 3.6 are accepted, and of these only what every version prints in syntax of 3.6.

Every node has a line and the file that it was read from (`path`), since a tree may be made of several files.
Python 3.6 grammar: https://docs.python.org/3.6/reference/grammar.html
"""
import ast
import pickle
import warnings
from typing import Any, List, Optional, Tuple, TypeVar

OLDEST = (3, 6)  # the modules must run on this version

# Nodes of Python 3.6. Not f-strings: 3.12 and newer print quotes in them that older versions cannot read. Not `async`
# and `await`: from 3.7 on they are keywords, and each version allows them in other places; no module needs them.
_NODES = frozenset("""
    Module FunctionDef ClassDef Return Delete Assign AugAssign AnnAssign For While If With Raise Try Assert Import
    ImportFrom Global Nonlocal Expr Pass Break Continue BoolOp BinOp UnaryOp Lambda IfExp Dict Set ListComp SetComp
    DictComp GeneratorExp Yield YieldFrom Compare Call Constant Attribute Subscript Starred Name List Tuple Slice
    comprehension ExceptHandler arguments arg keyword alias withitem
""".split())
_DEEPEST = 100  # levels; ast.unparse takes some five calls for each, and Python allows 1,000
_MOST_BITS = 10000  # of an integer: Python 3.11 and newer refuse to print more than 4,300 digits
_LEAVES = (ast.Name, ast.Constant)  # most of all nodes

Position = Tuple[str, int]  # path and line
Node = TypeVar("Node", bound=ast.AST)


class UnfitSource(Exception):
    """A module that cannot be packed, with path and line: a mistake of the module's author."""

    def __init__(self, position: Position, problem: str) -> None:
        super().__init__("%s:%d: %s" % (position + (problem,)))


class WrongResult(Exception):
    """A bug of the packer: the result is not equal to the source."""


def parse_module(source: str, path: str) -> ast.Module:
    """Return the tree of a module. Raises UnfitSource."""
    try:
        tree = ast.parse(source, path, feature_version=OLDEST)
        _check_nodes(tree, path)
        compile_text(source, path)
    except SyntaxError as error:
        raise UnfitSource((path, error.lineno or 0), "not for Python 3.6: %s" % error.msg)
    except ValueError as error:  # a null byte
        raise UnfitSource((path, 0), str(error))
    except (RecursionError, MemoryError):
        raise UnfitSource((path, 0), "nested too deeply")
    return tree


def _check_nodes(tree: ast.Module, path: str) -> None:
    """Give each node its path, and a line if it has none. Raises UnfitSource."""
    level: List[Any] = [tree]
    for _ in range(_DEEPEST):
        below: List[Any] = []
        for node in level:
            problem = _newer_syntax(node)
            node.path = path
            if problem:
                raise UnfitSource(position_of(node), "not for Python 3.6: " + problem)
            for child in children(node):
                if not hasattr(child, "lineno"):
                    child.lineno = node.lineno  # `arguments`; before Python 3.10 an alias
                below.append(child)
        level = below
    if level:
        raise UnfitSource((path, level[0].lineno), "nested too deeply")


def compile_text(text: str, path: str) -> None:
    """Compile for this Python, to see that it can be. Raises SyntaxError, ValueError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for code that a newer Python advises against, such as `return` in `finally`
        compile(text, path, "exec", dont_inherit=True)


def _newer_syntax(node: Any) -> str:
    """Return the syntax of a node, or of its printed form, that Python 3.6 cannot read; "" if there is none."""
    kind = type(node).__name__
    if node._fields and kind not in _NODES or getattr(node, "is_async", 0):
        return "an f-string: format with %" if kind == "JoinedStr" else kind
    if kind == "arguments" and node.posonlyargs:
        return "positional-only parameters"
    if kind == "Subscript" and isinstance(node.slice, ast.Tuple) and ast.Starred in map(type, node.slice.elts):
        return "a star in an index"
    if kind == "Try" and any(ast.Continue in map(type, walk(statement)) for statement in node.finalbody):
        return "continue in finally"
    if kind in ("FunctionDef", "ClassDef") and not all(map(_is_decorator, node.decorator_list)):
        return "a decorator other than a dotted name or a call of one"
    if kind in ("Call", "arguments") and len(children(node)) > 255:
        return "too many arguments"
    if kind == "Constant":
        return "too large an integer" if type(node.value) is int and node.value.bit_length() > _MOST_BITS else ""
    # Versions differ in the characters that they allow in identifiers.
    words = [value for value in vars(node).values() if isinstance(value, str)]
    return "" if all(map(str.isascii, words)) else "an identifier that is not ASCII"


def _is_decorator(node: ast.expr) -> bool:
    name = node.func if isinstance(node, ast.Call) else node
    while isinstance(name, ast.Attribute):
        name = name.value
    return isinstance(name, ast.Name)


def children(node: ast.AST) -> List[Any]:
    """Return the direct children of a node, without operators: three times as fast as ast.iter_child_nodes."""
    found: List[Any] = []
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


def walk(tree: ast.AST) -> List[Any]:
    """Return all nodes of a tree, from the top down, without those that `children` leaves out."""
    found: List[Any] = [tree]
    for node in found:
        found += children(node)
    return found


def position_of(node: Any) -> Position:
    """Return the file and the line that a node was read from."""
    return node.path, node.lineno


def in_place_of(old: Any, new: Any) -> Any:
    """Return `new` with the position of `old`."""
    new.path = old.path
    return ast.copy_location(new, old)


def copied(tree: Node) -> Node:
    """Copy a tree, several times as fast as copy.deepcopy."""
    return pickle.loads(pickle.dumps(tree, pickle.HIGHEST_PROTOCOL))


def difference(one: Any, other: Any, position: Position = ("", 0)) -> Optional[Position]:
    """Return where in `one` two trees begin to differ; None if they are equal."""
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
