"""What to type once OUT is on the machine that reaches the cluster: for the summary and for OUT's README. Pure.

Two rules for editors, which a test holds on a model of a cluster:
- Nothing here deletes a chunk that the newest seed names, or, where it names none, that any seed might.
- An update is never undone by its folder, nor by that of its base: seeds share chunks, and a folder takes its namespace
  along. Labels find what all of them left.
"""
import os
import shlex
from typing import Dict, Iterator, List, Sequence, Tuple

from builder.kubernetes.config_maps import CHUNK
from builder.kubernetes.file_names import CHUNKS
from builder.kubernetes.manifest import LABELS, pruned_kinds
from builder.kubernetes.site import NAME
from builder.kubernetes.workloads import READY_TIMEOUT, Plan, workloads

STDOUT = "-"
MANAGED_BY, INSTANCE, COMPONENT = LABELS + "managed-by", LABELS + "instance", LABELS + "component"
SERVICE = "service"  # the component of the Service
OUTCOME = (  # a missing interpreter leaves no log, only this message
    ("POD", ".metadata.name"), ("NODE", ".spec.nodeName"), ("IMAGE", ".spec.containers[0].image"),
    ("PHASE", ".status.phase"), ("READY", ".status.containerStatuses[0].ready"),
    ("WAITS", ".status.initContainerStatuses[0].state.waiting.reason"),
    ("FAILED", ".status.initContainerStatuses[0].state.terminated.message"))

NEXT = {  # in order, and what for
    "check": "check that the chunks of other folders are in the cluster: this prints those that are not",
    "apply": "apply it",
    "apply_rest": "apply all but the Service",
    "wait": "wait until it serves",
    "turn": "turn the Service to it",
    "outcomes": "see what became of each try, and why",
}
LATER = {
    "heal": "if its Pod is evicted or its node is lost",
    "prune": "once it serves, delete what older builds left",
    "prune_chunks": "and the chunks that only they needed",
    "undo": "undo",
}


def apply_command(out: str, server_side: bool, selector: str = "") -> str:
    return "kubectl apply %s-f %s%s" % ("--server-side " if server_side else "", shlex.quote(out),
                                        " -l '%s'" % selector if selector else "")


def commands(plan: Plan, out: str, server_side: bool, update: bool) -> Dict[str, str]:
    """Key of NEXT or LATER -> command. "heal" only where nothing heals by itself and there is a folder to apply again;
    "undo" by label where no folder lists all objects and only those of this build."""
    kubectl = "kubectl -n %s " % plan.site.namespace
    ours = "delete %s -l '%s=%s" % (pruned_kinds(plan.site), MANAGED_BY, NAME)
    chunks = "%sget configmap -l %s=%s,%s=%s -o name" % (kubectl, MANAGED_BY, NAME, COMPONENT, CHUNK)
    needed = shlex.quote(os.path.join(out, CHUNKS))
    found = {
        "wait": kubectl + wait_command(plan),
        "outcomes": kubectl + "get pods -l %s=%s -o custom-columns=%s"
                    % (INSTANCE, plan.instance, ",".join("%s:%s" % column for column in OUTCOME)),
        # `!=` matches objects without the label, too; what is of no instance is kept by its component
        "prune": kubectl + ours + ",%s!=%s,%s!=%s'" % (INSTANCE, plan.instance, COMPONENT, CHUNK),
        "undo": kubectl + ours + "'",
    }
    if out == STDOUT:
        return found
    apply = apply_command(out, server_side)
    found["prune_chunks"] = "%s | grep -vxFf %s | xargs -r %sdelete" % (chunks, needed, kubectl)
    if update:
        found["check"] = "(%s; kubectl create --dry-run=client -o name -f %s) | grep -vxFf - %s" % (
            chunks, shlex.quote(out), needed)
        found["apply_rest"] = apply_command(out, server_side, "%s!=%s" % (COMPONENT, SERVICE))
        found["turn"] = apply
    else:
        found["apply"] = apply
        found["undo"] = "kubectl delete --ignore-not-found -f " + shlex.quote(out)  # objects go with their namespace
    names = [manifest["metadata"]["name"] for manifest in workloads(plan) if manifest["kind"] == "Pod"]
    if names:
        found["heal"] = kubectl + "delete pod %s --ignore-not-found --force && %s" % (" ".join(names), apply)
    return found


def wait_command(plan: Plan) -> str:
    """Until it serves. Of several tries one is enough, for which there is no condition: they are watched."""
    manifest = workloads(plan)[0]
    name = "%s/%s" % (manifest["kind"].lower(), manifest["metadata"]["name"])
    if manifest["kind"] != "Pod":
        return "rollout status %s %s" % (name, READY_TIMEOUT)
    if plan.site.tries > 1:
        return "get pods -l %s=%s --watch" % (INSTANCE, plan.instance)
    return "wait --for=condition=Ready %s %s" % (name, READY_TIMEOUT)


def steps(found: Dict[str, str], tries: int, more: Sequence[Tuple[str, str]], lost_namespace: str) -> List[str]:
    """The commands as lines for people: what to type next, numbered, with `more` (what for, command) of them; then what
    may be needed later; last how to undo it. `lost_namespace`: that undoing takes along; "": none."""
    first = [(NEXT[key], found[key]) for key in NEXT if key in found and (key != "outcomes" or tries > 1)] + list(more)
    lines = ["next steps"]
    for number, (purpose, command) in enumerate(first, 1):
        lines += ["  %d. %s" % (number, purpose), "     " + command]
    return lines + list(_later(found, lost_namespace))


def _later(found: Dict[str, str], lost_namespace: str) -> Iterator[str]:
    for key, purpose in LATER.items():
        if key in found:
            if key == "undo" and lost_namespace:
                purpose += "; this deletes namespace %s with everything in it" % lost_namespace
            if key == "undo" and "check" in found:
                purpose += ", by label: kubectl delete -f would take chunks along that other seeds share"
            yield purpose
            yield "     " + found[key]
