"""builder/inspection, and its table: what archives contain, without a build."""
import os

import pytest

from builder import inspection
from builder.cli import inspected
from builder.loading import STDIN, Sources
from builder.reading import oci
from builder.reading.errors import InputError
from tests.support import builds, samples
from tests.support.samples import NAME

AMD64, ARM64 = samples.sample("a"), samples.sample("b", platform="linux/arm64")


def inspect(path, name="", **options):
    return inspection.inspect(Sources([(name, str(path))], **options), lambda *step: None)


@pytest.fixture
def archive(tmp_path):
    """Archive members -> the path of a file with them."""
    return lambda members: samples.write(tmp_path / "a.tar", members)


@pytest.mark.parametrize("form", ["crane", "podman_save", "docker_save_25", "docker_save_containerd", "layout"])
def test_the_image_id_is_the_digest_of_the_config_in_every_form(archive, form):
    (row,) = inspect(archive(samples.PRODUCERS[form](AMD64, NAME))).images
    (variant,) = row.variants
    assert (row.references, variant.platform, variant.image_id) == ((NAME,), "linux/amd64", AMD64.image_id)
    assert variant.digest == row.digest and variant.size == row.size > len(AMD64.config)


def test_each_platform_of_an_index_has_an_id_a_digest_and_a_size_of_its_own(archive):
    (row,) = inspect(archive(samples.multi_platform([AMD64, ARM64], NAME))).images
    manifests = [samples.oci_manifest(image)[0] for image in (AMD64, ARM64)]
    assert [(one.platform, one.image_id, one.digest) for one in row.variants] == [
        ("linux/amd64", AMD64.image_id, oci.digest_of(manifests[0])),
        ("linux/arm64", ARM64.image_id, oci.digest_of(manifests[1]))]
    assert row.digest not in [one.digest for one in row.variants] and row.missing == []
    assert all(one.size < row.size for one in row.variants)


def test_a_platform_that_is_listed_and_absent_is_missing_by_name(archive):
    found = inspect(archive(samples.multi_platform([AMD64, ARM64], NAME, left_out=[1])))
    (missing,) = found.images[0].missing
    assert (missing.platform, missing.digest) == ("linux/arm64", oci.digest_of(samples.oci_manifest(ARM64)[0]))
    assert [one.platform for one in found.images[0].variants] == ["linux/amd64"]
    assert "1 of 2 manifests of the index" in found.notes[0]


def test_attestations_and_signatures_are_no_platforms(archive):
    (row,) = inspect(archive(samples.attested([AMD64], NAME))).images
    assert [one.platform for one in row.variants] == ["linux/amd64"]
    image, signature = inspect(archive(samples.cosign_save(AMD64, NAME))).images
    assert signature.subject == image.digest and not signature.variants


def test_a_chart_is_one_without_a_platform(tmp_path):
    (tmp_path / "chart.tgz").write_bytes(samples.chart())
    (row,) = inspect(tmp_path / "chart.tgz").images
    assert row.is_chart and not row.variants and row.references == (samples.CHART_NAME,)


def test_a_name_is_given_as_for_a_build(archive):
    assert inspect(archive(samples.crane(AMD64)), "team/app:1").images[0].references == ("docker.io/team/app:1",)
    assert inspect(archive(samples.crane(AMD64))).images[0].references == ("docker.io/library/a:latest",)


def test_a_seed_is_an_archive_too(tmp_path):
    builds.build(tmp_path, "seed")
    assert inspect(tmp_path / "seed").images[0].variants == inspect(tmp_path / "a.tar").images[0].variants


def test_nothing_is_left_and_what_a_build_refuses_is_refused(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    inspect(archive(samples.crane(AMD64)))
    with pytest.raises(InputError, match="no image"):
        inspect(archive([("file", b"x")]))
    with pytest.raises(InputError, match="standard input: is not a pipe"):
        inspect(STDIN)
    assert os.listdir(str(tmp_path)) == ["a.tar"]


def test_the_table_shows_twelve_digits_on_80_columns_and_the_facts_all(archive, tmp_path):
    found = [inspected.facts(inspect(archive(samples.multi_platform([AMD64, ARM64], NAME, left_out=[1]))))]
    (tmp_path / "chart.tgz").write_bytes(samples.chart())
    found.append(inspected.facts(inspect(tmp_path / "chart.tgz")))
    lines = inspected.table(found).splitlines()
    (one,), (missing,) = found[0]["images"][0]["variants"], found[0]["images"][0]["missing"]
    assert one["image_id"] == AMD64.image_id and missing["platform"] == "linux/arm64"
    digits = [digest.partition(":")[2][:12] for digest in (one["image_id"], one["digest"], missing["digest"])]
    assert lines[0].split() == ["image", "ID", "digest", "size"]
    assert lines[1:3] == [found[0]["archive"], "  " + NAME]
    assert lines[3].split()[:3] == ["linux/amd64", *digits[:2]] and lines[4].split()[0] == "index"
    assert lines[5].split() == ["linux/arm64", "missing", digits[2]] and lines[6].startswith("  note: ")
    assert lines[-1].strip().startswith("Helm chart ")
    assert all(len(line) <= 80 for line in lines if "note" not in line and str(tmp_path) not in line)


def test_no_text_of_an_archive_moves_the_cursor(archive):
    found = inspected.facts(inspect(archive(samples.crane(samples.sample("a", platform="linux/a\x1b[2J"), NAME))))
    assert "\x1b" not in inspected.table([found])
