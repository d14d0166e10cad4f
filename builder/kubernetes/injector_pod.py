"""The injector's Pod: an init container that unpacks, a container that serves, the same image. Pure."""
from typing import Sequence

from builder.kubernetes.config_maps import INJECTOR_FILE
from builder.kubernetes.exposure import LOOPBACK
from builder.kubernetes.manifest import Object
from builder.kubernetes.pod import container, pod_spec, probe
from builder.kubernetes.quantity import MIB, mebibytes
from builder.kubernetes.runner import Runner, command, host_mounts, host_volumes, read_only
from builder.kubernetes.site import Site

CHUNKS, SEED, INJECTOR = "/chunks", "/seed", "/injector"  # mount paths; the stages' own defaults

GRACE_SECONDS = 5  # pulls in flight have 4 s to end, see stage1/injector/server.py
UNPACK_BYTES = 64 * MIB  # the interpreter, one block, the decoder's dictionary
SERVE_BYTES = 96 * MIB  # 64 MiB with 200 clients; its share of the page cache goes as need be
SEED_SLACK_BYTES = 16 * MIB  # folders, partly filled file system blocks, index.json


def injector_spec(site: Site, runner: Runner, digest: str, payload: Sequence[str], code: str, seed_bytes: int,
                  payload_bytes: int) -> Object:
    """The Pod's spec. `digest`: of contents.json; `payload`: names of the ConfigMaps of that and of the chunks; `code`:
    of the one of injector.pyz; `seed_bytes`: what unpacking takes on disk. InputError if a limit is too low."""
    program_mounts = [read_only("injector", INJECTOR)] + host_mounts(runner)
    program = "%s/%s" % (INJECTOR, INJECTOR_FILE)
    unpack = container(site, runner.image, "unpack", command(runner, program, "unpack", "--digest", digest),
                       payload_bytes + UNPACK_BYTES,
                       program_mounts + [read_only("chunks", CHUNKS), {"name": "seed", "mountPath": SEED}])
    address = "%s:%d" % (site.exposure.listen_host, site.node_port)
    serve = container(site, runner.image, "serve", command(runner, program, "serve", "--listen", address), SERVE_BYTES,
                      program_mounts + [read_only("seed", SEED)])
    # No liveness probe: by HTTP it would kill a busy registry, and a process that ended is restarted anyway.
    serve.update(ports=[_port(site)], readinessProbe=probe("/v2/", "registry", 2, site.exposure.probe_host))
    volumes = [
        {"name": "injector", "configMap": {"name": code}},
        {"name": "seed", "emptyDir": {"sizeLimit": mebibytes(seed_bytes + SEED_SLACK_BYTES)}},
        *host_volumes(runner),
        {"name": "chunks", "projected": {"sources": [
            {"configMap": {"name": name}} for name in payload]}}]
    return pod_spec(site, runner, [serve], volumes, [unpack], GRACE_SECONDS)


def _port(site: Site) -> Object:
    """Return the container's port; without a Service it is a port of the node's loopback, too."""
    found = {"name": "registry", "containerPort": site.node_port}
    return dict(found, hostPort=site.node_port, hostIP=LOOPBACK) if site.exposure.host_port else found
