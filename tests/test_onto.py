"""--onto: what is written, what it serves with its base, and the printed steps on a model of a cluster."""
import json
import os
import subprocess

import pytest

from builder import loading, pipeline
from builder.kubernetes import facts as facts_of_builds, steps as commands
from builder.kubernetes.manifest import KINDS
from builder.kubernetes.persistent_registry import Storage, RegistryOptions
from builder.kubernetes.site import MIRROR, POLICY, Site
from builder.output import reader
from builder.payload.chunks import CHUNK_BYTES, LARGEST_CHUNK_BYTES
from builder.payload.compression import AUTO
from builder.payload.contents import FILE, digest_of
from builder.reading.archive import open_archive
from builder.reading.errors import InputError
from builder.reading.images import read_images
from builder.reading.oci import Image
from builder.cli.summary import report_of, summary
from builder.verification import verify
from builder.zipapp import pyz
from tests.support import builds, dumps, forked, injector, samples
from tests.support.model_cluster import Cluster, Failure

LAYERS = [samples.tar_of([("layer", samples.noise(CHUNK_BYTES + 1000 * number, number))]) for number in range(15)]
CHANGED = samples.tar_of([("layer", samples.noise(2 * CHUNK_BYTES, 99))])
FIRST = samples.with_layers(LAYERS)
NEXT = samples.with_layers(LAYERS[:7] + [CHANGED] + LAYERS[8:])
SITE = Site(builds.IMAGE, expose="nodeport")


def archive(folder, name, image, *references):
    return samples.write(folder / (name + ".tar"), samples.podman_save(image, *references))


def order(folder, out, *archives, bases=(), site=SITE, **options):
    return builds.request(folder, out, site, archives, onto=[str(folder / base) for base in bases], **options)


def build(*arguments, **options):
    return pipeline.build(order(*arguments, **options), None, lambda *step: None)


@pytest.fixture
def release(tmp_path):
    """An image of 15 layers, built, and an update with its next release."""
    first = archive(tmp_path, "first", FIRST, "docker.io/library/app:1")
    after = archive(tmp_path, "next", NEXT, "docker.io/library/app:2")
    return build(tmp_path, "seed", first), build(tmp_path, "update", after, bases=["seed"])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.yaml")}


def chunk_names(folder):
    return {name[len("10-chunk-"):-len(".yaml")] for name in files(folder) if name.startswith("10-chunk-")}


def test_an_update_of_one_layer_carries_that_layer_and_what_changes_with_every_image(release, tmp_path):
    seed, update = release
    *layers, last = update.payload.contents.segments
    (changed,) = [segment for segment in layers if segment not in seed.payload.contents.segments]
    assert [size for _, size in changed.blobs] == [len(CHANGED)] and len(layers) == 16
    assert chunk_names(tmp_path / "update") == set(changed.chunks) | set(last.chunks)
    assert sorted(name for name in files(tmp_path / "update") if not name.startswith("10-chunk-")) == [
        "00-namespace.yaml", "20-contents.yaml", "30-service.yaml", "40-pod.yaml"]
    assert (update.update.new_chunks, update.update.new_bytes) == (3 + len(last.chunks), len(CHANGED) + last.size)
    carried = sum(map(len, files(tmp_path / "update").values()))
    assert len(CHANGED) * 4 / 3 < carried < len(CHANGED) * 4 / 3 + 30000
    assert update.update.carried_bytes == sum(path.stat().st_size for path in (tmp_path / "update").iterdir())


def test_the_base_and_the_update_together_serve_both_images(release, tmp_path):
    seed, _ = reader.open_chain(str(tmp_path / "update"), [str(tmp_path / "seed")])
    (tmp_path / "chunks").mkdir()
    for name in seed.contents.chunks:
        (tmp_path / "chunks" / name).write_bytes(reader.chunk_of(seed, name))
    (tmp_path / "chunks" / FILE).write_text(release[1].plan.contents)
    command = injector.command("unpack", "--chunks", tmp_path / "chunks", "--contents", tmp_path / "chunks" / FILE,
                               "--digest", digest_of(seed.facts.contents), "--seed", tmp_path / "served")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with open_archive(str(tmp_path / "served")) as served:
        assert {name: image.configs[0].digest for image in read_images(served) for name in image.references} == {
            "docker.io/library/app:1": FIRST.image_id, "docker.io/library/app:2": NEXT.image_id}


def test_the_list_of_chunks_is_that_of_all_and_the_program(release, tmp_path):
    lines = (tmp_path / "update" / "CHUNKS").read_text().splitlines()
    seed, update = release
    assert lines[0] == "configmap/" + update.plan.injector
    assert lines[1:] == ["configmap/seedpod-" + name for name in update.payload.contents.chunks]
    assert seed.plan.injector == update.plan.injector


def test_a_changed_program_is_carried(release, tmp_path, monkeypatch):
    monkeypatch.setattr(pyz, "injector", lambda: b"another program")
    monkeypatch.setattr(facts_of_builds, "VERSION", "0.4.0")
    build(tmp_path, "other", archive(tmp_path, "next", NEXT, "docker.io/library/app:2"), bases=["seed"])
    assert "20-injector.yaml" in files(tmp_path / "other")


def test_an_update_is_verified_with_its_base_and_alone_as_far_as_it_goes(release, tmp_path):
    update = str(tmp_path / "update")
    whole = verify(update, [str(tmp_path / "seed")])
    alone = verify(update)
    count = len(release[1].payload.contents.chunks)
    assert whole["chunks"] == {"count": count, "elsewhere": 0}
    assert alone == dict(whole, chunks={"count": count, "elsewhere": count - release[1].update.new_chunks})
    assert [image["reference"] for image in whole["images"]] == ["docker.io/library/app:1", "docker.io/library/app:2"]


@pytest.mark.parametrize("bases", [[], ["seed"]])
def test_an_update_that_lost_a_chunk_of_its_own_is_not_whole_even_where_the_sums_agree(release, tmp_path, bases):
    update = tmp_path / "update"
    own = "10-chunk-%s.yaml" % release[1].payload.contents.segments[-2].chunks[0]
    (update / own).unlink()
    sums = (update / "SHA256SUMS").read_text().splitlines(True)
    (update / "SHA256SUMS").write_text("".join(line for line in sums if own not in line))
    with pytest.raises(InputError, match="update: %s: is missing, and FACTS does not list it" % own):
        verify(str(update), [str(tmp_path / base) for base in bases])


def test_what_an_update_lists_as_elsewhere_is_what_it_needs_and_does_not_hold(release, tmp_path):
    needed = (tmp_path / "update" / "CHUNKS").read_text().replace("configmap/", "").split()
    assert set(reader.open_seed(str(tmp_path / "update")).facts.elsewhere) == set(needed) - {
        "seedpod-" + name for name in chunk_names(tmp_path / "update")}
    assert reader.open_seed(str(tmp_path / "seed")).facts.elsewhere == ()


def test_a_damaged_chunk_of_the_base_is_found(release, tmp_path):
    name = release[0].payload.contents.segments[0].chunks[0]
    path = tmp_path / "seed" / ("10-chunk-%s.yaml" % name)
    path.write_bytes(path.read_bytes().replace(b'": "A', b'": "B').replace(b'": "c', b'": "d')[:-9] + b'AAAAAAA"\n')
    with pytest.raises(InputError, match="seed: 10-chunk-%s.yaml: " % name):
        verify(str(tmp_path / "update"), [str(tmp_path / "seed")])


def test_a_seed_is_an_archive_like_any_other(release, tmp_path):
    result = build(tmp_path, "both", str(tmp_path / "seed"), archive(tmp_path, "next", NEXT, "docker.io/library/app:2"))
    assert result.update is None and verify(str(tmp_path / "both"))["chunks"]["elsewhere"] == 0
    assert set(release[0].payload.contents.segments[:-1]) < set(result.payload.contents.segments)
    assert {image.root.digest for image in result.images.images} == {image.root.digest for image in release[1].images.images}


def test_an_update_is_an_archive_where_its_base_is_named(release, tmp_path):
    with pytest.raises(InputError, match="update: chunk [0-9a-f]{64}: missing: name the folder that contains it"):
        build(tmp_path, "whole", str(tmp_path / "update"))
    result = build(tmp_path, "again", str(tmp_path / "update"), bases=["seed"])
    assert result.payload.contents.chunks == release[1].payload.contents.chunks
    assert chunk_names(tmp_path / "again") == chunk_names(tmp_path / "update")


def test_an_update_of_an_update_needs_the_newest_folder_alone(release, tmp_path):
    os.rename(tmp_path / "seed", tmp_path / "far away")
    more = archive(tmp_path, "c", samples.sample("c"), "docker.io/library/c:1")
    third = build(tmp_path, "third", more, bases=["update"])
    assert len(third.images.images) == 3 and set(release[1].payload.contents.segments[:-1]) < set(third.payload.contents.segments)
    folders = [str(tmp_path / name) for name in ("update", "far away")]
    assert verify(str(tmp_path / "third"), folders)["chunks"]["elsewhere"] == 0


def test_nothing_new_carries_the_last_segment_and_what_names_it(release, tmp_path):
    result = build(tmp_path, "same", str(tmp_path / "first.tar"), bases=["seed"])
    assert (result.update.new_chunks, result.update.replaced) == (0, [])
    assert result.payload.contents == release[0].payload.contents and result.plan == release[0].plan
    assert chunk_names(tmp_path / "same") == set(result.payload.contents.segments[-1].chunks)


def test_a_moved_tag_leads_to_the_new_image_and_is_listed(release, tmp_path):
    moved = archive(tmp_path, "moved", samples.with_layers(LAYERS[:3]), "docker.io/library/app:1")
    asked = order(tmp_path, "moved", moved, bases=["update"])
    result = pipeline.build(asked, None, lambda *step: None)
    old, new = release[0].images.images[0].root.digest, result.images.images[-1].root.digest
    assert result.update.replaced == [loading.Replaced("docker.io/library/app:1", old, new)]
    assert "replaced  docker.io/library/app:1: was %s, is now %s\n" % (old, new) in summary(report_of(asked, result))
    assert old not in {image.root.digest for image in result.images.images}
    assert samples.oci.digest_of(LAYERS[7]) not in result.payload.contents.blob_sizes  # no image has that layer any more
    assert len(result.payload.contents.segments) == 16


def test_layers_are_squeezed_first_and_then_compared(tmp_path):
    text = samples.with_layers([samples.tar_of([("text", b"text that compresses " * 20000)])])
    first = samples.write(tmp_path / "a.tar", samples.layout(text, "docker.io/library/a:1"))
    again = samples.write(tmp_path / "b.tar", samples.docker_save_old(text, "docker.io/library/b:1"))
    build(tmp_path, "seed", first, compression=AUTO, squeeze=True)
    update = build(tmp_path, "update", again, bases=["seed"], compression=AUTO, squeeze=True)
    assert chunk_names(tmp_path / "update") == set(update.payload.contents.segments[-1].chunks)


@pytest.mark.parametrize("change, words", [
    (dict(site=SITE._replace(namespace="other")), "--onto .*seed: is for namespace seedpod, .*: leave out --namespace"),
    (dict(out="seed"), "--onto .*seed: cannot be the output folder as well: name another folder with -o"),
    (dict(bases=["nowhere"]), "nowhere: is not a folder that Seedpod wrote"),
    (dict(bases=["."]), "is not a folder that Seedpod wrote")])
def test_what_does_not_agree_with_the_base_is_refused_with_the_remedy(release, tmp_path, change, words):
    options = dict({"bases": ["seed"], "out": "new"}, **change)
    with pytest.raises(InputError, match=words):
        build(tmp_path, options.pop("out"), str(tmp_path / "next.tar"), **options)
    assert not (tmp_path / "new").exists() and len(files(tmp_path / "seed")) > 30


def test_a_stream_cannot_be_an_update(release, tmp_path):
    asked = order(tmp_path, "x", str(tmp_path / "next.tar"), bases=["seed"])._replace(out=commands.STDOUT)
    with pytest.raises(InputError, match="--onto: an update is applied in several steps: name a folder with -o"):
        pipeline.build(asked, None, lambda *step: None)


# --- options

REGISTRY = samples.with_layers([b"registry" * 100], command=["registry", "serve"])
FULL = Site("example.com/python@sha256:" + "0" * 64, "/usr/bin/python3.12", namespace="tools", create_namespace=True, replicas=2,
            expose="nodeport", names=MIRROR, containerd_config="/etc/k0s", labels={"team": "core"}, no_user=True,
            tolerations=({"key": "a", "operator": "Exists"},), limits={"memory": "1Gi"}, pull_secrets=("pull",))


def updated(tmp_path, base, *archives, given=(), more=(), **options):
    """Build a seed of the site `base`, then an update with the options `given` only; -> FACTS of both."""
    build(tmp_path, "seed", archive(tmp_path, "first", FIRST, "docker.io/library/app:1"), *archives, site=base, **options)
    asked = order(tmp_path, "update", archive(tmp_path, "next", NEXT, "docker.io/library/app:2"), bases=["seed"],
                  site=Site(**dict(given)), **dict(more))
    pipeline.build(asked, None, lambda *step: None)
    return [reader.open_seed(str(tmp_path / name)).facts for name in ("seed", "update")]


@pytest.mark.parametrize("base", [SITE, FULL, SITE._replace(replicas=0, node_port=30123), Site(
    builds.IMAGE, host_python=True, expose="hostnetwork", names=POLICY)])
def test_options_that_are_not_given_are_those_of_the_base(tmp_path, base):
    before, after = updated(tmp_path, base)
    assert (after.site, after.runners) == (before.site, before.runners)
    assert verify(str(tmp_path / "update"), [str(tmp_path / "seed")])


@pytest.mark.parametrize("base, given, changed", [
    (FULL, {"names": POLICY}, {"names": POLICY, "containerd_config": ""}),
    (FULL, {"expose": "hostnetwork"}, {"expose": "hostnetwork", "replicas": 0}),
    (SITE._replace(expose="hostport"), {"replicas": 3}, {"expose": "nodeport", "replicas": 3}),
    (SITE, {"node_port": 30001}, {"node_port": 30001}), (FULL, {"image": "b:2"}, {"image": "b:2", "interpreter": ""})])
def test_an_option_that_is_given_wins(tmp_path, base, given, changed):
    before, after = updated(tmp_path, base, given=given)
    assert after.site == before.site._replace(**changed)


def registry_archive(folder):
    return archive(folder, "registry", REGISTRY, "docker.io/library/registry:2")


def test_the_persistent_registry_of_the_base_is_kept_with_its_storage_and_port(tmp_path):
    wanted = RegistryOptions(storage=Storage("new", size="5Gi"))
    before, after = updated(tmp_path, SITE, registry_archive(tmp_path), registry=wanted)
    assert after.registry == before.registry and after.site.node_port == before.site.node_port == 31998
    assert {"50-registryclaim.yaml", "52-registryservice.yaml", "60-registry.yaml"} <= set(files(tmp_path / "update"))


def test_an_update_that_adds_a_registry_leaves_it_the_usual_port_and_takes_another(tmp_path):
    path = registry_archive(tmp_path)
    before, after = updated(tmp_path, SITE, path, more={"registry": RegistryOptions()})
    assert (before.site.node_port, after.site.node_port) == (31999, 31998) and after.registry.storage == Storage()


@pytest.mark.parametrize("given, words", [
    ({"node_port": 31999}, "--node-port 31999: is the port of the registry that --with-registry writes: leave it out"),
    ({"expose": "hostport"}, "--expose hostport: cannot be combined with --with-registry in this update")])
def test_a_port_that_the_registry_needs_is_refused(tmp_path, given, words):
    path = registry_archive(tmp_path)
    build(tmp_path, "seed", path)
    site = Site(**given)
    with pytest.raises(InputError, match=words):
        build(tmp_path, "update", path, bases=["seed"], site=site, registry=RegistryOptions(), given=set(given))


def test_the_node_port_of_the_registry_is_refused_without_a_base_as_well(tmp_path):
    with pytest.raises(InputError, match="--node-port 31999: is the port of the registry"):
        build(tmp_path, "seed", registry_archive(tmp_path), registry=RegistryOptions(), given={"node_port"})


def test_with_a_dump_the_node_image_is_chosen_again(tmp_path):
    build(tmp_path, "seed", archive(tmp_path, "first", FIRST, "docker.io/library/app:1"))
    cluster = dumps.cluster(dumps.node("a", images=["python:3.12"]))
    build(tmp_path, "update", str(tmp_path / "first.tar"), bases=["seed"], site=Site(), cluster=cluster)
    (runner,) = reader.open_seed(str(tmp_path / "update")).facts.runners
    assert runner.image.endswith("python:3.12")


def test_prune_lists_the_kinds_of_the_base_and_of_what_was_replaced(tmp_path):
    path = archive(tmp_path, "first", FIRST, "docker.io/library/app:1")
    build(tmp_path, "seed", path, site=FULL._replace(names=POLICY, containerd_config=""))
    build(tmp_path, "replaced", path, site=SITE._replace(expose="hostport"))
    update = build(tmp_path, "update", path, bases=["seed"], site=Site(names="served", expose="nodeport"), given={"names"})
    again = build(tmp_path, "replaced", path)
    assert set(update.facts.kinds) == {"ConfigMap", "Deployment", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
                                       "Service"}
    assert set(again.facts.kinds) == {"ConfigMap", "DaemonSet", "Pod", "Service"}
    (tmp_path / "replaced" / "FACTS").write_text("{}")
    assert loading.earlier(str(tmp_path / "replaced"), again.images).kinds == tuple(
        kind.name for kind in KINDS.values() if kind.name not in ("Namespace", "PersistentVolumeClaim"))


def test_a_build_over_a_seed_of_other_images_says_which_are_gone(release, tmp_path):
    result = build(tmp_path, "seed", str(tmp_path / "next.tar"))
    assert result.notes[-1] == "%s: replaces a seed that has docker.io/library/app:1 as well: use --onto to keep images" % (
        tmp_path / "seed")
    assert not any("replaces" in note for note in build(tmp_path, "seed", str(tmp_path / "next.tar")).notes)


def test_a_chain_whose_first_seed_is_not_named_can_be_added_to_but_not_verified(tmp_path):
    """Only that seed has the program and the first layers."""
    paths = [archive(tmp_path, name, samples.sample(name), "docker.io/library/%s:1" % name) for name in "abcd"]
    for out, path, bases in zip(("one", "two", "three", "four"), paths, ([], ["one"], ["two"], ["three", "two"])):
        build(tmp_path, out, path, bases=bases)
    one, two, three, four = (str(tmp_path / name) for name in ("one", "two", "three", "four"))
    with pytest.raises(InputError, match="four: (chunk|program) .*: in none of the folders: add --onto FOLDER"):
        verify(four, [three, two])
    assert verify(four, [one, three, two])["chunks"]["elsewhere"] == 0
    assert verify(four)["chunks"]["elsewhere"] > 0


def test_a_second_folder_that_is_no_base_is_refused_by_name(release, tmp_path):
    more = archive(tmp_path, "c", samples.sample("c"), "docker.io/library/c:1")
    build(tmp_path, "other", more)
    with pytest.raises(InputError, match="--onto .*other: is not a base of .*seed, .*: pass it as an archive to add its images"):
        build(tmp_path, "third", more, bases=["seed", "other"])
    both = build(tmp_path, "third", str(tmp_path / "other"), bases=["update", "seed"])
    assert len(both.images.images) == 3
    assert verify(str(tmp_path / "third"), [str(tmp_path / name) for name in ("seed", "update")])["chunks"]["elsewhere"] == 0


# --- merging, in values

def image(name, *references, subject=""):
    found = Image(references, None, (), (), (), (), (), subject, ())
    blob = samples.oci.blob_of(name.encode())
    return found._replace(root=samples.oci.Descriptor("", blob.digest, blob.size), manifests=(blob,))


OLD, NEW = image("old", "a:1", "a:latest"), image("new", "a:latest")


def test_an_image_keeps_the_names_that_nobody_else_takes():
    found, replaced = loading.merged([OLD], [NEW])
    assert [one.references for one in found] == [("a:1",), ("a:latest",)]
    assert replaced == [("a:latest", OLD.root.digest, NEW.root.digest)]


def test_an_image_of_both_has_the_names_of_both():
    found, replaced = loading.merged([OLD], [OLD._replace(references=("a:2", "a:1"))])
    assert [one.references for one in found] == [("a:1", "a:latest", "a:2")] and replaced == []


def test_what_refers_to_an_image_that_goes_goes_with_it():
    signature = image("signature", subject=OLD.root.digest)
    of_signature = image("signature of the signature", subject=signature.root.digest)
    named = image("named", "a:sig", subject=OLD.root.digest)
    assert loading.merged([OLD, signature, of_signature], [NEW])[0] == [
        OLD._replace(references=("a:1",)), signature, of_signature, NEW]
    both = [NEW._replace(references=("a:1", "a:latest"))]
    assert loading.merged([OLD, signature, of_signature, named], both)[0] == [named] + both


# --- the printed steps

def printed(asked):
    """Build; -> the printed commands by key."""
    result = pipeline.build(asked, None, lambda *step: None)
    return report_of(asked, result)["commands"]


def test_the_printed_steps_run_in_a_real_shell_and_never_leave_a_gap(tmp_path):
    kubectl = Cluster().install(tmp_path)
    images = [samples.with_layers([samples.tar_of([("layer", samples.noise(CHUNK_BYTES, number))]), LAYERS[0]])
              for number in range(3)]
    paths = [archive(tmp_path, "image-%d" % number, one, "docker.io/library/app:%d" % min(number, 1))
             for number, one in enumerate(images)]

    def walk(found, *keys):
        for key in keys:
            before = kubectl.cluster.serving("seedpod") if kubectl.cluster.objects else []
            assert kubectl.run(found[key]) == "", key  # "check" prints what is missing
            serving = kubectl.cluster.serving("seedpod")
            assert len(serving) == 1 and (not before or serving == before or key not in ("check", "apply_rest", "wait"))
        return serving

    first = walk(printed(order(tmp_path, "seed", paths[0])), "apply", "wait", "prune", "prune_chunks")
    update = printed(order(tmp_path, "update", paths[1], bases=["seed"]))
    steps = ["check", "apply_rest", "wait", "turn", "prune", "prune_chunks"]
    assert walk(update, *steps) != first and first[0] not in kubectl.cluster.objects
    before = set(kubectl.cluster.objects)
    third = printed(order(tmp_path, "third", paths[2], bases=["update"]))  # moves the tag of the second
    walk(third, *steps)
    gone = {name for _, kind, name in before - set(kubectl.cluster.objects) if kind == "configmap" and len(name) > 70}
    assert len(gone) == 3  # two of the layer of the image that lost its name, and the manifests of before
    whole = printed(order(tmp_path, "whole", paths[0], paths[2]))
    walk(whole, "apply", "wait", "prune", "prune_chunks")
    for key in ("remove", "remove_chunks"):
        kubectl.run(third[key])
    assert [kind for _, kind, _ in kubectl.cluster.objects] == ["namespace"]
    kubectl.run(whole["apply"])
    kubectl.run(whole["uninstall"])
    assert kubectl.cluster.objects == {}


def test_the_first_step_names_the_chunks_that_are_missing(release, tmp_path):
    asked = order(tmp_path, "again", str(tmp_path / "next.tar"), bases=["seed"])
    result = pipeline.build(asked, None, lambda *step: None)
    found = report_of(asked, result)["commands"]
    kubectl = Cluster().install(tmp_path)
    needed = set(result.payload.contents.chunks)
    lost = next(name for name in sorted(chunk_names(tmp_path / "seed")) if name in needed)
    kubectl.run("kubectl apply --server-side -f %s" % (tmp_path / "seed"))
    kubectl.run("kubectl -n seedpod delete configmap/seedpod-" + lost)
    with pytest.raises(Failure) as missing:
        kubectl.run(found["check"])
    assert str(missing.value).split() == ["configmap/seedpod-" + lost]


def test_the_last_step_applies_what_leads_nodes_to_it_and_not_the_folder_again(release, tmp_path):
    asked = order(tmp_path, "again", str(tmp_path / "next.tar"), bases=["seed"], site=SITE._replace(names=POLICY))
    found = report_of(asked, pipeline.build(asked, None, lambda *step: None))["commands"]
    cluster = Cluster()
    for folder in ("seed", "again"):
        cluster.run("kubectl apply --server-side -f %s" % (tmp_path / folder))
    whole = set(cluster.objects)
    cluster.objects = {key: item for key, item in cluster.objects.items() if key[1] == "namespace"}
    cluster.run(found["turn"])
    last = {key[1] for key in cluster.objects if key[1] != "namespace"}
    assert last == {"service", "mutatingadmissionpolicy", "mutatingadmissionpolicybinding"}
    cluster.run("kubectl apply --server-side -f %s" % (tmp_path / "seed"))
    cluster.run(found["apply_rest"])
    assert set(cluster.objects) == whole


def test_an_update_without_a_service_is_applied_at_once_and_says_that_nodes_wait(release, tmp_path):
    asked = order(tmp_path, "again", str(tmp_path / "next.tar"), bases=["seed"],
                  site=SITE._replace(expose="hostport"))
    found = report_of(asked, pipeline.build(asked, None, lambda *step: None))
    assert {"check", "apply", "wait"} < set(found["commands"]) and not {"turn", "apply_rest"} & set(found["commands"])
    assert "note      each node refuses pulls while its new Pod unpacks; kubelets try again\n" in summary(found)


def test_an_update_is_uninstalled_by_label_and_says_why(release, tmp_path):
    asked = order(tmp_path, "again", str(tmp_path / "next.tar"), bases=["seed"])
    page = summary(report_of(asked, pipeline.build(asked, None, lambda *step: None)))
    assert "uninstall, by label: deleting the folder would delete chunks that other seeds share\n" in page
    assert "kubectl delete --ignore-not-found -f" not in page
    readme = (tmp_path / "again" / "README.txt").read_text()
    assert "uninstall, by label" in readme and "check that the cluster has the chunks of the other folders" in readme


@pytest.mark.parametrize("chunk_size", [CHUNK_BYTES, 512 << 10, LARGEST_CHUNK_BYTES])
def test_an_update_keeps_the_chunk_size_of_its_base(tmp_path, chunk_size):
    archive(tmp_path, "small", samples.sample("small"), "docker.io/library/small:1")
    first, after = (archive(tmp_path, "app-%d" % number, samples.with_layers([samples.tar_of([
        ("layer", samples.noise((4 << 20) + number, number))])]), "docker.io/library/app:%d" % number)
        for number in (1, 2))
    build(tmp_path, "seed", first, chunk_bytes=chunk_size)
    build(tmp_path, "update", str(tmp_path / "small.tar"), bases=["seed"])
    assert build(tmp_path, "next", after, bases=["update"]).payload.chunk_bytes == chunk_size


def test_a_base_of_seedpod_0_2_is_refused(release, tmp_path):
    """Its chunks have no label by which the printed commands find them."""
    (tmp_path / "seed" / "FACTS").unlink()
    with pytest.raises(InputError, match="seed: no file FACTS, written by Seedpod 0.2 or older: build it again"):
        build(tmp_path, "again", str(tmp_path / "next.tar"), bases=["seed"])


def test_of_the_base_only_the_last_segment_is_read(release, tmp_path, monkeypatch):
    opened = []
    chunk_of = reader.chunk_of
    monkeypatch.setattr(reader, "chunk_of", lambda seed, name: opened.append(name) or chunk_of(seed, name))
    build(tmp_path, "again", str(tmp_path / "next.tar"), bases=["seed"])
    assert set(opened) == set(release[0].payload.contents.segments[-1].chunks)


def test_the_command_line_builds_and_verifies_updates(release, tmp_path):
    def run(*words):
        status, page, _ = forked.run(*words, "--json", cwd=tmp_path)
        assert status == 0
        return json.loads(page)
    found = run("next.tar", "--onto", "seed", "--image", builds.IMAGE, "--compression", "none", "-o", "again")
    assert found["update"]["base"] == "seed" and found["update"]["new_chunks"] == 4
    assert run("verify", "again", "--onto", "seed")["folders"][0]["chunks"] == {
        "count": len(release[1].payload.contents.chunks), "elsewhere": 0}
