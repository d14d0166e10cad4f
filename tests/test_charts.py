"""Charts among the archives: what every option makes of them."""
import json
import pathlib

import pytest

from builder import split
from builder.cli import main as cli
from builder.finding.missing_images import MissingImages
from builder.finding.named_images import find_images
from builder.kubernetes.site import MIRROR, POLICY, Site
from builder.pipeline import build
from builder.reading import oci
from builder.reading.errors import InputError
from builder.cli.summary import report_of, pull_line, summary
from builder.verification import verify
from tests.support import builds, samples
from tests.support.reading import read

PULL = "oci://127.0.0.1:31999/charts/demo --version 1.2.3+build.5 --plain-http"
DUMP = pathlib.Path(__file__).parent / "cluster" / "dumps" / "kubeadm-kube-prometheus-stack.json"
ADDRESS = "charts/demo:1.2.3_build.5"


@pytest.fixture
def chart(tmp_path):
    (tmp_path / "chart.tgz").write_bytes(samples.chart())
    return str(tmp_path / "chart.tgz")


def order(folder, *archives, out="out", site=Site(builds.IMAGE), **options):
    return builds.request(folder, out, site, archives, **options)



def built(*words, **options):
    return build(order(*words, **options), None, lambda *_: None)


def digest_of_chart(path):
    return read(path)[0].root.digest


def test_a_seed_of_charts_alone_is_built_and_verified(chart, tmp_path):
    wanted = order(tmp_path, chart)
    result = build(wanted, None, lambda *_: None)
    found = report_of(wanted, result)
    (told,) = found["images"]
    assert (told["is_chart"], told["digest"], told["platforms"]) == (True, digest_of_chart(chart), [])
    assert told["pull"] == "127.0.0.1:31999/" + ADDRESS and pull_line(told) == PULL
    assert "    Helm chart  " in summary(found) and "    pull  " + PULL in summary(found)
    (checked,) = verify(wanted.out)["images"]
    assert checked == {key: told[key] for key in checked}


def test_an_image_keeps_its_name_to_pull_beside_a_chart(chart, tmp_path):
    result = built(tmp_path, chart, builds.archive(tmp_path))
    assert result.images.addresses == {samples.CHART_NAME: ADDRESS, samples.NAME: "library/sample:1"}


@pytest.mark.parametrize("name, reference", (
    ("team/app", "docker.io/team/app:1.2.3_build.5"), ("team/app:latest", "docker.io/team/app:1.2.3_build.5"),
    ("registry.example.com/app:2", "registry.example.com/app:2")))
def test_a_chart_under_another_name_has_its_version_as_tag_unless_one_is_given(name, reference, chart, tmp_path):
    (image,) = built(tmp_path, (name, chart)).images.images
    assert image.references == (reference,)


def test_a_seed_with_a_chart_is_an_archive_and_keeps_its_digest(chart, tmp_path):
    built(tmp_path, chart, out="first")
    result = built(tmp_path, str(tmp_path / "first"), builds.archive(tmp_path), out="second")
    assert [image.is_chart for image in result.images.images] == [True, False]
    assert result.images.images[0].root.digest == digest_of_chart(chart)


def test_a_chart_is_added_to_a_seed_and_only_it_is_carried(chart, tmp_path):
    built(tmp_path, builds.archive(tmp_path), out="first")
    result = built(tmp_path, chart, out="update", onto=[str(tmp_path / "first")])
    assert len(result.images.images) == 2 and not result.update.replaced
    found = verify(str(tmp_path / "update"), [str(tmp_path / "first")])
    assert [image["is_chart"] for image in found["images"]] == [False, True]


@pytest.mark.parametrize("platforms", (["linux/amd64"], ["linux/arm64", "linux/amd64"]))
def test_platform_keeps_charts(platforms, chart, tmp_path):
    (image,) = built(tmp_path, chart, platforms=platforms).images.images
    assert image.is_chart
    assert len(built(tmp_path, chart, builds.archive(tmp_path), platforms=platforms, out="both").images.images) == 2


def test_platform_still_refuses_an_image_for_another_one_beside_a_chart(chart, tmp_path):
    with pytest.raises(InputError, match="there is no image for it"):
        built(tmp_path, chart, builds.archive(tmp_path), platforms=["linux/s390x"])


def test_squeeze_leaves_charts_as_they_are(chart, tmp_path):
    result = built(tmp_path, chart, builds.archive(tmp_path), squeeze=True, compression="xz")
    assert result.images.images[0].root.digest == digest_of_chart(chart)


def test_split_writes_a_chart_as_an_archive_of_its_own(chart, tmp_path):
    parts, _ = split.split(split.Request(order(tmp_path, chart, builds.archive(tmp_path)).sources, str(tmp_path / "out")), lambda *_: None)
    assert [part.names for part in parts] == [(ADDRESS,), ("library/sample:1",)]
    (image,) = read(tmp_path / "out" / parts[0].file)
    assert (image.is_chart, image.root.digest) == (True, digest_of_chart(chart))


def test_no_manifest_is_satisfied_by_a_chart(chart, tmp_path):
    named = find_images("image: %s\n" % ADDRESS, "pod.yaml")
    with pytest.raises(MissingImages):
        built(tmp_path, chart, manifests=named)


@pytest.mark.parametrize("names", (POLICY, MIRROR))
def test_nodes_never_ask_for_a_chart_so_its_name_is_not_kept(names, chart, tmp_path):
    site = Site(builds.IMAGE, names=names)
    built(tmp_path, chart, site=site, out="alone")
    assert not [path for pattern in ("*policy*", "*mirror*") for path in (tmp_path / "alone").glob(pattern)]
    built(tmp_path, ("quay.io/a/demo", chart), builds.archive(tmp_path), site=site, out="both")
    texts = [path.read_text() for pattern in ("*policy*", "*mirror*") for path in (tmp_path / "both").glob(pattern)]
    assert texts and not any("quay.io" in text or "demo" in text for text in texts)


def test_the_provenance_beside_a_chart_comes_along(chart, tmp_path):
    digest = digest_of_chart(chart)
    (tmp_path / "chart.tgz.prov").write_text("files:\n  demo.tgz: %s\n" % oci.digest_of(samples.chart()))
    (image,) = built(tmp_path, chart).images.images
    assert len(image.layers) == 2 and image.root.digest != digest
    assert len(verify(str(tmp_path / "out"))["images"]) == 1


@pytest.mark.parametrize("provenance, what", ((b"files:\n", "does not name sha256:"),
                                              (b"#" * ((1 << 20) + 1), "has more than 1048576 bytes")))
def test_a_file_that_cannot_be_the_provenance_is_refused(provenance, what, chart, tmp_path):
    (tmp_path / "chart.tgz.prov").write_bytes(provenance)
    with pytest.raises(InputError) as refusal:
        built(tmp_path, chart)
    assert str(refusal.value).startswith(chart + ".prov: " + what) and not (tmp_path / "out").exists()


def test_what_lies_beside_an_image_is_not_read(tmp_path):
    path = builds.archive(tmp_path)
    (tmp_path / "a.tar.prov").write_bytes(b"#" * ((1 << 20) + 1))
    assert len(built(tmp_path, path).images.images) == 1


def test_a_chart_comes_through_a_pipe_under_its_own_name(chart, tmp_path):
    with open(chart, "rb") as pipe:
        (image,) = built(tmp_path, "-", stdin=pipe).images.images
    assert (image.references, image.root.digest) == ((samples.CHART_NAME,), digest_of_chart(chart))


def test_two_versions_of_a_chart_are_two_tags_and_two_charts_of_one_version_are_refused(chart, tmp_path):
    newer, other = tmp_path / "newer.tgz", tmp_path / "other.tgz"
    newer.write_bytes(samples.chart(samples.CHART_YAML.replace(b"1.2.3", b"1.2.4")))
    other.write_bytes(samples.chart(samples.CHART_YAML.replace(b"tests", b"others")))
    assert sorted(built(tmp_path, chart, str(newer)).images.addresses.values()) == [ADDRESS, ADDRESS.replace("1.2.3", "1.2.4")]
    with pytest.raises(InputError, match="is another image in"):
        built(tmp_path, chart, str(other), out="clash")


def test_a_dry_run_and_json_report_a_chart_and_explain_does_not_mind_it(chart, tmp_path, capsys):
    words = [chart, "-o", str(tmp_path / "out"), "--dry-run", "--cluster", str(DUMP)]
    assert cli.main(words + ["--explain"]) == 0
    assert PULL in capsys.readouterr().out
    assert cli.main(words + ["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["is_chart"] and not (tmp_path / "out").exists()
