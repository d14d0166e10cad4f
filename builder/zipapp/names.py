"""Who binds which name: the scopes of a program that is one module, and shorter names.

A binding is a scope and a name; its places are all identifiers in the tree that mean it. `Bindings` finds them by the
rules of the language (a class body is not seen by its functions, the first iterable of a comprehension is evaluated
outside, global and nonlocal, `except ... as`). Nothing is renamed that anything else than these places could spell:
attributes, keywords of calls, imports, names in a class body, names of builtins, `__names__`.

One thing is taken for granted: a library that is handed a plain function calls it by position, or by keywords that the
program spells in a call of that library.
"""
import ast
import builtins
import itertools
import keyword
import string
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from builder.zipapp.syntax import children, walk

_FUNCTION_LIKE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# With these a program reads its own names; with the second ones only if they are called without arguments.
_REFLECTION = {"exec", "eval", "locals", "globals", "__code__", "_getframe"}
_LISTING = {"vars", "dir"}
_REFLECTING_IMPORTS = {"inspect", "sys.modules"}
_SPELLING = (ast.Name, ast.Attribute, ast.Call, ast.Import, ast.ImportFrom)  # where that can stand
_NAME_OF = {"__name__", "__qualname__"}  # of functions and classes
# Characters that are frequent in the rest of the text come first, so that deflate needs fewer bits for all.
_CHARACTERS = "erastinodlcpmuhfgbyvkwxjqz" + string.ascii_uppercase
_RESERVED = frozenset(keyword.kwlist) | frozenset(dir(builtins)) | {"async", "await", "print", "exec"}


class Place(NamedTuple):
    """An identifier: `getattr(node, field)`, or the item `index` of it."""
    node: ast.AST
    field: str  # "": the name of an import without `as`, which is the name of what is imported
    index: int  # -1: the field itself

    def put(self, name: str) -> None:
        """Change it, where it can be changed."""
        if self.index >= 0:
            getattr(self.node, self.field)[self.index] = name
        elif self.field:
            setattr(self.node, self.field, name)


def is_read(place: Place) -> bool:
    """Whether it takes the value of a binding, and cannot make or delete it."""
    return isinstance(getattr(place.node, "ctx", None), ast.Load)


class Scope:
    """A module, class, function, lambda or comprehension. `fixed`: names that must stay as they are."""

    def __init__(self, node: ast.AST, parent: Optional["Scope"]) -> None:
        self.node = node
        self.parent = parent
        self.is_class = isinstance(node, ast.ClassDef)
        self.bound: Set[str] = set()
        self.fixed: Set[str] = set()
        self.globals: Set[str] = set()
        self.nonlocals: Set[str] = set()

    def owner(self, name: str) -> "Scope":
        """The scope whose binding `name` means here; the module's for what is bound nowhere (a builtin)."""
        scope = self
        while scope.parent:
            if name in scope.globals:
                return scope.module()
            if name in scope.bound and name not in scope.nonlocals and (scope is self or not scope.is_class):
                return scope
            scope = scope.parent
        return scope

    def module(self) -> "Scope":
        return self.parent.module() if self.parent else self

    def up_to(self, owner: "Scope") -> List["Scope"]:
        """The scopes from here to the owner, both included."""
        return [self] if self is owner else [self] + self.parent.up_to(owner)


Binding = Tuple[Scope, str]
Groups = Dict[Binding, List[Tuple[Place, Scope]]]


class Bindings(ast.NodeVisitor):
    """`found`: (place, name, scope) of each identifier in the tree, in a fixed order; `scope`: the module's."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: List[Tuple[Place, str, Scope]] = []
        self.scope = Scope(tree, None)
        self._augmented: Set[ast.expr] = set()
        self.generic_visit(tree)

    def groups(self) -> Groups:
        """Binding -> its places and their scopes; bindings in the order in which they appear."""
        groups: Groups = {}
        for place, name, scope in self.found:
            groups.setdefault((scope.owner(name), name), []).append((place, scope))
            if scope.is_class and name in scope.bound and (is_read(place) or place.node in self._augmented):
                scope.module().fixed.add(name)  # `x = x` in a class body reads the module's x
        return groups

    def _see(self, node, field, name, bind=True, index=-1):
        self.found.append((Place(node, field, index), name, self.scope))
        if bind:
            self.scope.bound.add(name)

    def _inside(self, node, visit):
        self.scope = Scope(node, self.scope)
        visit()
        self.scope = self.scope.parent

    def generic_visit(self, node):
        for inner in children(node):
            self.visit(inner)

    def visit_Constant(self, node):
        """Nothing: the method that this one is in place of looks for several others."""

    def _visit_all(self, *nodes):
        for node in nodes:
            if isinstance(node, list):
                self._visit_all(*node)
            elif node is not None:
                self.visit(node)

    def visit_Name(self, node):
        self._see(node, "id", node.id, not isinstance(node.ctx, ast.Load))

    def visit_AugAssign(self, node):
        self._augmented.add(node.target)
        self.generic_visit(node)

    def visit_FunctionDef(self, node):
        self._see(node, "name", node.name)
        self._visit_all(node.decorator_list)
        self.visit_Lambda(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        arguments = node.args
        self._visit_all(arguments.defaults, arguments.kw_defaults)

        def visit():
            for argument in arguments.args + arguments.kwonlyargs + [arguments.vararg, arguments.kwarg]:
                if argument:
                    self._see(argument, "arg", argument.arg)
            self._visit_all(node.body)
        self._inside(node, visit)

    def visit_ClassDef(self, node):
        self._see(node, "name", node.name)
        self._visit_all(node.decorator_list, node.bases, node.keywords)
        self._inside(node, lambda: self._visit_all(node.body))

    def _visit_comprehension(self, node):
        first = node.generators[0]
        self.visit(first.iter)

        def visit():
            for part in node.generators:
                self._visit_all(part.target, part.ifs, None if part is first else part.iter)
            self._visit_all(*(getattr(node, field, None) for field in ("key", "value", "elt")))
        self._inside(node, visit)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    def visit_ExceptHandler(self, node):
        if node.name:
            self._see(node, "name", node.name)
        self.generic_visit(node)

    def visit_alias(self, node):
        self._see(node, "asname" if node.asname else "", node.asname or node.name.partition(".")[0])

    def visit_Global(self, node):
        getattr(self.scope, type(node).__name__.lower() + "s").update(node.names)
        for index, name in enumerate(node.names):
            self._see(node, "names", name, index=index)
            if isinstance(node, ast.Global):
                self.scope.module().bound.add(name)

    visit_Nonlocal = visit_Global


_Keywords = Dict[Optional[ast.AST], Set[str]]
_ANY = "**"  # whatever a mapping holds


def _keywords(tree: ast.Module, groups: Groups) -> _Keywords:
    """Function -> by which words calls name its arguments; None: by which those do whose function is not known."""
    bindings = {place.node: binding for binding, places in groups.items() for place, _ in places}
    keywords: _Keywords = {None: set()}
    for node in walk(tree):
        if not isinstance(node, (ast.Call, ast.ClassDef)):
            continue
        words = {word.arg or _ANY for word in node.keywords}
        owner, name = bindings.get(node.func, (None, "")) if isinstance(node, ast.Call) else (None, "")
        if owner and name not in owner.bound and name in _RESERVED:
            continue  # a builtin, which hands none on
        makers = [place.node for place, _ in groups.get((owner, name), ()) if not is_read(place)]
        known = makers[0] if len(makers) == 1 and isinstance(makers[0], _FUNCTION_LIKE) else None
        keywords.setdefault(known, set()).update(words | ({_ANY} if "kwargs" in words else set()))  # Thread(kwargs={})
    return keywords


def _kept_arguments(scope: Scope, keywords: _Keywords) -> Set[str]:
    """The arguments of a function that someone may name in a call."""
    node, parent = scope.node, scope.parent
    if not isinstance(node, _FUNCTION_LIKE):
        return set()
    plain = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
    named = keywords[None] | keywords.get(node, set())
    if _ANY in named:
        return set(plain)
    if parent.is_class and (parent.node.bases or parent.node.keywords):
        return set(plain[1:])  # a method that a library may call; the first argument is self
    return named & set(plain)


def reflection(tree: ast.Module) -> Optional[ast.AST]:
    """The first place where a program may spell its names in other ways than as identifiers."""
    nodes = [node for node in walk(tree) if isinstance(node, _SPELLING)]
    harmless = {node.func for node in nodes if isinstance(node, ast.Call) and node.args}
    return next((node for node in nodes
                 if spelling(node) in _REFLECTION or spelling(node) in _LISTING and node not in harmless
                 or _REFLECTING_IMPORTS & set(_imported(node))), None)


def _imported(node: ast.AST) -> List[str]:
    """What an import imports, as dotted names; `a.b` is taken for such a name, too."""
    if isinstance(node, ast.Attribute):
        return ["%s.%s" % (spelling(node.value), node.attr)]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""] + ["%s.%s" % (node.module, alias.name) for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def _is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


def spelling(node: ast.AST) -> str:
    """The word of a name or an attribute; "" for all else."""
    return getattr(node, "id", getattr(node, "attr", ""))


def renamable(tree: ast.Module, groups: Groups) -> List[Binding]:
    """The bindings of `groups` whose name nothing else can spell."""
    if reflection(tree):
        return []
    keywords = _keywords(tree, groups)
    # The name of a class is also part of its private attributes: two classes of one name would share them.
    reads_definitions = any(isinstance(node, ast.Attribute) and (node.attr in _NAME_OF or _is_private(node.attr))
                            for node in walk(tree))
    return [
        (owner, name) for (owner, name), places in groups.items()
        if name in owner.bound and name not in owner.fixed and not owner.is_class and not name.startswith("__")
        # An import keeps its name: "as a" costs more than it saves.
        and not any(isinstance(place.node, ast.alias) for place, _ in places)
        and not (owner.parent is None and name in _RESERVED)
        and not (reads_definitions and any(isinstance(place.node, _DEFINITIONS) for place, _ in places))
        and name not in _kept_arguments(owner, keywords)
    ]


def rename(tree: ast.Module) -> None:
    """Give every name that nothing else can spell a short one, in place."""
    groups = Bindings(tree).groups()
    free = dict.fromkeys(renamable(tree, groups))  # in order, and quick to ask
    taken: Dict[Scope, Set[str]] = {}
    seen_in = {}  # where a binding is alive: its name must mean nothing else there
    for binding, places in groups.items():
        seen_in[binding] = [scope for _, place_scope in places for scope in place_scope.up_to(binding[0])]
        for scope in seen_in[binding]:
            taken.setdefault(scope, set())
            if binding not in free:
                taken[scope].add(binding[1])
    # The module's own names last: its functions then begin with the same characters, which saves 20 bytes in all.
    for binding in sorted(free, key=lambda binding: binding[0].parent is None):
        new = next(name for name in _short_names() if not any(name in taken[scope] for scope in seen_in[binding]))
        for scope in seen_in[binding]:
            taken[scope].add(new)
        for place, _ in groups[binding]:
            place.put(new)


def _short_names() -> Iterator[str]:
    """One character, then two: the same in the same order in every scope, which is what deflate likes."""
    for length in (1, 2):
        for characters in itertools.product(_CHARACTERS, repeat=length):
            name = "".join(characters)
            if name not in _RESERVED:
                yield name
