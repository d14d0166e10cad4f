import io
import json

import pytest

from builder.cli import summary
from builder.kubernetes.steps import STDOUT
from builder.kubernetes.persistent_registry import RegistryOptions
from builder.kubernetes.site import MIRROR, POLICY, Site
from builder.payload.chunks import CHUNK_BYTES, LARGEST_CHUNK_BYTES
from tests.support import builds, dumps, samples


def facts_of(tmp_path, out="out", asked=None, **options):
    request = builds.request(tmp_path, out, asked or Site(builds.IMAGE, expose="nodeport"), **options)
    result = builds.pipeline.build(request, io.BytesIO(), lambda *_: None)
    return summary.report_of(request, result), result


def test_the_facts_can_be_read_by_programs(tmp_path):
    found, result = facts_of(tmp_path)
    assert json.loads(json.dumps(found)) == found
    (image,) = found["images"]
    assert image["reference"] == samples.NAME and image["pull"] == "127.0.0.1:31999/library/sample:1"
    assert image["digest"] == result.images.images[0].root.digest and image["platforms"] == ["linux/amd64"]
    assert found["workloads"] == [{"kind": "Pod", "name": "seedpod-" + found["seed"]}]
    assert (found["errors"], found["warnings"], found["reasons"], found["expose"]) == ([], [], [], "nodeport")
    assert found["pod_security"] == "restricted" and found["tries"] == 1


def test_the_summary_shows_image_payload_chunks_limits_and_what_to_do_next(tmp_path):
    found, result = facts_of(tmp_path)
    page = summary.summary(found)
    image_id, digest = samples.sample("a").image_id[7:19], result.images.images[0].root.digest[7:19]
    for part in (samples.NAME, "    linux/amd64             %s  %s   " % (image_id, digest),
                 "    pull  127.0.0.1:31999/library/sample:1\n", found["payload"]["digest"], "chunks    2 chunks, up to ",
                 "injector  %s" % summary.human(len(result.payload.programs.injector)),
                 *[found["commands"][name] for name in ("apply", "wait", "uninstall")]):
        assert part in page
    assert not page.startswith("\n") and "\n\n\n" not in page
    assert not [found["commands"][name] for name in ("heal", "prune", "prune_chunks") if found["commands"][name] in page]


def test_each_command_is_of_this_build(tmp_path):
    found, _ = facts_of(tmp_path)
    out, pod, seed = found["out"], found["workloads"][0]["name"], found["seed"]
    policies = "mutatingadmissionpolicybinding,mutatingadmissionpolicy"
    older = "seedpod/seed,seedpod/seed!=" + seed
    assert found["commands"] == {
        "verify": "python3 build.py verify " + out,
        "apply": "kubectl apply --server-side -f " + out,
        "wait": "kubectl -n seedpod wait --for=condition=Ready pod/%s --timeout=300s" % pod,
        "outcomes": "kubectl -n seedpod get pods -l seedpod/seed=%s -o custom-columns=POD:.metadata.name,"
                    "NODE:.spec.nodeName,IMAGE:.spec.containers[0].image,PHASE:.status.phase,"
                    "READY:.status.containerStatuses[0].ready,"
                    "WAITS:.status.initContainerStatuses[0].state.waiting.reason,"
                    "FAILED:.status.initContainerStatuses[0].state.terminated.message" % seed,
        "prune": "kubectl -n seedpod delete service,pod,configmap -l '%s'" % older,
        "prune_workloads": "kubectl -n seedpod delete daemonset,deployment -l '%s'" % older,
        "prune_policies": "kubectl delete %s -l 'seedpod/namespace=seedpod,%s'" % (policies, older),
        "prune_chunks": "kubectl -n seedpod get configmap -l 'seedpod/part in (chunk,program)' -o name | "
                        "grep -vxFf %s/CHUNKS | xargs -r kubectl -n seedpod delete --ignore-not-found" % out,
        "remove": "kubectl -n seedpod delete service,pod,configmap -l 'seedpod/seed'",
        "remove_workloads": "kubectl -n seedpod delete daemonset,deployment -l 'seedpod/seed'",
        "remove_policies": "kubectl delete %s -l 'seedpod/namespace=seedpod,seedpod/seed'" % policies,
        "remove_chunks": "kubectl -n seedpod delete configmap -l 'seedpod/part in (chunk,program)'",
        "remove_all": "kubectl -n seedpod delete service,pod,configmap -l 'seedpod/part'",
        "remove_all_workloads": "kubectl -n seedpod delete daemonset,deployment -l 'seedpod/part'",
        "remove_all_policies": "kubectl delete %s -l 'seedpod/namespace=seedpod,seedpod/part'" % policies,
        "uninstall": "kubectl delete --ignore-not-found -f " + out,
        "heal": "kubectl -n seedpod delete pod %s --ignore-not-found --force && kubectl apply --server-side -f %s"
                % (pod, out)}


@pytest.mark.parametrize("asked, registry, own", [
    (Site("x", expose="nodeport"), False, {"prune", "prune_chunks"}),
    (Site("x", expose="nodeport", replicas=2), False, {"prune", "prune_workloads", "prune_chunks"}),
    (Site("x", expose="nodeport", names=POLICY), False, {"prune", "prune_policies", "prune_chunks"}),
    (Site("x", expose="nodeport", names=MIRROR), True, {"prune", "prune_chunks"})])
def test_readme_txt_prunes_the_kinds_of_this_seed_and_apart_from_them_all_others(tmp_path, asked, registry, own):
    wanted = RegistryOptions() if registry else None
    image = samples.with_layers([b"layer" * 100], command=["registry", "serve"])
    archive = samples.write(tmp_path / "registry.tar", samples.podman_save(image, "docker.io/library/registry:2"))
    request = builds.request(tmp_path, site=asked, archives=[archive], registry=wanted)
    found = summary.report_of(request, builds.pipeline.build(request, None, lambda *_: None))
    text = (tmp_path / "out" / "README.txt").read_text()
    commands = {key: command.replace(found["out"], "THIS_FOLDER") for key, command in found["commands"].items()}
    section = text.partition("\nprune older seeds")[2].partition("\nprune or remove what only seeds with other options have")[0]
    assert {key for key, command in commands.items() if "     %s\n" % command in section + "\n"} == own
    assert all(command in text for key, command in commands.items() if key.startswith(("prune", "remove", "uninstall")))


def test_a_folder_with_a_blank_in_its_name_is_quoted(tmp_path):
    found, _ = facts_of(tmp_path, "my out")
    assert found["commands"]["uninstall"] == "kubectl delete --ignore-not-found -f '%s'" % (tmp_path / "my out")


def test_the_mirror_is_waited_for(tmp_path):
    found, _ = facts_of(tmp_path, asked=Site("x", expose="nodeport", names=MIRROR))
    command = "kubectl -n seedpod rollout status daemonset/seedpod-names --timeout=300s"
    assert found["commands"]["wait_mirror"] == command
    assert "\n  4. wait until every node has the files of the mirror\n     " + command in summary.summary(found)
    assert "wait_mirror" not in facts_of(tmp_path)[0]["commands"]


def test_what_heals_itself_needs_no_command(tmp_path):
    for asked, wait in ((Site("x", expose="nodeport", replicas=2), "rollout status deployment/seedpod --timeout"),
                        (Site("x", expose="hostport"), "rollout status daemonset/seedpod --timeout")):
        found, _ = facts_of(tmp_path, asked=asked)
        assert "heal" not in found["commands"] and wait in found["commands"]["wait"]
        assert "evicted" not in summary.summary(found)


def test_a_daemon_set_shows_what_it_costs_the_api_server(tmp_path):
    found, result = facts_of(tmp_path, asked=Site("x", expose="hostport"), chunk_bytes=1024)
    assert "note      every node reads all %d chunks from the API server: %s each\n" % (
        len(result.payload.contents.chunks), summary.human(result.payload.contents.size)) in summary.summary(found)
    cluster = dumps.cluster(*[dumps.node(name, images=["python:3"]) for name in ("a", "b", "c")])
    found, result = facts_of(tmp_path, asked=Site(expose="hostport"), cluster=cluster)
    assert "each, %s for 3 nodes" % summary.human(3 * result.payload.contents.size) in summary.summary(found)


def test_an_open_node_port_is_noted_with_the_way_to_close_it(tmp_path):
    found, _ = facts_of(tmp_path)
    assert "anyone who can reach a node can pull: --expose hostport opens it only at 127" in summary.summary(found)
    found, _ = facts_of(tmp_path, asked=Site("x", expose="hostport"))
    assert "anyone who can reach" not in summary.summary(found)
    with_registry = summary.summary(dict(found, registry={"wait": "kubectl"}))
    assert "the persistent registry has a node port: anyone who can reach a node can pull" in with_registry


@pytest.mark.parametrize("asked, needs", [
    (Site("x", expose="hostnetwork"), "the host's network"), (Site("x", expose="hostport"), "a host port"),
    (Site("x", expose="nodeport", host_python=True), "hostPath volumes for the node's Python"),
    (Site("x", expose="nodeport", names=MIRROR), "hostPath volumes for the mirror")])
def test_a_namespace_that_takes_any_pod_is_reported_with_the_reason(tmp_path, asked, needs):
    found, _ = facts_of(tmp_path, asked=asked)
    assert found["pod_security"] == "privileged"
    assert "note      namespace seedpod is labelled privileged: the Pod needs %s\n" % needs in summary.summary(found)
    found, _ = facts_of(tmp_path, asked=asked._replace(namespace="tools"))
    assert "note      namespace tools must allow privileged Pods (Pod Security): the Pod needs " in summary.summary(found)


def test_reasons_and_warnings_of_the_cluster_are_reported(tmp_path):
    cluster = dumps.cluster(dumps.node(images=["python:3"], runtime="cri-o://1.35.0"))
    found, _ = facts_of(tmp_path, asked=Site(), cluster=cluster)
    page = summary.summary(found)
    assert "why       image python:3: node n1 lists it" in page
    assert 'warning   CRI-O' in page and '\n            [[registry]]\n            location = "127.0.0.1:31999"' in page


def test_a_stream_has_no_step_that_needs_a_folder(tmp_path):
    found, _ = facts_of(tmp_path, STDOUT)
    page = summary.summary(found)
    assert "apply it" not in page and " -f " not in page and "evicted" not in page
    assert page.endswith("uninstall\n     kubectl -n seedpod delete service,pod,configmap -l 'seedpod/seed'\n"
                         "     kubectl -n seedpod delete configmap -l 'seedpod/part in (chunk,program)'")
    assert found["commands"]["prune"] in page


def test_next_steps_are_numbered_and_uninstalling_comes_last(tmp_path):
    found, _ = facts_of(tmp_path)
    page = summary.summary(found)
    assert "\nnext steps\n  1. verify the folder where you apply it\n     python3 build.py verify " in page
    assert "\n  2. apply it\n     kubectl apply --server-side -f " in page
    assert "\n  3. wait until it serves\n     kubectl -n seedpod wait " in page and "\n  4. " not in page
    assert page.splitlines()[-4:] == [
        "uninstall; this deletes namespace seedpod with everything in it", "     " + found["commands"]["remove_all_policies"],
        "     " + found["commands"]["uninstall"],
        "%s/README.txt: commands to prune older seeds, to heal, to uninstall" % found["out"]]


@pytest.mark.parametrize("site, line", [
    (Site("x", expose="nodeport", namespace="tools", create_namespace=True),
     "\nuninstall; this deletes namespace tools with everything in it\n"),
    (Site("x", expose="nodeport", namespace="tools"), "\nuninstall\n")])
def test_uninstalling_warns_of_a_namespace_that_goes_with_it(tmp_path, site, line):
    assert line in summary.summary(facts_of(tmp_path, asked=site)[0])


def test_the_steps_of_a_persistent_registry_go_on_counting(tmp_path):
    found, _ = facts_of(tmp_path)
    page = summary.summary(dict(found, registry={"wait until the registry serves": "kubectl wait"}))
    assert "\n  4. wait until the registry serves\n     kubectl wait\n" in page


@pytest.mark.parametrize("used, shown", [(100, False), (252000, False), (258000, True)])
def test_a_limit_is_shown_only_when_it_is_near(tmp_path, used, shown):
    found, _ = facts_of(tmp_path)
    page = summary.summary(dict(found, annotation={"bytes": used, "limit_bytes": 262144}))
    assert ("\nlimit     the largest object takes %s of what plain kubectl apply accepts\n"
            % summary.percent(used, 262144) in page) == shown


@pytest.mark.parametrize("chunk_bytes, remedy", [(LARGEST_CHUNK_BYTES, "build with --chunk-size 184KiB for it"),
                                                 (CHUNK_BYTES, "--server-side is required")])
def test_what_plain_apply_does_not_take_is_said_with_the_remedy(tmp_path, chunk_bytes, remedy):
    found, _ = facts_of(tmp_path)
    found.update(annotation={"bytes": 300000, "limit_bytes": 262144}, chunks=dict(found["chunks"], bytes=chunk_bytes))
    assert "\nlimit     plain kubectl apply does not take this seed (115 %% of its limit): %s\n" % remedy \
        in summary.summary(found)


def test_the_bytes_in_etcd_are_those_of_either_apply(tmp_path):
    noise = samples.with_layers([samples.tar_of([("noise", samples.noise(4 << 20, 1))])])
    archive = samples.write(tmp_path / "noise.tar", samples.podman_save(noise, samples.NAME))
    request = builds.request(tmp_path, site=Site("x", expose="nodeport"), archives=[archive])
    found = summary.report_of(request, builds.pipeline.build(request, None, lambda *_: None))
    etcd, payload = found["etcd"], found["payload"]["bytes"]
    assert payload < etcd["server_side_bytes"] < 1.01 * payload
    assert 2.33 * payload < etcd["plain_bytes"] < 2.37 * payload  # measured on a real cluster: 2.34
    assert "\netcd      %s with kubectl apply --server-side, %s with plain kubectl apply\n" % (
        summary.human(etcd["server_side_bytes"]), summary.human(etcd["plain_bytes"])) in summary.summary(found)


HOSTILE = "a\x1b[2J\r\nnext steps\n  1. rm -rf /\u202e\ud800"


@pytest.mark.parametrize("key, value", [
    ("notes", [HOSTILE]), ("reasons", [HOSTILE.replace("\n", "")]), ("warnings", [HOSTILE.replace("\n", "")])])
def test_no_text_from_outside_has_an_effect_on_a_terminal(tmp_path, key, value):
    page = summary.summary(dict(facts_of(tmp_path)[0], **{key: value}))
    assert [c for c in page if not c.isprintable() and c != "\n"] == []
    assert page.count("\nnext steps") == 1 or key != "notes"


def test_a_platform_is_shown_escaped(tmp_path):
    found, _ = facts_of(tmp_path)
    found["images"][0]["variants"][0]["platform"] = HOSTILE
    page = summary.summary(found)
    assert [c for c in page if not c.isprintable() and c != "\n"] == [] and page.count("\nnext steps") == 1


@pytest.mark.parametrize("count, text", [
    (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999949, "999.9 kB"), (8000000, "8.0 MB"),
    (1200000000, "1.2 GB"), (5000000000000, "5000.0 GB")])
def test_bytes_are_shown_for_people(count, text):
    assert summary.human(count) == text


@pytest.mark.parametrize("part, whole, text", [(0, 10, "0 %"), (1, 1000, "1 %"), (10, 10, "100 %"), (11, 10, "110 %")])
def test_shares_are_rounded_up(part, whole, text):
    assert summary.percent(part, whole) == text


def test_what_an_index_names_and_the_archive_lacks_is_reported(tmp_path):
    images = [samples.sample("a"), samples.sample("b", platform="linux/arm64")]
    archive = samples.write(tmp_path / "multi.tar", samples.multi_platform(images, samples.NAME, left_out=[1]))
    request = builds.request(tmp_path, site=Site("x", expose="nodeport"), archives=[archive])
    page = summary.summary(summary.report_of(request, builds.pipeline.build(request, None, lambda *_: None)))
    assert "    linux/arm64             missing       %s" % samples.oci.digest_of(
        samples.oci_manifest(images[1])[0])[7:19] in page


def test_a_chunk_that_repeats_is_stored_once(tmp_path):
    repeated = samples.with_layers([samples.noise(CHUNK_BYTES, 1) * 20])
    archive = samples.write(tmp_path / "repeated.tar", samples.podman_save(repeated, samples.NAME))
    found, result = facts_of(tmp_path, archives=[archive])
    assert len(result.payload.chunk_sizes) == found["chunks"]["count"] < 5
    assert found["etcd"]["server_side_bytes"] < 2 * CHUNK_BYTES
