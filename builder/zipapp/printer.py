"""Syntax tree -> the shortest text we know for it, in the syntax of Python 3.6.

Not `ast.unparse`: what that prints differs from version to version (brackets around tuples, quotes inside f-strings)
and, from 3.12 on, is not always Python 3.6. This text is the same on every Python, and a node that Python 3.6 does not
have has no row here: it raises NewSyntax.

Rule for editors: a bracket too many costs two bytes, a bracket too few changes the program. An expression is printed
for the place where it stands (`level`, the weakest binding that may stand there without brackets).
"""
import ast
import re

INDENT = " "
# How strongly an expression binds. A place asks for one of these, too.
(YIELD, TUPLE, TEST, OR, AND, NOT, COMPARE, BIT_OR, BIT_XOR, BIT_AND, SHIFT, SUM, TERM, FACTOR, POWER, AWAIT,
 ATOM) = range(17)

BINARY = {
    ast.BitOr: ("|", BIT_OR), ast.BitXor: ("^", BIT_XOR), ast.BitAnd: ("&", BIT_AND),
    ast.LShift: ("<<", SHIFT), ast.RShift: (">>", SHIFT), ast.Add: ("+", SUM), ast.Sub: ("-", SUM),
    ast.Mult: ("*", TERM), ast.MatMult: ("@", TERM), ast.Div: ("/", TERM), ast.Mod: ("%", TERM),
    ast.FloorDiv: ("//", TERM), ast.Pow: ("**", POWER),
}
UNARY = {ast.Not: ("not", NOT), ast.USub: ("-", FACTOR), ast.UAdd: ("+", FACTOR), ast.Invert: ("~", FACTOR)}
COMPARISONS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}


class NewSyntax(Exception):
    """Syntax that Python 3.6 does not have; `str()` says which."""

    def __init__(self, node, what=""):
        super().__init__(what or type(node).__name__)
        self.line = getattr(node, "lineno", 0)


def text_of(tree):
    """A module's tree -> its source. f-strings must be gone (needless.py). Raises NewSyntax."""
    return "\n".join(block(tree.body, "")) + "\n"


def glue(*parts):
    """Tokens one after the other, with a blank only where two words would grow together."""
    text = ""
    for part in parts:
        blank = text and part and is_word(text[-1]) and is_word(part[0])
        text += " " + part if blank else part
    return text


def is_word(character):
    return character == "_" or character.isalnum() or character > "\x7f"


def commas(nodes, level=TEST):
    return ",".join(expression(node, level) for node in nodes)


# Statements: a simple one is its text, a compound one is a list of (header, body).

def block(body, indent):
    """Statements -> lines, each statement on its own: `;` between them saves 3 bytes in all, and costs tracebacks."""
    lines = []
    for node in body:
        if type(node) in SIMPLE:
            lines.append(indent + SIMPLE[type(node)](node))
        else:
            for header, inner in compound(node):
                lines += clause(header, inner, indent)
    return lines


def clause(header, body, indent):
    if body is None:  # a decorator
        return [indent + header]
    inner = block(body, indent + INDENT)
    if len(inner) == 1 and type(body[0]) in SIMPLE:
        return [indent + header + ":" + inner[0].strip(INDENT)]
    return [indent + header + ":"] + inner


def compound(node):
    """A statement with bodies -> its clauses: (header without colon, body)."""
    make = COMPOUND.get(type(node))
    if not make:
        raise NewSyntax(node)
    return make(node)


def otherwise(node):
    return [("else", node.orelse)] if node.orelse else []


def if_clauses(node, word="if"):
    clauses = [(glue(word, expression(node.test)), node.body)]
    if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        return clauses + if_clauses(node.orelse[0], "elif")
    return clauses + otherwise(node)


def for_clauses(node, word="for"):
    header = glue(word, expression(node.target, TUPLE), "in", expression(node.iter, TUPLE))
    return [(header, node.body)] + otherwise(node)


def try_clauses(node):
    clauses = [("try", node.body)]
    for handler in node.handlers:
        header = glue("except", expression(handler.type)) if handler.type else "except"
        clauses.append((glue(header, "as", handler.name) if handler.name else header, handler.body))
    return clauses + otherwise(node) + ([("finally", node.finalbody)] if node.finalbody else [])


def with_clauses(node, word="with"):
    items = [glue(expression(item.context_expr), "as", expression(item.optional_vars, ATOM)) if item.optional_vars
             else expression(item.context_expr) for item in node.items]
    return [(glue(word, ",".join(items)), node.body)]


def decorators(node):
    if getattr(node, "type_params", None):
        raise NewSyntax(node, "type parameters")
    for decorator in node.decorator_list:
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(name, ast.Attribute):
            name = name.value
        if not isinstance(name, ast.Name):
            raise NewSyntax(decorator, "a decorator that is more than a dotted name and a call")
    return [("@" + expression(decorator), None) for decorator in node.decorator_list]


def function_clauses(node, word="def"):
    return decorators(node) + [("%s %s(%s)" % (word, node.name, parameters(node.args)), node.body)]


def class_clauses(node):
    inside = ",".join([expression(base) for base in node.bases] + [keyword(word) for word in node.keywords])
    return decorators(node) + [("class " + node.name + (inside and "(%s)" % inside), node.body)]


def chain(node):
    """`a=b=value`"""
    targets = [expression(target, TUPLE) for target in node.targets]
    return "=".join(targets + [expression(node.value, YIELD)])


def annotated(node):
    name = expression(node.target, ATOM)
    text = "%s:%s" % (name if node.simple or not isinstance(node.target, ast.Name) else "(%s)" % name,
                      expression(node.annotation))
    return text + "=" + expression(node.value) if node.value else text


def word_and(word, *nodes):
    return glue(word, ",".join(expression(node) for node in nodes if node))


def raised(node):
    text = word_and("raise", node.exc)
    return glue(text, "from", expression(node.cause)) if node.cause else text


def imported(node):
    return ",".join("%s as %s" % (alias.name, alias.asname) if alias.asname else alias.name for alias in node.names)


SIMPLE = {
    ast.Expr: lambda node: expression(node.value, YIELD),
    ast.Assign: chain,
    ast.AugAssign: lambda node: "%s%s=%s" % (
        expression(node.target, ATOM), BINARY[type(node.op)][0], expression(node.value, YIELD)),
    ast.AnnAssign: annotated,
    ast.Return: lambda node: glue("return", expression(node.value, TUPLE)) if node.value else "return",
    ast.Raise: raised,
    ast.Assert: lambda node: word_and("assert", node.test, node.msg),
    ast.Delete: lambda node: word_and("del", *node.targets),
    ast.Pass: lambda node: "pass",
    ast.Break: lambda node: "break",
    ast.Continue: lambda node: "continue",
    ast.Global: lambda node: "global " + ",".join(node.names),
    ast.Nonlocal: lambda node: "nonlocal " + ",".join(node.names),
    ast.Import: lambda node: "import " + imported(node),
    ast.ImportFrom: lambda node: glue("from", "." * node.level + (node.module or ""), "import", imported(node)),
}
COMPOUND = {
    ast.If: if_clauses,
    ast.While: lambda node: [(glue("while", expression(node.test)), node.body)] + otherwise(node),
    ast.For: for_clauses,
    ast.AsyncFor: lambda node: for_clauses(node, "async for"),
    ast.Try: try_clauses,
    ast.With: with_clauses,
    ast.AsyncWith: lambda node: with_clauses(node, "async with"),
    ast.FunctionDef: function_clauses,
    ast.AsyncFunctionDef: lambda node: function_clauses(node, "async def"),
    ast.ClassDef: class_clauses,
}


# Expressions: a printer gives (text, how strongly it binds).

def expression(node, level=TEST):
    printer = EXPRESSION.get(type(node))
    if not printer:
        raise NewSyntax(node)
    text, own = printer(node)
    return text if own >= level else "(%s)" % text


def constant(node):
    value = node.value
    if value is ...:
        return "...", ATOM
    text = repr(value)  # of strings, too: r"..." does not make the packed size smaller
    if isinstance(value, (float, complex)):
        text = re.sub(r"^0\.", ".", text.replace("inf", "1e309"))
    return text, ATOM


def binary(node):
    sign, level = BINARY[type(node.op)]
    if level == POWER:
        return expression(node.left, AWAIT) + sign + expression(node.right, FACTOR), level
    return expression(node.left, level) + sign + expression(node.right, level + 1), level


def unary(node):
    sign, level = UNARY[type(node.op)]
    return glue(sign, expression(node.operand, level)), level


def boolean(node):
    word, level = ("or", OR) if isinstance(node.op, ast.Or) else ("and", AND)
    parts = [expression(node.values[0], level + 1)]
    for value in node.values[1:]:
        parts += [word, expression(value, level + 1)]
    return glue(*parts), level


def comparison(node):
    parts = [expression(node.left, BIT_OR)]
    for sign, value in zip(node.ops, node.comparators):
        parts += [COMPARISONS[type(sign)], expression(value, BIT_OR)]
    return glue(*parts), COMPARE


def choice(node):
    return glue(expression(node.body, OR), "if", expression(node.test, OR), "else", expression(node.orelse)), TEST


def parameters(arguments):
    if arguments.posonlyargs:
        raise NewSyntax(arguments.posonlyargs[0], "positional-only parameters")
    plain = [parameter(argument) for argument in arguments.args]
    for place, default in enumerate(arguments.defaults, len(plain) - len(arguments.defaults)):
        plain[place] += "=" + expression(default)
    if arguments.vararg or arguments.kwonlyargs:
        plain.append("*" + (parameter(arguments.vararg) if arguments.vararg else ""))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
        plain.append(parameter(argument) + ("=" + expression(default) if default else ""))
    if arguments.kwarg:
        plain.append("**" + parameter(arguments.kwarg))
    return ",".join(plain)


def parameter(argument):
    return argument.arg + (":" + expression(argument.annotation) if argument.annotation else "")


def keyword(node):
    return "%s=%s" % (node.arg, expression(node.value)) if node.arg else "**" + expression(node.value)


def call(node):
    if len(node.args) == 1 and not node.keywords and isinstance(node.args[0], ast.GeneratorExp):
        inside = comprehension(node.args[0], node.args[0].elt)
    else:
        inside = ",".join([expression(argument) for argument in node.args] + [keyword(word) for word in node.keywords])
    return "%s(%s)" % (expression(node.func, ATOM), inside), ATOM


def attribute(node):
    value = expression(node.value, ATOM)
    return "%s%s.%s" % (value, " " if value.isdigit() else "", node.attr), ATOM


def subscript(node):
    inside = node.slice
    if isinstance(inside, ast.Tuple) and any(isinstance(part, ast.Slice) for part in inside.elts):
        text = commas(inside.elts) + ("," if len(inside.elts) == 1 else "")
    else:
        text = expression(inside, TUPLE)
    return "%s[%s]" % (expression(node.value, ATOM), text), ATOM


def slicing(node):
    text = "%s:%s" % tuple(expression(end) if end else "" for end in (node.lower, node.upper))
    return text + ":" + expression(node.step) if node.step else text, TEST


def tuple_of(node):
    text = commas(node.elts) + ("," if len(node.elts) == 1 else "")
    if not text or any(isinstance(part, ast.Starred) for part in node.elts):  # bare `return *a,b` is not Python 3.6
        return "(%s)" % text, ATOM
    return text, TUPLE


def dictionary(node):
    return "{%s}" % ",".join("%s:%s" % (expression(key), expression(value)) if key else "**" + expression(value, BIT_OR)
                             for key, value in zip(node.keys, node.values)), ATOM


def comprehension(node, *elements):
    text = ":".join(expression(element) for element in elements)
    for part in node.generators:
        word = "async for" if part.is_async else "for"
        text = glue(text, word, expression(part.target, TUPLE), "in", expression(part.iter, OR))
        for test in part.ifs:
            text = glue(text, "if", expression(test, OR))
    return text


EXPRESSION = {
    ast.Name: lambda node: (node.id, ATOM),
    ast.Constant: constant,
    ast.BinOp: binary,
    ast.UnaryOp: unary,
    ast.BoolOp: boolean,
    ast.Compare: comparison,
    ast.IfExp: choice,
    ast.Lambda: lambda node: (glue("lambda", parameters(node.args)) + ":" + expression(node.body), TEST),
    ast.Call: call,
    ast.Attribute: attribute,
    ast.Subscript: subscript,
    ast.Slice: slicing,
    ast.Starred: lambda node: ("*" + expression(node.value, BIT_OR), TEST),
    ast.Tuple: tuple_of,
    ast.List: lambda node: ("[%s]" % commas(node.elts), ATOM),
    ast.Set: lambda node: ("{%s}" % commas(node.elts), ATOM),
    ast.Dict: dictionary,
    ast.ListComp: lambda node: ("[%s]" % comprehension(node, node.elt), ATOM),
    ast.SetComp: lambda node: ("{%s}" % comprehension(node, node.elt), ATOM),
    ast.GeneratorExp: lambda node: ("(%s)" % comprehension(node, node.elt), ATOM),
    ast.DictComp: lambda node: ("{%s}" % comprehension(node, node.key, node.value), ATOM),
    ast.Yield: lambda node: (glue("yield", expression(node.value, TUPLE)) if node.value else "yield", YIELD),
    ast.YieldFrom: lambda node: (glue("yield from", expression(node.value)), YIELD),
    ast.Await: lambda node: (glue("await", expression(node.value, ATOM)), AWAIT),
}
