"""Syntax tree -> the tree without what the program does not need. Behaviour stays.

Gone are docstrings, annotations, what only those use from typing, statements that do nothing, `import` before each of
several names. f-strings become calls of format: how they are printed differs from version to version.

Each pass is here because it pays in the packed size of stage1; folding `64 * 1024`, bases `object` and a `return` at
the end of a function do not. What a running program can see: docstrings are gone (kept in a module that reads
__doc__), and annotations, too (in a class with bases, such as a NamedTuple, they become `int`).
"""
import ast
from typing import FrozenSet

from builder.zipapp.printer import NewSyntax


def drop_needless(tree: ast.Module, kept: FrozenSet[str]) -> None:
    """Change the tree in place; `kept`: names of the module that others may use. Raises NewSyntax."""
    reads_docstrings = "__doc__" in {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)}
    Dropper(reads_docstrings).visit(tree)
    drop_typing(tree, kept)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                body[:] = joined_imports(body)
    ast.fix_missing_locations(tree)


class Dropper(ast.NodeTransformer):
    """Everything that a single node tells."""

    def __init__(self, reads_docstrings):
        self.reads_docstrings = reads_docstrings
        self.class_with_bases = False

    def generic_visit(self, node):
        is_documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        docstring = self.reads_docstrings and is_documented and ast.get_docstring(node, False) is not None
        first = node.body[0] if docstring else None
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                body[:] = [inner for inner in body if inner is first or not is_idle(inner)]
                needed = field == "body" or field == "finalbody" and not node.handlers
                if not body and needed and not isinstance(node, ast.Module):
                    body.append(ast.Expr(ast.Constant(0)))  # shorter than pass
        return node

    def visit_FunctionDef(self, node):
        outer, self.class_with_bases = self.class_with_bases, False
        node.returns = None
        self.generic_visit(node)
        self.class_with_bases = outer
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node):
        outer, self.class_with_bases = self.class_with_bases, bool(node.bases or node.decorator_list or node.keywords)
        self.generic_visit(node)
        self.class_with_bases = outer
        return node

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        if self.class_with_bases:
            node.annotation = ast.Name("int", ast.Load())  # what NamedTuple takes on every version
            return self.generic_visit(node)
        if not node.value:
            return None
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value, lineno=node.lineno), node))

    def visit_Return(self, node):
        self.generic_visit(node)
        if isinstance(node.value, ast.Constant) and node.value.value is None:
            node.value = None
        return node

    def visit_Constant(self, node):
        node.kind = None  # u"..."
        return node

    def visit_JoinedStr(self, node):
        """f"..." -> "...".format(...): how f-strings are printed differs from version to version."""
        values = []
        template = self.template(node, values, nested=False)
        if not values:
            return ast.copy_location(ast.Constant(template.format()), node)
        call = ast.Call(ast.Attribute(ast.Constant(template), "format", ast.Load()), values, [])
        return ast.copy_location(call, node)

    def template(self, node, values, nested):
        """An f-string, or the format spec in one, as str.format takes it; appends the arguments to `values`."""
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                if nested and set(part.value) & set("{}"):
                    raise NewSyntax(node, "a brace in a format spec")
                text += part.value.replace("{", "{{").replace("}", "}}")
                continue
            values.append(self.visit(part.value))
            if nested and part.format_spec:
                raise NewSyntax(node, "a format spec in a format spec")
            text += "{%s%s}" % ("!" + chr(part.conversion) if part.conversion != -1 else "",
                                ":" + self.template(part.format_spec, values, True) if part.format_spec else "")
        return text


def is_idle(node):
    """Whether a statement does nothing: pass, a constant."""
    return isinstance(node, ast.Pass) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def drop_typing(tree, kept):
    """Imports from typing, and module-level aliases of types, that only annotations used."""
    typing = {alias.asname or alias.name for node in tree.body if is_typing(node) for alias in node.names}
    if not typing:
        return
    changed = True
    while changed:
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        body = [node for node in tree.body if not is_alias(node, typing) or node.targets[0].id in used | kept]
        changed = len(body) < len(tree.body)
        tree.body = body
    for node in tree.body:
        if is_typing(node):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in used | kept]
    tree.body = [node for node in tree.body if not is_typing(node) or node.names]


def is_typing(node):
    return (isinstance(node, ast.ImportFrom) and node.module == "typing" and not node.level
            or isinstance(node, ast.Import) and all(alias.name == "typing" for alias in node.names))


def is_alias(node, typing):
    """Whether a statement is such as `Headers = Dict[str, str]`."""
    if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Subscript)):
        return False
    root = node.value.value
    root = root.value if isinstance(root, ast.Attribute) else root
    return isinstance(root, ast.Name) and root.id in typing


def joined_imports(body):
    """Statements -> the same with neighbouring imports as one."""
    joined = []
    for node in body:
        last = joined[-1] if joined else None
        if isinstance(node, ast.Import) and isinstance(last, ast.Import) or (
                isinstance(node, ast.ImportFrom) and isinstance(last, ast.ImportFrom)
                and (node.module, node.level) == (last.module, last.level)):
            last.names = last.names + node.names
        else:
            joined.append(node)
    return joined
