"""Syntax tree -> the tree without what the program does not need. Behaviour stays.

Gone are docstrings, annotations, statements that do nothing, `import` before each of several names. f-strings become
calls of format: how they are printed differs from version to version.

Each pass is here because it pays in the packed size of stage1; folding `64 * 1024`, bases `object` and a `return` at
the end of a function do not. What a running program can see: docstrings are gone (kept in a program that reads
__doc__), and annotations, too (in a class with bases, such as a NamedTuple, they become `int`).
"""
import ast

from builder.zipapp.names import spelling
from builder.zipapp.printer import NewSyntax
from builder.zipapp.syntax import in_place_of, walk


def drop_needless(tree: ast.Module) -> None:
    """Change the tree in place. Raises NewSyntax."""
    _Dropper("__doc__" in map(spelling, walk(tree))).visit(tree)
    for node in walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                body[:] = _joined_imports(body)
    ast.fix_missing_locations(tree)


class _Dropper(ast.NodeTransformer):
    """Everything that a single node shows."""

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
                body[:] = [inner for inner in body if inner is first or not _is_idle(inner)]
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
        return self.generic_visit(in_place_of(node, ast.Assign([node.target], node.value)))

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
            return in_place_of(node, ast.Constant(template.format()))
        call = ast.Call(ast.Attribute(ast.Constant(template), "format", ast.Load()), values, [])
        return in_place_of(node, call)

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


def _is_idle(node):
    """Whether a statement does nothing: pass, a constant."""
    return isinstance(node, ast.Pass) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _joined_imports(body):
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
