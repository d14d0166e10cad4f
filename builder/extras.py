"""What goes with the injector, if it is wanted, as files of OUT: a registry that stays, and the names of images."""
from typing import Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

from builder.kubernetes import names, persistent_registry
from builder.kubernetes.exposure import pull_name
from builder.kubernetes.persistent_registry import Storage, Wanted
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import SERVED
from builder.kubernetes.workloads import Plan
from builder.output.writer import DATA, Parts, with_code
from builder.reading.oci import Image
from builder.zipapp import pyz

Files = Iterator[Tuple[str, Parts]]  # name in OUT, bytes

class Registry(NamedTuple):
    """The registry that stays."""
    reference: str  # of its image
    command: Sequence[str]  # that the image runs by itself
    storage: Storage


def chosen_registry(wanted: Optional[Wanted], images: Sequence[Image]) -> Optional[Registry]:
    """The one of the images that is wanted as registry, if any is. Raises BuildError."""
    if not wanted:
        return None
    reference = persistent_registry.image_of(wanted, images)
    return Registry(reference, persistent_registry.command_of(reference, images), wanted.storage)


def of_registry(registry: Optional[Registry], plan: Plan, runner: Runner, addresses: Mapping[str, str]) -> Files:
    """Every object of the registry that stays, if one is wanted. `addresses`: reference -> where it is served."""
    if registry:
        image = pull_name(plan.site.node_port, addresses[registry.reference])
        code = pyz.spooler()
        yield from with_code(persistent_registry.objects(plan, runner, image, registry.command, registry.storage, code,
                                                         DATA), code)


def of_names(registry: Optional[Registry], plan: Plan, runner: Runner, images: Sequence[Image]) -> Files:
    """What keeps the names of images, if that is wanted: they lead to the registry that stays, where there is one."""
    if plan.site.names != SERVED and images:
        whose = persistent_registry.names_owner(plan.site) if registry else names.owner(plan.site, plan.seed)
        references = [reference for image in images for reference in image.references]
        digests = {reference: image.root.digest for image in images if not image.rebuilt
                   for reference in image.references}
        yield from with_code(names.objects(plan.site, whose, runner, references, digests, pyz.read_mirror()), b"")
