"""The commands to type once OUT is on the machine that reaches the cluster: for the summary and OUT's README.txt. Pure.

Rules for editors, which a test holds on a model of a cluster:
- A selector requires a key of ours (kubernetes/labels.py). Namespaced kinds are deleted by `-n`, cluster-wide kinds by
  the label that names the namespace: another seed keeps its own.
- No command deletes a chunk or program that the newest seed names, or, where it names none, that any seed might.
- An update is never removed by its folder, nor by that of its base: seeds share chunks, and a folder takes its
  namespace along. Labels find the objects of all of them.
- Every apply is server-side: plain apply stores each chunk twice in etcd, and takes longer.
"""
import os
import shlex
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Set

from builder.kubernetes import labels
from builder.kubernetes.file_names import CHUNKS
from builder.kubernetes.labels import POLICY, SERVICE, SHARED, of_parts, terms
from builder.kubernetes.manifest import DELETIONS, OBJECTS, POLICIES, WORKLOADS, kinds_of
from builder.kubernetes.site import MIRROR, POLICY as BY_POLICY
from builder.kubernetes.workloads import READY_TIMEOUT, Plan, workloads

STDOUT = "-"
OUTCOME = (  # a missing interpreter leaves no log, only this message
    ("POD", ".metadata.name"), ("NODE", ".spec.nodeName"), ("IMAGE", ".spec.containers[0].image"),
    ("PHASE", ".status.phase"), ("READY", ".status.containerStatuses[0].ready"),
    ("WAITS", ".status.initContainerStatuses[0].state.waiting.reason"),
    ("FAILED", ".status.initContainerStatuses[0].state.terminated.message"))

NEXT = {  # key of a command -> its purpose, in order
    "check": "check that the chunks of other folders are in the cluster: this prints missing ones",
    "apply": "apply it",
    "apply_rest": "apply all but what leads nodes to it",
    "wait": "wait until it serves",
    "turn": "lead nodes to it",
    "outcomes": "see each attempt's outcome",
}
PRUNE, REMOVE, REMOVE_ALL = "prune", "remove", "remove_all"  # what a deletion selects


class Section(NamedTuple):
    """Commands that serve one purpose, for people."""
    purpose: str
    commands: Sequence[str]


def apply_command(out: str, selector: str = "") -> str:
    """Return the command that applies a folder, or those of its objects that the selector finds."""
    return "kubectl apply --server-side -f %s%s" % (shlex.quote(out), " -l '%s'" % selector if selector else "")


def key_of(scope: str, deletion: str) -> str:
    """Return the key of a deletion: `prune` of what every seed has, `prune_policies` of what only some have."""
    return scope if deletion == OBJECTS else "%s_%s" % (scope, deletion)


def deletions(namespace: str, scope: str, selector: str) -> Dict[str, str]:
    """Return key -> command for each of DELETIONS; each keeps a PersistentVolumeClaim and the Namespace."""
    found = {}
    for deletion in DELETIONS:
        options, wanted = "-n %s " % namespace, selector
        if deletion == POLICIES:
            options, wanted = "", "%s,%s" % (terms({labels.NAMESPACE: namespace}), selector)
        found[key_of(scope, deletion)] = "kubectl %sdelete %s -l '%s'" % (options, kinds_of(deletion), wanted)
    return found


def removals(namespace: str) -> Dict[str, str]:
    """Return the commands that remove every seed of a namespace, in order. A persistent registry stays."""
    return {**deletions(namespace, REMOVE, labels.SEED),
            REMOVE + "_chunks": "kubectl -n %s delete configmap -l '%s'" % (namespace, of_parts(SHARED))}


def commands(plan: Plan, out: str, is_update: bool) -> Dict[str, str]:
    """Return key -> command. `heal` only where nothing heals by itself and there is a folder to apply again;
    `uninstall` only where a folder lists all objects, and none that another seed shares."""
    namespace = plan.site.namespace
    kubectl = "kubectl -n %s " % namespace
    shared = "%sget configmap -l '%s' -o name" % (kubectl, of_parts(SHARED))
    needed = shlex.quote(os.path.join(out, CHUNKS))
    found = {
        "wait": kubectl + wait_command(plan),
        "outcomes": kubectl + "get pods -l %s -o custom-columns=%s"
                    % (terms({labels.SEED: plan.seed}), ",".join("%s:%s" % column for column in OUTCOME)),
        **deletions(namespace, PRUNE, labels.older_than(plan.seed)),
        **removals(namespace),
        **deletions(namespace, REMOVE_ALL, labels.PART),
    }
    if out == STDOUT:
        return found
    found["prune_chunks"] = "%s | grep -vxFf %s | xargs -r %sdelete --ignore-not-found" % (shared, needed, kubectl)
    apply = apply_command(out)
    if is_update:
        found["check"] = "(%s; kubectl create --dry-run=client -o name -f %s) | grep -vxFf - %s" % (
            shared, shlex.quote(out), needed)
    else:
        found["uninstall"] = "kubectl delete --ignore-not-found -f " + shlex.quote(out)
    if is_update and (plan.site.exposure.service or plan.site.names == BY_POLICY):
        last = (SERVICE, POLICY)
        found["apply_rest"] = apply_command(out, labels.except_parts(last))
        found["turn"] = apply_command(out, of_parts(last))
    else:
        found["apply"] = apply
    names = [manifest["metadata"]["name"] for manifest in workloads(plan) if manifest["kind"] == "Pod"]
    if names:
        found["heal"] = kubectl + "delete pod %s --ignore-not-found --force && %s" % (" ".join(names), apply)
    return found


def wait_command(plan: Plan) -> str:
    """Return the arguments of kubectl that wait until it serves. One of several attempts is enough, for which there is
    no condition: they are watched."""
    manifest = workloads(plan)[0]
    name = "%s/%s" % (manifest["kind"].lower(), manifest["metadata"]["name"])
    if manifest["kind"] != "Pod":
        return "rollout status %s %s" % (name, READY_TIMEOUT)
    if plan.site.tries > 1:
        return "get pods -l %s --watch" % terms({labels.SEED: plan.seed})
    return "wait --for=condition=Ready %s %s" % (name, READY_TIMEOUT)


def deletions_of(plan: Plan, has_registry: bool) -> Set[str]:
    """Return those of DELETIONS that this seed needs: mirror and policies belong to a persistent registry."""
    names = plan.site.names if not has_registry else ""
    return {OBJECTS, *([WORKLOADS] if plan.site.workload != "pod" or names == MIRROR else []),
            *([POLICIES] if names == BY_POLICY else [])}


def brief(found: Mapping[str, str], needed: Iterable[str], has_registry: bool) -> Dict[str, str]:
    """Return the commands for a summary: of deletions those that this seed needs, and one way to remove it, or two
    where a persistent registry may stay."""
    skipped = {key_of(scope, deletion) for scope in (PRUNE, REMOVE) for deletion in set(DELETIONS) - set(needed)}
    skipped |= {key_of(REMOVE_ALL, deletion) for deletion in DELETIONS}
    if "uninstall" in found and not has_registry:
        skipped |= set(removals(""))
    return {key: command for key, command in found.items() if key not in skipped}


def steps(found: Mapping[str, str], tries: int, more: Sequence[Section], lost_namespace: str) -> List[str]:
    """Return the commands as lines for people: the next steps, numbered, `more` among them; then those for later.
    `lost_namespace`: the one that uninstalling deletes; "": none."""
    first = [Section(NEXT[key], [found[key]]) for key in NEXT if key in found and (key != "outcomes" or tries > 1)]
    lines = ["next steps"]
    for number, (purpose, its_commands) in enumerate([*first, *more], 1):
        lines += ["  %d. %s" % (number, purpose), *("     " + command for command in its_commands)]
    for purpose, its_commands in later(found, lost_namespace):
        lines += [purpose, *("     " + command for command in its_commands)]
    return lines


def later(found: Mapping[str, str], lost_namespace: str) -> Iterator[Section]:
    """Yield what may be needed later; how to remove it comes last."""
    by_label = "remove the seed; a persistent registry stays" if "uninstall" in found else "uninstall"
    if "check" in found:
        by_label += ", by label: kubectl delete -f would delete chunks that other seeds share"
    uninstall = "uninstall"
    if lost_namespace:
        uninstall += "; this deletes namespace %s with everything in it" % lost_namespace
    for purpose, keys in (
            ("if its Pod is evicted or its node is lost", ["heal"]),
            ("prune older seeds, once this one serves", _keys(PRUNE)),
            (by_label, _keys(REMOVE)),
            ("uninstall every seed and the persistent registry; its claim and the namespace stay", _keys(REMOVE_ALL)),
            (uninstall, [key_of(REMOVE_ALL, POLICIES), "uninstall"] if "uninstall" in found else [])):
        its_commands = [found[key] for key in keys if key in found]
        if its_commands:
            yield Section(purpose, its_commands)


def _keys(scope: str) -> List[str]:
    return [key_of(scope, deletion) for deletion in DELETIONS] + [scope + "_chunks"]
