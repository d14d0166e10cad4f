"""What the user asks for, and whether it can be: checked before anything is read or written."""
import os
from typing import BinaryIO, List, NamedTuple, Optional, Sequence, Tuple

from builder.cluster.objects import Cluster
from builder.commands import STDOUT
from builder.finding.named_images import NamedImages
from builder.kubernetes.persistent_registry import Wanted
from builder.kubernetes.site import Site
from builder.payload import chunks
from builder.payload.compression import AUTO, XZ
from builder.reading.errors import BuildError


class Order(NamedTuple):
    """What the user asks for."""
    archives: Sequence[Tuple[str, str]]  # (reference or "", path)
    site: Site
    out: str
    compression: str = AUTO
    chunk_size: int = 0  # bytes; 0: what plain `kubectl apply` takes, or the largest if those were too many for it
    platforms: Sequence[str] = ()  # to take only these; none: all
    squeeze: bool = False  # whether to unpack layers, so that xz can pack them
    cluster: Optional[Cluster] = None  # to choose by, and to hold the outcome against
    stdin: Optional[BinaryIO] = None  # where the archive `-` comes from
    registry: Optional[Wanted] = None  # that stays
    manifests: Optional[NamedImages] = None  # whose images must be there
    not_images: Sequence[str] = ()  # of those, what the cluster has already
    key: str = ""  # file of the private key to sign with; "": not signed
    onto: Sequence[str] = ()  # the seed to add to, and more folders that hold chunks of archives


def check(order: Order) -> None:
    """BuildError if parts of the order exclude one another."""
    if order.squeeze and order.compression not in (AUTO, XZ):
        raise BuildError("--squeeze: needs xz to pack what it unpacks: leave out --compression %s" % order.compression)
    if order.chunk_size and not 0 < order.chunk_size <= chunks.LARGEST_CHUNK_BYTES:
        raise BuildError("--chunk-size %d: a ConfigMap holds at most %dKiB: choose less"
                         % (order.chunk_size, chunks.LARGEST_CHUNK_BYTES >> 10))
    check_onto(order)


def check_onto(order: Order) -> None:
    """BuildError if what is written would take away what it is added to, or cannot say how it is applied."""
    if order.onto and order.out == STDOUT:
        raise BuildError("--onto: an update is applied in several steps: name a folder with -o")
    for folder in order.onto:
        if os.path.realpath(folder) == os.path.realpath(order.out):
            raise BuildError("--onto %s: is also where the update goes, and would be lost: name another with -o"
                             % folder)


def node_platforms(order: Order) -> List[str]:
    """Which platforms the nodes have, as far as the order says, but for Windows: "linux/arm64"."""
    found = {"%s/%s" % (node.system.lower(), node.architecture) for node in order.cluster.nodes} \
        if order.cluster else set(order.platforms)
    return sorted(one for one in found if not one.startswith("windows/"))
