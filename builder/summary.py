"""What was built -> facts (for programs) -> the summary that a person reads. Pure."""
import shlex
from typing import Any, Dict, List

from builder.kubernetes import persistent_registry
from builder.cluster.choice import Decision
from builder.payload.chunks import ANNOTATION_LIMIT_BYTES
from builder.kubernetes.exposure import EXPOSURES, RESTRICTED
from builder.kubernetes.manifest import pruned_kinds
from builder.kubernetes.workloads import READY_TIMEOUT, Plan, workloads
from builder.payload.packing import WORTH
from builder.pipeline import STDOUT, Order, Result, apply_command
from builder.zipapp.pyz import BUDGET_BYTES

Facts = Dict[str, Any]

BAR_LETTERS = 24
OUTCOME = (  # a missing interpreter leaves no log, only this message
    ("POD", ".metadata.name"), ("NODE", ".spec.nodeName"), ("IMAGE", ".spec.containers[0].image"),
    ("PHASE", ".status.phase"), ("READY", ".status.containerStatuses[0].ready"),
    ("WAITS", ".status.initContainerStatuses[0].state.waiting.reason"),
    ("FAILED", ".status.initContainerStatuses[0].state.terminated.message"))


def facts(order: Order, result: Result) -> Facts:
    """Everything that the summary tells, under names that stay: `--json` prints it."""
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
        "payload": {"digest": result.digest, "bytes": result.payload.size, "blob_bytes": result.payload.blob_bytes,
                    "compression": result.payload.compression},
        "chunks": {"count": len(result.chunks), "bytes": result.chunks[0].size},
        "squeeze": {"done": order.squeeze, "other_bytes_estimated": result.other_bytes,
                    "other_chunks_estimated": -(-result.other_bytes // result.chunk_size)},
        "injector": {"bytes": result.pyz_bytes, "budget_bytes": BUDGET_BYTES},
        "annotation": {"bytes": result.annotation_bytes, "limit_bytes": ANNOTATION_LIMIT_BYTES},
        "instance": result.plan.instance,
        "workloads": [{"kind": manifest["kind"], "name": manifest["metadata"]["name"]}
                      for manifest in workloads(result.plan)],
        "namespace": site.namespace,
        "out": order.out,
        "notes": list(result.notes),
        "commands": commands(order, result),
        "registry": persistent_registry.commands(result.plan, result.decision.runners[0]) if order.registry else {},
        **decided(result.decision),
    }


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
    told = explained(decision)
    lines = []
    for title, name in (("nodes", "name"), ("candidates", "image")):
        lines += ["", title] + ["  %s  %s" % (item[name], item["verdict"]) for item in told[title]]
    return "\n".join(lines[1:])


def reasons(told: Facts) -> List[str]:
    """What was chosen and why, and what is doubtful of it."""
    return ["why       " + reason for reason in told["reasons"]] + [
        "warning   " + warning.replace("\n", "\n          ") for warning in told["warnings"]]


def commands(order: Order, result: Result) -> Dict[str, str]:
    """What to type next. "heal" only where nothing heals by itself, "prune" for what another build left."""
    plan, out = result.plan, shlex.quote(order.out)
    in_namespace = "kubectl -n %s " % plan.site.namespace
    found = {
        "apply": apply_command(order.out, result),
        "wait": in_namespace + wait_command(plan),
        "outcomes": in_namespace + "get pods -l app.kubernetes.io/instance=%s -o custom-columns=%s"
                    % (plan.instance, ",".join("%s:%s" % column for column in OUTCOME)),
        "prune": in_namespace + "delete %s -l 'app.kubernetes.io/managed-by=seedpod,app.kubernetes.io/instance!=%s'"
                 % (pruned_kinds(), plan.instance),
        "delete": "kubectl delete --ignore-not-found -f %s" % out,  # objects go with their namespace, too
    }
    names = [manifest["metadata"]["name"] for manifest in workloads(plan) if manifest["kind"] == "Pod"]
    if names:
        found["heal"] = in_namespace + "delete pod %s --ignore-not-found --force && %s" % (
            " ".join(names), found["apply"])
    return found


def wait_command(plan: Plan) -> str:
    """Until it serves. Of several tries one is enough, which no condition tells: there it is watched."""
    manifest = workloads(plan)[0]
    name = "%s/%s" % (manifest["kind"].lower(), manifest["metadata"]["name"])
    if manifest["kind"] != "Pod":
        return "rollout status %s %s" % (name, READY_TIMEOUT)
    if plan.site.tries > 1:
        return "get pods -l app.kubernetes.io/instance=%s --watch" % plan.instance
    return "wait --for=condition=Ready %s %s" % (name, READY_TIMEOUT)


def summary(told: Facts) -> str:
    """Facts -> a page for a terminal."""
    chunks, payload, injector, annotation = (told[key] for key in ("chunks", "payload", "injector", "annotation"))
    lines = []
    for image in told["images"]:
        lines += ["", image["reference"],
                  "  digest     %s" % image["digest"],
                  "  platforms  %s" % (", ".join(image["platforms"]) or "none: it holds data, not a program"),
                  "  size       %s%s" % (human(image["bytes"]), holes(image["missing"])),
                  "  pull       %s" % image["pull"]]
    share = percent(annotation["bytes"], annotation["limit_bytes"])
    lines += ["",
              "payload   %s (%s), images %s" % (human(payload["bytes"]), payload["compression"],
                                                human(payload["blob_bytes"])),
              "          %s" % payload["digest"],
              "chunks    %d of %s" % (chunks["count"], human(chunks["bytes"])),
              *squeezing(told["squeeze"], payload["bytes"]),
              "limits    largest object: %s of what plain kubectl apply takes; injector.pyz: %d of %d bytes"
              % (share, injector["bytes"], injector["budget_bytes"])]
    lines += ["note      " + note for note in list(told["notes"]) + placed(told)]
    lines += reasons(told)
    lines += [""] + next_steps(told)
    for number, (purpose, command) in enumerate(told["registry"].items(), 1):
        lines += ["registry that stays, step %d: %s" % (number, purpose), "  " + command]
    return "\n".join(lines).lstrip("\n")


def placed(told: Facts) -> List[str]:
    """What follows from how it is exposed and from what it needs of the node."""
    notes = []
    if told["pod_security"] != RESTRICTED:
        notes.append("namespace %s takes any Pod (pod-security.kubernetes.io/enforce=%s): paths, ports and the network "
                     "of a node are beyond every stricter profile" % (told["namespace"], told["pod_security"]))
    if EXPOSURES[told["expose"]].every_node:
        count, size = told["chunks"]["count"], told["payload"]["bytes"]
        nodes = len({name for runner in told["runners"] for name in runner["nodes"]})
        notes.append("every node reads all %d chunks from the API server: %s each%s" % (
            count, human(size), ", %s for %d nodes" % (human(size * nodes), nodes) if nodes else ""))
    return notes


def next_steps(told: Facts) -> List[str]:
    steps = told["commands"]
    heal = ["if its Pod is evicted or its node is lost:", "  " + steps["heal"]] if "heal" in steps else []
    tried = ["what became of each try, and why:", "  " + steps["outcomes"]] if told["tries"] > 1 else []
    if told["out"] == STDOUT:
        return tried + ["prune an older build, once this one is ready:", "  " + steps["prune"]]
    return ["next:", "  " + steps["apply"], "  " + steps["wait"]] + tried + heal + [
        "later, to prune an older build, or to undo this one:", "  " + steps["prune"], "  " + steps["delete"]]


def squeezing(squeeze: Facts, payload_bytes: int) -> List[str]:
    """What the payload would have with --squeeze, or without it, where that makes a difference."""
    other = "%s in %d chunks" % (human(squeeze["other_bytes_estimated"]), squeeze["other_chunks_estimated"])
    if squeeze["done"]:
        return ["squeeze   without --squeeze about %s" % other] if squeeze["other_bytes_estimated"] else []
    if not 0 < squeeze["other_bytes_estimated"] < payload_bytes * WORTH:
        return []
    return ["squeeze   with --squeeze about %s: the same image IDs, but other manifest digests" % other]


def holes(missing: List[str]) -> str:
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
    told = "%s/s" % human(rate)
    if not total or done > total:
        return "%s %s, %s" % (stage, human(done), told)
    filled = BAR_LETTERS * done // total
    return "%s [%s%s] %s of %s, %s, %d s left" % (
        stage, "#" * filled, "." * (BAR_LETTERS - filled), human(done), human(total), told,
        (total - done) / rate if rate else 0)


def verified(told: Facts) -> str:
    """What `--verify` found, for people."""
    lines = ["%s\n  digest     %s\n  pull       %s" % (image["reference"], image["digest"], image["pull"])
             for image in told["images"]]
    return "\n".join(lines + ["", "%s: whole: %d chunks, %s, %s" % (
        told["out"], told["chunks"]["count"], human(told["payload"]["bytes"]), told["payload"]["digest"])])
