"""The modules of a program -> one module that does the same.

In:  path -> source, as the modules are stored next to each other: `__main__.py`, `server.py`, `builder/reading/oci.py`.
Out: one tree: __main__ and the modules that it needs, each after those that it imports.

    parse -> link: replace each use of a module's name by MODULE:NAME -> choose names -> link again, and compare

An import of one of the modules only refers to names in it: `import x` may be used as `x.attr`, `from x import a as b`
as `b`. It must come first in its module, since the imported module runs first in the bundle. Any other use of a module
(passing it around, setting its attributes, importing it on a condition, reading `__name__`) cannot be followed and is
refused; reflection.py refuses more.

What changes: the body of `if __name__ == "__main__"` runs in __main__ unconditionally and in no other module, and a
function or class has another name in tracebacks if two modules have one of that name.
"""
import ast
import builtins
import itertools
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from builder.zipapp import reflection
from builder.zipapp.scopes import Bindings, Groups, Scope, is_read
from builder.zipapp.syntax import (Position, UnfitSource, WrongResult, copied, difference, in_place_of, parse_module,
                                   position_of, walk)

MAIN = "__main__"
# Attributes of a module that would be those of __main__ in a bundle.
_OF_A_MODULE = {"__name__", "__file__", "__package__", "__spec__", "__loader__", "__path__", "__cached__"}
_BUILTINS = frozenset(dir(builtins))  # a module may read one of them before it binds the name
_LINK, _LIBRARY = "#", "import "
_MAIN_GUARD = ast.dump(ast.parse("__name__ == '__main__'", mode="eval").body)


class _Target(NamedTuple):
    """The meaning of an import of one of the program's modules."""
    module: str
    name: str  # in the module; "": the module itself


class _Module:
    """One module: its tree, its bindings, and what it imports of the program."""

    def __init__(self, name: str, tree: Any) -> None:
        self.name = name
        self.tree: ast.Module = tree
        self.position: Position = (tree.path, 1)
        tree.body = [statement for node in tree.body for statement in _without_guard(node, name == MAIN)]
        if ast.get_docstring(tree) is not None:
            del tree.body[0]
        bindings = Bindings(tree)
        self.scope: Scope = bindings.scope
        self.groups: Groups = bindings.groups()
        self.imports: Dict[ast.alias, _Target] = {}
        self.library: Dict[ast.alias, str] = {}  # other imports -> their origins
        self.needs: List[str] = []  # modules, in the order of their imports

    def find_imports(self, modules: Mapping[str, "_Module"]) -> None:
        """Fill `imports`, `library` and `needs`. Raises UnfitSource."""
        first = set(itertools.takewhile(_is_import, self.tree.body))
        for node in filter(_is_import, walk(self.tree)):
            if isinstance(node, ast.ImportFrom) and node.level:
                raise UnfitSource(position_of(node), "a relative import cannot be followed")
            source = "" if isinstance(node, ast.Import) else node.module
            for alias in node.names:
                dotted = "%s.%s" % (source, alias.name) if source else alias.name
                if dotted in modules:
                    target = _Target(dotted, "")
                elif source in modules:
                    target = _Target(source, alias.name)
                else:
                    self.library[alias] = ("%s %s" % (source, alias.name) if source else alias.name if alias.asname
                                           else alias.name.partition(".")[0])
                    continue
                if not source and "." in dotted and not alias.asname:
                    raise UnfitSource(position_of(node), "import %s cannot be followed: add `as`" % dotted)
                if node not in first:
                    problem = "%s is imported after or in another statement: move the import to the top"
                    raise UnfitSource(position_of(node), problem % target.module)
                self.imports[alias] = target
                words = target.module.split(".")
                self.needs += filter(modules.__contains__, (".".join(words[:end]) for end in range(1, len(words) + 1)))


def bundle(sources: Mapping[str, str]) -> ast.Module:
    """Join the modules. Raises UnfitSource, WrongResult, both with path and line."""
    modules = {}
    for path, source in sources.items():
        name = path[:-len(".py")].replace("/", ".")
        name = name[:-len(".__init__")] if name.endswith(".__init__") else name
        modules[name] = _Module(name, parse_module(source, path))
    for module in modules.values():
        module.find_imports(modules)
    order = _in_order(modules)
    for module in order:
        reflection.refuse_reflection(module.tree, module.groups, modules)
    kept = _kept_names(order, modules)
    statements = [statement for module in order for statement in _linked(module, modules)]
    linked = ast.Module(_without_repeated_imports(statements), [])
    names = _names(linked, kept)
    tree = copied(linked)
    for place, name, _ in Bindings(tree).found:
        place.put(names.get(name, name))
    _compare(linked, tree, {name: link for link, name in names.items()})
    return tree


def _is_import(node: ast.AST) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _without_guard(node: ast.stmt, is_main: bool) -> List[ast.stmt]:
    """Return the statements to keep of one that may be `if __name__ == "__main__"`."""
    if isinstance(node, ast.If) and not node.orelse and ast.dump(node.test) == _MAIN_GUARD:
        return node.body if is_main else []
    return [node]


def _in_order(modules: Mapping[str, _Module]) -> List[_Module]:
    """Return __main__ and the modules that it needs, each after those that it needs. Raises UnfitSource for a cycle."""
    if MAIN not in modules:
        raise UnfitSource((MAIN + ".py", 0), "is missing")
    order: List[_Module] = []

    def add(name: str, above: Tuple[str, ...]) -> None:
        if name in above:
            raise UnfitSource(modules[name].position, "import cycle: " + " -> ".join(above + (name,)))
        if modules[name] not in order:
            for other in modules[name].needs:
                add(other, above + (name,))
            order.append(modules[name])
    add(MAIN, ())
    return order


# A link is a name that no source can contain: "#OWNER:NAME".

def _link(owner: str, name: str) -> str:
    """Return the link to a name of the module `owner`, or of the library if `owner` begins with _LIBRARY."""
    return "%s%s:%s" % (_LINK, owner, name)


def _linked(module: _Module, modules: Mapping[str, _Module]) -> List[ast.stmt]:
    """Return the statements of a module without imports from the program, its own names and theirs as links."""
    attributes = {node.value: node for node in walk(module.tree)
                  if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    linker = _Linker(module.imports)
    for (scope, name), places in module.groups.items():
        if scope is not module.scope:
            continue
        position = position_of(places[0][0].node)
        if any(place.node in module.imports for place, _ in places):
            target = _target_of(module, name, modules)
            link = _resolved(target, modules, position) if target.name else ""
            for place, _ in places:
                if place.node in module.imports:
                    continue
                if link:
                    place.put(link)
                elif place.node in attributes:
                    attribute = attributes[place.node]
                    found = _Target(target.module, attribute.attr)
                    linker.names[attribute] = _resolved(found, modules, position_of(attribute))
                else:
                    raise UnfitSource(position_of(place.node), "module %s is used as a value" % name)
        elif name in scope.bound:
            for place, _ in places:
                place.put(_resolved(_Target(module.name, name), modules, position))
        elif name in _OF_A_MODULE and module.name != MAIN:
            raise UnfitSource(position, "%s would be that of __main__ in a bundle" % name)
    return linker.visit(module.tree).body


class _Linker(ast.NodeTransformer):
    """Replace attributes of modules by names, and drop imports of the program."""

    def __init__(self, imports: Mapping[ast.alias, _Target]) -> None:
        self.imports = imports
        self.names: Dict[ast.Attribute, str] = {}

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        if node in self.names:
            return in_place_of(node, ast.Name(self.names[node], node.ctx))
        return self.generic_visit(node)

    def visit_Import(self, node: Any) -> Any:
        node.names = [alias for alias in node.names if alias not in self.imports]
        return node if node.names else in_place_of(node, ast.Pass())

    visit_ImportFrom = visit_Import


def _target_of(module: _Module, name: str, modules: Mapping[str, _Module]) -> _Target:
    """Return the meaning of an imported name. Raises UnfitSource if it may have another."""
    places = [place for place, _ in module.groups[module.scope, name]]
    position = position_of(places[0].node)
    targets = {module.imports.get(place.node) for place in places if not is_read(place)}
    target = targets.pop()
    if targets or target is None:
        raise UnfitSource(position, "%s is imported and bound to something else, too" % name)
    if name in module.scope.fixed:
        raise UnfitSource(position, "%s is imported and named in a class body" % name)
    owner = modules[target.module]
    if any(isinstance(place.node, ast.Global) for place, _ in owner.groups.get((owner.scope, target.name), ())):
        raise UnfitSource(owner.position, "%s is rebound by global: import the module instead" % target.name)
    return target


def _resolved(target: _Target, modules: Mapping[str, _Module], position: Position) -> str:
    """Return the link to the origin of a name: modules may import it from each other."""
    module = modules[target.module]
    places = [place for place, _ in module.groups.get((module.scope, target.name), ())]
    if target.name not in module.scope.bound:
        raise UnfitSource(position, "%s has no %s" % target)
    if any(place.node in module.imports for place in places):
        return _resolved(_target_of(module, target.name, modules), modules, position)
    if not any(isinstance(place.node, ast.alias) for place in places):
        return _link(*target)
    origins = {module.library.get(place.node) for place in places if not is_read(place)}
    origin = origins.pop()
    if origins or origin is None:
        raise UnfitSource(position_of(places[0].node), "%s is imported and bound to something else, too" % target.name)
    return _link(_LIBRARY + origin, target.name)


def _without_repeated_imports(body: List[Any]) -> List[ast.stmt]:
    seen = set()
    for node in body:
        if _is_import(node):
            keys = [(getattr(node, "module", ""), alias.name, alias.asname) for alias in node.names]
            node.names = [alias for alias, key in zip(node.names, keys) if key not in seen]
            seen.update(keys)
    return [node for node in body if getattr(node, "names", True)]


def _kept_names(order: List[_Module], modules: Mapping[str, _Module]) -> Dict[str, str]:
    """Return link -> name for names that must stay: of imports, builtins, in class bodies. Raises UnfitSource."""
    links: Dict[str, str] = {}
    unbound = []
    for module in order:
        for (scope, name), places in module.groups.items():
            position = position_of(places[0][0].node)
            if scope is module.scope and name not in scope.bound:
                unbound.append((name, position))
            elif scope is module.scope and not any(place.node in module.imports for place, _ in places):
                link = _resolved(_Target(module.name, name), modules, position)
                if link.startswith(_LINK + _LIBRARY) or name in scope.fixed | _BUILTINS or name.startswith("__"):
                    if links.setdefault(name, link) != link:
                        raise UnfitSource(position, "%s means something else in another module" % name)
    for name, position in unbound:
        if name in links:
            raise UnfitSource(position, "%s means something else in another module" % name)
    return {link: name for name, link in links.items()}


def _names(linked: ast.Module, kept: Mapping[str, str]) -> Dict[str, str]:
    """Return link -> name: the same name if it is free, else one with its module's name before it."""
    names = dict(kept)
    found = [name for _, name in Bindings(linked).groups()]
    taken = {name for name in found if not name.startswith(_LINK)} | set(kept.values())
    for link in found:
        if link.startswith(_LINK) and link not in names:
            owner, _, name = link[len(_LINK):].rpartition(":")
            if name in taken:
                name = "%s_%s" % (owner.strip("_").replace(".", "_"), name)
            while name in taken:
                name += "_"
            names[link] = name
            taken.add(name)
    return names


def _compare(linked: ast.Module, tree: ast.Module, links: Mapping[str, str]) -> None:
    """Raise WrongResult unless `tree`, with its names turned back into links, equals `linked`."""
    again = copied(tree)
    bindings = Bindings(again)
    for (scope, name), places in bindings.groups().items():
        if scope is bindings.scope:
            for place, _ in places:
                place.put(links.get(name, name))
    position = difference(linked, again)
    if position:
        raise WrongResult("%s:%d: means something else in the bundle" % position)
