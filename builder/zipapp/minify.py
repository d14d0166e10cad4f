"""Source of Python 3.6 modules -> smaller source with the same behaviour, checked before it is handed out.

    parse -> drop (needless.py) -> rename (names.py) -> print (printer.py) -> parse again and compare

All passes work on the syntax tree, are always on and come in this order. The modules of one pack are minified together:
a name that another module spells stays as it is. Names of functions and classes in tracebacks and reprs do change,
and so do line numbers; module names do not.

Rule for editors: a pass stays only if the packed size is smaller with it. The output is the same on every Python.
Python 3.6 grammar: https://docs.python.org/3.6/reference/grammar.html
"""
import ast
import copy
import functools
import re
import sys
from typing import Dict, FrozenSet, Mapping

from builder.zipapp.names import NO_MENTIONS, Bindings, Mentions, mentions, rename, renamable
from builder.zipapp.needless import drop_needless
from builder.zipapp.printer import NewSyntax, text_of

OLDEST = (3, 6)  # what the modules must run on


class UnfitSource(Exception):
    """A module cannot be minified: it is not Python 3.6, or its names cannot be followed. For the module's author."""


class WrongResult(Exception):
    """A bug of the minifier: what it made is not what went in."""


def minify(source: str, path: str = "module.py") -> str:
    """One module that is a whole program. Raises UnfitSource, WrongResult."""
    return minify_all({path: source})[path]


def minify_all(sources: Mapping[str, str]) -> Dict[str, str]:
    """The modules of one pack, path -> source. Raises UnfitSource, WrongResult, both with path and line."""
    spelled = {path: mentions(parse(source, path)) for path, source in sources.items()}
    pack = functools.reduce(Mentions.__or__, spelled.values(), NO_MENTIONS)
    minified = {}
    for path, source in sources.items():
        kept = frozenset().union(*(spelled[other].names for other in sources if other != path))
        minified[path] = minify_one(source, path, kept, pack)
    return minified


def minify_one(source: str, path: str, kept: FrozenSet[str], pack: Mentions) -> str:
    """`kept`: names that other modules of the pack spell; `pack`: what all of them spell."""
    tree = parse(source, path)
    try:
        drop_needless(tree, kept)
        renamed = copy.deepcopy(tree)
        rename(renamed, kept, pack)
        text = text_of(renamed)
    except NewSyntax as error:
        raise UnfitSource("%s:%d: not Python 3.6: %s" % (path, error.line, error))
    compare(tree, text, path, kept, pack)
    return text


def parse(source: str, path: str) -> ast.Module:
    """Raises UnfitSource for what Python 3.6 does not understand, as far as this Python tells it apart."""
    try:
        tree = ast.parse(source, path, feature_version=OLDEST)
    except SyntaxError as error:
        raise UnfitSource("%s:%d: not Python 3.6: %s" % (path, error.lineno or 0, error.msg))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module == "__future__" or node.names[0].name == "*"):
            raise UnfitSource("%s:%d: from __future__ and import * cannot be followed" % (path, node.lineno))
        if isinstance(node, ast.FormattedValue) and sys.version_info >= (3, 12):
            # Only from 3.12 on has it a position, and only from there on does `feature_version` let f"{x=}" pass.
            if re.match(r"\s*=", after_value(source, node)):
                raise UnfitSource("%s:%d: not Python 3.6: f-string with =" % (path, node.lineno))
    return tree


def after_value(source: str, node: ast.FormattedValue) -> str:
    """What stands after the expression in the braces of an f-string."""
    whole, value = ast.get_source_segment(source, node), ast.get_source_segment(source, node.value)
    return whole.partition(value)[2]


def compare(tree: ast.Module, text: str, path: str, kept: FrozenSet[str], pack: Mentions) -> None:
    """Raise WrongResult unless `text` is the tree under other names: the same names for the same bindings."""
    again = ast.parse(text, path)
    groups = Bindings(tree).groups()
    before, after = list(groups), list(Bindings(again).groups())
    free = set(renamable(tree, groups, kept, pack))
    for old, new in zip(before, after):
        if old[1] != new[1] and old not in free:
            raise WrongResult("%s: %s must not become %s" % (path, old[1], new[1]))
    place = difference(anonymous(tree), anonymous(again))
    if place:
        raise WrongResult("%s:%d: was changed by minifying" % (path, place))


def anonymous(tree: ast.Module) -> ast.Module:
    """A copy in which every binding has its number for a name."""
    tree = copy.deepcopy(tree)
    for number, places in enumerate(Bindings(tree).groups().values()):
        for place, _ in places:
            if place:
                place.put("#%d" % number)
    return tree


def difference(one, other, line: int = 1) -> int:
    """Line of the first place where two trees differ, 0 if nowhere."""
    line = getattr(one, "lineno", line)
    if type(one) is not type(other):
        return line
    if isinstance(one, ast.AST):
        one, other = ([getattr(node, field, None) for field in node._fields] for node in (one, other))
    if not isinstance(one, list):
        return 0 if repr(one) == repr(other) else line  # repr: 0.0 is not -0.0
    if len(one) != len(other):
        return line
    return next(filter(None, (difference(*pair, line) for pair in zip(one, other))), 0)
