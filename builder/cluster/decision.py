"""A site, a cluster and the needs of the images -> the Decision. Pure.

A build decides with the needs of its images, `explain` without images. Options that were not given are chosen first
(choice.py, names_preflight.py), then everything is checked against the cluster (preflight.py, names_preflight.py).
"""
from typing import NamedTuple, Optional, Sequence

from builder.cluster import names_preflight, preflight
from builder.cluster.choice import Choice, choose
from builder.cluster.objects import Cluster
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import Site
from builder.reading.errors import InputError


class Needs(NamedTuple):
    """The requirements of the images on a cluster."""
    platforms: Sequence[str] = ()  # "linux/amd64", of all images; if there are none, any node fits
    references: Sequence[str] = ()  # full references that nodes pull
    has_registry: bool = False  # whether a persistent registry is among the objects


class Decision(Choice):
    """A choice that was checked against the cluster, with all reasons and warnings."""


class Refused(InputError):
    """The cluster would refuse the objects, or no node fits. `errors`: one line each; `decision`: an incomplete one."""

    def __init__(self, errors: Sequence[str], decision: Decision) -> None:
        super().__init__("; and ".join(errors))
        self.errors, self.decision = errors, decision


def decide(site: Site, cluster: Optional[Cluster], needs: Needs, kept: Sequence[Runner] = ()) -> Decision:
    """Return the decision. `kept`: the runners of an update's base, which are not chosen again. Raise InputError for
    options that cannot be used, and Refused if the cluster would refuse the objects."""
    choice = choose(site, cluster, needs.platforms) if not kept else Choice(
        site._replace(expose=site.exposure.name), tuple(kept))
    if choice.refusal:
        raise Refused([choice.refusal], _decision(choice))
    cluster = cluster or Cluster()
    choice = names_preflight.with_containerd_config(choice, cluster)
    errors = preflight.errors(choice, cluster, needs.has_registry) + names_preflight.errors(choice, cluster)
    warnings = preflight.warnings(choice, cluster, needs.has_registry)
    warnings += names_preflight.warnings(choice, cluster, needs.references)
    decision = _decision(choice, names_preflight.advice(choice.site, cluster), warnings)
    if errors:
        raise Refused(errors, decision)
    return decision


def _decision(choice: Choice, reasons: Sequence[str] = (), warnings: Sequence[str] = ()) -> Decision:
    """Return the decision for a choice, with more reasons and warnings."""
    return Decision(*choice)._replace(reasons=(*choice.reasons, *reasons), warnings=(*choice.warnings, *warnings))
