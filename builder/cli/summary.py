"""A build -> facts, for programs -> its summary, for people. Pure."""
import collections
import os
import shlex
from typing import Any, Counter, Dict, List, Sequence

from builder.cluster.decision import Decision
from builder.cli.commands import VERIFY
from builder.cli.inspected import head, rows_of
from builder.cli.options import PROGRAM
from builder.kubernetes.file_names import README
from builder.kubernetes.steps import (STDOUT, Section, commands, first_steps, later, numbered,
                                      registry_sections, unnumbered)
from builder.kubernetes import kubectl, sizes
from builder.kubernetes.exposure import EXPOSURES, HOST_PORT, RESTRICTED, pull_name
from builder.kubernetes.workloads import workloads
from builder.payload.chunks import ANNOTATION_LIMIT_BYTES, CHUNK_BYTES, count_of
from builder.payload.compression import NONE, WORTH
from builder.payload.contents import Contents, digest_of
from builder.payload.human import counted, human
from builder.pipeline import Request, Result
from builder.reading.errors import shown
from builder.rows import fields_of
from builder.zipapp.pyz import BUDGET_BYTES

Report = Dict[str, Any]

APPLY_BYTES_A_SECOND = 1800000  # of YAML, server-side: 53 MB took 29 s on a real cluster
LONG_SECONDS = 5  # shown from here on
NEAR = .98  # of a limit: shown from here on; a chunk of default size takes a little less


def report_of(request: Request, result: Result, program: str = PROGRAM) -> Report:
    """Return the facts of the summary under stable names, for `--json`. `program`: how it was started."""
    plan, images, payload = result.plan, result.images, result.payload
    site, contents = plan.site, payload.contents
    annotation_bytes = sizes.largest_annotation_bytes(plan, max(payload.chunk_sizes.values()))
    stored_bytes = sizes.stored_bytes(plan, payload.chunk_sizes.values())
    sections = registry_sections(plan, result.decision.runners[0]) if images.registry else []
    return {
        "images": [{
            "reference": reference,
            "pull": pull_name(site.node_port, images.addresses[reference]),
            **fields_of(images.rows[image.root.digest]),
        } for image in images.images for reference in image.references],
        "payload": {"digest": digest_of(plan.contents), "bytes": contents.size,
                    "blob_bytes": sum(contents.blob_sizes.values()),
                    "compression": compression_of(contents)},
        "chunks": {"count": len(contents.chunks), "bytes": payload.chunk_bytes,
                   "largest_bytes": max(payload.chunk_sizes.values())},
        "apply": {"seconds_estimated": sum(file.size for file in payload.files) // APPLY_BYTES_A_SECOND},
        "squeeze": {"done": request.sources.squeeze, "other_bytes_estimated": images.other_bytes,
                    "other_chunks_estimated": count_of(images.other_bytes, payload.chunk_bytes)},
        "injector": {"bytes": len(payload.programs.injector), "budget_bytes": BUDGET_BYTES},
        "annotation": {"bytes": annotation_bytes, "limit_bytes": ANNOTATION_LIMIT_BYTES},
        "plain_apply": annotation_bytes <= ANNOTATION_LIMIT_BYTES,
        "etcd": {"server_side_bytes": stored_bytes.server_side, "plain_bytes": stored_bytes.plain},
        "seed": plan.seed,
        "workloads": [{"kind": manifest["kind"], "name": manifest["metadata"]["name"]}
                      for manifest in workloads(plan)],
        "namespace": site.namespace,
        "creates_namespace": site.emits_namespace,
        "out": request.out,
        "dry_run": request.dry_run,
        "signed": bool(request.key),
        "notes": list(result.notes),
        "update": dict(result.update._asdict(), replaced=[one._asdict() for one in result.update.replaced])
                  if result.update else {},
        "kinds": list(result.facts.kinds),
        "commands": {**verify_command(request, program), **commands(plan, request.out, result.update is not None)},
        "registry": {section.purpose: section.commands[0] for section in sections},
        **decided(result.decision),
    }


def verify_command(request: Request, program: str) -> Dict[str, str]:
    """Return the command that checks the folder, with its bases; none for a stream."""
    if request.out == STDOUT:
        return {}
    words = [VERIFY, request.out, *(word for folder in request.sources.onto for word in ("--onto", folder))]
    return {VERIFY: " ".join([program, *map(shlex.quote, words)])}


def compression_of(contents: Contents) -> str:
    """Return the compression of most of the payload's bytes."""
    totals: Counter[str] = collections.Counter()
    for segment in contents.segments:
        totals[segment.compression] += segment.size
    return totals.most_common(1)[0][0] or NONE


def decided(decision: Decision) -> Report:
    """Return the choices for the cluster, with reasons and warnings. `errors` is for the caller to fill."""
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


def explained(decision: Decision) -> Report:
    """Return the verdict on every node and every image that was considered."""
    return {
        "nodes": [{"name": name, "verdict": "does not fit: " + why if why else "fits"} for name, why in decision.nodes],
        "candidates": [{"image": candidate.image, "verdict": candidate.verdict, "nodes": list(candidate.all_nodes)}
                       for candidate in decision.candidates],
    }


def explanation(decision: Decision) -> str:
    """Return the verdicts as a page, for people."""
    found = explained(decision)
    lines = []
    for title, name in (("nodes", "name"), ("candidates", "image")):
        lines += ["", title] + ["  %s  %s" % (shown(item[name]), shown(item["verdict"])) for item in found[title]]
    return "\n".join(lines[1:])


def reasons(found: Report) -> List[str]:
    """Return lines with the reasons for the choices, and the warnings."""
    return labelled("why", found["reasons"]) + labelled("warning", found["warnings"])


def labelled(label: str, texts: Sequence[str]) -> List[str]:
    """Return texts as lines under one label. A text may have several lines."""
    return ["%-9s %s" % (label if not number else "", shown(line))
            for text in texts for number, line in enumerate(text.split("\n"))]


def summary(found: Report) -> str:
    """Return the facts as a page for a terminal."""
    chunks, payload, injector = (found[key] for key in ("chunks", "payload", "injector"))
    lines = [*image_table(found["images"]), "",
             "payload   %s (%s), images %s" % (human(payload["bytes"]), payload["compression"],
                                               human(payload["blob_bytes"])),
             "          %s" % payload["digest"],
             "chunks    %s, up to %s each" % (counted(chunks["count"], "chunk"), human(chunks["largest_bytes"])),
             *updating(found["update"], chunks["count"], payload["bytes"]),
             "injector  %s" % human(injector["bytes"]),
             *squeezing(found["squeeze"], payload["bytes"]),
             *stored(found["etcd"]),
             *lasting(found["apply"]["seconds_estimated"]),
             *limits(found["annotation"], chunks["bytes"])]
    if found["signed"] and not found["dry_run"]:
        lines.append("signed    SHA256SUMS.sig")
    lines += labelled("note", list(found["notes"]) + placed(found)) + reasons(found)
    end = ["dry run: nothing was written"] if found["dry_run"] else next_steps(found)
    return "\n".join(lines + [""] + end)


def image_table(images: Sequence[Report]) -> List[str]:
    """Return the images as a table: IDs, digests and sizes for each platform, and what to pull."""
    lines = [head()]
    for image in images:
        lines += [image["reference"], *(row.rstrip() for row in rows_of(image)), "    pull  " + pull_line(image)]
    return lines


def lasting(seconds: int) -> List[str]:
    """Return the duration of applying, if it is long."""
    return ["apply     takes about %d s" % seconds] if seconds >= LONG_SECONDS else []


def pull_line(image: Report) -> str:
    """Return the address to pull by. For Helm, replace the tag by the chart's version, from which it was made."""
    repository, _, tag = image["pull"].rpartition(":")
    if not image["is_chart"]:
        return image["pull"]
    return "oci://%s --version %s --plain-http" % (repository, tag.replace("_", "+"))


def stored(etcd: Report) -> List[str]:
    """Return the size of the seed in etcd, for either kind of apply."""
    return ["etcd      %s with %s, %s with %s" % (human(etcd["server_side_bytes"]), kubectl.APPLY,
                                                  human(etcd["plain_bytes"]), kubectl.PLAIN_APPLY)]


def limits(annotation: Report, chunk_bytes: int) -> List[str]:
    """Return a line if the seed exceeds the limit of plain `kubectl apply`, or almost does."""
    if annotation["bytes"] < annotation["limit_bytes"] * NEAR:
        return []
    taken = percent(annotation["bytes"], annotation["limit_bytes"])
    if annotation["bytes"] <= annotation["limit_bytes"]:
        return ["limit     the largest object takes %s of what %s accepts" % (taken, kubectl.PLAIN_APPLY)]
    remedy = "--server-side is required"
    if chunk_bytes > CHUNK_BYTES:
        remedy = "build with --chunk-size %dKiB for it" % (CHUNK_BYTES >> 10)
    return ["limit     %s does not take this seed (%s of its limit): %s" % (kubectl.PLAIN_APPLY, taken, remedy)]


def placed(found: Report) -> List[str]:
    """Return notes on the exposure: who can pull, what the namespace allows, what nodes read."""
    notes = []
    if EXPOSURES[found["expose"]].service:
        notes.append("a node port answers on every address of a node, so anyone who can reach a node can pull: "
                     "--expose %s opens it only at 127.0.0.1" % HOST_PORT.name)
    if found["registry"]:
        notes.append("the persistent registry has a node port: anyone who can reach a node can pull, only its spooler "
                     "can push")
    if found["pod_security"] != RESTRICTED:
        notes.append("namespace %s %s: the Pod needs %s" % (
            found["namespace"], "is labelled " + found["pod_security"] if found["creates_namespace"] else
            "must allow %s Pods (Pod Security)" % found["pod_security"], needs_of_node(found)))
    if found["update"] and not EXPOSURES[found["expose"]].service:
        notes.append("each node refuses pulls while its new Pod unpacks; kubelets try again")
    if EXPOSURES[found["expose"]].every_node:
        count, size = found["chunks"]["count"], found["payload"]["bytes"]
        nodes = len({name for runner in found["runners"] for name in runner["nodes"]})
        notes.append("every node reads all %d chunks from the API server: %s each%s" % (
            count, human(size), ", %s for %d nodes" % (human(size * nodes), nodes) if nodes else ""))
    return notes


def needs_of_node(found: Report) -> str:
    """Return what Pods use of a node, for which stricter Pod Security profiles have no room."""
    exposure = EXPOSURES[found["expose"]]
    needs = ["the host's network"] if exposure.host_network else ["a host port"] if exposure.host_port else []
    if any(runner["host_python"] for runner in found["runners"]):
        needs.append("hostPath volumes for the node's Python")
    return " and ".join(needs or ["hostPath volumes for the mirror"])


def next_steps(found: Report) -> List[str]:
    """Return the next steps, how to uninstall, and where all other commands are listed. A stream has no README.txt, so
    list them here."""
    lost = found["namespace"] if found["creates_namespace"] and found["out"] != STDOUT and not found["update"] else ""
    sections = [*first_steps(found["commands"], found["tries"]), *(
        Section(purpose, [command]) for purpose, command in found["registry"].items())]
    last = later(found["commands"], found["kinds"], lost)
    if found["out"] == STDOUT:
        return [*numbered(sections), *unnumbered(last)]
    return [*numbered(sections), *unnumbered(last[-1:]),
            "%s: commands to prune older seeds, to heal, to uninstall" % os.path.join(shown(found["out"]), README)]


def updating(update: Report, chunk_count: int, payload_bytes: int) -> List[str]:
    """Return what is new in an update, and the references that now name another image."""
    if not update:
        return []
    return ["update    of %s: %d of %s new, %s of %s; to carry: %s" % (
        shown(update["base"]), update["new_chunks"], counted(chunk_count, "chunk"), human(update["new_bytes"]),
        human(payload_bytes),
        human(update["carried_bytes"]))] + [
        "replaced  %s: was %s, is now %s" % (one["reference"], one["old"], one["new"]) for one in update["replaced"]]


def squeezing(squeeze: Report, payload_bytes: int) -> List[str]:
    """Return the size of the payload with --squeeze, or without it, if that makes a difference."""
    other = "%s in %d chunks" % (human(squeeze["other_bytes_estimated"]), squeeze["other_chunks_estimated"])
    if squeeze["done"]:
        return ["squeeze   without --squeeze about %s" % other] if squeeze["other_bytes_estimated"] else []
    if not 0 < squeeze["other_bytes_estimated"] < payload_bytes * WORTH:
        return []
    return ["squeeze   with --squeeze about %s: the same image IDs, but other manifest digests" % other]


def percent(part: int, whole: int) -> str:
    return "%d %%" % -(-100 * part // whole)


def verified(found: Report) -> str:
    """Return a report of `verify` as a page, for people."""
    runs = ["runs      %s in %s, namespace %s" % (shown(runner["interpreter"]), shown(runner["image"]),
                                                  found["namespace"]) for runner in found["runners"]]
    runs += ["cluster   %s: cluster-wide" % name for name in found["cluster_wide"]]
    chunks, payload, out = found["chunks"], found["payload"], shown(found["out"])
    size = "%s, %s, %s" % (counted(chunks["count"], "chunk"), human(payload["bytes"]), payload["digest"])
    whole = "%s: intact: %s" % (out, size)
    if chunks["elsewhere"]:
        whole = "%s: update is intact; %d of its %s are in other folders: add --onto FOLDER" % (
            out, chunks["elsewhere"], size)
    if not found["manifests_compared"]:
        runs.append("warning   manifests not compared: written by Seedpod %s" % shown(found["seedpod"]))
    return "\n".join([*image_table(found["images"]), "", *runs, whole,
                      "signed by %s" % shown(found["signer"]) if found["signer"] else
                      "this proves integrity, not origin: --signers FILE checks who signed it"])
