"""A program's syntax tree -> its source, as small as we can make it, checked before it is handed out.

    drop (needless.py, unused.py) -> in_place.py -> rename (names.py) -> print (printer.py) -> parse again and compare

All passes are always on and come in this order. Names of functions and classes in tracebacks and reprs do change, and
so do line numbers.

Rule for editors: a pass stays only if the packed size is smaller with it. The output is the same on every Python.
Not worth their code: names for attributes (53 bytes: whether a name is also the library's would have to be known for
every version of it), choosing among several names (76), a deflate of our own (133).
"""
import ast
import itertools
from typing import Dict

from builder.zipapp.in_place import put_in_place
from builder.zipapp.names import Bindings, Groups, rename, renamable
from builder.zipapp.needless import drop_needless
from builder.zipapp.printer import NewSyntax, text_of
from builder.zipapp.syntax import UnfitSource, WrongResult, copied, difference, position_of
from builder.zipapp.unused import drop_unused


def minify(tree: ast.Module) -> Dict[str, str]:
    """The tree of a whole program -> path of each of its modules -> what is left of it; joined, these are the program.

    Changes the tree. Raises UnfitSource, WrongResult, both with path and line.
    """
    try:
        drop_needless(tree)
        drop_unused(tree)
        plain = copied(tree)
        put_in_place(tree)
        _compare_constants(plain, tree)
        renamed = copied(tree)
        rename(renamed)
        texts = {path: text_of(list(body)) for path, body in itertools.groupby(renamed.body, lambda node: node.path)}
    except NewSyntax as error:
        raise UnfitSource(position_of(error.node), "not Python 3.6: %s" % error)
    _compare(tree, "".join(texts.values()))
    return texts


def _compare_constants(plain: ast.Module, tree: ast.Module) -> None:
    """Raise WrongResult unless two trees are equal once every constant stands where it is used. Changes `plain`."""
    other = copied(tree)
    put_in_place(plain, often=True)
    put_in_place(other, often=True)
    for changed in (plain, other):
        _make_anonymous(Bindings(changed).groups())
    position = difference(plain, other)
    if position:
        raise WrongResult("%s:%d: means something else with its constants in place" % position)


def _compare(tree: ast.Module, text: str) -> None:
    """Raise WrongResult unless `text` is the tree under other names: the same names for the same bindings. Changes the
    tree."""
    again = ast.parse(text)
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
    """Change the tree of these bindings: each has its number for a name."""
    for number, places in enumerate(groups.values()):
        for place, _ in places:
            place.put("#%d" % number)
