"""Syntax tree of a program -> the tree without definitions that nothing in it reads.

Functions that only another program calls, constants and imports that only those need, aliases of types that only
annotations named. A definition goes where leaving it out can change nothing else: functions and classes without
decorators and bases, assignments whose value calls nothing. An import counts as such: what is imported for its effects
alone belongs in a function.
"""
import ast
from typing import Dict, List, Set

from builder.zipapp.names import Bindings, is_read, reflection
from builder.zipapp.syntax import walk

_IMPORT = (ast.Import, ast.ImportFrom)


def drop_unused(tree: ast.Module) -> None:
    """Change the tree in place."""
    if reflection(tree):
        return
    statement_of = {node: statement for statement in tree.body for node in walk(statement)}
    bindings = Bindings(tree)
    named: Dict[ast.stmt, Set[str]] = {statement: set() for statement in tree.body}
    bound_by: Dict[str, List[ast.stmt]] = {}
    for (scope, name), places in bindings.groups().items():
        for place, place_scope in places:
            statement = statement_of[place.node]
            if scope is bindings.scope and not isinstance(statement, _IMPORT):
                named[statement].add(name)
                if place_scope is scope and not is_read(place):
                    bound_by.setdefault(name, []).append(statement)
    needed: Set[str] = set()
    kept = {statement for statement in tree.body if not _only_defines(statement)}
    found = bindings.scope.fixed.union(*(named[statement] for statement in kept))
    while found:
        needed |= found
        new = {statement for name in found for statement in bound_by.get(name, ())} - kept
        kept |= new
        found = set().union(*(named[statement] for statement in new)) - needed
    for statement in tree.body:
        if isinstance(statement, _IMPORT):
            statement.names = [alias for alias in statement.names
                               if (alias.asname or alias.name.partition(".")[0]) in needed]
    tree.body = [statement for statement in tree.body
                 if (statement.names if isinstance(statement, _IMPORT) else statement in kept)]


def _only_defines(node: ast.stmt) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return not node.decorator_list and not _may_act(node.args)
    if isinstance(node, ast.ClassDef):
        return not (node.decorator_list or node.bases or node.keywords) and all(map(_only_defines, node.body))
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) for target in node.targets) and not _may_act(node.value)
    return isinstance(node, _IMPORT) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _may_act(node: ast.AST) -> bool:
    return any(isinstance(inner, (ast.Call, ast.Await, ast.Yield, ast.YieldFrom)) for inner in walk(node))
