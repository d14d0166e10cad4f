"""stage1/spooler/content, push and pull: any file goes in, an archive comes out."""
import functools
import io
import json
import lzma
import tarfile

import pytest

from builder.reading import archive, images, oci
from builder.reading.errors import InputError

from tests.support import samples

from content import ARCHITECTURE, TITLE, Opened
from image_names import Name
from protocol import Manifest, RegistryError
from pull import DOCKER_ARCHIVE, MAX_DEPTH, MAX_MANIFESTS, OCI_ARCHIVE, pull
from push import named, named_by_archive, push

pytestmark = pytest.mark.usefixtures("zstd_program")

NAME = Name("team/app", "1.2")
PLAIN_TAR = samples.tar_of([("a", b"hello"), ("etc/b", b"x" * 1000)])
PLATFORM = "linux/" + ARCHITECTURE


def pushed(client, path, title="app.tar", choose=named, name=NAME, **more):
    with open(str(path), "rb") as file, Opened(file, str(path), title, **more) as content:
        return push(client, choose(content.images, name))


def manifest_of(fake, repository, reference):
    return json.loads(fake.manifests[repository, reference][1].decode())


def loaded(tmp_path, parts):
    """An archive that was pulled -> its one image, as the builder reads it."""
    path = tmp_path / "pulled.tar"
    path.write_bytes(b"".join(parts))
    with archive.open_archive(str(path)) as opened:
        assert not opened.notes
        (image,) = images.read_images(opened)
    return image


@pytest.mark.parametrize("form", sorted(samples.PRODUCERS))
def test_every_form_of_archive_goes_in_and_comes_out_with_its_image_id(form, fake, client, tmp_path):
    image = samples.sample()
    path = samples.write(tmp_path / "app.tar", samples.PRODUCERS[form](image, samples.NAME))
    (result,) = pushed(client, path)
    assert (result.name, result.blob_count, result.sent_count) == (NAME, 3, 3)
    assert manifest_of(fake, "team/app", "1.2")["config"]["digest"] == image.image_id
    for archive_form in (OCI_ARCHIVE, DOCKER_ARCHIVE):
        back = loaded(tmp_path, pull(client, NAME, archive_form, PLATFORM))
        assert back.configs[0].digest == image.image_id
        assert back.references == (("docker.io/team/app:1.2",))
    assert pushed(client, path)[0].sent_count == 0


def test_an_oci_layout_keeps_its_digest_on_the_whole_way(client, tmp_path):
    data, _ = samples.oci_manifest(samples.sample())
    path = samples.write(tmp_path / "app.tar", samples.layout(samples.sample()))
    assert pushed(client, path)[0].digest == oci.digest_of(data)
    assert loaded(tmp_path, pull(client, NAME, OCI_ARCHIVE, PLATFORM)).root.digest == oci.digest_of(data)


def test_an_index_goes_in_whole_and_comes_out_whole_or_for_one_platform(client, tmp_path):
    both = [samples.sample("a", platform=PLATFORM), samples.sample("b", platform="linux/s390x")]
    path = samples.write(tmp_path / "app.tar", samples.multi_platform(both, samples.NAME))
    (result,) = pushed(client, path)
    back = loaded(tmp_path, pull(client, NAME, OCI_ARCHIVE, PLATFORM))
    assert (back.root.digest, back.platforms) == (result.digest, (PLATFORM, "linux/s390x"))
    back = loaded(tmp_path, pull(client, NAME, DOCKER_ARCHIVE, "linux/s390x"))
    assert back.configs[0].digest == both[1].image_id
    with pytest.raises(InputError, match="has no image for linux/none"):
        list(pull(client, NAME, DOCKER_ARCHIVE, "linux/none"))


def test_an_incomplete_index_that_the_registry_refuses_is_explained(fake, client, tmp_path):
    both = [samples.sample("a"), samples.sample("b", platform="linux/arm64")]
    path = samples.write(tmp_path / "app.tar", samples.multi_platform(both, samples.NAME, left_out=[1]))
    fake.faults = [("PUT", "manifests/1.2", 400)]
    with pytest.raises(RegistryError, match="lacks 1 parts of the image: save"):
        pushed(client, path)


def thin(path, members, absent):
    """An archive without the blobs of these digests."""
    return samples.write(path, [member for member in members
                                if member[0].rpartition("/")[2] not in {digest.partition(":")[2] for digest in absent}])


def layers_and_config_of(fake):
    document = manifest_of(fake, "team/app", "1.2")
    return [part["digest"] for part in document["layers"] + [document["config"]]]


@pytest.mark.parametrize("absent", ((0,), (0, 1), (0, 1, 2)))
@pytest.mark.parametrize("repository", ("team/app", "elsewhere"))
def test_a_thin_archive_is_pushed_where_the_registry_has_what_it_lacks(repository, absent, fake, connect, tmp_path):
    members = samples.layout(samples.sample())
    whole = pushed(connect(fake.url), samples.write(tmp_path / "whole.tar", members))[0]
    digests = [layers_and_config_of(fake)[number] for number in absent]
    fake.manifests.clear()
    fake.blobs = {(repository, digest): data for (_, digest), data in fake.blobs.items() if digest in digests}
    result = pushed(connect(fake.url), thin(tmp_path / "thin.tar", members, digests))[0]
    assert (result.digest, result.sent_count) == (whole.digest, 3 - len(absent))
    assert {("team/app", digest) for digest in layers_and_config_of(fake)} <= set(fake.blobs)


def test_what_a_thin_archive_and_the_registry_lack_is_named_in_one_line(fake, client, tmp_path):
    members = samples.layout(samples.sample())
    pushed(client, samples.write(tmp_path / "whole.tar", members))
    digests = layers_and_config_of(fake)[:2]
    fake.manifests.clear()
    fake.blobs.clear()
    with pytest.raises(RegistryError) as failure:
        pushed(client, thin(tmp_path / "thin.tar", members, digests))
    assert str(failure.value).startswith("team/app:1.2: neither the archive nor the registry has " + ", ".join(digests))
    assert not fake.manifests and not fake.blobs and not fake.uploads


def test_a_registry_that_mounts_nothing_is_left_without_an_upload(fake, client, tmp_path):
    members = samples.layout(samples.sample())
    pushed(client, samples.write(tmp_path / "whole.tar", members))
    (digest, *_) = layers_and_config_of(fake)
    fake.blobs = {("elsewhere", digest): fake.blobs["team/app", digest]}
    fake.mounts = False
    with pytest.raises(RegistryError, match="neither the archive nor the registry has " + digest):
        pushed(client, thin(tmp_path / "thin.tar", members, [digest]))
    assert fake.sent("DELETE") and not fake.uploads


def test_an_index_is_pushed_with_the_layers_of_one_platform_only_where_the_registry_takes_that(fake, client, tmp_path):
    both = [samples.sample("a"), samples.sample("b", platform="linux/arm64")]
    members = samples.multi_platform(both, samples.NAME)
    lost = [oci.digest_of(layer) for layer in map(samples.gzipped, both[1].layers)]
    path = thin(tmp_path / "thin.tar", members, lost)
    assert len(pushed(client, path)) == 1
    assert len([path for path in fake.sent("PUT") if "/manifests/" in path]) == 2  # of the whole one, and of the index
    fake.faults = [("PUT", "manifests/1.2", 400)]
    with pytest.raises(RegistryError, match="neither the archive nor the registry has " + lost[0]):
        pushed(client, path)


def test_the_tag_is_put_last(fake, client, tmp_path):
    both = [samples.sample("a"), samples.sample("b", platform="linux/arm64")]
    pushed(client, samples.write(tmp_path / "app.tar", samples.multi_platform(both, samples.NAME)))
    puts = [path for path in fake.sent("PUT") if "/manifests/" in path]
    assert puts[-1].endswith("/1.2") and len(puts) == 3
    assert fake.requests[-1].endswith("/manifests/1.2")


def test_several_images_need_their_own_names(fake, client, tmp_path):
    one, other = samples.sample("a"), samples.sample("b")
    path = samples.write(tmp_path / "app.tar", samples.joined(
        samples.crane(one, "docker.io/library/one:1"), samples.crane(other, "quay.io/team/other:2")))
    with pytest.raises(InputError, match="holds 2 images"):
        pushed(client, path)
    results = pushed(client, path, choose=named_by_archive)
    assert sorted(str(item.name) for item in results) == ["library/one:1", "team/other:2"]
    assert manifest_of(fake, "team/other", "2")["config"]["digest"] == other.image_id


@pytest.mark.parametrize("name, names", [
    ("quay.io/team/other:2", ["quay.io/team/other:2", "team/other:2"]),
    ("docker.io/library/one:1", ["docker.io/library/one:1", "library/one:1"]),
    ("harbor.local/quay.io/a:1", ["harbor.local/quay.io/a:1"]),
    ("host:5000/a:1", ["a:1"])])
def test_for_a_mirror_images_are_named_with_their_host_as_well(fake, client, tmp_path, name, names):
    path = samples.write(tmp_path / "app.tar", samples.crane(samples.sample(), name))
    results = pushed(client, path, choose=functools.partial(named_by_archive, with_host=True))
    assert sorted(str(item.name) for item in results) == names
    assert len({item.digest for item in results}) == 1


@pytest.mark.parametrize("name, pushed_as", [
    ("harbor.local/quay.io/a:1", "harbor.local/quay.io/a:1"), ("localhost/quay.io/a:1", "quay.io/a:1"),
    ("harbor.local/a:1", "a:1")])
def test_no_image_is_pushed_under_the_full_name_of_another_hosts(fake, client, tmp_path, name, pushed_as):
    path = samples.write(tmp_path / "app.tar", samples.crane(samples.sample(), name))
    assert [str(item.name) for item in pushed(client, path, choose=named_by_archive)] == [pushed_as]


@pytest.mark.parametrize("with_host", [True, False])
def test_an_image_whose_host_is_left_out_is_not_pushed_under_the_full_name_of_another_hosts(client, tmp_path, with_host):
    path = samples.write(tmp_path / "app.tar", samples.crane(samples.sample(), "harbor.local:5000/quay.io/a:1"))
    with pytest.raises(InputError, match="quay.io/a:1: would get the name of another host's image: give it a name"):
        pushed(client, path, choose=functools.partial(named_by_archive, with_host=with_host))


def test_an_image_without_a_name_gets_that_of_its_file_or_is_refused(client, tmp_path):
    path = samples.write(tmp_path / "app.tar", samples.layout(samples.sample()))
    assert [item.name for item in pushed(client, path, choose=named_by_archive)] == [NAME]
    with pytest.raises(InputError, match="has no name for this image"):
        pushed(client, path, choose=named_by_archive, name=None)


def two_without_a_name(tmp_path):
    entries, blobs = [], []
    for marker, platform in (("nginx", "linux/amd64"), ("redis", "linux/arm64")):
        data, more = samples.oci_manifest(samples.sample(marker, platform=platform))
        entries.append(samples.descriptor(oci.OCI_MANIFEST, data))
        blobs += more
    return samples.write(tmp_path / "app.tar", samples.layout_of(entries, blobs))


@pytest.mark.parametrize("choose, name", [(named, NAME), (named_by_archive, NAME), (named_by_archive, None)])
def test_two_images_without_a_name_are_not_joined_under_the_name_of_their_file(fake, client, tmp_path, choose, name):
    with pytest.raises(InputError) as refusal:
        pushed(client, two_without_a_name(tmp_path), choose=choose, name=name)
    assert str(refusal.value) == (
        '%s: holds 2 images without a name: use "push NAME < ARCHIVE" if they are one image for linux/amd64 and '
        "linux/arm64, else save each in an archive of its own" % str(name or "the archive"))
    assert fake.manifests == {}


def test_a_signature_comes_along_with_its_image(fake, client, tmp_path):
    data, blobs = samples.oci_manifest(samples.sample())
    subject = samples.descriptor(oci.OCI_MANIFEST, data)
    signature, more = samples.oci_manifest(samples.sample("signature"), subject=subject)
    path = samples.write(tmp_path / "app.tar", samples.layout_of(
        [subject, samples.descriptor(oci.OCI_MANIFEST, signature)], blobs + more))
    for choose in (named, named_by_archive):
        assert [str(item.name) for item in pushed(client, path, choose=choose)] == [
            "team/app:1.2", "team/app@" + oci.digest_of(signature)]


def test_a_signature_under_cosigns_tag_comes_along_under_it(client, tmp_path):
    path = samples.write(tmp_path / "app.tar", samples.cosign_save(samples.sample(), "quay.io/team/app:1.2"))
    data, _ = samples.oci_manifest(samples.sample())
    for choose in (named, named_by_archive):
        assert [str(item.name) for item in pushed(client, path, choose=choose)] == [
            "team/app:1.2", "team/app:%s.sig" % oci.digest_of(data).replace(":", "-")]


@pytest.mark.parametrize("data, media_type", (
    (PLAIN_TAR, oci.OCI_LAYER), (samples.gzipped(PLAIN_TAR), oci.OCI_LAYER_GZIP),
    (samples.zstd_stored(PLAIN_TAR), oci.OCI_LAYER_ZSTD)))
def test_as_a_layer_a_tar_without_an_image_becomes_an_image(data, media_type, fake, client, tmp_path, zstd_program):
    (tmp_path / "app.tar").write_bytes(data)
    pushed(client, tmp_path / "app.tar", as_layer=True)
    manifest = manifest_of(fake, "team/app", "1.2")
    (layer,) = manifest["layers"]
    assert (layer["mediaType"], layer["digest"]) == (media_type, oci.digest_of(data))
    config = json.loads(fake.blobs["team/app", manifest["config"]["digest"]].decode())
    assert config["rootfs"]["diff_ids"] == [oci.digest_of(PLAIN_TAR)]
    assert (config["os"], config["architecture"]) == ("linux", ARCHITECTURE)
    assert loaded(tmp_path, pull(client, NAME, OCI_ARCHIVE, PLATFORM)).platforms == (PLATFORM,)


def test_a_layer_for_which_there_is_no_media_type_is_refused(client, tmp_path):
    (tmp_path / "app.tar.xz").write_bytes(lzma.compress(PLAIN_TAR))
    with pytest.raises(InputError, match="compressed with xz"):
        pushed(client, tmp_path / "app.tar.xz", "app.tar.xz", as_layer=True)


@pytest.mark.parametrize("name", ("bin/sh", ".dockerenv", "Chart.yaml", "other.tar", "values/a"))
def test_a_tar_without_an_image_is_refused_as_the_builder_refuses_it(name, fake, client, tmp_path):
    path = samples.write(tmp_path / "app.tar", [(name, b"x")])
    with archive.open_archive(str(path)) as opened, pytest.raises(InputError) as refusal:
        images.read_images(opened)
    with pytest.raises(InputError) as ours:
        pushed(client, path)
    assert str(ours.value) == str(refusal.value) and not fake.requests


def chart(tmp_path):
    path = tmp_path / "demo.tgz"
    path.write_bytes(samples.chart())
    return path


def test_a_chart_is_pushed_under_its_own_name_with_the_digests_of_the_builder(fake, client, tmp_path):
    path = chart(tmp_path)
    with archive.open_archive(str(path)) as opened:
        (image,) = images.read_images(opened)
    (result,) = pushed(client, path, "", named_by_archive, None)
    assert (str(result.name), result.digest) == ("charts/demo:1.2.3_build.5", image.root.digest)
    (layer,) = manifest_of(fake, "charts/demo", "1.2.3_build.5")["layers"]
    assert fake.blobs["charts/demo", layer["digest"]] == samples.chart()
    assert pushed(client, path, "", as_layer=True)[0].digest == image.root.digest
    assert pushed(client, path, "demo.tgz", is_artifact=True)[0].digest != image.root.digest


@pytest.mark.parametrize("tag, expected", (("latest", "1.2.3_build.5"), ("2", "2")))
def test_a_chart_that_is_given_a_name_without_a_tag_has_its_version(tag, expected, client, tmp_path):
    assert pushed(client, chart(tmp_path), name=Name("team/app", tag))[0].name == Name("team/app", expected)


def test_a_chart_that_was_pulled_is_pushed_again_as_the_same(fake, client, tmp_path):
    (first,) = pushed(client, chart(tmp_path), "", named_by_archive, None)
    (tmp_path / "pulled.tar").write_bytes(b"".join(pull(client, first.name, OCI_ARCHIVE, "")))
    (again,) = pushed(client, tmp_path / "pulled.tar", name=first.name)
    assert (again.name, again.digest) == (first.name, first.digest)


def test_as_a_layer_an_image_is_still_an_image(client, tmp_path):
    path = samples.write(tmp_path / "app.tar", samples.crane(samples.sample(), samples.NAME))
    assert pushed(client, path)[0].digest == pushed(client, path, as_layer=True)[0].digest


@pytest.mark.parametrize("data", (b"key: value\n", samples.gzipped(b"text"), b"\x1f\x8b rubbish", bytes(2048)))
def test_any_other_file_becomes_an_artifact_with_its_name_as_title(data, fake, client, tmp_path):
    (tmp_path / "x").write_bytes(data)
    pushed(client, tmp_path / "x", "values.yaml")
    manifest = manifest_of(fake, "team/app", "1.2")
    (layer,) = manifest["layers"]
    assert (layer["annotations"], layer["digest"]) == ({TITLE: "values.yaml"}, oci.digest_of(data))
    assert (manifest["config"]["mediaType"], manifest["artifactType"]) == (
        "application/vnd.oci.empty.v1+json", "application/vnd.unknown.artifact.v1")
    assert fake.blobs["team/app", manifest["config"]["digest"]] == b"{}"


@pytest.mark.parametrize("data, title, words", (
    (b"", "values.yaml", "is an empty file"),
    (b"", "app.tar", "is an empty file"),
    (b"<!DOCTYPE html><html>", "app.tar", "is a web page"),
    (b"key: value\n", "", "is not a tar archive"),
    (PLAIN_TAR[:-1024], "app.tar", "is truncated"),
    (PLAIN_TAR[:1000], "app.tar", "is truncated"),
    (samples.gzipped(PLAIN_TAR)[:-9], "app.tgz", "is truncated"),
))
def test_what_is_not_whole_or_not_an_archive_is_refused(data, title, words, client, tmp_path):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(InputError, match=words):
        pushed(client, tmp_path / "x", title)


def test_a_damaged_layer_sends_nothing(fake, client, tmp_path):
    image = samples.sample()
    members = [(name, content.replace(b"a 1", b"b 1")) for name, content in samples.crane(image, samples.NAME)]
    with pytest.raises(InputError, match="is damaged"):
        pushed(client, samples.write(tmp_path / "app.tar", members))
    assert not fake.requests


def index_of_indexes(client, count):
    """An index of so many entries that all name the same index, and so on, four deep; -> the name of the outermost."""
    data = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "config": {}, "layers": []}).encode()
    data = data.replace(b'"config": {}', b'"config": {"digest": "%s", "size": 0}' % oci.digest_of(b"").encode())
    media_type = oci.OCI_MANIFEST
    for _ in range(MAX_DEPTH):
        client.put_manifest("team/app", oci.digest_of(data), Manifest(media_type, oci.digest_of(data), data))
        entry = {"mediaType": media_type, "digest": oci.digest_of(data), "size": len(data)}
        media_type = oci.OCI_INDEX
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry] * count}).encode()
    client.put_manifest("team/app", "1.2", Manifest(media_type, oci.digest_of(data), data))


def test_an_index_that_names_the_same_manifest_over_and_over_is_read_once(fake, client):
    index_of_indexes(client, 500)
    before = len(fake.requests)
    assert len(b"".join(pull(client, NAME, OCI_ARCHIVE, PLATFORM))) < 1 << 20
    assert len(fake.requests) - before <= MAX_DEPTH + 2
    index_of_indexes(client, MAX_MANIFESTS + 1)
    with pytest.raises(InputError, match="leads to more than"):
        list(pull(client, NAME, OCI_ARCHIVE, PLATFORM))


def test_what_is_not_there_cannot_be_pulled(client):
    with pytest.raises(InputError, match="team/app:1.2: is not in the registry"):
        list(pull(client, NAME, OCI_ARCHIVE, PLATFORM))


def test_damage_in_the_registry_leaves_an_archive_without_its_end(fake, client, tmp_path):
    image = samples.sample()
    pushed(client, samples.write(tmp_path / "app.tar", samples.crane(image, samples.NAME)))
    digest = manifest_of(fake, "team/app", "1.2")["layers"][1]["digest"]
    fake.blobs["team/app", digest] = fake.blobs["team/app", digest][::-1]
    parts = []
    with pytest.raises(RegistryError, match="is damaged in the registry"):
        for part in pull(client, NAME, OCI_ARCHIVE, PLATFORM):
            parts.append(part)
    assert not b"".join(parts).endswith(bytes(1024))


def test_the_pulled_archive_is_a_plain_tar(client, tmp_path):
    pushed(client, samples.write(tmp_path / "app.tar", samples.crane(samples.sample(), samples.NAME)))
    with tarfile.open(fileobj=io.BytesIO(b"".join(pull(client, NAME, OCI_ARCHIVE, PLATFORM)))) as tar:
        assert tar.getnames()[:2] == ["oci-layout", "index.json"]
        assert {(member.mode, member.mtime, member.uid) for member in tar} == {(0o444, 0, 0)}
