"""A check that refuses modules which reach names, annotations or other modules by other means than identifiers.

The packer renames variables, joins modules and drops annotations and docstrings. It follows identifiers: a program that
reads a name from a string, a frame or an attribute of a function would find another one, or none.
"""
import ast
import re
from typing import Any, Collection, List, Mapping, Set

from builder.zipapp.scopes import Groups
from builder.zipapp.syntax import UnfitSource, position_of, walk

# These give a program its own names, modules, docstrings or annotations, or give annotations an effect.
_WORDS = {
    "exec", "eval", "locals", "globals", "modules", "find_spec", "get_type_hints", "ClassVar", "InitVar",
    "_getframe", "_current_frames", "f_code", "f_globals", "f_locals", "gi_frame", "tb_frame",
    "__annotations__", "__builtins__", "__closure__", "__code__", "__doc__", "__globals__", "__kwdefaults__",
}
_LIBRARIES = {"dataclasses", "doctest", "inspect", "pkgutil", "runpy"}  # these, too
_LISTING = {"vars", "dir"}  # these, called without arguments
_IMPORTERS = {"import_module", "__import__"}


def refuse_reflection(tree: ast.Module, groups: Groups, modules: Collection[str]) -> None:
    """Raise UnfitSource for a module that cannot be followed. `modules`: the names of all modules of the program."""
    builtins = set()
    for (owner, name), places in groups.items():
        for place, scope in places:
            if scope.is_class and isinstance(place.node, (ast.Global, ast.Nonlocal)):
                raise UnfitSource(position_of(place.node), "%s: global in a class body cannot be followed" % name)
            if name not in owner.bound:
                builtins.add(place.node)
    calls = {node.func: node for node in walk(tree) if isinstance(node, ast.Call) and node.args}
    for node in walk(tree):
        is_import = isinstance(node, (ast.alias, ast.ImportFrom))
        is_foreign = is_import or isinstance(node, (ast.Attribute, ast.Constant)) or node in builtins
        for word in _identifiers(node):
            if word.startswith("__") and (not word.endswith("__") or word == "__slots__"):  # a list of such names
                problem = "a private name depends on the name of its class, which changes"
            elif not is_foreign:
                continue
            elif word in _WORDS or is_import and word in _LIBRARIES or word in _LISTING and node not in calls:
                problem = "a program that reads its own names, docstrings or annotations cannot be followed"
            elif is_import and word in _IMPORTERS:
                problem = "cannot be followed: use it as importlib.import_module"
            elif is_import and word in ("__future__", "*"):
                problem = "cannot be followed"
            elif word in _IMPORTERS and not _is_library(node, calls, modules):
                problem = "an import by a string cannot be followed"
            else:
                continue
            raise UnfitSource(position_of(node), "%s: %s" % (word, problem))


def _identifiers(node: ast.AST) -> List[str]:
    """Return the identifiers in a node, or the string in it if that may be the name of a special attribute."""
    if isinstance(node, ast.Constant):
        return [node.value] if re.fullmatch("__.*__", str(node.value)) else []
    words = [getattr(node, field, None) for field in node._fields]
    return [part for word in words if isinstance(word, str) for part in word.split(".")]


def _is_library(importer: ast.AST, calls: Mapping[Any, ast.Call], modules: Collection[str]) -> bool:
    """Return whether a call imports only modules of the library, by literal strings."""
    names = _strings(calls[importer].args[0]) if importer in calls else {""}
    return not any(not name or name.startswith(".") or (module + ".").startswith(name + ".")
                   for name in names for module in modules)


def _strings(node: ast.expr) -> Set[str]:
    """Return the strings that an expression may be; "" for one that is unknown."""
    if isinstance(node, ast.IfExp):
        return _strings(node.body) | _strings(node.orelse)
    return {node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""}
