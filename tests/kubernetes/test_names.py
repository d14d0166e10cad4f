"""builder/kubernetes/names: the objects that let manifests keep the names of their images."""
import pytest

from builder.kubernetes import names, persistent_registry
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import MIRROR, POLICY, SERVED, Site, checked
from builder.reading.errors import InputError
from builder.reading.reference import full_address, parse
from builder.zipapp import pyz

REFERENCES = ["docker.io/library/nginx:1", "quay.io/a/b:2", "reg.local:5000/c:3", "ghcr.io/d@sha256:" + "a" * 64]
RUNNER = Runner("python:3", nodes=("n1",))
SOURCE = "import os\nprint(os.name)\n"


def objects(way, site=None, whose=None, runner=RUNNER):
    site = (site or Site())._replace(names=way)
    return names.objects(site, whose or names.owner(site, "0" * 12), runner, REFERENCES, {}, SOURCE)


def daemon_set(**more):
    return objects(MIRROR, **more)["70-mirror.yaml"]


@pytest.mark.parametrize("way, word", [(POLICY, "static Pods"), (MIRROR, "-l seedpod/part=mirror")])
def test_what_a_way_does_not_do_is_said(way, word):
    (note,) = names.notes(Site(names=way))
    assert note.startswith("--names %s: " % way) and word in note and names.notes(Site()) == []


def test_nothing_is_brought_unless_it_is_asked_for():
    assert objects(SERVED) == {}


@pytest.mark.parametrize("reference,name", list(zip(REFERENCES, [
    "docker.io/library/nginx:1", "quay.io/a/b:2", "c:3", "ghcr.io/d@sha256:" + "a" * 64])))
def test_an_image_is_found_under_its_host_but_for_one_with_a_port(reference, name):
    assert full_address(parse(reference)) == name


def test_the_policy_leads_to_the_node_port_under_the_full_name():
    text = objects(POLICY)["70-policy-1.yaml"]["spec"]["variables"][0]["expression"]
    assert '"nginx:1": "127.0.0.1:31999/docker.io/library/nginx:1"' in text
    assert '"reg.local:5000/c:3": "127.0.0.1:31999/c:3"' in text


@pytest.mark.parametrize("order", [1, -1])
def test_the_policy_leads_each_full_name_to_its_own_image_whatever_is_called_so_below_another_host(order):
    references = ["harbor.local/quay.io/prom/exporter:v1", "quay.io/prom/exporter:v1", "docker.io/quay.io/prom/exporter:v1"]
    site = Site(names=POLICY)
    found = names.objects(site, names.owner(site, "0" * 12), RUNNER, references[::order], {}, SOURCE)
    text = found["70-policy-1.yaml"]["spec"]["variables"][0]["expression"]
    for reference in references:
        assert text.count('"%s": "127.0.0.1:31999/%s"' % (reference, reference)) == 1
    assert text.count("\n  ") == 4  # the third has another spelling: index.docker.io


def test_a_binding_puts_each_policy_into_force():
    found = objects(POLICY)
    assert found["71-binding-1.yaml"]["spec"] == {"policyName": found["70-policy-1.yaml"]["metadata"]["name"]}


def test_the_namespaces_that_cannot_wait_for_the_seed_are_left_out():
    spec = objects(POLICY, Site(namespace="infra"))["70-policy-1.yaml"]["spec"]
    assert spec["matchConstraints"]["namespaceSelector"]["matchExpressions"][0]["values"] == ["infra", "kube-system"]


def test_policies_of_two_namespaces_have_two_names():
    assert len({objects(POLICY, Site(namespace=name))["70-policy-1.yaml"]["metadata"]["name"] for name in "ab"}) == 2


def test_every_host_is_mirrored_docker_hub_under_all_its_names():
    assert names.hosts(REFERENCES) == ["docker.io", "ghcr.io", "index.docker.io", "quay.io", "reg.local:5000",
                                       "registry-1.docker.io", "registry.hub.docker.com"]


def test_the_path_of_the_mirror_names_the_host_but_for_one_with_a_port():
    assert names.urls("quay.io", [31999]) == ["http://127.0.0.1:31999/v2/quay.io"]
    assert names.urls("index.docker.io", [31999]) == ["http://127.0.0.1:31999/v2/docker.io"]
    assert names.urls("reg.local:5000", [31999]) == ["http://127.0.0.1:31999/v2"]


def test_the_mirror_runs_on_every_node_whatever_the_injectors_nodes_and_taints():
    spec = daemon_set(site=Site(node_selector={"disk": "ssd"}))["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"} and "affinity" not in spec
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_the_mirror_is_root_without_capabilities_and_sees_one_folder_of_the_node():
    spec = daemon_set()["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsUser"] == 0 and spec["securityContext"]["seLinuxOptions"] == {"type": "spc_t"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                            "capabilities": {"drop": ["ALL"]}}
    assert spec["volumes"] == [{"name": "containerd", "hostPath": {"path": "/etc/containerd", "type": "Directory"}}]
    assert container["volumeMounts"] == [{"name": "containerd", "mountPath": "/host/etc/containerd"}]


def test_the_mirror_writes_where_the_option_says():
    found = daemon_set(site=Site(containerd_config="/opt/containerd"))["spec"]["template"]["spec"]
    assert found["volumes"][0]["hostPath"]["path"] == "/opt/containerd"
    assert found["containers"][0]["command"][5:9] == ["--owner", "seedpod", "--folder", "/opt/containerd"]


def test_the_mirrors_name_and_selector_never_change():
    one, other = [daemon_set(whose=names.owner(Site(), digit * 12)) for digit in "01"]
    assert one["metadata"]["name"] == other["metadata"]["name"] == "seedpod-names"
    assert one["spec"]["selector"] == other["spec"]["selector"]


def test_the_program_stands_in_the_manifest_as_it_was_written():
    source = pyz.read_mirror()
    site = Site(names=MIRROR)
    found = names.objects(site, names.owner(site, "0" * 12), RUNNER, REFERENCES, {}, source)["70-mirror.yaml"]
    assert found["spec"]["template"]["spec"]["containers"][0]["command"][:5] == ["python3", "-I", "-S", "-c", source]
    assert "$(" not in source  # which a kubelet would expand


def test_with_the_nodes_own_python_its_folders_are_mounted():
    volumes = daemon_set(runner=Runner("pause", host_python=True))["spec"]["template"]["spec"]["volumes"]
    assert [volume["name"] for volume in volumes] == ["containerd", "host-usr", "host-lib"]


def test_the_registry_that_stays_answers_first_and_owns_the_objects():
    whose = persistent_registry.names_owner(Site(node_port=31998))
    found = daemon_set(whose=whose)
    arguments = found["spec"]["template"]["spec"]["containers"][0]["command"]
    at = arguments.index("quay.io=http://127.0.0.1:31999/v2/quay.io")
    assert arguments[at + 1] == "quay.io=http://127.0.0.1:31998/v2/quay.io"
    assert "seedpod/seed" not in found["metadata"]["labels"]
    text = objects(POLICY, whose=whose)["70-policy-1.yaml"]["spec"]["variables"][0]["expression"]
    assert ":31999/" in text and ":31998/" not in text


def test_cri_o_gets_the_lines_for_every_host():
    text = names.registries_conf(REFERENCES, 31999)
    assert text.count("[[registry]]") == len(names.hosts(REFERENCES))
    assert ('[[registry]]\nprefix = "quay.io"\nlocation = "quay.io"\n[[registry.mirror]]\n'
            'location = "127.0.0.1:31999/quay.io"\ninsecure = true\n') in text
    assert 'prefix = "reg.local:5000"\nlocation = "reg.local:5000"\n[[registry.mirror]]\nlocation = "127.0.0.1:31999"' \
        in text


@pytest.mark.parametrize("site", [Site(containerd_config="/a"), Site(names=MIRROR, tries=2)])
def test_options_that_say_nothing_are_refused(site):
    with pytest.raises(InputError, match="^--"):
        checked(site)
