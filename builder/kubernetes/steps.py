"""The commands to type on a machine with OUT and access to the cluster, for the summary and OUT's README.txt. Pure.

Rules for editors, which a test checks on a model of a cluster:
- Namespaced kinds are deleted by `-n`, cluster-wide kinds by the label that names the namespace: seeds in other
  namespaces keep theirs.
- Pruning deletes no chunk or program that the newest seed needs; without a list of those, it deletes none at all.
- An update is never uninstalled by its folder or by that of its base: seeds share chunks, and a folder may contain the
  namespace. Labels find the objects of all seeds.
"""
import os
from typing import Container, Dict, Iterable, List, Mapping, NamedTuple, Sequence, Tuple

from builder.kubernetes import kubectl, labels
from builder.kubernetes.file_names import CHUNKS
from builder.kubernetes.labels import POLICY, REGISTRY_SERVICE, SERVICE, SHARED, of_parts, terms
from builder.kubernetes.manifest import DELETIONS, KINDS, OBJECTS, POLICIES, kinds_of
from builder.kubernetes.names import MIRROR_NAME
from builder.kubernetes.persistent_registry import CODE, REGISTRY, SPOOLER, SPOOLER_FILE
from builder.kubernetes.runner import Runner, command
from builder.kubernetes.site import MIRROR, NAME, POLICY as BY_POLICY, Site
from builder.kubernetes.workloads import Plan, workloads

STDOUT = "-"

NEXT = {  # key of a command -> its purpose, in order
    "verify": "verify the folder where you apply it",
    "check": "check that the cluster has the chunks of the other folders: this lists missing ones",
    "apply": "apply it",
    "apply_rest": "apply all but Services and policies",
    "wait": "wait until it serves",
    "wait_mirror": "wait until every node has the files of the mirror",
    "turn": "apply these: nodes then pull from it",
    "outcomes": "see each attempt's outcome",
}
PRUNE, REMOVE, REMOVE_ALL = "prune", "remove", "remove_all"  # the objects that a deletion selects
CHUNKS_TOO = "_chunks"  # the end of the key of a command for chunks and programs


class Section(NamedTuple):
    """Commands that serve one purpose, for people."""
    purpose: str
    commands: Sequence[str]


def key_of(scope: str, deletion: str) -> str:
    """Return the key of a deletion: `prune` for kinds that every seed has, `prune_policies` for kinds of some seeds."""
    return scope if deletion == OBJECTS else "%s_%s" % (scope, deletion)


def deletions(namespace: str, scope: str, selector: str) -> Dict[str, str]:
    """Return key -> command for each of DELETIONS; each keeps a PersistentVolumeClaim and the Namespace."""
    of_namespace = "%s,%s" % (terms({labels.NAMESPACE: namespace}), selector)
    return {key_of(scope, deletion): kubectl.delete_selected("", kinds_of(deletion), of_namespace)
            if deletion == POLICIES else kubectl.delete_selected(namespace, kinds_of(deletion), selector)
            for deletion in DELETIONS}


def removals(namespace: str) -> Dict[str, str]:
    """Return the commands that remove every seed of a namespace, in order. A persistent registry stays."""
    return {**deletions(namespace, REMOVE, labels.SEED),
            REMOVE + CHUNKS_TOO: kubectl.delete_selected(namespace, "configmap", of_parts(SHARED))}


def commands(plan: Plan, out: str, is_update: bool) -> Dict[str, str]:
    """Return key -> command. `heal`: only for bare Pods, and a folder to apply again; `uninstall`: only for the folder
    of a full build, which lists all objects and shares none."""
    namespace, shared = plan.site.namespace, of_parts(SHARED)
    found = {
        "wait": wait_command(plan),
        "outcomes": kubectl.list_outcomes(namespace, terms({labels.SEED: plan.seed})),
        **deletions(namespace, PRUNE, labels.except_seed(plan.seed)),
        **removals(namespace),
        **deletions(namespace, REMOVE_ALL, labels.PART),
    }
    if plan.site.names == MIRROR:
        found["wait_mirror"] = kubectl.wait_for_rollout(namespace, "daemonset", MIRROR_NAME)
    if out == STDOUT:
        return found
    needed = os.path.join(out, CHUNKS)
    found[PRUNE + CHUNKS_TOO] = kubectl.delete_unlisted(namespace, shared, needed)
    if is_update:
        found["check"] = kubectl.list_missing(namespace, shared, out, needed)
    else:
        found["uninstall"] = kubectl.delete_folder(out)
    if is_update and (plan.site.exposure.service or plan.site.names == BY_POLICY):
        last = (SERVICE, POLICY, REGISTRY_SERVICE)  # in this order: the first frees a node port that the last needs
        found["apply_rest"] = kubectl.apply(out, labels.except_parts(last))
        found["turn"] = kubectl.apply(out, of_parts(last))
    else:
        found["apply"] = kubectl.apply(out)
    pods = [manifest["metadata"]["name"] for manifest in workloads(plan) if manifest["kind"] == "Pod"]
    if pods:
        found["heal"] = "%s && %s" % (kubectl.delete_pods(namespace, pods), kubectl.apply(out))
    return found


def wait_command(plan: Plan) -> str:
    """Return the command that waits until the injector serves. With --try one Pod of several is enough, for which
    `kubectl wait` has no condition: they are watched."""
    manifest, namespace = workloads(plan)[0], plan.site.namespace
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    if kind != "Pod":
        return kubectl.wait_for_rollout(namespace, kind.lower(), name)
    if plan.site.tries > 1:
        return kubectl.watch_pods(namespace, terms({labels.SEED: plan.seed}))
    return kubectl.wait_for_pod(namespace, name)


def registry_sections(plan: Plan, runner: Runner) -> List[Section]:
    """Return the steps of the persistent registry, once OUT is applied."""
    namespace = plan.site.namespace
    spooler = kubectl.run_in(namespace, REGISTRY, SPOOLER, command(runner, "%s/%s" % (CODE, SPOOLER_FILE)))
    # Without a Service the spooler cannot reach the injector, so images are pushed from files, one by one.
    fill = "push < ARCHIVE"
    if plan.site.exposure.service:
        fill = "copy --source http://%s:%d" % (NAME, plan.site.node_port)
    return [Section("wait until the registry serves", [kubectl.wait_for_rollout(namespace, "deploy", REGISTRY)]),
            Section("load its own image and all others of the payload", ["%s %s" % (spooler, fill)]),
            Section("load more images, at any time", [spooler + " push NAME:TAG < ARCHIVE"])]


def kinds_of_seed(site: Site, has_registry: bool) -> Tuple[str, ...]:
    """Return the kinds of objects of a seed, which prune it. With a persistent registry, the mirror and the policies
    belong to that, not to the seed."""
    names = site.names if not has_registry else ""
    return ("ConfigMap", {"pod": "Pod", "deployment": "Deployment", "daemonset": "DaemonSet"}[site.workload],
            *(["Service"] if site.exposure.service else []),
            *(["DaemonSet"] if names == MIRROR else []),
            *(["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"] if names == BY_POLICY else []))


def first_steps(found: Mapping[str, str], tries: int) -> List[Section]:
    """Return the steps that come next, in order."""
    return [Section(NEXT[key], [found[key]]) for key in NEXT if key in found and (key != "outcomes" or tries > 1)]


def numbered(sections: Sequence[Section]) -> List[str]:
    """Return the lines of steps."""
    lines = ["next steps"]
    for number, (purpose, its_commands) in enumerate(sections, 1):
        lines += ["  %d. %s" % (number, purpose), *("     " + command for command in its_commands)]
    return lines


def unnumbered(sections: Iterable[Section]) -> List[str]:
    """Return the lines of sections that are no sequence: each is for a different case."""
    return [line for purpose, its_commands in sections
            for line in (purpose, *("     " + command for command in its_commands))]


def later(found: Mapping[str, str], kinds: Iterable[str], lost_namespace: str) -> List[Section]:
    """Return the commands for later; those that uninstall the seed come last. `kinds`: of objects that are known to be
    in the cluster; `lost_namespace`: the one that uninstalling deletes; "": none."""
    needed = {KINDS[kind].deletion for kind in kinds}
    by_label = "remove the seed; a persistent registry stays" if "uninstall" in found else "uninstall"
    if "check" in found:
        by_label += ", by label: deleting the folder would delete chunks that other seeds share"
    uninstall = "uninstall"
    if lost_namespace:
        uninstall += "; this deletes namespace %s with everything in it" % lost_namespace
    sections = (
        ("if its Pod is evicted or its node is lost", ["heal"]),
        ("prune older seeds, once this one serves", [*_keys(PRUNE, needed), PRUNE + CHUNKS_TOO]),
        ("prune or remove what only seeds with other options have",
         [key for scope in (PRUNE, REMOVE) for key in _keys(scope, set(DELETIONS) - needed)]),
        ("uninstall every seed and the persistent registry; its claim and the namespace stay",
         _keys(REMOVE_ALL, DELETIONS)),
        (by_label, [*_keys(REMOVE, needed), REMOVE + CHUNKS_TOO]),
        (uninstall, [key_of(REMOVE_ALL, POLICIES), "uninstall"] if "uninstall" in found else []))
    return [Section(purpose, [found[key] for key in keys if key in found])
            for purpose, keys in sections if any(key in found for key in keys)]


def _keys(scope: str, groups: Container[str]) -> List[str]:
    return [key_of(scope, deletion) for deletion in DELETIONS if deletion in groups]
