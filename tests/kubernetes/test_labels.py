"""Labels and selectors: no selector uses a label that other tools overwrite, and none finds foreign objects."""
import copy
import re

import pytest

from builder.kubernetes import labels, names, persistent_registry, security, workloads
from builder.kubernetes.labels import PART, RECOMMENDED, SEED
from builder.kubernetes.persistent_registry import PersistentRegistry, Storage
from builder.kubernetes.site import MIRROR, POLICY, Site
from tests.kubernetes.test_manifests import FULL, MODES, PYTHON, chunk_config_map, injector_config_map, objects, plan_of

NO_SEED = {labels.NAMESPACE_PART, labels.CHUNK, labels.PROGRAM, labels.REGISTRY, labels.SPOOLER}
REFERENCES = ["docker.io/library/nginx:1"]
REGISTRY = PersistentRegistry("docker.io/library/registry:2", ["registry"], Storage("new"))


def every_object(mode):
    """Return all objects of a build with a persistent registry and with every value of --names."""
    site, runners = MODES[mode]
    site = site._replace(limits={})  # of the injector's memory, too low for a registry
    plan = plan_of(site, runners)
    found = objects(mode)
    found += persistent_registry.objects(plan, runners[0], REGISTRY, "a:1", "", "").values()
    for way in (POLICY, MIRROR):
        for whose in (names.owner(site, plan.seed), persistent_registry.names_owner(site)):
            found += names.objects(site._replace(names=way), whose, runners[0], REFERENCES, {}, "").values()
    return found


def overwritten(item):
    """Return the object with all recommended labels overwritten, as kustomize, Argo CD and Helm do."""
    found = copy.deepcopy(item)
    for metadata in (found["metadata"], found.get("spec", {}).get("template", {}).get("metadata", {})):
        metadata.get("labels", {}).update(dict.fromkeys(RECOMMENDED, "of-another-tool"))
    return found


def pod_labels(item):
    return item["metadata"]["labels"] if item["kind"] == "Pod" else item["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("mode", sorted(MODES))
def test_selectors_still_match_after_other_tools_overwrite_labels(mode):
    found = list(map(overwritten, every_object(mode)))
    pods = [pod_labels(item) for item in found if item["kind"] in ("Pod", "Deployment", "DaemonSet")]
    for item in found:
        spec = item.get("spec", {})
        if item["kind"] == "Service":
            assert any(spec["selector"].items() <= pod.items() for pod in pods)
        if item["kind"] in ("Deployment", "DaemonSet"):
            assert spec["selector"]["matchLabels"].items() <= pod_labels(item).items()


@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_object_has_a_part_and_objects_of_one_build_have_its_seed(mode):
    for item in objects(mode):
        own = item["metadata"]["labels"]
        assert (SEED in own) == (own[PART] not in NO_SEED), own


def test_objects_of_a_persistent_registry_have_no_seed():
    site = Site(expose="nodeport", names=POLICY)
    plan = plan_of(site, [PYTHON])
    found = [*persistent_registry.objects(plan, PYTHON, REGISTRY, "a:1", "", "").values(),
             *names.objects(site, persistent_registry.names_owner(site), PYTHON, REFERENCES, {}, "").values()]
    assert {item["metadata"]["labels"][PART] for item in found} == {
        labels.REGISTRY, labels.REGISTRY_SERVICE, labels.SPOOLER, labels.POLICY}
    assert not any(SEED in item["metadata"]["labels"] for item in found)


def test_cluster_wide_objects_name_the_namespace_of_their_seed():
    site = Site(namespace="tools", create_namespace=True, names=POLICY)
    found = [security.namespace(site, "restricted"),
             *names.objects(site, names.owner(site, "0" * 12), PYTHON, REFERENCES, {}, "").values()]
    assert len(found) == 3
    for item in found:
        assert item["metadata"]["labels"][labels.NAMESPACE] == "tools" and "namespace" not in item["metadata"]


def test_immutable_selectors_contain_no_seed():
    for mode in MODES:
        for item in every_object(mode):
            if item["kind"] in ("Deployment", "DaemonSet"):
                assert SEED not in item["spec"]["selector"]["matchLabels"]


def test_no_controller_adopts_the_pods_of_another_workload():
    """A DaemonSet adopts each Pod without an owner that its selector matches."""
    pods = {site.workload: pod_labels(workloads.workloads(plan_of(site, [PYTHON]))[0])
            for site in (Site(expose="nodeport"), FULL, Site(expose="hostport"))}
    assert len(pods) == 3
    for site in (FULL, Site(expose="hostport")):
        (controller,) = workloads.workloads(plan_of(site, [PYTHON]))
        chosen = controller["spec"]["selector"]["matchLabels"]
        assert [workload for workload, own in pods.items() if chosen.items() <= own.items()] == [site.workload]


def test_programs_and_chunks_have_different_parts():
    plan = plan_of(Site(), [PYTHON])
    assert injector_config_map(plan)["metadata"]["labels"][PART] == labels.PROGRAM
    assert chunk_config_map(Site(), "0" * 64)["metadata"]["labels"][PART] == labels.CHUNK


@pytest.mark.parametrize("selector", [labels.of_parts(["a", "b"]), labels.except_parts(["a"]), labels.except_seed("0")])
def test_a_selector_requires_a_key_of_ours_to_be_there(selector):
    terms = re.split(r",(?![^(]*\))", selector)
    assert any(re.fullmatch(r"seedpod/\w+( in \(.*\))?", term) for term in terms)
