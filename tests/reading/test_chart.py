"""builder/reading/chart: a Helm chart becomes the artifact that Helm pulls."""
import gzip
import io
import lzma
import tarfile

import pytest

from builder.reading import oci
from builder.reading.archive import WHOLE, open_archive, open_stream
from builder.reading.errors import InputError
from builder.reading.images import read_images
from tests.support import samples
from tests.support.reading import bytes_of, document, in_memory, read, refusal

HELM_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
HELM_PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"


def write(folder, data, name="chart.tgz"):
    path = folder / name
    path.write_bytes(data)
    return path


def refused(folder, data):
    path = write(folder, data)
    return refusal(path, lambda: read(path))


def repacked(members):
    return samples.gzipped(samples.tar_of(members))


def test_a_chart_is_the_artifact_that_helm_pulls(tmp_path):
    data = samples.chart()
    (image,) = read(write(tmp_path, data))
    assert (image.references, image.platforms, image.is_chart) == ((samples.CHART_NAME,), (), True)
    assert image.root.media_type == oci.OCI_MANIFEST and [bytes_of(layer) for layer in image.layers] == [data]
    manifest = document(image.manifests[0])
    (config,) = image.configs
    assert manifest == {
        "schemaVersion": 2, "mediaType": oci.OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config.digest,
                   "size": config.size},
        "layers": [{"mediaType": HELM_LAYER, "digest": oci.digest_of(data), "size": len(data)}],
        "annotations": {"org.opencontainers.image.title": "demo", "org.opencontainers.image.version": "1.2.3+build.5",
                        "org.opencontainers.image.description": "A chart for tests: it's small, on two lines",
                        "org.opencontainers.image.url": "https://example.com/demo#top"}}
    assert document(config) == {
        "name": "demo", "home": "https://example.com/demo#top", "version": "1.2.3+build.5",
        "description": "A chart for tests: it's small, on two lines", "apiVersion": "v2", "appVersion": "1.16",
        "type": "application"}


def test_the_same_chart_is_the_same_artifact_wherever_it_is(tmp_path):
    (tmp_path / "b").mkdir()
    first, second = [read(write(folder, samples.chart(), name)) for folder, name in
                     ((tmp_path, "chart.tgz"), (tmp_path / "b", "image.tar"))]
    assert first[0].root == second[0].root


FORMS = {
    "a BOM": samples.chart(b"\xef\xbb\xbf" + samples.CHART_YAML),
    "CRLF": samples.chart(samples.CHART_YAML.replace(b"\n", b"\r\n")),
    "two equal Chart.yaml": repacked([samples.chart_members()[0]] + samples.chart_members()),
    "entries for folders": repacked([("demo/", samples.FOLDER)] + samples.chart_members()),
    "several gzip members": gzip.compress(samples.tar_of(samples.chart_members())[:700], 9) + gzip.compress(
        samples.tar_of(samples.chart_members())[700:], 9),
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_chart_is_read_however_it_is_written(form, tmp_path):
    (image,) = read(write(tmp_path, FORMS[form]))
    assert image.references == (samples.CHART_NAME,) and bytes_of(image.layers[0]) == FORMS[form]


@pytest.mark.parametrize("tar_format", (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
def test_a_chart_is_read_from_the_standard_librarys_tar(tar_format, tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tar_format, pax_headers={"comment": "x"}) as tar:
        for name, data in samples.chart_members():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5
            tar.addfile(member, io.BytesIO(data))
    assert read(write(tmp_path, out.getvalue()))[0].references == (samples.CHART_NAME,)


@pytest.mark.parametrize("version, tag", (("1.2.3", "1.2.3"), ("v1.2.3-rc.1", "v1.2.3-rc.1"), ('"1"', "1"),
                                          ("0.1.0-a.b-c+d.e-f", "0.1.0-a.b-c_d.e-f")))
def test_the_tag_is_the_version_as_helm_asks_for_it(version, tag, tmp_path):
    (image,) = read(write(tmp_path, samples.chart(b"name: a-b\nversion: " + version.encode())))
    assert image.references == ("docker.io/charts/a-b:" + tag,)
    assert document(image.configs[0])["apiVersion"] == "v1"  # which is what Helm takes for none


@pytest.mark.parametrize("chart_yaml, what", (
    (b"", "its name is ''"),
    (b"name: demo", "its version is ''"),
    (b"name: a/b\nversion: 1.0.0", "its name is 'a/b'"),
    (b"name: ..\nversion: 1.0.0", "is not an image name"),
    (b"name: Demo\nversion: 1.0.0", "is not an image name"),
    (b"name: demo\nversion: one", "its version is 'one'"),
    (b"name: demo\nversion: 1.0.0.0", "its version is '1.0.0.0'"),
    (b"name: demo\nversion: 1.0.0_1", "its version is '1.0.0_1'"),
    (b"name: demo\nversion: 1.0.0\n  .1", "its version is '1.0.0 .1'"),
    (b"name: demo\nversion: 1.0.0-" + b"a" * 123, "a tag has at most 128 characters"),
    (b"name: " + b"a" * 250 + b"\nversion: 1.0.0", "longer than 255 characters"),
    (b"name: demo\nversion: 1.0.0\nversion: 2.0.0", "line 3: is there twice"),
    (b"name: \xff\nversion: 1.0.0", "is not UTF-8"),
    (samples.CHART_YAML + b"#" * (1 << 20), "the limit is 1048576"),
))
def test_a_chart_yaml_that_helm_would_not_take_is_refused(chart_yaml, what, tmp_path):
    message = refused(tmp_path, samples.chart(chart_yaml))
    assert message.startswith("%s: demo/Chart.yaml: " % (tmp_path / "chart.tgz")) and what in message


MEMBERS = samples.chart_members()
REFUSED = {
    "two Chart.yaml that differ": (repacked([("demo/Chart.yaml", b"name: other")] + MEMBERS), "more than once"),
    "a symlink": (repacked([("demo/Chart.yaml", samples.Link("values.yaml"))] + MEMBERS[1:]), "is a link"),
    "a hard link": (repacked([("demo/values.yaml", MEMBERS[0][1]),
                              ("demo/Chart.yaml", samples.Link("demo/values.yaml", samples.HARD))]), "is a link"),
    "a symlink to nowhere": (repacked([("demo/Chart.yaml", samples.Link("../../etc/passwd"))]), "is a link"),
    "./ in front": (repacked([("./" + name, data) for name, data in MEMBERS]), "has ./ in front"),
    "a slash in front": (repacked([("/" + name, data) for name, data in MEMBERS]), "has ./ in front"),
    "not in a folder": (repacked([(name[len("demo/"):], data) for name, data in MEMBERS if "json" not in name]),
                        "but not as helm package makes it"),
    "deeper": (repacked([("a/" + name, data) for name, data in MEMBERS]), "but not as helm package makes it"),
    "beside other files": (repacked(MEMBERS + [("other/file", b"")]), "but not as helm package makes it"),
    "a subchart alone": (repacked(MEMBERS[5:]), "but not as helm package makes it"),
    "not compressed": (samples.tar_of(MEMBERS), "not compressed only with gzip"),
    "compressed twice": (samples.gzipped(samples.chart()), "not compressed only with gzip"),
    "compressed with xz": (lzma.compress(samples.tar_of(MEMBERS)), "not compressed only with gzip"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_an_archive_that_helm_would_not_load_is_refused(case, tmp_path):
    data, what = REFUSED[case]
    assert what in refused(tmp_path, data)


def test_the_folder_of_a_chart_is_refused_with_the_way_to_package_it(tmp_path):
    samples.write_folder(tmp_path, samples.chart_members()[:3])
    assert "make it with helm package" in refusal(tmp_path, lambda: read(tmp_path))
    assert "helm package FOLDER" in refusal(tmp_path / "demo", lambda: read(tmp_path / "demo"))


def test_an_image_archive_is_one_whatever_it_is_called_and_holds(tmp_path):
    members = samples.crane(samples.with_layers([samples.tar_of(samples.chart_members())]), samples.NAME)
    for more in ([], [("Chart.yaml", samples.CHART_YAML)], [("demo/Chart.yaml", samples.CHART_YAML)]):
        (image,) = read(write(tmp_path, repacked(members + more)))
        assert (image.references, image.platforms, image.is_chart) == ((samples.NAME,), ("linux/amd64",), False)


def test_a_chart_that_came_through_a_registry_is_still_one(tmp_path):
    (chart,) = read(write(tmp_path, samples.chart()))
    blobs = [samples.blob(bytes_of(blob)) for blob in chart.manifests + chart.configs + chart.layers]
    entry = samples.descriptor(oci.OCI_MANIFEST, blobs[0][1], annotations={oci.REF_NAME: "1.2.3_build.5"})
    path = samples.write(tmp_path / "layout.tar", samples.layout_of([entry], blobs))
    (image,) = read(path)
    assert (image.is_chart, image.root, image.tags) == (True, chart.root, ("1.2.3_build.5",))


def test_the_provenance_beside_a_chart_is_its_second_layer(tmp_path):
    data = samples.chart()
    provenance = ("files:\n  demo-1.2.3.tgz: %s\n" % oci.digest_of(data)).encode()
    with open_archive(str(write(tmp_path, data))) as archive:
        (image,) = map(in_memory, read_images(archive, provenance=provenance))
    assert [bytes_of(layer) for layer in image.layers] == [data, provenance]
    assert [layer["mediaType"] for layer in document(image.manifests[0])["layers"]] == [HELM_LAYER, HELM_PROVENANCE]


def test_the_provenance_of_another_chart_is_refused(tmp_path):
    path = write(tmp_path, samples.chart())
    with open_archive(str(path)) as archive, pytest.raises(InputError) as refused_provenance:
        read_images(archive, provenance=b"files:\n  demo.tgz: sha256:" + b"0" * 64)
    assert str(refused_provenance.value).startswith("%s.prov: does not name sha256:" % path)


def outcome(path):
    """What reading a file comes to: the references, or "refused"; anything else fails."""
    try:
        images = read(path)
    except InputError as error:
        assert "\n" not in str(error)
        return "refused"
    return images[0].references


def test_a_truncated_chart_is_refused(tmp_path):
    data = samples.chart()
    step = 97
    for end in list(range(1, len(data), step)) + [len(data) - 1]:
        assert outcome(write(tmp_path, data[:end])) == "refused"


def test_a_damaged_chart_is_refused_or_says_what_it_said(tmp_path):
    data = samples.chart()
    outcomes = set()
    for position in range(0, len(data), 101):
        for bit in (1, 128):
            flipped = bytes((byte ^ bit if number == position else byte) for number, byte in enumerate(data))
            outcomes.add(outcome(write(tmp_path, flipped)))
    assert "refused" in outcomes <= {"refused", (samples.CHART_NAME,)}  # the time in gzip's header is not checked


def test_a_chart_is_read_from_a_pipe_in_single_bytes(tmp_path):
    data = samples.chart()

    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1))

    with open_stream(Slow(data), "standard input") as archive:
        (image,) = map(in_memory, read_images(archive))
    assert image.references == (samples.CHART_NAME,) and bytes_of(image.layers[0]) == data


def test_a_chart_that_expands_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("builder.reading.decompress._RATIO_FREE_BYTES", 1 << 12)
    monkeypatch.setattr("builder.reading.decompress._MAX_RATIO", 10)
    members = samples.chart_members() + [("demo/zeros", bytes(1 << 20))]
    assert "expands to more than" in refused(tmp_path, gzip.compress(samples.tar_of(members)))


def test_the_file_stays_open_as_long_as_the_archive(tmp_path):
    with open_archive(str(write(tmp_path, samples.chart()))) as archive:
        (image,) = read_images(archive)
        (tmp_path / "chart.tgz").unlink()  # what was checked is what is read
        assert bytes_of(image.layers[0]) == samples.chart()
    with pytest.raises(ValueError):
        bytes_of(image.layers[0])


def test_of_an_image_archive_the_compressed_file_is_closed_once_it_is_read(tmp_path):
    members = samples.crane(samples.sample(), samples.NAME)
    with open_archive(str(write(tmp_path, repacked(members)))) as archive:
        (image,) = read_images(archive)
        assert all(bytes_of(blob) for blob in image.layers)
        with pytest.raises(ValueError):
            archive.given.digest(WHOLE)
