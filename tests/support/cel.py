"""An evaluator of just the CEL that the admission policies use, and the admission of one Pod by them.

Strict where a cluster is: an absent field that is read, an unknown name or a wrong type raises CelError. `||` and `&&`
take an error on one side for nothing where the other side decides, as in https://github.com/google/cel-spec.
"""
import ast
import copy
import functools
import re

TOKEN = re.compile(r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|"""
                   r"""(?P<sign>\|\||&&|==|!=|[?:.,!(){}\[\]]))""")
CONSTANTS = {"true": True, "false": False, "null": None}


class CelError(Exception):
    """What the API server would call an error of compiling or evaluating."""


def tokens(text):
    at, found = 0, []
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise CelError("cannot read: %r" % text[at:at + 40])
        found.append((match.lastgroup, match.group(match.lastgroup)))
        at = match.end()
    return found + [("end", "")]


class Parser:
    """Tokens -> a function of the variables (a dict)."""

    def __init__(self, text):
        self.tokens, self.at = tokens(text), 0

    def next(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def sees(self, sign):
        return self.tokens[self.at] == ("sign", sign)

    def takes(self, sign):
        if self.sees(sign):
            return self.next()
        return None

    def expect(self, sign):
        if not self.takes(sign):
            raise CelError("expected %s, got %r" % (sign, self.tokens[self.at]))

    def whole(self):
        value = self.ternary()
        if self.tokens[self.at][0] != "end":
            raise CelError("left over: %r" % (self.tokens[self.at:self.at + 5],))
        return value

    def ternary(self):
        condition = self.either()
        if not self.takes("?"):
            return condition
        yes = self.either()
        self.expect(":")
        no = self.ternary()
        return lambda scope: yes(scope) if boolean(condition(scope)) else no(scope)

    def either(self):
        left = self.both()
        while self.takes("||"):
            left = logical(left, self.both(), True)
        return left

    def both(self):
        left = self.relation()
        while self.takes("&&"):
            left = logical(left, self.relation(), False)
        return left

    def relation(self):
        left = self.unary()
        while True:
            if self.takes("=="):
                left = (lambda one, other: lambda scope: one(scope) == other(scope))(left, self.unary())
            elif self.takes("!="):
                left = (lambda one, other: lambda scope: one(scope) != other(scope))(left, self.unary())
            elif self.tokens[self.at] == ("name", "in"):
                self.next()
                left = (lambda one, other: lambda scope: one(scope) in other(scope))(left, self.unary())
            else:
                return left

    def unary(self):
        if self.takes("!"):
            value = self.unary()
            return lambda scope: not boolean(value(scope))
        return self.member(self.primary())

    def member(self, value):
        while True:
            if self.takes("."):
                _, name = self.next()
                value = self.call(value, name) if self.takes("(") else read_of(value, name)
            elif self.takes("["):
                value = (lambda holder, key: lambda scope: item(holder(scope), key(scope)))(value, self.ternary())
                self.expect("]")
            else:
                return value

    def call(self, value, name):
        """filter, map, exists: macros of (variable, expression)."""
        kind, variable = self.next()
        if kind != "name" or name not in ("filter", "map", "exists"):
            raise CelError("no such macro: %s" % name)
        self.expect(",")
        body = self.ternary()
        self.expect(")")

        def run(scope):
            values = value(scope)
            if not isinstance(values, list):
                raise CelError("%s of what is not a list" % name)
            found = [(each, body(dict(scope, **{variable: each}))) for each in values]
            if name == "map":
                return [result for _, result in found]
            chosen = [each for each, result in found if boolean(result)]
            return chosen if name == "filter" else bool(chosen)
        return run

    def primary(self):
        kind, text = self.next()
        if kind == "string":
            string = ast.literal_eval(text)
            return lambda scope: string
        if kind == "name" and text == "has":
            self.expect("(")
            path = self.member(self.primary())
            self.expect(")")
            if not hasattr(path, "presence"):
                raise CelError("has() of what is not a field")
            return path.presence
        if kind == "name" and text == "Object":
            while self.takes("."):
                self.next()
            self.expect("{")
            return self.entries(key=lambda: (lambda name: lambda scope: name)(self.next()[1]))
        if kind == "name":
            return lambda scope: CONSTANTS[text] if text in CONSTANTS else item(scope, text)
        if (kind, text) == ("sign", "("):
            value = self.ternary()
            self.expect(")")
            return value
        if (kind, text) == ("sign", "{"):
            return self.entries(key=self.ternary)
        if (kind, text) == ("sign", "["):
            self.expect("]")
            return lambda scope: []
        raise CelError("unexpected: %r" % text)

    def entries(self, key):
        """`key: value, ...}` -> a dict; a key that is there twice is an error, as in CEL."""
        pairs = []
        while not self.takes("}"):
            if pairs:
                self.expect(",")
            name = key()
            self.expect(":")
            pairs.append((name, self.ternary()))

        def run(scope):
            found = {}
            for name, value in pairs:
                key = name(scope)
                if key in found:
                    raise CelError("key twice: %s" % key)
                found[key] = value(scope)
            return found
        return run


def logical(left, right, decisive):
    """`||` for True, `&&` for False: a side that decides covers an error of the other."""
    def run(scope):
        errors = []
        for side in (left, right):
            try:
                if boolean(side(scope)) is decisive:
                    return decisive
            except CelError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return not decisive
    return run


def read_of(holder, name):
    """`holder.name`; its `presence` is what has() of it says."""
    def run(scope):
        return item(holder(scope), name)

    def presence(scope):
        value = holder(scope)
        if not isinstance(value, dict):
            raise CelError("has(%s) of what has no fields" % name)
        return name in value
    run.presence = presence
    return run


def item(holder, key):
    if not hasattr(holder, "__getitem__") or key not in holder:
        raise CelError("no such field or key: %s" % key)
    return holder[key]


def boolean(value):
    if not isinstance(value, bool):
        raise CelError("not a bool: %r" % (value,))
    return value


@functools.lru_cache(maxsize=None)
def compiled(text):
    """An expression -> a function of the variables."""
    return Parser(text).whole()


def evaluate(text, **scope):
    """The value of an expression; raises CelError."""
    return compiled(text)(scope)


def admit(spec, pod, old=None, operation="CREATE", resource="pods"):
    """A Pod as it leaves one MutatingAdmissionPolicy; errors are raised, whatever its failurePolicy says."""
    pod = copy.deepcopy(pod)
    constraints = spec["matchConstraints"]
    if not any(resource in rule["resources"] and operation in rule["operations"]
               for rule in constraints["resourceRules"]):
        return pod
    for expression in constraints["namespaceSelector"]["matchExpressions"]:
        assert (expression["key"], expression["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
        if pod["metadata"]["namespace"] in expression["values"]:
            return pod
    scope = {"object": pod, "oldObject": old, "request": {"operation": operation}, "variables": {}}
    if not all(evaluate(condition["expression"], **scope) for condition in spec["matchConditions"]):
        return pod
    for variable in spec["variables"]:
        scope["variables"][variable["name"]] = evaluate(variable["expression"], **scope)
    for change in spec["mutations"]:
        assert change["patchType"] == "ApplyConfiguration"
        pod = merged(pod, evaluate(change["applyConfiguration"]["expression"], **scope))
    return pod


def merged(value, applied):
    """Merged as by server-side apply: fields of objects, items of lists by name; order and all else stay."""
    if isinstance(value, dict) and isinstance(applied, dict):
        return dict(value, **{key: merged(value.get(key), part) for key, part in applied.items()
                              if not (part == [] and key not in value)})
    if isinstance(value, list) and isinstance(applied, list):
        parts = {part["name"]: part for part in applied}
        assert set(parts) <= {each["name"] for each in value}, "an item was added"
        return [merged(each, parts[each["name"]]) if each["name"] in parts else each for each in value]
    return applied
