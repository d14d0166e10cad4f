"""What was built -> facts (for programs) -> the summary that a person reads. Pure."""
from typing import Any, Dict, List

from builder.chunks import ANNOTATION_LIMIT_BYTES
from builder.manifests import pod
from builder.payload import WORTH
from builder.pipeline import STDOUT, Order, Result, apply_command
from builder.pyz import BUDGET_BYTES

Facts = Dict[str, Any]

BAR_LETTERS = 24


def facts(order: Order, result: Result) -> Facts:
    """Everything that the summary tells, under names that stay: `--json` prints it."""
    site, pod_name = result.plan.site, pod(result.plan)["metadata"]["name"]
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
        "pod": pod_name,
        "namespace": site.namespace,
        "out": order.out,
        "notes": list(result.notes),
        "commands": commands(order, result, pod_name),
    }


def commands(order: Order, result: Result, pod_name: str) -> Dict[str, str]:
    """What to type next."""
    in_namespace = "kubectl -n %s " % result.plan.site.namespace
    return {
        "apply": apply_command(order.out, result),
        "wait": in_namespace + "wait --for=condition=Ready pod/%s --timeout=300s" % pod_name,
        "prune": in_namespace + "delete pod,configmap -l 'app.kubernetes.io/managed-by=seedpod,"
                                "app.kubernetes.io/instance!=%s'" % result.plan.instance,
        "delete": "kubectl delete -f %s" % order.out,
    }


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
    lines += ["note      " + note for note in told["notes"]]
    lines += [""] + next_steps(told)
    return "\n".join(lines).lstrip("\n")


def next_steps(told: Facts) -> List[str]:
    steps = told["commands"]
    if told["out"] == STDOUT:
        return ["prune an older build, once this one is ready:", "  " + steps["prune"]]
    return ["next:", "  " + steps["apply"], "  " + steps["wait"],
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
    return ", without %d manifests or blobs that its index names and the archive lacks" % len(missing) if missing else ""


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
    """`packing [######......] 512.0 MB of 1.0 GB, 98.3 MB/s, 5 s left`; without total only what is done and how fast."""
    rate = done / seconds if seconds else 0
    told = "%s/s" % human(rate)
    if not total or done > total:
        return "%s %s, %s" % (stage, human(done), told)
    filled = BAR_LETTERS * done // total
    return "%s [%s%s] %s of %s, %s, %d s left" % (
        stage, "#" * filled, "." * (BAR_LETTERS - filled), human(done), human(total), told,
        (total - done) / rate if rate else 0)
