"""Who binds which name: the scopes of a module, and new names for what only the module itself can see.

A binding is a scope and a name; its places are all identifiers in the tree that mean it. `Bindings` finds them by the
rules of the language (a class body is not seen by its functions, the first iterable of a comprehension is evaluated
outside, global and nonlocal, `except ... as`). Nothing is renamed that anything else than these places could spell:
attributes, keywords of calls, names that other modules use, names in a class body, names of builtins, `__names__`.

One thing is taken for granted: a library that is handed a plain function calls it by position, or by the keywords that
some module of the pack spells.
"""
import ast
import builtins
import itertools
import keyword
import string
from typing import Dict, FrozenSet, List, NamedTuple, Optional, Set, Tuple

FUNCTION_LIKE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# With these a program reads its own names; with the second ones only if they are called without arguments.
REFLECTION = {"exec", "eval", "locals", "globals", "__code__", "modules", "signature", "currentframe", "_getframe"}
LISTING = {"vars", "dir"}
NAME_OF = {"__name__", "__qualname__"}  # of functions and classes
# Letters that are frequent in the rest of the text come first, so that deflate needs fewer bits for all.
LETTERS = "erastinodlcpmuhfgbyvkwxjqz" + string.ascii_uppercase
RESERVED = frozenset(keyword.kwlist) | frozenset(dir(builtins)) | {"async", "await", "print", "exec"}


class Place(NamedTuple):
    """An identifier that can be changed: `getattr(node, field)`, or the item `index` of it."""
    node: ast.AST
    field: str
    index: int  # -1: the field itself

    def put(self, name: str) -> None:
        if self.index < 0:
            setattr(self.node, self.field, name)
        else:
            getattr(self.node, self.field)[self.index] = name


class Scope:
    """A module, class, function, lambda or comprehension. `fixed`: names that must stay as they are."""

    def __init__(self, node, parent):
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


Groups = Dict[Tuple[Scope, str], List[Tuple[Optional[Place], Scope]]]


class Bindings(ast.NodeVisitor):
    """`found`: (place, or None in an import, name, scope) of each identifier in the tree, in a fixed order."""

    def __init__(self, tree):
        self.found: List[Tuple[Optional[Place], str, Scope]] = []
        self.scope = Scope(tree, None)
        self.generic_visit(tree)

    def groups(self) -> "Groups":
        """Binding -> its places and their scopes; bindings in the order in which they appear."""
        groups: Groups = {}
        for place, name, scope in self.found:
            groups.setdefault((scope.owner(name), name), []).append((place, scope))
            if scope.is_class and name in scope.bound:
                scope.module().fixed.add(name)  # `x = x` in a class body reads the module's x
        return groups

    def see(self, node, field, name, bind=True, index=-1):
        self.found.append((Place(node, field, index) if field else None, name, self.scope))
        if bind:
            self.scope.bound.add(name)

    def inside(self, node, visit):
        self.scope = Scope(node, self.scope)
        visit()
        self.scope = self.scope.parent

    def visit_all(self, *nodes):
        for node in nodes:
            if isinstance(node, list):
                self.visit_all(*node)
            elif node is not None:
                self.visit(node)

    def visit_Name(self, node):
        self.see(node, "id", node.id, not isinstance(node.ctx, ast.Load))

    def visit_FunctionDef(self, node):
        self.see(node, "name", node.name)
        self.visit_all(node.decorator_list)
        self.visit_Lambda(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        arguments = node.args
        self.visit_all(arguments.defaults, arguments.kw_defaults)

        def visit():
            for argument in arguments.args + arguments.kwonlyargs + [arguments.vararg, arguments.kwarg]:
                if argument:
                    self.see(argument, "arg", argument.arg)
            self.visit_all(node.body)
        self.inside(node, visit)

    def visit_ClassDef(self, node):
        self.see(node, "name", node.name)
        self.visit_all(node.decorator_list, node.bases, node.keywords)
        self.inside(node, lambda: self.visit_all(node.body))

    def visit_comprehension_scope(self, node):
        first = node.generators[0]
        self.visit(first.iter)

        def visit():
            for part in node.generators:
                self.visit_all(part.target, part.ifs, None if part is first else part.iter)
            self.visit_all(*(getattr(node, field, None) for field in ("key", "value", "elt")))
        self.inside(node, visit)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_comprehension_scope

    def visit_ExceptHandler(self, node):
        if node.name:
            self.see(node, "name", node.name)
        self.generic_visit(node)

    def visit_alias(self, node):
        # An import keeps its name: "as a" costs more than it saves.
        self.see(node, "", node.asname or node.name.partition(".")[0])

    def visit_Global(self, node):
        getattr(self.scope, type(node).__name__.lower() + "s").update(node.names)
        for index, name in enumerate(node.names):
            self.see(node, "names", name, index=index)
            if isinstance(node, ast.Global):
                self.scope.module().bound.add(name)

    visit_Nonlocal = visit_Global


class Mentions(NamedTuple):
    """What the modules of a pack spell, by which a name of another module or an argument could be meant."""
    names: FrozenSet[str]  # attributes, imported names, strings
    keywords: FrozenSet[str]
    unpacked: FrozenSet[str]  # functions called with **, which may name any argument; "": who knows which function
    defined: FrozenSet[str]  # functions and classes; what else is called with ** may hand it on to any of them

    def __or__(self, other):
        return Mentions(*(mine | its for mine, its in zip(self, other)))


NO_MENTIONS = Mentions(*[frozenset()] * 4)


def mentions(tree: ast.AST) -> Mentions:
    """What one module spells."""
    names, keywords, unpacked, defined = set(), set(), set(), set(dir(builtins))
    of_typing = {alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "typing"
                 for alias in node.names}  # says nothing of a name in another module of the pack
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.alias) and node not in of_typing:
            names.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
        elif isinstance(node, DEFINITIONS):
            defined.add(node.name)
        elif isinstance(node, ast.Call):
            for word in node.keywords:
                if word.arg:
                    keywords.add(word.arg)
                if not word.arg or word.arg == "kwargs":  # Thread(target=f, kwargs={...})
                    unpacked.add("" if word.arg else spelling(node.func))
    return Mentions(*map(frozenset, (names, keywords, unpacked, defined)))


def kept_arguments(scope: Scope, pack: Mentions) -> Set[str]:
    """The arguments of a function that someone may name in a call."""
    node, parent = scope.node, scope.parent
    if not isinstance(node, FUNCTION_LIKE):
        return set()
    plain = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
    callees = {getattr(node, "name", "")} | ({parent.node.name} if parent.is_class else set())
    if callees & pack.unpacked or pack.unpacked - pack.defined:
        return set(plain)
    if parent.is_class and (parent.node.bases or parent.node.keywords):
        return set(plain[1:])  # a method that a library may call; the first argument is self
    return pack.keywords & set(plain)


def reads_own_names(tree: ast.Module) -> bool:
    """Whether a module may spell its names in other ways than as identifiers."""
    harmless = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args}
    return any(spelling(node) in REFLECTION or spelling(node) in LISTING and node not in harmless
               for node in ast.walk(tree))


def is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


def spelling(node: ast.AST) -> str:
    return getattr(node, "id", getattr(node, "attr", ""))


def renamable(tree: ast.Module, groups: Groups, kept: FrozenSet[str], pack: Mentions):
    """The bindings of `groups` whose name nothing else can spell."""
    if reads_own_names(tree):
        return []
    # The name of a class is also part of its private attributes: two classes of one name would share them.
    reads_definitions = any(isinstance(node, ast.Attribute) and (node.attr in NAME_OF or is_private(node.attr))
                            for node in ast.walk(tree))
    return [
        (owner, name) for (owner, name), places in groups.items()
        if name in owner.bound and name not in owner.fixed and not owner.is_class and not name.startswith("__")
        and all(place for place, _ in places)
        and not (owner.parent is None and (name in kept or name in RESERVED))
        and not (reads_definitions and any(isinstance(place.node, DEFINITIONS) for place, _ in places))
        and name not in kept_arguments(owner, pack)
    ]


def rename(tree: ast.Module, kept: FrozenSet[str], pack: Mentions) -> None:
    """Give every name that nothing else can spell a short one, in place."""
    groups = Bindings(tree).groups()
    free = renamable(tree, groups, kept, pack)
    taken: Dict[Scope, Set[str]] = {}
    seen_in = {}  # where a binding is alive: its name must mean nothing else there
    for binding, places in groups.items():
        seen_in[binding] = [scope for _, place_scope in places for scope in place_scope.up_to(binding[0])]
        for scope in seen_in[binding]:
            taken.setdefault(scope, set())
            if binding not in free:
                taken[scope].add(binding[1])
    # The module's own names last: its functions then begin with the same letters, which saves 20 bytes in all.
    for binding in sorted(free, key=lambda binding: binding[0].parent is None):
        new = next(name for name in short_names() if not any(name in taken[scope] for scope in seen_in[binding]))
        for scope in seen_in[binding]:
            taken[scope].add(new)
        for place, _ in groups[binding]:
            place.put(new)


def short_names():
    """One letter, then two: the same in the same order in every scope, which is what deflate likes."""
    for length in (1, 2):
        for letters in itertools.product(LETTERS, repeat=length):
            name = "".join(letters)
            if name not in RESERVED:
                yield name
