"""Syntax tree of a program -> the tree with constants that are used once put where they are used.

A constant is a name of the module that is bound once, to a value that cannot change: numbers and strings, what
operators make of these, tuples of them, and `re.compile` of such: the library remembers what it has compiled.
"""
import ast
from typing import Dict

from builder.zipapp.names import Bindings, is_read, reflection
from builder.zipapp.syntax import copied

_UNCHANGING = (ast.Constant, ast.Tuple, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context)
_COMPILE = ast.dump(ast.parse("re.compile", mode="eval").body)


def put_in_place(tree: ast.Module, often: bool = False) -> None:
    """Change the tree in place. `often`: those that are used several times, too, so that two trees can be compared."""
    if not reflection(tree):
        while _put_in_place(tree, often):
            pass


def _put_in_place(tree: ast.Module, often: bool) -> bool:
    """-> whether a value was put anywhere, which may have made another constant."""
    bindings = Bindings(tree)
    has_re = all(isinstance(place.node, ast.alias) and place.node.name == "re"
                 for place, name, _ in bindings.found if name == "re" and not is_read(place))
    constants = {node.targets[0]: node for node in tree.body
                 if isinstance(node, ast.Assign) and len(node.targets) == 1 and _is_constant(node.value, has_re)}
    values: Dict[ast.AST, ast.expr] = {}
    for (scope, name), places in bindings.groups().items():
        made = [place.node for place, _ in places if not is_read(place)]
        if scope is not bindings.scope or name in scope.fixed or len(made) != 1 or made[0] not in constants:
            continue
        if often or len(places) == 2:
            statement = constants[made[0]]
            values.update({place.node: statement.value for place, _ in places})
            tree.body.remove(statement)
    _Putter(values).visit(tree)
    return bool(values)


class _Putter(ast.NodeTransformer):
    def __init__(self, values):
        self.values = values

    def visit_Name(self, node):
        return copied(self.values[node]) if node in self.values else node


def _is_constant(node: ast.expr, has_re: bool) -> bool:
    """`has_re`: whether `re` means the library's wherever it is named."""
    if has_re and isinstance(node, ast.Call) and ast.dump(node.func) == _COMPILE and not node.keywords:
        return all(_is_constant(argument, False) for argument in node.args)
    return all(isinstance(inner, _UNCHANGING) for inner in ast.walk(node))
