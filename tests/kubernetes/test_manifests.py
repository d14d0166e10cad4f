import copy
import hashlib
import json
import os
import pathlib
import re
import subprocess

import pytest

from builder.cli import site_options
from builder.payload import chunks
from builder.kubernetes import config_maps, files as kubernetes_files, security, site, sizes, workloads
from builder.reading.errors import InputError
from builder.kubernetes.labels import CHUNK, PART, PROGRAM
from builder.kubernetes.runner import Runner
from builder.kubernetes.quantity import number
from builder.kubernetes.site import Site

GOLDEN = pathlib.Path(__file__).with_name("golden")
PYZ = b"stands for injector.pyz"
PAYLOAD = b"the first chunk, and the second one"
CHUNK_BYTES = 18
CONTENTS = '{"stands for": "contents.json"}'
SEED_BYTES = 9 << 20
PYTHON = Runner("example.com/python:3")
PAUSE = Runner("registry.k8s.io/pause:3.10", "/usr/bin/python3", True, "amd64", ("node-1", "node-2"))
FULL = Site(
    namespace="infra", create_namespace=True, node_port=30100, expose="nodeport", replicas=2, no_user=True,
    node_selector={"disk": "ssd"}, tolerations=(site_options.toleration("dedicated=infra:NoSchedule"), site_options.toleration("a")),
    requests={"cpu": "100m"}, limits={"memory": "256Mi", "ephemeral-storage": "1Gi"}, pull_secrets=("mirror",),
    labels={"team": "platform"}, annotations={"example.com/note": "on, off: \"quoted\" # <html>"})
MODES = {  # name -> site, runners
    "pod": (Site(expose="nodeport"), [PYTHON]),
    "every-option": (FULL, [PYTHON._replace(nodes=("node-1",))]),
    "deployment": (Site(expose="nodeport", replicas=1), [PYTHON]),
    "tries": (Site(expose="nodeport", tries=2), [PYTHON._replace(nodes=("node-1",)),
                                                PYTHON._replace(image="example.com/app:1", nodes=("node-2",))]),
    "hostport": (Site(expose="hostport"), [PYTHON]),
    "hostnetwork": (Site(expose="hostnetwork", tolerations=(site.TOLERATE_ALL,)), [PYTHON]),
    "host-python": (Site(expose="nodeport"), [PAUSE]),
    "host-python-arm64": (Site(expose="nodeport"), [PAUSE._replace(architecture="arm64")]),
    "host-python-hostnetwork": (Site(expose="hostnetwork"), [PAUSE]),
    "other-namespace": (Site(expose="nodeport", namespace="infra"), [PYTHON]),
}
PRIVILEGED = {"hostport", "hostnetwork", "host-python", "host-python-arm64", "host-python-hostnetwork"}
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def parts():
    """(name, bytes) of the payload's chunks."""
    return list(chunks.cut([PAYLOAD], CHUNK_BYTES))


def plan_of(asked, runners, pyz=PYZ, payload_bytes=len(PAYLOAD)):
    return workloads.plan_of(asked, runners, CONTENTS, [name for name, _ in parts()], hashlib.sha256(pyz).hexdigest(), SEED_BYTES, payload_bytes)


def files(mode):
    """All that is emitted: (file name, parts of YAML)."""
    asked, runners = MODES[mode]
    found = list(kubernetes_files.documents(plan_of(asked, runners), security.profile(asked, runners), PYZ))
    chunk_files = sorted(kubernetes_files.chunk_file(asked, name, data) for name, data in parts())
    return found[:asked.emits_namespace] + chunk_files + found[asked.emits_namespace:]


def stream(mode):
    """The same as one YAML stream."""
    return b"".join(b"---\n" + b"".join(yaml) for _, yaml in files(mode))


def chunk_config_map(site, chunk_name):
    return config_maps.chunk_config_map(site, chunk_name, "")


def injector_config_map(plan):
    return config_maps.injector_config_map(plan.site, plan.injector, "")


def objects(mode):
    asked, runners = MODES[mode]
    plan = plan_of(asked, runners)
    enforce = security.profile(asked, runners)
    found = [security.namespace(asked, enforce)] if asked.emits_namespace else []
    found += [chunk_config_map(asked, name) for name in sorted(name for name, _ in parts())]
    found += [config_maps.contents_config_map(asked, plan.seed, CONTENTS), injector_config_map(plan)]
    return found + ([workloads.service(plan)] if asked.exposure.service else []) + workloads.workloads(plan)


def pod_specs(mode):
    return [spec_of(manifest) for manifest in workloads.workloads(plan_of(*MODES[mode]))]


def spec_of(manifest):
    return manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("mode", sorted(MODES))
def test_each_mode_emits_what_it_did(mode):
    text = stream(mode)
    path = GOLDEN / (mode + ".yaml")
    if os.environ.get("SEEDPOD_RENEW_GOLDEN") == "1":
        path.write_bytes(text)
    assert text == path.read_bytes()


def test_every_golden_file_is_of_a_mode():
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(MODES)


@pytest.fixture(scope="module")
def read_back(needs):
    """Mode -> the objects of its YAML, as a parser that is not ours reads them; one program reads all."""
    needs("yq")
    done = subprocess.run(["yq", "-c", "."], input=b"".join(b"---\n'%s'\n" % mode.encode() + stream(mode)
                                                             for mode in MODES), stdout=subprocess.PIPE, check=True)
    found = {}
    for document in map(json.loads, done.stdout.splitlines()):
        if isinstance(document, str):
            of_mode = found[document] = []
        else:
            of_mode.append(document)
    return found


@pytest.mark.parametrize("mode", sorted(MODES))
def test_the_yaml_says_what_the_objects_say(read_back, mode):
    for item in read_back[mode]:
        for key in item.get("binaryData", ()):
            item["binaryData"][key] = ""
    assert read_back[mode] == objects(mode)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_names_and_labels_are_legal(mode):
    for item in objects(mode):
        assert NAME.fullmatch(item["metadata"]["name"]) and len(item["metadata"]["name"]) <= 253
        assert item["kind"] == "ConfigMap" or len(item["metadata"]["name"]) <= 63
        for value in item["metadata"]["labels"].values():
            assert LABEL.fullmatch(value)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_the_order_of_the_files_is_the_order_to_apply(mode):
    names = [name for name, _ in files(mode)]
    assert names == sorted(names)
    kinds = [item["kind"] for item in objects(mode)]
    assert "Namespace" not in kinds[1:]
    assert max(number for number, kind in enumerate(kinds) if kind == "ConfigMap") < kinds.index(
        workloads.workloads(plan_of(*MODES[mode]))[0]["kind"])


def test_a_chunk_and_the_program_are_the_same_in_every_build_for_a_namespace():
    built = [[item for item in found if item["metadata"]["labels"][PART] in (CHUNK, PROGRAM)]
             for found in (objects("pod"), objects("deployment"), objects("hostport"), objects("host-python"))]
    assert len(built[0]) == 3 and all(found == built[0] for found in built)


def test_what_is_immutable_is_named_after_its_content():
    plan, other = plan_of(Site(), [PYTHON]), plan_of(Site(), [PYTHON], b"other")
    assert injector_config_map(plan)["immutable"] and plan.injector != other.injector
    contents = [config_maps.contents_config_map(Site(), plan.seed, text) for text in (CONTENTS, "{}")]
    assert all(item["immutable"] for item in contents)
    assert contents[0]["metadata"]["name"] != contents[1]["metadata"]["name"]
    for name, data in parts():
        assert chunk_config_map(Site(), name)["metadata"]["name"].endswith(hashlib.sha256(data).hexdigest())


def test_whatever_changes_a_pod_changes_its_name():
    plans = [plan_of(Site(), [PYTHON]), plan_of(Site(), [PYTHON], b"other"), plan_of(Site(node_port=30001), [PYTHON]),
             plan_of(Site(), [PYTHON._replace(image="x")]), plan_of(Site(labels={"a": "b"}), [PYTHON]),
             plan_of(Site(), [PYTHON], payload_bytes=1 << 30)]
    assert len({workloads.workloads(plan)[0]["metadata"]["name"] for plan in plans}) == len(plans)
    assert plan_of(Site(), [PYTHON]) == plans[0]


@pytest.mark.parametrize("mode", sorted(MODES))
def test_a_selector_that_cannot_be_edited_is_new_with_its_object_or_always_the_same(mode):
    asked, runners = MODES[mode]
    for old, new in zip(workloads.workloads(plan_of(asked, runners)),
                        workloads.workloads(plan_of(asked, runners, b"changed"))):
        if old["kind"] == "Pod":
            assert old["metadata"]["name"] != new["metadata"]["name"]
            continue
        same_name = old["metadata"]["name"] == new["metadata"]["name"]
        assert same_name == (old["spec"]["selector"] == new["spec"]["selector"])
        labels = new["spec"]["template"]["metadata"]["labels"]
        assert new["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_selector_of_a_daemon_set_finds_no_bare_pod():
    (daemons,) = workloads.workloads(plan_of(*MODES["hostport"]))
    (pod,) = workloads.workloads(plan_of(*MODES["pod"]))
    assert not daemons["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("mode", sorted(set(MODES) - {"hostport", "hostnetwork", "host-python-hostnetwork"}))
def test_the_service_leads_to_the_pods_of_its_own_build(mode):
    plan = plan_of(*MODES[mode])
    service = workloads.service(plan)["spec"]
    for manifest in workloads.workloads(plan):
        labels = (manifest if manifest["kind"] == "Pod" else manifest["spec"]["template"])["metadata"]["labels"]
        assert service["selector"].items() <= labels.items()
        ports = [port["name"] for port in spec_of(manifest)["containers"][0]["ports"]]
        assert service["ports"][0]["targetPort"] in ports
    assert service["ipFamilyPolicy"] == "PreferDualStack"
    other = workloads.workloads(plan_of(MODES[mode][0]._replace(annotations={"x": "y"}), MODES[mode][1]))[0]
    labels = (other if other["kind"] == "Pod" else other["spec"]["template"])["metadata"]["labels"]
    rolled_over = MODES[mode][0].replicas > 0  # its older Pods serve until the newer ones are ready
    assert (service["selector"].items() <= labels.items()) == rolled_over


@pytest.mark.parametrize("mode", sorted(MODES))
def test_each_pod_keeps_to_the_profile_that_its_namespace_enforces(mode):
    asked, runners = MODES[mode]
    assert security.profile(asked, runners) == ("privileged" if mode in PRIVILEGED else "restricted")
    for spec in pod_specs(mode):
        beyond = spec.get("hostNetwork", False) or any("hostPath" in volume for volume in spec["volumes"]) or any(
            "hostPort" in port for port in spec["containers"][0]["ports"])
        assert beyond == (mode in PRIVILEGED)
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["initContainers"] + spec["containers"]:
            assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                    "capabilities": {"drop": ["ALL"]}}
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert container["imagePullPolicy"] == "IfNotPresent" and "livenessProbe" not in container


def test_the_namespace_enforces_the_profile_and_is_emitted_only_if_it_is_ours_or_asked_for():
    for mode in MODES:
        found = [item for item in objects(mode) if item["kind"] == "Namespace"]
        assert len(found) == (mode != "other-namespace")
        for item in found:
            assert item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == (
                "privileged" if mode in PRIVILEGED else "restricted")


@pytest.mark.parametrize("payload_bytes, limit", [(0, "64Mi"), (1, "65Mi"), (8 << 20, "72Mi"), (1 << 30, "1088Mi")])
def test_the_memory_limit_holds_the_payload_which_lies_in_memory(payload_bytes, limit):
    (spec,) = [spec_of(item) for item in workloads.workloads(plan_of(Site(), [PYTHON], payload_bytes=payload_bytes))]
    assert spec["initContainers"][0]["resources"]["limits"]["memory"] == limit
    assert spec["containers"][0]["resources"]["limits"]["memory"] == "96Mi"


def test_the_seed_volume_holds_what_unpacking_takes_and_some_slack():
    (spec,) = pod_specs("pod")
    assert {"name": "seed", "emptyDir": {"sizeLimit": "25Mi"}} in spec["volumes"]


def resources(payload_bytes=0, **asked):
    spec = spec_of(workloads.workloads(plan_of(Site(**asked), [PYTHON], payload_bytes=payload_bytes))[0])
    return [container["resources"] for container in spec["initContainers"] + spec["containers"]]


def test_requests_and_limits_are_those_asked_for():
    for found in resources(requests={"cpu": "10m", "memory": "32Mi"}, limits={"cpu": "250m", "memory": "1Gi"}):
        assert found == {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "250m", "memory": "1Gi"}}


def test_a_request_is_never_above_its_limit():
    for asked in ({"requests": {"cpu": "2", "memory": "2Gi"}}, {"limits": {"cpu": "10m"}},
                  {"requests": {"memory": "90Mi"}}):
        for found in resources(**asked):
            for key, value in found["requests"].items():
                assert number(value) <= number(found["limits"][key])
    assert [found["limits"]["memory"] for found in resources(requests={"memory": "90Mi"})] == ["90Mi", "96Mi"]


def test_a_memory_limit_under_which_it_could_not_start_is_refused():
    with pytest.raises(InputError,
                       match="--limits memory=128Mi: unpacking and serving these images takes 164Mi: raise it"):
        resources(100 << 20, limits={"memory": "128Mi"})


def test_the_nodes_python_has_the_nodes_libraries_and_nothing_else():
    for mode, folders in (("host-python", ["usr", "lib", "lib64"]), ("host-python-arm64", ["usr", "lib"])):
        (spec,) = pod_specs(mode)
        assert [volume["hostPath"] for volume in spec["volumes"] if "hostPath" in volume] == [
            {"path": "/" + name, "type": "Directory"} for name in folders]
        for container in spec["initContainers"] + spec["containers"]:
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert all(mounts["/" + name]["readOnly"] for name in folders)
            assert container["command"][0] == "/usr/bin/python3"
        assert spec["nodeSelector"]["kubernetes.io/arch"] == ("amd64" if "lib64" in folders else "arm64")


def test_on_the_hosts_network_it_listens_and_is_asked_at_the_loopback_alone():
    (spec,) = pod_specs("hostnetwork")
    serve = spec["containers"][0]
    assert spec["hostNetwork"] and serve["command"][-1] == "127.0.0.1:31999"
    assert serve["readinessProbe"]["httpGet"]["host"] == "127.0.0.1"
    assert serve["ports"] == [{"name": "registry", "containerPort": 31999, "hostPort": 31999, "hostIP": "127.0.0.1"}]
    (spec,) = pod_specs("hostport")
    assert "hostNetwork" not in spec and "host" not in spec["containers"][0]["readinessProbe"]["httpGet"]
    assert spec["containers"][0]["command"][-1] == ":31999"


def test_tries_fail_once_and_for_all_and_keep_apart():
    for spec, image in zip(pod_specs("tries"), ("example.com/python:3", "example.com/app:1")):
        assert spec["restartPolicy"] == "Never" and spec["containers"][0]["image"] == image
        assert spec["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"
    assert all("restartPolicy" not in spec for mode in set(MODES) - {"tries"} for spec in pod_specs(mode))


def test_labels_and_annotations_are_on_every_object_and_on_the_pods():
    for item in objects("every-option"):
        assert item["metadata"]["labels"]["team"] == "platform"
        assert item["metadata"]["annotations"] == FULL.annotations
    template = objects("every-option")[-1]["spec"]["template"]["metadata"]
    assert template["labels"]["team"] == "platform" and template["annotations"] == FULL.annotations


def test_every_option_of_the_site_shows_in_the_manifests():
    plain = Site(expose="nodeport")
    emitted = {json.dumps(objects_of(plain))}
    for name in ("namespace", "node_port", "replicas", "no_user", "node_selector", "tolerations", "requests", "limits",
                 "pull_secrets", "labels", "annotations"):
        emitted.add(json.dumps(objects_of(plain._replace(**{name: getattr(FULL, name)}))))
    assert len(emitted) == 12


def objects_of(asked):
    plan = plan_of(asked, [PYTHON])
    return [workloads.service(plan)] + workloads.workloads(plan)


def test_building_manifests_changes_none_of_its_values():
    asked, runners = MODES["every-option"]
    before = copy.deepcopy((asked, runners))
    workloads.workloads(plan_of(asked, runners))
    assert (asked, runners) == before


def test_the_annotation_is_measured_as_kubectl_writes_it():
    plain = {"kind": "ConfigMap", "metadata": {"name": "a"}, "binaryData": {"k": ""}}
    copied = '{"kind":"ConfigMap","metadata":{"name":"a","annotations":{}},"binaryData":{"k":""}}\n'
    key = "kubectl.kubernetes.io/last-applied-configuration"
    assert sizes.annotation_bytes(plain) == len(key) + len(copied)
    noted = dict(plain, metadata={"name": "a", "annotations": {"n": "<&>"}})
    written = len('"n":""') + len("\\u003c\\u0026\\u003e")
    assert sizes.annotation_bytes(noted) == len(key) + len(copied) + written + len("n<&>")
