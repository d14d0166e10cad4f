"""Syntax tree -> the tree without what the program does not need. Behaviour stays.

Gone are docstrings, annotations, imports that only annotations read, and statements that do nothing. Not worth their
code: one `import` for several modules (9 bytes of injector.pyz), `return` for `return None` (1), folding `64 * 1024`.

An annotation that only names types has no effect. reflection.py refuses programs that could read one, or a docstring.
"""
import ast
from typing import Any, Set

from builder.zipapp.scopes import Bindings
from builder.zipapp.syntax import UnfitSource, in_place_of, position_of, walk


def drop_needless(tree: ast.Module) -> None:
    """Change the tree in place. Raises UnfitSource."""
    _Dropper(_read_by_annotations(tree)).visit(tree)


def _read_by_annotations(tree: ast.Module) -> Set[ast.AST]:
    """Return the imported names (`alias`) that annotations read and nothing else does."""
    outer = [getattr(node, field, None) for node in walk(tree) for field in ("annotation", "returns")]
    inner = {node for annotation in outer if annotation for node in walk(annotation)}
    for node in inner:
        if isinstance(node, (ast.Call, ast.Yield, ast.YieldFrom)):
            raise UnfitSource(position_of(node), "an annotation that does something cannot be left out")
    bindings = Bindings(tree)
    found: Set[ast.AST] = set()
    for (scope, name), places in bindings.groups().items():
        nodes = {place.node for place, _ in places}
        imported = {node for node in nodes if isinstance(node, ast.alias)}
        if imported < nodes <= imported | inner and not scope.is_class and name not in scope.fixed:
            found |= imported
    return found


class _Dropper(ast.NodeTransformer):
    """A pass that drops every node that is needless by itself. `dropped`: imported names to drop, too."""

    def __init__(self, dropped: Set[ast.AST]) -> None:
        self.dropped = dropped
        self.scope: Any = None  # the function or class around

    def generic_visit(self, node: Any) -> Any:
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                body[:] = [inner for inner in body if not _is_idle(inner)]
                needed = field == "body" or field == "finalbody" and not node.handlers
                if not body and needed and not isinstance(node, ast.Module):
                    body.append(ast.Expr(ast.Constant(0)))  # shorter than pass
        return node

    def visit_FunctionDef(self, node: Any) -> Any:
        node.returns = None
        return self.visit_ClassDef(node)

    def visit_ClassDef(self, node: Any) -> Any:
        outer, self.scope = self.scope, node
        self.generic_visit(node)
        self.scope = outer
        return node

    def visit_arg(self, node: ast.arg) -> Any:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        self.generic_visit(node)
        scope = self.scope
        is_field = isinstance(scope, ast.ClassDef) and (scope.bases or scope.keywords or scope.decorator_list)
        if node.value and not is_field:
            return in_place_of(node, ast.Assign([node.target], node.value))
        if node.simple and not scope:
            return None
        node.annotation = in_place_of(node, ast.Constant(None))  # without a value it still makes a name local
        return node

    def visit_Import(self, node: Any) -> Any:
        node.names = [alias for alias in node.names if alias not in self.dropped]
        return node if node.names else None

    visit_ImportFrom = visit_Import


def _is_idle(node: ast.stmt) -> bool:
    """Return whether a statement does nothing: pass, a constant."""
    return isinstance(node, ast.Pass) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
