"""`--names policy`: Pods that name an image of the seed get the name that it is served under. Pure.

In:  every spelling and where it is served (spellings.py). Out: specs of MutatingAdmissionPolicy, as plain dicts.

What the API server runs is CEL, made here by `mutation`: tests evaluate it on a table of Pods. Rules for editors:
- What is not in the map stays as it is, and so does every field but the image: an apply configuration merges lists by
  name. A second run changes nothing, as no served name is in the map.
- An update must restart no container. Only the image of one that runs the served image already is rewritten: a bare Pod
  that is applied again comes with its original name, and would be restarted under it.

https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/ (v1: Kubernetes 1.36 and newer)
"""
import json
from typing import Any, Dict, Iterator, List, Mapping, Sequence

OLDEST_MINOR = 36  # of Kubernetes 1 that serves it without a setting
# Of one expression: https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/apis/admissionregistration/validation
EXPRESSION_CHARACTERS = 100_000

LISTS = ("containers", "initContainers", "ephemeralContainers")  # of a Pod's spec, whose items have an image
ALWAYS_THERE = "containers"
ADDED_LATER = "ephemeralContainers"  # `kubectl debug` adds them to a Pod that runs

NO_WINDOWS = """\
!(has(object.spec.os) && object.spec.os.name == "windows") &&
!(has(object.spec.nodeSelector) && "kubernetes.io/os" in object.spec.nodeSelector &&
  object.spec.nodeSelector["kubernetes.io/os"] == "windows")"""


def specs(spellings: Mapping[str, str], left_out: Sequence[str]) -> Iterator[Dict[str, Any]]:
    """Spelling -> served name; namespaces that are left out -> the spec of each policy that is needed."""
    for part in parts(spellings):
        yield {
            "failurePolicy": "Ignore",  # a Pod that is not rewritten pulls from its own registry, as without us
            "reinvocationPolicy": "IfNeeded",  # containers that another webhook adds
            "matchConstraints": {
                "namespaceSelector": {"matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(left_out)}]},
                "resourceRules": [rule("pods", "CREATE", "UPDATE"), rule("pods/ephemeralcontainers", "UPDATE")]},
            # 127.0.0.1 of a Windows node leads nowhere.
            "matchConditions": [{"name": "not-on-windows", "expression": NO_WINDOWS}],
            "variables": [{"name": "served", "expression": map_of(part)}],
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": mutation()}}]}


def rule(resource: str, *operations: str) -> Dict[str, List[str]]:
    return {"apiGroups": [""], "apiVersions": ["v1"], "operations": list(operations), "resources": [resource]}


def parts(spellings: Mapping[str, str]) -> Iterator[Dict[str, str]]:
    """The spellings in as few maps as the length of an expression allows, in their order."""
    part: Dict[str, str] = {}
    size = len(map_of(part))
    for spelling, served in spellings.items():
        added = len(map_of({spelling: served})) - len(map_of({})) + len(",\n")
        if part and size + added > EXPRESSION_CHARACTERS:
            yield part
            part, size = {}, len(map_of({}))
        part[spelling] = served
        size += added
    if part:
        yield part


def map_of(spellings: Mapping[str, str]) -> str:
    """A map literal, a line for each entry."""
    lines = ["  %s: %s" % (json.dumps(spelling), json.dumps(served)) for spelling, served in spellings.items()]
    return "{\n%s\n}" % ",\n".join(lines)


def mutation() -> str:
    """The apply configuration: only name and new image of what is rewritten."""
    rows = ["    %s: %s" % (name, rewritten(name, "c", "image",
                                            "Object.spec.%s{name: c.name, image: variables.served[c.image]}" % name))
            for name in LISTS]
    rows.append("    volumes: " + rewritten(
        "volumes", "v", "image.reference", "Object.spec.volumes{name: v.name, image: Object.spec.volumes.image{"
        "reference: variables.served[v.image.reference]}}"))
    return "Object{\n  spec: Object.spec{\n%s\n  }\n}" % ",\n".join(rows)


def rewritten(name: str, item: str, field: str, new: str) -> str:
    """The items of one list that are to be rewritten, each as `new`; an absent list stays one."""
    image, old_image = "%s.%s" % (item, field), "o.%s" % field
    old = "oldObject.spec." + name
    same = "has(%s) && %s.exists(o, o.name == %s.name && %s && %s == variables.served[%s])" % (
        old, old, item, present("o", field), old_image, image)
    rules = ['request.operation == "CREATE"', same]
    if name == ADDED_LATER:
        rules[1:1] = ["!has(%s)" % old, "!%s.exists(o, o.name == %s.name)" % (old, item)]
    lines = ["object.spec.%s" % name,
             "  .filter(%s, %s && %s in variables.served && (" % (item, present(item, field), image),
             "    " + " ||\n    ".join(rules) + "))",
             "  .map(%s, %s)" % (item, new)]
    if name != ALWAYS_THERE:
        lines[0] = "!has(object.spec.%s) ? [] : %s" % (name, lines[0])
    return "\n".join(lines).replace("\n", "\n    ")


def present(item: str, field: str) -> str:
    """Return whether an item has a field, which may be the field of a field."""
    steps = field.split(".")
    return " && ".join("has(%s.%s)" % (item, ".".join(steps[:count])) for count in range(1, len(steps) + 1))
