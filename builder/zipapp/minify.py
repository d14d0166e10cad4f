"""A program's syntax tree -> its source, as small as we can make it, checked before it is returned.

    drop (needless.py) -> rename (renaming.py) -> print (unparse.py) -> parse again, compare and compile

All passes are always on and come in this order. Names of functions in tracebacks change, and so do line numbers.

Rule for editors: a pass stays only if the packed size is clearly smaller with it. Not worth their code: a printer of
our own (236 bytes), constants in the place where they are used (63), leaving out unused functions (57), names for
attributes (53: the library's attributes would have to be known for every version of it), choosing among several names
(76), a deflate of our own (133).
"""
import ast
import itertools
from typing import Dict

from builder.zipapp.needless import drop_needless
from builder.zipapp.renaming import rename, renamable
from builder.zipapp.scopes import Bindings, Groups
from builder.zipapp.syntax import OLDEST, WrongResult, children, compile_text, copied, difference, position_of
from builder.zipapp.unparse import unparse


def minify(tree: ast.Module) -> Dict[str, str]:
    """Return path -> minified source of each module of a bundle; joined, they are the program. Changes the tree.

    Raises UnfitSource, WrongResult, with path and line.
    """
    drop_needless(tree)
    renamed = copied(tree)
    rename(renamed)
    texts = {path: unparse(list(body)) for path, body in itertools.groupby(children(renamed), lambda node: node.path)}
    _compare(tree, "".join(texts.values()))
    return texts


def _compare(tree: ast.Module, text: str) -> None:
    """Raise WrongResult unless `text` is the tree under other names, a name for each binding. Changes the tree."""
    try:
        compile_text(text, "__main__.py")
        again = ast.parse(text, feature_version=OLDEST)
    except (SyntaxError, ValueError) as error:
        raise WrongResult("the result cannot be read: %s" % error)
    groups, groups_again = Bindings(tree).groups(), Bindings(again).groups()
    free = set(renamable(tree, groups))
    for old, new, places in zip(groups, groups_again, groups.values()):
        if old[1] != new[1] and old not in free:
            raise WrongResult("%s:%d: %s must not become %s" % (position_of(places[0][0].node) + (old[1], new[1])))
    _make_anonymous(groups)
    _make_anonymous(groups_again)
    position = difference(tree, again)
    if position:
        raise WrongResult("%s:%d: was changed by minifying" % position)


def _make_anonymous(groups: Groups) -> None:
    """Rename each binding to its number, in place."""
    for number, places in enumerate(groups.values()):
        for place, _ in places:
            place.put("#%d" % number)
