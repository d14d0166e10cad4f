"""Short names for identifiers that are used only inside the program.

Everything else keeps its name: attributes, keywords of calls, imports, names in a class body, names of builtins,
`__names__`. reflection.py refuses programs that read their own names.

Assumption: a library calls a plain function of the program with positional arguments, or with keywords that the program
uses in a call of that library.
"""
import ast
import builtins
import itertools
import keyword
import string
from typing import Dict, Iterator, List, Optional, Set

from builder.zipapp.scopes import Binding, Bindings, Groups, Scope, is_read
from builder.zipapp.syntax import walk

_FUNCTIONS = (ast.FunctionDef, ast.Lambda)
_DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
_NAME_OF = {"__name__", "__qualname__"}  # of functions and classes
# Characters that are frequent in the rest of the text come first, so that deflate needs fewer bits for all.
_CHARACTERS = "erastinodlcpmuhfgbyvkwxjqz" + string.ascii_uppercase
_RESERVED = frozenset(keyword.kwlist) | frozenset(dir(builtins)) | {"print", "exec"}

_Keywords = Dict[Optional[ast.AST], Set[str]]
_ANY = "**"  # any keyword: `f(**mapping)`


def _keywords(tree: ast.Module, groups: Groups) -> _Keywords:
    """Return function -> the keywords in calls of it; None -> those in calls whose function is not known, and strings,
    which may be keys of a mapping that becomes keywords."""
    bindings = {place.node: binding for binding, places in groups.items() for place, _ in places}
    keywords: _Keywords = {None: set()}
    for node in walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            keywords[None].add(node.value)
        elif isinstance(node, (ast.Call, ast.ClassDef)):
            called = bindings.get(node.func) if isinstance(node, ast.Call) else None
            makers = [place.node for place, _ in groups[called] if not is_read(place)] if called else []
            is_known = len(makers) == 1 and isinstance(makers[0], ast.FunctionDef) and not makers[0].decorator_list
            known = makers[0] if is_known else None
            keywords.setdefault(known, set()).update(word.arg or _ANY for word in node.keywords)
    return keywords


def _kept_arguments(scope: Scope, keywords: _Keywords) -> Set[str]:
    """Return the arguments of a function that a call may pass by keyword."""
    node, parent = scope.node, scope.parent
    if not isinstance(node, _FUNCTIONS):
        return set()
    plain = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
    named = keywords[None] | keywords.get(node, set())
    if _ANY in named or node.args.kwarg:  # **kwarg takes any other keyword, and a short name may be one
        return set(plain)
    if parent and parent.is_class and (parent.node.bases or parent.node.keywords):
        return set(plain[1:])  # a method that a library may call; the first argument is self
    return named & set(plain)


def renamable(tree: ast.Module, groups: Groups) -> List[Binding]:
    """Return the bindings of `groups` that may be renamed."""
    keywords = _keywords(tree, groups)
    reads_definitions = any(getattr(node, "attr", getattr(node, "value", "")) in _NAME_OF for node in walk(tree))
    return [
        (owner, name) for (owner, name), places in groups.items()
        if name in owner.bound and name not in owner.fixed and not owner.is_class and not name.startswith("__")
        # An import keeps its name: "as a" costs more than it saves.
        and not any(isinstance(place.node, ast.alias) for place, _ in places)
        and not (owner.parent is None and name in _RESERVED)
        # The name of a NamedTuple or an exception is in its repr.
        and not any(getattr(place.node, "bases", ()) for place, _ in places)
        and not (reads_definitions and any(isinstance(place.node, _DEFINITIONS) for place, _ in places))
        and name not in _kept_arguments(owner, keywords)
    ]


def rename(tree: ast.Module) -> None:
    """Give a short name to every binding that may be renamed, in place."""
    groups = Bindings(tree).groups()
    free = dict.fromkeys(renamable(tree, groups))  # an ordered set
    taken: Dict[Scope, Set[str]] = {}
    seen_in = {}  # binding -> the scopes in which its name must be unique
    for binding, places in groups.items():
        seen_in[binding] = [scope for _, place_scope in places for scope in place_scope.up_to(binding[0])]
        for scope in seen_in[binding]:
            taken.setdefault(scope, set())
            if binding not in free:
                taken[scope].add(binding[1])
    # The names of the module last: then all functions begin with the same characters, which saves 20 bytes in all.
    for binding in sorted(free, key=lambda binding: binding[0].parent is None):
        new = next(name for name in _short_names() if not any(name in taken[scope] for scope in seen_in[binding]))
        for scope in seen_in[binding]:
            taken[scope].add(new)
        for place, _ in groups[binding]:
            place.put(new)


def _short_names() -> Iterator[str]:
    """Yield one character, then more: the same names in the same order in every scope compress best."""
    for length in itertools.count(1):
        for characters in itertools.product(_CHARACTERS, repeat=length):
            name = "".join(characters)
            if name not in _RESERVED:
                yield name
