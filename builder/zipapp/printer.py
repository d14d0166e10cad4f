"""Syntax tree -> the shortest text we know for it, in the syntax of Python 3.6.

Not `ast.unparse`: what that prints differs from version to version (brackets around tuples, quotes inside f-strings)
and, from 3.12 on, is not always Python 3.6. This text is the same on every Python, and a node that Python 3.6 does not
have has no row here: it raises NewSyntax.

Rule for editors: a bracket too many costs two bytes, a bracket too few changes the program. An expression is printed
for the place where it stands (`level`, the weakest binding that may stand there without brackets).
"""
import ast
import re
from typing import List

_INDENT = " "
# How strongly an expression binds. A place asks for one of these, too.
(_YIELD, _TUPLE, _TEST, _OR, _AND, _NOT, _COMPARE, _BIT_OR, _BIT_XOR, _BIT_AND, _SHIFT, _SUM, _TERM, _FACTOR, _POWER,
 _AWAIT, _ATOM) = range(17)

_BINARY = {
    ast.BitOr: ("|", _BIT_OR), ast.BitXor: ("^", _BIT_XOR), ast.BitAnd: ("&", _BIT_AND),
    ast.LShift: ("<<", _SHIFT), ast.RShift: (">>", _SHIFT), ast.Add: ("+", _SUM), ast.Sub: ("-", _SUM),
    ast.Mult: ("*", _TERM), ast.MatMult: ("@", _TERM), ast.Div: ("/", _TERM), ast.Mod: ("%", _TERM),
    ast.FloorDiv: ("//", _TERM), ast.Pow: ("**", _POWER),
}
_UNARY = {ast.Not: ("not", _NOT), ast.USub: ("-", _FACTOR), ast.UAdd: ("+", _FACTOR), ast.Invert: ("~", _FACTOR)}
_COMPARISONS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}


class NewSyntax(Exception):
    """Syntax that Python 3.6 does not have; `node` is where, `str()` says which."""

    def __init__(self, node: ast.AST, what: str = "") -> None:
        super().__init__(what or type(node).__name__)
        self.node = node


def text_of(body: List[ast.stmt]) -> str:
    """Statements of a module -> their source. f-strings must be gone (needless.py). Raises NewSyntax."""
    return "\n".join(_block(body, "")) + "\n"


def _glue(*parts):
    """Tokens one after the other, with a blank only where two words would grow together."""
    text = ""
    for part in parts:
        blank = text and part and _is_word(text[-1]) and _is_word(part[0])
        text += " " + part if blank else part
    return text


def _is_word(character):
    return character == "_" or character.isalnum() or character > "\x7f"


def _commas(nodes, level=_TEST):
    return ",".join(_expression(node, level) for node in nodes)


# Statements: a simple one is its text, a compound one is a list of (header, body).

def _block(body, indent):
    """Statements -> lines, each statement on its own: `;` between them saves 3 bytes in all, and costs tracebacks."""
    lines = []
    for node in body:
        if type(node) in _SIMPLE:
            lines.append(indent + _SIMPLE[type(node)](node))
        else:
            for header, inner in _compound(node):
                lines += _clause(header, inner, indent)
    return lines


def _clause(header, body, indent):
    if body is None:  # a decorator
        return [indent + header]
    inner = _block(body, indent + _INDENT)
    if len(inner) == 1 and type(body[0]) in _SIMPLE:
        return [indent + header + ":" + inner[0].strip(_INDENT)]
    return [indent + header + ":"] + inner


def _compound(node):
    """A statement with bodies -> its clauses: (header without colon, body)."""
    make = _COMPOUND.get(type(node))
    if not make:
        raise NewSyntax(node)
    return make(node)


def _otherwise(node):
    return [("else", node.orelse)] if node.orelse else []


def _if_clauses(node, word="if"):
    clauses = [(_glue(word, _expression(node.test)), node.body)]
    if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        return clauses + _if_clauses(node.orelse[0], "elif")
    return clauses + _otherwise(node)


def _for_clauses(node, word="for"):
    header = _glue(word, _expression(node.target, _TUPLE), "in", _expression(node.iter, _TUPLE))
    return [(header, node.body)] + _otherwise(node)


def _try_clauses(node):
    clauses = [("try", node.body)]
    for handler in node.handlers:
        header = _glue("except", _expression(handler.type)) if handler.type else "except"
        clauses.append((_glue(header, "as", handler.name) if handler.name else header, handler.body))
    return clauses + _otherwise(node) + ([("finally", node.finalbody)] if node.finalbody else [])


def _with_clauses(node, word="with"):
    items = [_glue(_expression(item.context_expr), "as", _expression(item.optional_vars, _ATOM)) if item.optional_vars
             else _expression(item.context_expr) for item in node.items]
    return [(_glue(word, ",".join(items)), node.body)]


def _decorators(node):
    if getattr(node, "type_params", None):
        raise NewSyntax(node, "type parameters")
    for decorator in node.decorator_list:
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(name, ast.Attribute):
            name = name.value
        if not isinstance(name, ast.Name):
            raise NewSyntax(decorator, "a decorator that is more than a dotted name and a call")
    return [("@" + _expression(decorator), None) for decorator in node.decorator_list]


def _function_clauses(node, word="def"):
    return _decorators(node) + [("%s %s(%s)" % (word, node.name, _parameters(node.args)), node.body)]


def _class_clauses(node):
    inside = ",".join([_expression(base) for base in node.bases] + [_keyword(word) for word in node.keywords])
    return _decorators(node) + [("class " + node.name + (inside and "(%s)" % inside), node.body)]


def _chain(node):
    """`a=b=value`"""
    targets = [_expression(target, _TUPLE) for target in node.targets]
    return "=".join(targets + [_expression(node.value, _YIELD)])


def _annotated(node):
    name = _expression(node.target, _ATOM)
    text = "%s:%s" % (name if node.simple or not isinstance(node.target, ast.Name) else "(%s)" % name,
                      _expression(node.annotation))
    return text + "=" + _expression(node.value) if node.value else text


def _word_and(word, *nodes):
    return _glue(word, ",".join(_expression(node) for node in nodes if node))


def _raised(node):
    text = _word_and("raise", node.exc)
    return _glue(text, "from", _expression(node.cause)) if node.cause else text


def _imported(node):
    return ",".join("%s as %s" % (alias.name, alias.asname) if alias.asname else alias.name for alias in node.names)


_SIMPLE = {
    ast.Expr: lambda node: _expression(node.value, _YIELD),
    ast.Assign: _chain,
    ast.AugAssign: lambda node: "%s%s=%s" % (
        _expression(node.target, _ATOM), _BINARY[type(node.op)][0], _expression(node.value, _YIELD)),
    ast.AnnAssign: _annotated,
    ast.Return: lambda node: _glue("return", _expression(node.value, _TUPLE)) if node.value else "return",
    ast.Raise: _raised,
    ast.Assert: lambda node: _word_and("assert", node.test, node.msg),
    ast.Delete: lambda node: _word_and("del", *node.targets),
    ast.Pass: lambda node: "pass",
    ast.Break: lambda node: "break",
    ast.Continue: lambda node: "continue",
    ast.Global: lambda node: "global " + ",".join(node.names),
    ast.Nonlocal: lambda node: "nonlocal " + ",".join(node.names),
    ast.Import: lambda node: "import " + _imported(node),
    ast.ImportFrom: lambda node: _glue("from", "." * node.level + (node.module or ""), "import", _imported(node)),
}
_COMPOUND = {
    ast.If: _if_clauses,
    ast.While: lambda node: [(_glue("while", _expression(node.test)), node.body)] + _otherwise(node),
    ast.For: _for_clauses,
    ast.AsyncFor: lambda node: _for_clauses(node, "async for"),
    ast.Try: _try_clauses,
    ast.With: _with_clauses,
    ast.AsyncWith: lambda node: _with_clauses(node, "async with"),
    ast.FunctionDef: _function_clauses,
    ast.AsyncFunctionDef: lambda node: _function_clauses(node, "async def"),
    ast.ClassDef: _class_clauses,
}


# Expressions: a printer gives (text, how strongly it binds).

def _expression(node, level=_TEST):
    printer = _EXPRESSION.get(type(node))
    if not printer:
        raise NewSyntax(node)
    text, own = printer(node)
    return text if own >= level else "(%s)" % text


def _constant(node):
    value = node.value
    if value is ...:
        return "...", _ATOM
    text = repr(value)  # of strings, too: r"..." does not make the packed size smaller
    if isinstance(value, (float, complex)):
        text = re.sub(r"^0\.", ".", text.replace("inf", "1e309"))
    return text, _ATOM


def _binary(node):
    sign, level = _BINARY[type(node.op)]
    if level == _POWER:
        return _expression(node.left, _AWAIT) + sign + _expression(node.right, _FACTOR), level
    return _expression(node.left, level) + sign + _expression(node.right, level + 1), level


def _unary(node):
    sign, level = _UNARY[type(node.op)]
    return _glue(sign, _expression(node.operand, level)), level


def _boolean(node):
    word, level = ("or", _OR) if isinstance(node.op, ast.Or) else ("and", _AND)
    parts = [_expression(node.values[0], level + 1)]
    for value in node.values[1:]:
        parts += [word, _expression(value, level + 1)]
    return _glue(*parts), level


def _comparison(node):
    parts = [_expression(node.left, _BIT_OR)]
    for sign, value in zip(node.ops, node.comparators):
        parts += [_COMPARISONS[type(sign)], _expression(value, _BIT_OR)]
    return _glue(*parts), _COMPARE


def _choice(node):
    body, test = _expression(node.body, _OR), _expression(node.test, _OR)
    return _glue(body, "if", test, "else", _expression(node.orelse)), _TEST


def _parameters(arguments):
    if arguments.posonlyargs:
        raise NewSyntax(arguments.posonlyargs[0], "positional-only parameters")
    plain = [_parameter(argument) for argument in arguments.args]
    for place, default in enumerate(arguments.defaults, len(plain) - len(arguments.defaults)):
        plain[place] += "=" + _expression(default)
    if arguments.vararg or arguments.kwonlyargs:
        plain.append("*" + (_parameter(arguments.vararg) if arguments.vararg else ""))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
        plain.append(_parameter(argument) + ("=" + _expression(default) if default else ""))
    if arguments.kwarg:
        plain.append("**" + _parameter(arguments.kwarg))
    return ",".join(plain)


def _parameter(argument):
    return argument.arg + (":" + _expression(argument.annotation) if argument.annotation else "")


def _keyword(node):
    return "%s=%s" % (node.arg, _expression(node.value)) if node.arg else "**" + _expression(node.value)


def _call(node):
    if len(node.args) == 1 and not node.keywords and isinstance(node.args[0], ast.GeneratorExp):
        inside = _comprehension(node.args[0], node.args[0].elt)
    else:
        inside = ",".join(list(map(_expression, node.args)) + list(map(_keyword, node.keywords)))
    return "%s(%s)" % (_expression(node.func, _ATOM), inside), _ATOM


def _attribute(node):
    value = _expression(node.value, _ATOM)
    return "%s%s.%s" % (value, " " if value.isdigit() else "", node.attr), _ATOM


def _subscript(node):
    inside = node.slice
    if isinstance(inside, ast.Tuple) and any(isinstance(part, ast.Slice) for part in inside.elts):
        text = _commas(inside.elts) + ("," if len(inside.elts) == 1 else "")
    else:
        text = _expression(inside, _TUPLE)
    return "%s[%s]" % (_expression(node.value, _ATOM), text), _ATOM


def _slicing(node):
    text = "%s:%s" % tuple(_expression(end) if end else "" for end in (node.lower, node.upper))
    return text + ":" + _expression(node.step) if node.step else text, _TEST


def _tuple_of(node):
    text = _commas(node.elts) + ("," if len(node.elts) == 1 else "")
    if not text or any(isinstance(part, ast.Starred) for part in node.elts):  # bare `return *a,b` is not Python 3.6
        return "(%s)" % text, _ATOM
    return text, _TUPLE


def _dictionary(node):
    items = ["%s:%s" % (_expression(key), _expression(value)) if key else "**" + _expression(value, _BIT_OR)
             for key, value in zip(node.keys, node.values)]
    return "{%s}" % ",".join(items), _ATOM


def _comprehension(node, *elements):
    text = ":".join(_expression(element) for element in elements)
    for part in node.generators:
        word = "async for" if part.is_async else "for"
        text = _glue(text, word, _expression(part.target, _TUPLE), "in", _expression(part.iter, _OR))
        for test in part.ifs:
            text = _glue(text, "if", _expression(test, _OR))
    return text


_EXPRESSION = {
    ast.Name: lambda node: (node.id, _ATOM),
    ast.Constant: _constant,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _comparison,
    ast.IfExp: _choice,
    ast.Lambda: lambda node: (_glue("lambda", _parameters(node.args)) + ":" + _expression(node.body), _TEST),
    ast.Call: _call,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.Slice: _slicing,
    ast.Starred: lambda node: ("*" + _expression(node.value, _BIT_OR), _TEST),
    ast.Tuple: _tuple_of,
    ast.List: lambda node: ("[%s]" % _commas(node.elts), _ATOM),
    ast.Set: lambda node: ("{%s}" % _commas(node.elts), _ATOM),
    ast.Dict: _dictionary,
    ast.ListComp: lambda node: ("[%s]" % _comprehension(node, node.elt), _ATOM),
    ast.SetComp: lambda node: ("{%s}" % _comprehension(node, node.elt), _ATOM),
    ast.GeneratorExp: lambda node: ("(%s)" % _comprehension(node, node.elt), _ATOM),
    ast.DictComp: lambda node: ("{%s}" % _comprehension(node, node.key, node.value), _ATOM),
    ast.Yield: lambda node: (_glue("yield", _expression(node.value, _TUPLE)) if node.value else "yield", _YIELD),
    ast.YieldFrom: lambda node: (_glue("yield from", _expression(node.value)), _YIELD),
    ast.Await: lambda node: (_glue("await", _expression(node.value, _ATOM)), _AWAIT),
}
