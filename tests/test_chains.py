"""Chains of builds, updates, prunes and removals, as the printed commands run them on a model of a cluster.

In every chain, foreign objects are untouched, nodes are served, and only our objects that were to stay are left.
"""
import random
import re
from typing import Dict, FrozenSet, NamedTuple, Tuple

import pytest

from builder import pipeline
from builder.kubernetes.steps import PRUNE, REMOVE, REMOVE_ALL, key_of
from builder.kubernetes.labels import PART, SEED, SHARED
from builder.kubernetes.manifest import DELETIONS, OBJECTS, POLICIES
from builder.kubernetes.persistent_registry import EMPTY_DIR, NEW_CLAIM, Storage, RegistryOptions
from builder.kubernetes.site import MIRROR, POLICY, SERVED, Site
from builder.cli.summary import report_of
from tests.support import builds, samples
from tests.support.model_cluster import Cluster, Failure, Item, documents

CHAINS = 200
IMAGES = [("registry", samples.with_layers([b"registry" * 100], command=["registry", "serve"]))] + [
    ("app:%d" % number, samples.sample("app %d" % number, 1)) for number in range(3)]
POLICY_KINDS = ("mutatingadmissionpolicy", "mutatingadmissionpolicybinding")
FOREIGN = {  # (namespace, "*" for that of the chain; kind; name) -> labels
    ("*", "configmap", "kube-root-ca.crt"): {},
    ("*", "configmap", "settings"): {"app": "web", "app.kubernetes.io/managed-by": "Helm"},
    ("*", "pod", "web"): {"app.kubernetes.io/instance": "web", "seedpod": "no"},
    ("*", "service", "web"): {"app.kubernetes.io/component": "service"},
    ("*", "deployment", "web"): {"app.kubernetes.io/component": "registry"},
    ("*", "daemonset", "agent"): {},
    ("*", "persistentvolumeclaim", "data"): {},
    ("other", "configmap", "kube-root-ca.crt"): {},
    ("", POLICY_KINDS[0], "foreign"): {},
    ("", POLICY_KINDS[1], "foreign"): {"app.kubernetes.io/name": "foreign"},
}
Names = FrozenSet[Tuple[str, str]]  # (kind, name)


class Build(NamedTuple):
    """The input of one build."""
    namespace: str
    names: str = SERVED
    expose: str = "nodeport"
    replicas: int = 0
    storage: str = ""  # of the persistent registry; "": none
    images: Tuple[int, ...] = (1,)  # positions in IMAGES
    base: str = ""  # a folder; "": a full build
    node_port: int = Site().node_port


class Built(NamedTuple):
    """The output of one build."""
    folder: str
    build: Build
    commands: Dict[str, str]
    seed: str
    owned: Names  # objects of this build
    shared: Names  # chunks and the program that it needs
    stays: Names  # objects of its persistent registry


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Build -> Built, each made once."""
    folder = tmp_path_factory.mktemp("builds")
    paths = [samples.write(folder / ("image-%d.tar" % number), samples.podman_save(image, "docker.io/library/" + name))
             for number, (name, image) in enumerate(IMAGES)]
    made = {}

    def built(build):
        site = Site(builds.IMAGE, namespace=build.namespace, expose=build.expose, replicas=build.replicas,
                    names=build.names, node_port=build.node_port)
        wanted = RegistryOptions("library/registry", Storage(build.storage)) if build.storage else None
        request = builds.request(folder, str(len(made)), site, [paths[number] for number in build.images],
                                 registry=wanted, onto=[build.base] if build.base else [])
        result = pipeline.build(request, None, lambda *_: None)
        found = report_of(request, result)
        objects = {key[1:]: item.labels for key, item, _ in documents(request.out) if key[1] != "namespace"}
        return Built(
            request.out, build, found["commands"], result.plan.seed, frozenset(name for name, own in objects.items() if SEED in own),
            frozenset(tuple(line.split("/")) for line in (folder / request.out / "CHUNKS").read_text().split()),
            frozenset(name for name, own in objects.items() if SEED not in own and own[PART] not in SHARED))

    def once(build):
        if build not in made:
            made[build] = built(build)
        return made[build]
    return once


def cluster_with(*namespaces, **options):
    found = Cluster(**options)
    found.objects.update({("", "namespace", name): Item({}, {}, (), "", "create") for name in namespaces})
    return found


class Chain:
    """A cluster, the newest seed in it, and the names of what a persistent registry holds there."""

    def __init__(self, dice, make):
        self.dice, self.make = dice, make
        self.namespace = dice.choice(["seedpod", "tools"])  # the first is created, the second exists
        self.cluster = cluster_with("other", "tools", "seedpod",
                                    unknown=POLICY_KINDS if dice.random() < .2 else ())
        self.newest, self.registry, self.history = None, frozenset(), []
        for (namespace, *name), own in FOREIGN.items():
            key = (self.namespace if namespace == "*" else namespace, *name)
            self.cluster.objects[key] = Item(own, {}, (), "", "create")
        neighbour = make(Build("other", SERVED if self.cluster.unknown else POLICY, node_port=30999))
        self.run(neighbour.commands["apply"])
        self.foreign = {key: item for key, item in self.cluster.objects.items() if key[1] != "namespace"}

    def run(self, command):
        self.history.append(command)
        return self.cluster.run(command)

    def delete(self, found, scope):
        """Run the commands of one deletion. If the cluster has no kind of policy, kubectl fails and deletes none."""
        for key in [key_of(scope, deletion) for deletion in DELETIONS] + [scope + "_chunks"]:
            if key in found:
                try:
                    self.run(found[key])
                except Failure:
                    assert key.endswith(POLICIES) and self.cluster.unknown
            self.check_foreign()

    def check_foreign(self):
        for key, item in self.foreign.items():
            assert self.cluster.objects.get(key) == item, "%s was touched" % (key,)

    def check(self):
        self.check_foreign()
        pods = self.cluster.pods(self.namespace)
        for key in pods:
            assert not self.cluster.missing(key), "%s lacks what it mounts" % (key,)
            chosen = self.cluster.objects[key].chosen
            adopted = [pod for pod in pods if key[1] != "pod" and pod[1] == "pod" and chosen
                       and chosen.items() <= self.cluster.objects[pod].labels.items()]
            assert not adopted, "%s adopts %s" % (key, adopted)

    def ours(self):
        """Return the names of all our objects, in the chain's namespace and cluster-wide."""
        return {key[1:] for key in self.cluster.objects if key not in self.foreign and key[1] != "namespace"}

    def is_served(self):
        key = (self.namespace, "service", "seedpod")
        return key in self.cluster.objects and bool(self.cluster.serving(self.namespace))

    # --- the steps

    def build(self, base=""):
        dice = self.dice
        expose = dice.choice(["nodeport", "nodeport", "hostnetwork"])
        found = Build(
            self.namespace, dice.choice([SERVED, MIRROR] + ([] if self.cluster.unknown else [POLICY])), expose,
            dice.choice([0, 2]) if expose == "nodeport" else 0, dice.choice(["", "", EMPTY_DIR, NEW_CLAIM]),
            (0, dice.choice([1, 2, 3])), base)
        if not (base or found.storage) and ("service", "seedpod-registry") in self.registry:
            found = found._replace(node_port=31998)  # the usual one is the registry's
        seed_service = self.cluster.objects.get((self.namespace, "service", "seedpod"))
        if found.storage and seed_service and seed_service.node_port == "31999":
            found = found._replace(expose="nodeport")  # a Service that stays would keep the registry's port
        found = self.make(found)
        was_served = self.is_served()
        assert not base or self.run(found.commands["check"]) == ""
        for key in ("apply", "apply_rest", "wait", "turn"):
            if key in found.commands:
                self.run(found.commands[key])
                assert self.is_served() or not was_served or "apply" in found.commands, "a gap after " + key
        if expose == "nodeport":
            assert found.seed in [self.cluster.objects[key].labels[SEED] for key in self.cluster.serving(self.namespace)]
        self.check()
        self.newest, self.registry = found, (self.registry | found.stays) - found.owned

    def update(self):
        self.build(self.newest.folder)

    def prune(self):
        self.delete(self.newest.commands, PRUNE)
        self.check()
        assert self.ours() == self.newest.owned | self.newest.shared | self.registry

    def remove(self):
        self.delete(self.newest.commands, REMOVE)
        self.check()
        assert self.ours() == self.registry
        self.newest = None

    def uninstall(self):
        self.delete(self.newest.commands, REMOVE_ALL)
        self.registry = frozenset(name for name in self.registry if name[0] == "persistentvolumeclaim")
        assert self.ours() == self.registry
        self.newest = None

    def uninstall_folder(self):
        """Run the two commands for a full build. Older builds are pruned before. Namespace tools, which we did not
        create, is kept; namespace seedpod is deleted with everything in it."""
        if "uninstall" not in self.newest.commands:
            return
        self.prune()
        try:
            self.run(self.newest.commands[key_of(REMOVE_ALL, POLICIES)])
        except Failure:
            assert self.cluster.unknown
        self.run(self.newest.commands["uninstall"])
        if self.namespace == "seedpod":
            self.foreign = {key: item for key, item in self.foreign.items() if key[0] != "seedpod"}
            self.registry = frozenset()
        else:
            self.registry = frozenset(name for name in self.registry - self.newest.stays if name[0] not in POLICY_KINDS)
        self.check()
        assert self.ours() == self.registry
        self.newest = None

    def walk(self):
        for _ in range(self.dice.randint(3, 7)):
            steps = [self.build]
            if self.newest:
                steps += 2 * [self.update, self.prune] + [self.remove, self.uninstall, self.uninstall_folder]
            self.dice.choice(steps)()


@pytest.mark.parametrize("group", range(10))
def test_no_chain_touches_foreign_objects_or_leaves_ours(group, make):
    for number in range(group, CHAINS, 10):
        chain = Chain(random.Random(number), make)
        try:
            chain.walk()
        except (AssertionError, Failure) as failure:
            raise AssertionError("chain %d: %s\n%s" % (number, failure, "\n".join(chain.history))) from failure


@pytest.mark.parametrize("cluster", [dict(unknown=POLICY_KINDS), dict(forbidden=("daemonset", "deployment"))])
def test_a_kind_that_is_unknown_or_forbidden_stops_no_other_deletion(make, cluster):
    found = make(Build("tools")).commands
    cluster = cluster_with("tools", **cluster)
    cluster.run(found["apply"])
    for key in [key_of(REMOVE, deletion) for deletion in DELETIONS] + [REMOVE + "_chunks"]:
        try:
            cluster.run(found[key])
        except Failure:
            assert key != key_of(REMOVE, OBJECTS)
    assert list(cluster.objects) == [("", "namespace", "tools")]


@pytest.mark.parametrize("first", ["--server-side ", ""])
@pytest.mark.parametrize("then", ["--server-side ", ""])
def test_plain_and_server_side_apply_can_be_mixed(make, first, then):
    old, new = make(Build("tools", POLICY)), make(Build("tools", POLICY, images=(2,)))
    cluster = cluster_with("tools")
    cluster.run("kubectl apply %s-f %s" % (first, old.folder))
    cluster.run("kubectl apply %s-f %s" % (then, new.folder))
    assert [cluster.objects[key].labels[SEED] for key in cluster.serving("tools")] == [new.seed]


def test_updating_an_object_of_another_manager_is_a_conflict_until_forced(make):
    old, new = make(Build("tools")), make(Build("tools", images=(2,)))
    cluster = cluster_with("tools")
    cluster.run("kubectl create -f " + old.folder)
    with pytest.raises(Failure, match="Apply failed with 1 conflict"):
        cluster.run(new.commands["apply"])
    cluster.run(new.commands["apply"] + " --force-conflicts")
    assert [cluster.objects[key].labels[SEED] for key in cluster.serving("tools")] == [new.seed]


def test_every_printed_selector_requires_a_key_of_ours(make):
    commands = make(Build("tools", POLICY, storage=EMPTY_DIR, images=(0, 1))).commands
    update = make(Build("tools", POLICY, base=make(Build("tools")).folder)).commands
    selectors = [selector for command in {*commands.values(), *update.values()}
                 for selector in re.findall(r" -l ('[^']+'|\S+)", command)]
    assert len(selectors) > 12
    for selector in selectors:
        terms = re.split(r",(?![^(]*\))", selector.strip("'"))
        assert any(re.fullmatch(r"seedpod/\w+(=[\w-]+| in \(.*\))?", term) for term in terms), selector
