"""Syntax tree of a program -> the tree with constants that are used once put where they are used.

A constant is a name of the module that is bound once, to a value that cannot change: numbers and strings, what
operators make of these, tuples of them, and `re.compile` of such: the library remembers what it has compiled.
"""
import ast
from typing import Container, Dict

from builder.zipapp.names import Bindings, is_read, reflection
from builder.zipapp.syntax import copied, walk

_UNCHANGING = (ast.Constant, ast.Tuple, ast.BinOp, ast.UnaryOp)
_COMPILE = ast.dump(ast.parse("re.compile", mode="eval").body)


def put_in_place(tree: ast.Module, often: bool = False) -> None:
    """Change the tree in place. `often`: those that are used several times, too, so that two trees can be compared."""
    if reflection(tree):
        return
    bindings = Bindings(tree)
    assignments = {node.targets[0]: node for node in tree.body
                   if isinstance(node, ast.Assign) and len(node.targets) == 1}
    candidates = {}  # assignment -> where its name is read
    has_re = all(isinstance(place.node, ast.alias) and place.node.name == "re"
                 for place, name, _ in bindings.found if name == "re" and not is_read(place))
    for (scope, name), places in bindings.groups().items():
        made = [place.node for place, _ in places if not is_read(place)]
        if scope is bindings.scope and name not in scope.fixed and len(made) == 1 and made[0] in assignments:
            if often or len(places) == 2:
                candidates[assignments[made[0]]] = [place.node for place, _ in places if is_read(place)]
    putter = _Putter()
    found = True
    while found:  # a value in its place may make another constant
        found = [statement for statement in candidates if _is_constant(statement.value, has_re, putter.values)]
        for statement in found:
            value = putter.visit(statement.value)
            putter.values.update(dict.fromkeys(candidates.pop(statement), value))
            tree.body.remove(statement)
    putter.visit(tree)


class _Putter(ast.NodeTransformer):
    """`values`: a place where a constant is read -> its value."""

    def __init__(self):
        self.values: Dict[ast.AST, ast.expr] = {}

    def visit_Name(self, node):
        return copied(self.values[node]) if node in self.values else node


def _is_constant(node: ast.expr, has_re: bool, values: Container[ast.AST] = ()) -> bool:
    """`has_re`: whether `re` means the library's wherever it is named; `values`: nodes that stand for a constant."""
    if has_re and isinstance(node, ast.Call) and ast.dump(node.func) == _COMPILE and not node.keywords:
        return all(_is_constant(argument, False, values) for argument in node.args)
    return all(isinstance(inner, _UNCHANGING) or inner in values for inner in walk(node))
