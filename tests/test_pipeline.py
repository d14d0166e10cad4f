import io
import os
import subprocess
import sys
import time

import pytest

from builder import pipeline
from builder.kubernetes import sizes, steps, workloads
from builder.kubernetes.persistent_registry import RegistryOptions
from builder.kubernetes.runner import Runner
from builder.kubernetes.site import POLICY, Site
from builder.output import reader
from builder.payload import chunks
from builder.payload.contents import Contents, digest_of as contents_digest, to_text
from builder.payload.packing import Packed, outline
from builder.reading.errors import InputError
from builder.reading.oci import OCI_MANIFEST, blob_of, digest_of
from builder.verification import verify
from tests.support import builds, dumps, samples


def build_of(tmp_path, *archives, **options):
    return pipeline.build(builds.request(tmp_path, archives=archives, **options), sys.stdout.buffer, lambda *_: None)


def references(result):
    return [reference for image in result.images.images for reference in image.references]


def test_the_folders_readme_says_how_to_fill_the_registry_that_stays(tmp_path):
    path = samples.write(tmp_path / "r.tar", samples.crane(samples.sample(command=["registry", "serve"]), "registry:2"))
    result = build_of(tmp_path, ("", path), registry=RegistryOptions())
    text = (tmp_path / "out" / "README.txt").read_text()
    sections = steps.registry_sections(result.plan, result.decision.runners[0])
    assert sections and [section for section in sections if section.commands[0] not in text] == []


def test_two_builds_in_other_folders_at_other_times_are_equal_byte_for_byte(tmp_path, monkeypatch):
    built = []
    for name, now in (("first", 0), ("second", 1e9)):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(time, "time", lambda now=now: now)
        os.utime(builds.archive(folder), (now, now))
        os.umask(0o077 if now else 0o022)
        result, _ = builds.build(folder)
        built.append((builds.content(folder / "out"), result.payload.contents, result.plan))
    os.umask(0o022)
    assert built[0] == built[1]


def test_the_stream_holds_the_documents_of_the_folder(tmp_path):
    builds.build(tmp_path)
    _, stream = builds.build(tmp_path, steps.STDOUT)
    files = sorted((tmp_path / "out").glob("*.yaml"))
    assert stream == b"".join(b"---\n" + path.read_bytes() for path in files)


def test_what_others_need_comes_before_them(tmp_path):
    builds.build(tmp_path, chunk_bytes=1024)
    kinds = [path.name.split("-")[1].split(".")[0] for path in sorted((tmp_path / "out").glob("*.yaml"))]
    assert list(dict.fromkeys(kinds)) == ["namespace", "chunk", "contents", "injector", "service", "pod"]
    assert kinds.count("chunk") > 1


def test_another_image_or_option_gives_other_names_and_the_same_one_the_same(tmp_path):
    def seed(**options):
        return build_of(tmp_path, ("", builds.archive(tmp_path)), **options).plan.seed
    first = seed()
    assert seed() == first
    others = {seed(chunk_bytes=1024), seed(site=builds.Site("example.com/other:1")),
              build_of(tmp_path, ("", builds.archive(tmp_path, "b"))).plan.seed}
    assert len(others | {first}) == 4


def test_the_payload_is_cut_into_chunks_of_the_size_that_is_asked_for(tmp_path):
    result, _ = builds.build(tmp_path, chunk_bytes=1024)
    files = reader.mounted_files(str(tmp_path / "out"))
    for segment in result.payload.contents.segments:
        sizes_of_chunks = [len(files[name]) for name in segment.chunks]
        assert set(sizes_of_chunks[:-1]) <= {1024} and sum(sizes_of_chunks) == segment.size


@pytest.mark.parametrize("size", [-1, (1 << 20) + 1, 1 << 30])
def test_a_chunk_that_no_config_map_holds_is_refused(tmp_path, size):
    with pytest.raises(InputError,
                       match="--chunk-size -?%d: a ConfigMap holds at most 1023KiB: choose less" % abs(size)):
        builds.build(tmp_path, chunk_bytes=size)
    assert not (tmp_path / "out").exists()


def test_chunks_too_large_for_plain_apply_are_applied_by_the_server(tmp_path):
    blob = os.urandom(600 << 10)
    archive = samples.write(tmp_path / "large.tar", samples.crane(samples.with_layers([
        samples.tar_of([("random", blob)])]), samples.NAME))
    result = build_of(tmp_path, ("", archive), chunk_bytes=512 << 10)
    assert annotation_bytes(result) > chunks.ANNOTATION_LIMIT_BYTES
    assert annotation_bytes(build_of(tmp_path, ("", archive))) <= chunks.ANNOTATION_LIMIT_BYTES


def annotation_bytes(result):
    return sizes.largest_annotation_bytes(result.plan, max(result.payload.chunk_sizes.values()))


@pytest.mark.parametrize("count, size", [(256, chunks.CHUNK_BYTES), (257, chunks.LARGEST_CHUNK_BYTES)])
def test_more_chunks_than_a_kubelet_fetches_quickly_are_as_large_as_can_be(count, size):
    assert sizes.chunk_bytes_for(builds.Site(builds.IMAGE), [count * chunks.CHUNK_BYTES]) == size


def test_contents_and_pod_of_2500_chunks_stay_under_the_limit_of_plain_apply(tmp_path):
    site = builds.Site(builds.IMAGE, expose="nodeport")
    packed = [Packed("", (blob_of(b"%d" % number),), 25 * chunks.CHUNK_BYTES, None) for number in range(100)]
    contents = Contents({"manifests": []}, tuple(outline(packed, chunks.CHUNK_BYTES)))
    plan = workloads.plan_of(site, [Runner(site.image)], to_text(contents), contents.chunks, "", 1, contents.size)
    assert len(contents.chunks) == 2500
    assert sizes.largest_annotation_bytes(plan, chunks.CHUNK_BYTES) < chunks.ANNOTATION_LIMIT_BYTES


@pytest.mark.parametrize("count, refused", [(10, False), (40, True)])
def test_labels_and_annotations_that_leave_no_room_for_a_chunk_are_refused_with_the_remedy(tmp_path, count, refused):
    site = builds.Site(builds.IMAGE, annotations={"example.com/note-%d" % number: "x" * 200 for number in range(count)})
    if refused:
        with pytest.raises(InputError, match="--label, --annotation: with them a chunk's ConfigMap takes .*: use fewer, "
                                             "or --chunk-size 128KiB"):
            builds.build(tmp_path, site=site)
        assert not (tmp_path / "out").exists()
    result, _ = builds.build(tmp_path, site=site, chunk_bytes=128 << 10 if refused else 0)
    assert annotation_bytes(result) <= chunks.ANNOTATION_LIMIT_BYTES


def test_a_registry_never_gets_an_image_under_the_full_name_of_another_hosts(tmp_path):
    registry = samples.write(tmp_path / "r.tar", samples.crane(samples.sample(command=["registry", "serve"]), "registry:2"))
    harbor = ("harbor.local:5000/quay.io/prom/exporter:v1", builds.archive(tmp_path))
    with pytest.raises(InputError, match="a registry would serve it as quay.io/prom/exporter, the full name of another"):
        build_of(tmp_path, harbor, ("", registry), registry=RegistryOptions())
    build_of(tmp_path, harbor)  # the injector knows by `?ns=` for which host a mirror asks


@pytest.mark.parametrize("out", ["a,b", "http://host/seed", "x/a,b"])
def test_a_name_that_kubectl_takes_for_several_folders_or_a_url_is_refused(tmp_path, out):
    with pytest.raises(InputError, match="has a comma or :// in its name, which kubectl takes for several folders or a URL"):
        pipeline.build(builds.request(tmp_path)._replace(out=out), None, lambda *_: None)


def test_an_image_takes_the_name_that_the_user_gives(tmp_path):
    result = build_of(tmp_path, ("quay.io/a/b:1", builds.archive(tmp_path)))
    assert references(result) == ["quay.io/a/b:1"]
    assert result.images.addresses == {"quay.io/a/b:1": "a/b:1"}


def test_an_image_without_a_name_is_named_after_its_file(tmp_path):
    archive = samples.write(tmp_path / "My Image.tar", samples.crane(samples.sample()))
    assert references(build_of(tmp_path, ("", archive))) == ["docker.io/library/my-image:latest"]


def test_a_name_for_a_signed_image_is_not_given_to_its_signature(tmp_path):
    archive = samples.write(tmp_path / "signed.tar", samples.cosign_save(samples.sample(), "hello-world:latest"))
    for name, served in (("", "library/hello-world:latest"), ("quay.io/a/b:1", "a/b:1")):
        result = build_of(tmp_path, (name, archive))
        image, signature = result.images.images
        tag = image.root.digest.replace(":", "-") + ".sig"
        assert list(result.images.addresses.values()) == [served, served.rpartition(":")[0] + ":" + tag]
        assert signature.subject == image.root.digest and image.platforms and not signature.platforms


def test_one_name_for_an_archive_of_two_images_is_refused(tmp_path):
    two = samples.joined(samples.crane(samples.sample("a"), "docker.io/library/a:1"),
                         samples.crane(samples.sample("b"), "docker.io/library/b:1"))
    archive = samples.write(tmp_path / "two.tar", two)
    with pytest.raises(InputError, match="two.tar: holds 2 images, x:1 can name only one: leave out the name"):
        build_of(tmp_path, ("x:1", archive))


def test_one_name_for_two_archives_is_refused(tmp_path):
    first, second = builds.archive(tmp_path, "a"), builds.archive(tmp_path, "b")
    with pytest.raises(InputError, match=r"b\.tar: docker.io/library/sample:1 is another image in .*a\.tar: rename"):
        build_of(tmp_path, ("", first), ("", second))
    assert references(build_of(tmp_path, ("", first), ("other:1", second))) == [
        samples.NAME, "docker.io/library/other:1"]


def test_an_image_of_two_archives_has_the_names_of_both_each_once(tmp_path):
    one = samples.write(tmp_path / "one.tar", samples.crane(samples.sample(), samples.NAME, "x.example/a:2"))
    other = samples.write(tmp_path / "other.tar", samples.crane(samples.sample(), "x.example/a:2", "x.example/a:3"))
    assert references(build_of(tmp_path, ("", one), ("", other))) == [samples.NAME, "x.example/a:2", "x.example/a:3"]


def test_an_image_of_which_each_archive_holds_one_platform_has_both(tmp_path):
    both = samples.sample(platform="linux/amd64"), samples.sample("b", platform="linux/arm64")
    archives = [("", samples.write(tmp_path / name, samples.multi_platform(both, samples.NAME, left_out)))
                for name, left_out in (("one.tar", [1]), ("other.tar", [0]))]
    (image,) = build_of(tmp_path, *archives).images.images
    assert (image.platforms, image.missing) == (("linux/amd64", "linux/arm64"), ())
    assert len(image.manifests) == 3 and len(image.configs) == 2


def test_a_short_name_goes_to_the_first_and_the_user_is_told(tmp_path):
    result = build_of(tmp_path, ("a.example/x:1", builds.archive(tmp_path, "a")),
                      ("b.example/x:1", builds.archive(tmp_path, "b")))
    assert result.images.addresses == {"a.example/x:1": "x:1", "b.example/x:1": "b.example/x:1"}
    assert result.notes == ["b.example/x:1: x:1 already leads to a.example/x:1: pull this one by its full name"]


def test_the_same_image_under_two_hosts_shares_an_address_without_a_note(tmp_path):
    archive = samples.write(tmp_path / "hosts.tar", samples.crane(
        samples.sample(), "docker.io/team/app:1", "registry.local:5000/team/app:1", "quay.io/team/app:1"))
    result = build_of(tmp_path, ("", archive))
    assert set(result.images.addresses.values()) == {"team/app:1"} and len(result.images.addresses) == 3
    assert result.notes == []


def test_two_images_that_only_a_host_with_a_port_tells_apart_are_refused_before_anything_is_written(tmp_path):
    members = samples.joined(samples.crane(samples.sample("a"), "docker.io/team/app:1"),
                             samples.crane(samples.sample("b"), "registry.local:5000/team/app:1"))
    archive = samples.write(tmp_path / "hosts.tar", members)
    with pytest.raises(InputError, match="registry.local:5000/team/app:1: could only be served as team/app:1, which "
                                         "already leads to docker.io/team/app:1, another image: .*NAME=ARCHIVE"):
        build_of(tmp_path, ("", archive))
    assert not (tmp_path / "out").exists()


def nginx_and_redis(folder, second="linux/arm64"):
    """A folder into which two images without a name were copied, as `crane pull --format oci` does."""
    entries, blobs = [], []
    for marker, platform in (("nginx", "linux/amd64"), ("redis", second)):
        data, more = samples.oci_manifest(samples.sample(marker, platform=platform))
        parts = dict(zip(("os", "architecture"), platform.split("/")))
        entries.append(samples.descriptor(OCI_MANIFEST, data, platform=parts))
        blobs += more
    return samples.write_folder(folder, samples.layout_of(entries, blobs))


@pytest.mark.parametrize("platforms", [(), ("linux/amd64",)])
def test_two_images_without_a_name_are_not_joined_under_the_name_of_their_folder(tmp_path, platforms):
    folder = nginx_and_redis(tmp_path / "both")
    with pytest.raises(InputError, match="both: holds 2 images without a name: use NAME=%s if they are one image for linux/"
                                         "amd64 and linux/arm64, else save each in an archive of its own$" % folder):
        build_of(tmp_path, ("", folder), platforms=platforms)
    assert not (tmp_path / "out").exists()


def test_two_images_without_a_name_are_one_of_two_platforms_if_the_user_names_them(tmp_path):
    result = build_of(tmp_path, ("quay.io/a:1", nginx_and_redis(tmp_path / "both")))
    (image,) = result.images.images
    assert (image.references, image.platforms) == (("quay.io/a:1",), ("linux/amd64", "linux/arm64"))
    assert verify(str(tmp_path / "out"))["images"][0]["digest"] == image.root.digest


def test_two_images_for_one_platform_cannot_be_named_together(tmp_path):
    folder = nginx_and_redis(tmp_path / "both", "linux/amd64")
    with pytest.raises(InputError, match=r"both: holds 2 images without a name, which NAME=%s cannot join \(several are for "
                                         r"linux/amd64\): save each in an archive of its own$" % folder):
        build_of(tmp_path, ("quay.io/a:1", folder))


@pytest.mark.parametrize("order", [1, -1])
def test_each_of_two_images_of_one_name_below_two_hosts_is_given_out_under_its_own(tmp_path, order):
    archives = [("harbor.local/quay.io/prom/exporter:v1", builds.archive(tmp_path, "a")),
                ("quay.io/prom/exporter:v1", builds.archive(tmp_path, "b"))]
    result = build_of(tmp_path, *archives[::order], site=Site(builds.IMAGE, names=POLICY))
    assert result.images.addresses == {"harbor.local/quay.io/prom/exporter:v1": "harbor.local/quay.io/prom/exporter:v1",
                                "quay.io/prom/exporter:v1": "prom/exporter:v1"}
    told = {image["reference"]: image for image in verify(str(tmp_path / "out"))["images"]}
    for image in result.images.images:
        (name,) = image.references
        assert (told[name]["pull"], told[name]["digest"]) == (
            "127.0.0.1:31999/" + result.images.addresses[name], image.root.digest)
    policy = (tmp_path / "out" / "70-policy-1.yaml").read_text()
    for name in told:
        assert '"%s": "127.0.0.1:31999/%s"' % (name, name) in policy
    assert not [note for note in result.notes if "already leads to" in note]


def test_progress_adds_up_to_the_whole(tmp_path):
    told = []
    pipeline.build(builds.request(tmp_path), sys.stdout.buffer, lambda *step: told.append(step))
    packed = [(count, total) for stage, count, total in told if stage == "writing"]
    assert sum(count for count, _ in packed) == packed[0][1] > 0


def test_what_was_there_stays_when_an_archive_is_no_good(tmp_path):
    builds.build(tmp_path)
    before = builds.content(tmp_path / "out")
    (tmp_path / "bad.tar").write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"bad\.tar: "):
        build_of(tmp_path, ("", str(tmp_path / "bad.tar")))
    assert builds.content(tmp_path / "out") == before
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "bad.tar", "out"]


def test_the_emitted_injector_unpacks_the_emitted_chunks(tmp_path):
    result, _ = builds.build(tmp_path, chunk_bytes=1024)
    chunk_folder = tmp_path / "chunks"
    chunk_folder.mkdir()
    for name, data in reader.mounted_files(str(tmp_path / "out")).items():
        (chunk_folder / name).write_bytes(data)
    command = [sys.executable, "-I", "-S", str(tmp_path / "out" / "injector.pyz"), "unpack", "--chunks",
               str(chunk_folder), "--contents", str(chunk_folder / "contents.json"), "--digest",
               contents_digest(result.plan.contents), "--seed", str(tmp_path / "seed")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for image in result.images.images:
        for blob in image.manifests + image.configs + image.layers:
            data = (tmp_path / "seed" / "blobs" / blob.digest.replace(":", "/")).read_bytes()
            assert digest_of(data) == blob.digest


def test_a_pod_that_would_name_too_many_chunks_is_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "OBJECT_LIMIT_BYTES", 3000)
    with pytest.raises(InputError, match="--chunk-size: too many chunks: the Pod takes .* make chunks larger, "
                                         "up to 1023KiB"):
        builds.build(tmp_path, chunk_bytes=512)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    builds.build(tmp_path, chunk_bytes=512)


def test_what_the_cluster_refuses_leaves_nothing_behind(tmp_path):
    cluster = dumps.cluster(dumps.node(images=["python:3"]), dumps.service("other", 31999))
    with pytest.raises(InputError, match="--node-port 31999: is taken by Service default/other"):
        builds.build(tmp_path, site=builds.Site(), cluster=cluster)
    assert os.listdir(tmp_path) == ["a.tar"]
    result, _ = builds.build(tmp_path, site=builds.Site(node_port=31998), cluster=cluster)
    assert result.plan.site.expose == "nodeport" and result.decision.runners[0].image == "python:3"


@pytest.mark.parametrize("members, known", [(samples.layout(samples.sample("a"), samples.NAME), True),
                                            (samples.crane(samples.sample("a"), samples.NAME), False)])
def test_the_policy_knows_an_image_by_digest_only_where_that_is_the_published_one(tmp_path, members, known):
    archive = samples.write(tmp_path / "mine.tar", members)
    request = builds.request(tmp_path, site=Site(builds.IMAGE, names=POLICY), archives=[archive])
    result = pipeline.build(request, io.BytesIO(), lambda *_: None)
    text = (tmp_path / "out" / "70-policy-1.yaml").read_text(encoding="utf-8")
    assert ('"sample@%s": ' % result.images.images[0].root.digest in text) is known
