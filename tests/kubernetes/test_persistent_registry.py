import copy
import hashlib
import json

import pytest

from builder.kubernetes import persistent_registry
from builder.reading.archive import open_archive
from builder.reading.errors import InputError
from builder.reading.images import name_images, read_images
from builder.reading.reference import parse
from builder.kubernetes.runner import Runner
from builder.kubernetes.workloads import Plan
from builder.kubernetes.steps import registry_sections
from builder.kubernetes.site import TOLERATE_ALL, Site
from builder.kubernetes.persistent_registry import Storage, RegistryOptions
from tests.support import samples
from tests.support.reading import read

CODE, DATA = b"stands for spooler.pyz", "PSE="
IMAGE = "127.0.0.1:31998/library/registry:2"
PYTHON = Runner("example.com/python:3")
PLAN = Plan(Site(expose="nodeport", node_port=31998, labels={"team": "platform"}), "0" * 12, (), "", "{}")
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def objects(plan=PLAN, runner=PYTHON, place=Storage(), code=CODE):
    return persistent_registry.objects(
        plan, runner, persistent_registry.PersistentRegistry(
            "docker.io/library/registry:2", ("/entrypoint.sh", "serve"), place), IMAGE, hashlib.sha256(code).hexdigest(), DATA)


def pod_of(found):
    return found["60-registry.yaml"]["spec"]["template"]["spec"]


def images_of(tmp_path, *names):
    members = samples.joined(*[samples.crane(samples.sample(name), name) for name in names])
    return read(samples.write(tmp_path / "images.tar", members))


@pytest.mark.parametrize("names, wanted, found", (
    (("docker.io/library/registry:2", "quay.io/a/b:1"), "", "docker.io/library/registry:2"),
    (("quay.io/distribution/distribution:3", "quay.io/a/b:1"), "", "quay.io/distribution/distribution:3"),
    (("quay.io/my/own:2", "quay.io/a/b:1"), "quay.io/my/own:2", "quay.io/my/own:2"),
))
def test_the_registrys_image_is_found_or_named(names, wanted, found, tmp_path):
    assert persistent_registry.image_of(RegistryOptions(wanted), images_of(tmp_path, *names)) == found


def test_a_signature_of_the_registrys_image_is_not_a_second_one(tmp_path):
    images = read(samples.write(tmp_path / "signed.tar", samples.cosign_save(samples.sample(), "registry:2")))
    images = name_images(images, parse("unused"))
    assert len(images[1].references) == 1
    assert persistent_registry.image_of(RegistryOptions(""), images) == "docker.io/library/registry:2"


@pytest.mark.parametrize("names, wanted, words", (
    (("quay.io/a/b:1",), "", "no image is named registry or distribution"),
    (("ghcr.io/project-zot/zot:1",), "", "no image is named"),
    (("quay.io/a/registry:1", "quay.io/b/registry:1"), "", "more than one"),
    (("quay.io/a/registry:1",), "registry:2", "not in the archives"),
))
def test_a_registry_that_cannot_be_found_is_an_error(names, wanted, words, tmp_path):
    with pytest.raises(InputError, match=words):
        persistent_registry.image_of(RegistryOptions(wanted), images_of(tmp_path, *names))


def test_the_registry_runs_what_its_image_says(tmp_path):
    silent = samples.Sample(samples.to_json({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}}), ())
    path = samples.write(tmp_path / "one.tar", samples.crane(silent, "quay.io/a/b:1"))
    with open_archive(path) as archive:
        with pytest.raises(InputError, match="has no entrypoint and no command"):
            persistent_registry.command_of("quay.io/a/b:1", read_images(archive))


def command_of(tmp_path, *command):
    path = samples.write(tmp_path / "one.tar", samples.crane(samples.sample(command=command), "quay.io/a/registry:1"))
    with open_archive(path) as archive:
        return persistent_registry.command_of("quay.io/a/registry:1", read_images(archive))


@pytest.mark.parametrize("command", (
    ["/entrypoint.sh", "/etc/docker/registry/config.yml"],  # registry:2
    ["/entrypoint.sh", "/etc/distribution/config.yml"],  # registry:3
    ["registry", "serve", "/config.yml"], ["/usr/bin/docker-registry", "serve", "/config.yml"]))
def test_distribution_is_known_by_what_it_runs(command, tmp_path):
    assert command_of(tmp_path, *command) == command


@pytest.mark.parametrize("command", (
    ["/usr/local/bin/zot-linux-amd64", "serve", "/etc/zot/config.json"], ["/file-0"], ["sh", "-c", "run registry"],
    ["registry.py"], ["/etc/docker/registry/../zot.yml"]))
def test_a_registry_that_might_take_pushes_from_anybody_is_refused_with_the_way(command, tmp_path):
    with pytest.raises(InputError, match="not known to be CNCF distribution .*: deploy it with the manifest in "):
        command_of(tmp_path, *command)


def test_the_pod_passes_restricted():
    pod = pod_of(objects())
    assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                                      "seccompProfile": {"type": "RuntimeDefault"}}
    assert [container["securityContext"] for container in pod["containers"]] == [RESTRICTED] * 3
    assert not pod["automountServiceAccountToken"] and not pod["enableServiceLinks"]
    assert {"hostPath", "hostNetwork"} & (set(pod) | {key for volume in pod["volumes"] for key in volume}) == set()
    for container in pod["containers"]:
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]) & set(container["resources"]["limits"])


def test_the_registry_comes_from_the_injector_and_deletes():
    registry, serve, spooler = pod_of(objects())["containers"]
    assert (registry["image"], serve["image"], spooler["image"]) == (IMAGE, IMAGE, PYTHON.image)
    assert registry["command"] == serve["command"] == ["/entrypoint.sh", "serve"]
    assert environment(registry)["REGISTRY_STORAGE_DELETE_ENABLED"] == "true"
    assert spooler["command"] == ["python3", "-I", "-S", "/spooler/spooler.pyz", "spool"]


def environment(container):
    return {item["name"]: item["value"] for item in container["env"]}


def test_who_reaches_a_node_reaches_only_what_refuses_every_write():
    found = objects()
    registry, serve, spooler = pod_of(found)["containers"]
    assert environment(registry)["REGISTRY_HTTP_ADDR"] == "127.0.0.1:5000" and "ports" not in registry
    assert environment(serve)["REGISTRY_HTTP_ADDR"] == ":5002"
    assert json.loads(environment(serve)["REGISTRY_STORAGE_MAINTENANCE_READONLY"]) == {"enabled": True}
    assert "REGISTRY_STORAGE_DELETE_ENABLED" not in environment(serve)
    (port,) = found["52-registryservice.yaml"]["spec"]["ports"]
    assert [item for container in (serve, spooler) for item in container["ports"]
            if item["name"] == port["targetPort"]] == [{"name": "registry", "containerPort": 5002}]


def test_both_registries_have_the_same_data_which_one_of_them_cannot_write():
    data = [[mount for mount in container["volumeMounts"] if mount["name"] == "data"]
            for container in pod_of(objects())["containers"]]
    mount = {"name": "data", "mountPath": "/var/lib/registry"}
    assert data == [[mount], [dict(mount, readOnly=True)], []]


def test_what_listens_on_loopback_has_no_probe_as_none_would_reach_it():
    registry, serve, spooler = pod_of(objects())["containers"]
    assert not {"readinessProbe", "livenessProbe", "startupProbe"} & set(registry)
    assert serve["readinessProbe"]["httpGet"] == {"path": "/v2/", "port": "registry"} and "livenessProbe" not in serve
    assert {"readinessProbe", "livenessProbe"} < set(spooler)


def test_no_folder_of_a_node_grows_without_a_limit():
    for place in (Storage(), Storage("claim", claim="data")):
        found = [volume["emptyDir"] for volume in pod_of(objects(place=place))["volumes"] if "emptyDir" in volume]
        assert found and all(volume == {"sizeLimit": "20Gi"} for volume in found)


def test_all_that_is_mounted_is_there():
    for runner in (PYTHON, PYTHON._replace(host_python=True, architecture="amd64")):
        pod = pod_of(objects(runner=runner))
        names = {volume["name"] for volume in pod["volumes"]}
        assert names == {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("place, volume, claims", (
    (Storage(size="50Gi"), {"emptyDir": {"sizeLimit": "50Gi"}}, 0),
    (Storage("claim", claim="data"), {"persistentVolumeClaim": {"claimName": "data"}}, 0),
    (Storage("new", size="20Gi", storage_class="fast"),
     {"persistentVolumeClaim": {"claimName": "seedpod-registry"}}, 1),
))
def test_the_data_lie_where_the_operator_says(place, volume, claims):
    found = objects(place=place)
    assert dict({"name": "data"}, **volume) in pod_of(found)["volumes"]
    claimed = [item for item in found.values() if item["kind"] == "PersistentVolumeClaim"]
    assert len(claimed) == claims
    for item in claimed:
        assert item["spec"] == {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                                "resources": {"requests": {"storage": "20Gi"}}}


def test_the_service_leads_to_the_pod_on_the_usual_port():
    found = objects()
    service, deployment = found["52-registryservice.yaml"]["spec"], found["60-registry.yaml"]["spec"]
    assert service["ports"][0]["nodePort"] == 31999
    labels = deployment["template"]["metadata"]["labels"]
    for selector in (service["selector"], deployment["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
    assert service["ports"][0]["targetPort"] in [port["name"] for container in pod_of(found)["containers"]
                                                 for port in container.get("ports", ())]


def test_the_labels_of_the_site_are_on_every_object():
    for item in objects(place=Storage("new", size="20Gi")).values():
        assert item["metadata"]["labels"]["team"] == "platform"


def test_an_equal_registry_is_not_restarted_by_another_build():
    assert objects(PLAN._replace(seed="1" * 12)) == objects()
    assert objects(code=b"newer")["60-registry.yaml"] != objects()["60-registry.yaml"]


def test_what_is_said_of_the_injector_is_not_said_of_the_registry():
    site = PLAN.site._replace(expose="hostnetwork", tolerations=(TOLERATE_ALL,))
    pod = pod_of(objects(PLAN._replace(site=site)))
    assert "hostNetwork" not in pod and pod["tolerations"]
    pod = pod_of(objects(PLAN._replace(site=PLAN.site._replace(tries=3))))
    assert "restartPolicy" not in pod and "topologySpreadConstraints" not in pod


def test_it_is_pure():
    plan = copy.deepcopy(PLAN)
    assert objects() == objects() and plan == PLAN


def test_the_steps_come_in_order():
    wait, fill, more = [section.commands[0] for section in registry_sections(PLAN, PYTHON)]
    assert "rollout status deploy/seedpod-registry" in wait
    assert fill.endswith("python3 -I -S /spooler/spooler.pyz copy --source http://seedpod:31998")
    assert more.endswith(" push NAME:TAG < ARCHIVE")
    everywhere = PLAN._replace(site=PLAN.site._replace(expose="hostnetwork"))
    assert registry_sections(everywhere, PYTHON)[1].commands[0].endswith(" push < ARCHIVE")


@pytest.mark.parametrize("names, value", [("served", None), ("policy", "1"), ("mirror", "1")])
def test_the_spooler_stores_images_under_their_hosts_where_manifests_keep_their_names(names, value):
    found = objects(PLAN._replace(site=PLAN.site._replace(names=names)))
    (spooler,) = [container for container in pod_of(found)["containers"] if container["name"] == "spooler"]
    variables = {variable["name"]: variable["value"] for variable in spooler.get("env", ())}
    assert variables.get("SEEDPOD_SPOOLER_WITH_HOST") == value
