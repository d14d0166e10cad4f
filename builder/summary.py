"""What was built -> facts (for programs) -> the summary that a person reads. Pure."""
import collections
import os
import shlex
from typing import Any, Dict, List, Sequence

from builder.kubernetes import persistent_registry
from builder.cluster.choice import Decision
from builder.payload.chunks import ANNOTATION_LIMIT_BYTES
from builder.kubernetes.config_maps import CHUNK
from builder.kubernetes.exposure import EXPOSURES, HOST_PORT, RESTRICTED
from builder.kubernetes.file_names import CHUNKS
from builder.kubernetes.manifest import LABELS, pruned_kinds
from builder.kubernetes.site import NAME
from builder.kubernetes.workloads import READY_TIMEOUT, Plan, workloads
from builder.payload.compression import NONE, WORTH
from builder.payload.contents import Contents, digest_of
from builder.reading.errors import shown
from builder.pipeline import STDOUT, Order, Result, apply_command
from builder.zipapp.pyz import BUDGET_BYTES

Facts = Dict[str, Any]

MANAGED_BY, INSTANCE, COMPONENT = LABELS + "managed-by", LABELS + "instance", LABELS + "component"
BAR_CHARACTERS = 24
NEAR = .98  # of a limit: from there on it is shown; a chunk of the usual size takes a little less
OUTCOME = (  # a missing interpreter leaves no log, only this message
    ("POD", ".metadata.name"), ("NODE", ".spec.nodeName"), ("IMAGE", ".spec.containers[0].image"),
    ("PHASE", ".status.phase"), ("READY", ".status.containerStatuses[0].ready"),
    ("WAITS", ".status.initContainerStatuses[0].state.waiting.reason"),
    ("FAILED", ".status.initContainerStatuses[0].state.terminated.message"))


def facts(order: Order, result: Result) -> Facts:
    """Everything that the summary says, under names that stay: `--json` prints it."""
    site = result.plan.site
    return {
        "images": [{
            "reference": reference,
            "pull": "127.0.0.1:%d/%s" % (site.node_port, result.addresses[reference]),
            "digest": image.root.digest,
            "media_type": image.root.media_type,
            "platforms": list(image.platforms),
            "bytes": sum(blob.size for blob in image.manifests + image.configs + image.layers),
            "missing": [descriptor.digest for descriptor in image.missing],
        } for image in result.images for reference in image.references],
        "payload": {"digest": digest_of(result.plan.contents), "bytes": result.contents.size,
                    "blob_bytes": sum(result.contents.blob_sizes.values()),
                    "compression": compression_of(result.contents)},
        "chunks": {"count": len(result.contents.chunks), "bytes": result.chunk_size},
        "squeeze": {"done": order.squeeze, "other_bytes_estimated": result.other_bytes,
                    "other_chunks_estimated": -(-result.other_bytes // result.chunk_size)},
        "injector": {"bytes": result.pyz_bytes, "budget_bytes": BUDGET_BYTES},
        "annotation": {"bytes": result.annotation_bytes, "limit_bytes": ANNOTATION_LIMIT_BYTES},
        "instance": result.plan.instance,
        "workloads": [{"kind": manifest["kind"], "name": manifest["metadata"]["name"]}
                      for manifest in workloads(result.plan)],
        "namespace": site.namespace,
        "creates_namespace": site.emits_namespace,
        "out": order.out,
        "notes": list(result.notes),
        "commands": commands(order, result),
        "registry": persistent_registry.commands(result.plan, result.decision.runners[0]) if order.registry else {},
        **decided(result.decision),
    }


def compression_of(contents: Contents) -> str:
    """How most of the payload's bytes are compressed."""
    sizes = collections.Counter()
    for segment in contents.segments:
        sizes[segment.compression] += segment.size
    return sizes.most_common(1)[0][0] or NONE


def decided(decision: Decision) -> Facts:
    """What was chosen for the cluster, and why; nothing in it says that anything was refused."""
    return {
        "runners": [{"image": runner.image, "interpreter": runner.interpreter, "host_python": runner.host_python,
                     "nodes": list(runner.nodes)} for runner in decision.runners],
        "tries": decision.site.tries,
        "expose": decision.site.expose,
        "pod_security": decision.profile,
        "reasons": list(decision.reasons),
        "warnings": list(decision.warnings),
        "errors": [],
    }


def explained(decision: Decision) -> Facts:
    """Every node and every image that was looked at, and what was found of it."""
    return {
        "nodes": [{"name": name, "verdict": "does not fit: " + why if why else "fits"} for name, why in decision.nodes],
        "candidates": [{"image": candidate.image, "verdict": candidate.verdict, "nodes": list(candidate.all_nodes)}
                       for candidate in decision.candidates],
    }


def explanation(decision: Decision) -> str:
    """The same for people."""
    found = explained(decision)
    lines = []
    for title, name in (("nodes", "name"), ("candidates", "image")):
        lines += ["", title] + ["  %s  %s" % (shown(item[name]), shown(item["verdict"])) for item in found[title]]
    return "\n".join(lines[1:])


def reasons(found: Facts) -> List[str]:
    """What was chosen and why, and what is doubtful about it."""
    return labelled("why", found["reasons"]) + labelled("warning", found["warnings"])


def labelled(label: str, texts: Sequence[str]) -> List[str]:
    """Texts under a label; a line end in one of them is ours, and goes on below."""
    return ["%-9s %s" % (label if not number else "", shown(line))
            for text in texts for number, line in enumerate(text.split("\n"))]


def commands(order: Order, result: Result) -> Dict[str, str]:
    """What to type next. "heal" only where nothing heals by itself and there is a folder to apply again; "prune" for
    what another build left; "undo" by label where there is no folder that lists the objects."""
    plan, streamed = result.plan, order.out == STDOUT
    kubectl = "kubectl -n %s " % plan.site.namespace
    ours = "delete %s -l '%s=%s" % (pruned_kinds(plan.site), MANAGED_BY, NAME)
    found = {
        "apply": apply_command(order.out, result),
        "wait": kubectl + wait_command(plan),
        "outcomes": kubectl + "get pods -l %s=%s -o custom-columns=%s"
                    % (INSTANCE, plan.instance, ",".join("%s:%s" % column for column in OUTCOME)),
        "prune": kubectl + ours + ",%s!=%s,%s!=%s'" % (INSTANCE, plan.instance, COMPONENT, CHUNK),
        # objects go with their namespace, and are then not found
        "undo": kubectl + ours + "'" if streamed else "kubectl delete --ignore-not-found -f " + shlex.quote(order.out),
    }
    names = [manifest["metadata"]["name"] for manifest in workloads(plan) if manifest["kind"] == "Pod"]
    if not streamed:
        found["prune_chunks"] = "%sget configmap -l %s=%s,%s=%s -o name | grep -vxFf %s | xargs -r %sdelete" % (
            kubectl, MANAGED_BY, NAME, COMPONENT, CHUNK, shlex.quote(os.path.join(order.out, CHUNKS)), kubectl)
    if names and not streamed:
        found["heal"] = kubectl + "delete pod %s --ignore-not-found --force && %s" % (" ".join(names), found["apply"])
    return found


def wait_command(plan: Plan) -> str:
    """Until it serves. Of several tries one is enough, for which there is no condition: they are watched."""
    manifest = workloads(plan)[0]
    name = "%s/%s" % (manifest["kind"].lower(), manifest["metadata"]["name"])
    if manifest["kind"] != "Pod":
        return "rollout status %s %s" % (name, READY_TIMEOUT)
    if plan.site.tries > 1:
        return "get pods -l app.kubernetes.io/instance=%s --watch" % plan.instance
    return "wait --for=condition=Ready %s %s" % (name, READY_TIMEOUT)


def summary(found: Facts) -> str:
    """Facts -> a page for a terminal."""
    chunks, payload, injector = (found[key] for key in ("chunks", "payload", "injector"))
    lines = []
    for image in found["images"]:
        lines += ["", image["reference"],
                  "  digest     %s" % image["digest"],
                  "  platforms  %s" % (", ".join(map(shown, image["platforms"])) or "none: it holds data, no program"),
                  "  size       %s%s" % (human(image["bytes"]), incomplete(image["missing"])),
                  "  pull       %s" % image["pull"]]
    lines += ["",
              "payload   %s (%s), images %s" % (human(payload["bytes"]), payload["compression"],
                                                human(payload["blob_bytes"])),
              "          %s" % payload["digest"],
              "chunks    %d of %s" % (chunks["count"], human(chunks["bytes"])),
              "injector  %s" % human(injector["bytes"]),
              *squeezing(found["squeeze"], payload["bytes"]),
              *limits(found["annotation"])]
    lines += labelled("note", list(found["notes"]) + placed(found)) + reasons(found)
    end = ["dry run: nothing was written"] if found.get("dry_run") else next_steps(found)
    return "\n".join(lines + [""] + end).lstrip("\n")


def limits(annotation: Facts) -> List[str]:
    """How much of what plain `kubectl apply` takes the largest object is, where that is nearly all or more."""
    if annotation["bytes"] < annotation["limit_bytes"] * NEAR:
        return []
    return ["limit     the largest object takes %s of what plain kubectl apply accepts"
            % percent(annotation["bytes"], annotation["limit_bytes"])]


def placed(found: Facts) -> List[str]:
    """What follows from how it is exposed and from what it needs of the node."""
    notes = []
    if EXPOSURES[found["expose"]].service:
        notes.append("a node port answers on every address of a node: whoever reaches a node can pull: --expose %s "
                     "opens it at 127.0.0.1 alone" % HOST_PORT.name)
    if found["registry"]:
        notes.append("the registry that stays has a node port as well: whoever reaches a node can pull, only its "
                     "spooler can push")
    if found["pod_security"] != RESTRICTED:
        notes.append("namespace %s admits any Pod (pod-security.kubernetes.io/enforce=%s), since every stricter "
                     "profile forbids paths, ports and the network of a node"
                     % (found["namespace"], found["pod_security"]))
    if EXPOSURES[found["expose"]].every_node:
        count, size = found["chunks"]["count"], found["payload"]["bytes"]
        nodes = len({name for runner in found["runners"] for name in runner["nodes"]})
        notes.append("every node reads all %d chunks from the API server: %s each%s" % (
            count, human(size), ", %s for %d nodes" % (human(size * nodes), nodes) if nodes else ""))
    return notes


def next_steps(found: Facts) -> List[str]:
    """What to type next, numbered; then what may be needed later; last how to undo it all."""
    steps = found["commands"]
    first = [] if found["out"] == STDOUT else [("apply it", steps["apply"])]
    first.append(("wait until it serves", steps["wait"]))
    if found["tries"] > 1:
        first.append(("see what became of each try, and why", steps["outcomes"]))
    lines = ["next steps"]
    for number, (purpose, command) in enumerate(first + list(found["registry"].items()), 1):
        lines += ["  %d. %s" % (number, purpose), "     " + command]
    later = [("if its Pod is evicted or its node is lost", steps.get("heal")),
             ("once it serves, delete what older builds left", steps["prune"]),
             ("and the chunks that only they needed", steps.get("prune_chunks")),
             ("undo" + lost_namespace(found), steps["undo"])]
    for purpose, command in later:
        if command:
            lines += [purpose, "     " + command]
    return lines


def lost_namespace(found: Facts) -> str:
    """What undoing deletes along with what was built."""
    return "; this deletes namespace %s with everything in it" % found["namespace"] \
        if found["creates_namespace"] and found["out"] != STDOUT else ""


def squeezing(squeeze: Facts, payload_bytes: int) -> List[str]:
    """What the payload would have with --squeeze, or without it, where that makes a difference."""
    other = "%s in %d chunks" % (human(squeeze["other_bytes_estimated"]), squeeze["other_chunks_estimated"])
    if squeeze["done"]:
        return ["squeeze   without --squeeze about %s" % other] if squeeze["other_bytes_estimated"] else []
    if not 0 < squeeze["other_bytes_estimated"] < payload_bytes * WORTH:
        return []
    return ["squeeze   with --squeeze about %s: the same image IDs, but other manifest digests" % other]


def incomplete(missing: List[str]) -> str:
    return ", without %d manifests or blobs that its index names and the archive lacks" % len(missing) \
        if missing else ""


def percent(part: int, whole: int) -> str:
    return "%d %%" % -(-100 * part // whole)


def human(count: float) -> str:
    """Bytes for people, as powers of 1000."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return "%d bytes" % count if unit == "bytes" else "%.1f %s" % (count, unit)
        count /= 1000
    return "%.1f GB" % count


def progress_line(stage: str, done: int, total: int, seconds: float) -> str:
    """`packing [######......] 512.0 MB of 1.0 GB, 98.3 MB/s, 5 s left`; without total what is done and how fast."""
    rate = done / seconds if seconds else 0
    speed = "%s/s" % human(rate)
    if not total or done > total:
        return "%s %s, %s" % (stage, human(done), speed)
    filled = BAR_CHARACTERS * done // total
    return "%s [%s%s] %s of %s, %s, %d s left" % (
        stage, "#" * filled, "." * (BAR_CHARACTERS - filled), human(done), human(total), speed,
        (total - done) / rate if rate else 0)


def verified(found: Facts) -> str:
    """What `--verify` found, for people."""
    lines = ["%s\n  digest     %s\n  pull       %s" % (image["reference"], image["digest"], image["pull"])
             for image in found["images"]]
    return "\n".join(lines + ["", "%s: whole: %d chunks, %s, %s" % (
        shown(found["out"]), found["chunks"]["count"], human(found["payload"]["bytes"]), found["payload"]["digest"]),
        "signed by %s" % shown(found["signer"]) if found["signer"] else
        "this proves integrity, not origin: --signers FILE checks who signed it"])
