"""The variables of a module, each with the names that mean it.

A binding is a scope and a name; its places are all identifiers in the tree that mean it. `Bindings` finds them by the
rules of the language: a class body is not seen by its functions, the first iterable of a comprehension is evaluated
outside, global and nonlocal, `except ... as`.
https://docs.python.org/3/reference/executionmodel.html#naming-and-binding
"""
import ast
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from builder.zipapp.syntax import children


class Place(NamedTuple):
    """An identifier: `getattr(node, field)`, or an item of it."""
    node: Any  # a node of the tree
    field: str  # "": the name of an import without `as`, which is the name of what is imported
    item: int  # its index; -1: the field itself

    def put(self, name: str) -> None:
        """Rename it, unless it is the name of an import without `as`."""
        if self.item >= 0:
            getattr(self.node, self.field)[self.item] = name
        elif self.field:
            setattr(self.node, self.field, name)


def is_read(place: Place) -> bool:
    """Return whether it only reads a binding."""
    return isinstance(getattr(place.node, "ctx", None), ast.Load)


class Scope:
    """A module, class, function, lambda or comprehension. `fixed`: names that must stay as they are."""

    def __init__(self, node: Any, parent: Optional["Scope"]) -> None:
        self.node = node
        self.parent = parent
        self.module: "Scope" = parent.module if parent else self
        self.is_class = isinstance(node, ast.ClassDef)
        self.bound: Set[str] = set()
        self.fixed: Set[str] = set()
        self.globals: Set[str] = set()
        self.nonlocals: Set[str] = set()

    def owner(self, name: str) -> "Scope":
        """Return the scope that binds `name` as it is seen from here; the module's for a builtin."""
        scope = self
        while scope.parent:
            if name in scope.globals:
                return scope.module
            if name in scope.bound and name not in scope.nonlocals and (scope is self or not scope.is_class):
                return scope
            scope = scope.parent
        return scope

    def up_to(self, owner: "Scope") -> List["Scope"]:
        """Return the scopes from here to the owner, both included."""
        return [self] + (self.parent.up_to(owner) if self.parent and self is not owner else [])


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
        """Return binding -> its places and their scopes; bindings in the order in which they appear."""
        groups: Groups = {}
        for place, name, scope in self.found:
            groups.setdefault((scope.owner(name), name), []).append((place, scope))
            if scope.is_class and name in scope.bound and (is_read(place) or place.node in self._augmented):
                scope.module.fixed.add(name)  # `x = x` in a class body reads the module's x
        return groups

    def _see(self, node: Any, field: str, name: str, bind: bool = True, item: int = -1) -> None:
        self.found.append((Place(node, field, item), name, self.scope))
        if bind:
            self.scope.bound.add(name)

    def _inside(self, node: Any, visit: Callable[[], None]) -> None:
        outer, self.scope = self.scope, Scope(node, self.scope)
        visit()
        self.scope = outer

    def generic_visit(self, node: ast.AST) -> None:
        for inner in children(node):
            self.visit(inner)

    def visit_Constant(self, node: Any) -> None:
        """Do nothing; the inherited method would look for visitors of older nodes."""

    def _visit_all(self, *nodes: Any) -> None:
        for node in nodes:
            if isinstance(node, list):
                self._visit_all(*node)
            elif node is not None:
                self.visit(node)

    def visit_Name(self, node: Any) -> None:
        self._see(node, "id", node.id, not isinstance(node.ctx, ast.Load))

    def visit_AugAssign(self, node: Any) -> None:
        self._augmented.add(node.target)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: Any) -> None:
        self._see(node, "name", node.name)
        self._visit_all(node.decorator_list, node.returns)
        self.visit_Lambda(node)

    def visit_Lambda(self, node: Any) -> None:
        arguments = node.args
        every = arguments.args + arguments.kwonlyargs + [arguments.vararg, arguments.kwarg]
        self._visit_all(arguments.defaults, arguments.kw_defaults)
        self._visit_all(*(argument.annotation for argument in every if argument))

        def visit() -> None:
            for argument in every:
                if argument:
                    self._see(argument, "arg", argument.arg)
            self._visit_all(node.body)
        self._inside(node, visit)

    def visit_ClassDef(self, node: Any) -> None:
        self._see(node, "name", node.name)
        self._visit_all(node.decorator_list, node.bases, node.keywords)
        self._inside(node, lambda: self._visit_all(node.body))

    def _visit_comprehension(self, node: Any) -> None:
        first = node.generators[0]
        self.visit(first.iter)

        def visit() -> None:
            for part in node.generators:
                self._visit_all(part.target, part.ifs, None if part is first else part.iter)
            self._visit_all(*(getattr(node, field, None) for field in ("key", "value", "elt")))
        self._inside(node, visit)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    def visit_ExceptHandler(self, node: Any) -> None:
        if node.name:
            self._see(node, "name", node.name)
        self.generic_visit(node)

    def visit_alias(self, node: Any) -> None:
        self._see(node, "asname" if node.asname else "", node.asname or node.name.partition(".")[0])

    def visit_Global(self, node: Any) -> None:
        getattr(self.scope, type(node).__name__.lower() + "s").update(node.names)
        for index, name in enumerate(node.names):
            self._see(node, "names", name, item=index)
            if isinstance(node, ast.Global):
                self.scope.module.bound.add(name)

    visit_Nonlocal = visit_Global
