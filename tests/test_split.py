"""builder/split: archives -> one archive for each image."""
import hashlib
import json

import pytest

from builder import split
from builder.cli import main as cli
from builder.kubernetes.steps import STDOUT
from builder.kubernetes.site import Site
from builder.loading import Sources
from builder.payload import compression
from builder.pipeline import Request, build
from builder.reading import archive, oci
from builder.reading.errors import InputError
from builder.reading.images import read_images
from builder.reading.reference import parse
from tests.support import samples
from tests.support.reading import read

ONE, OTHER = samples.sample("a"), samples.sample("b", platform="linux/arm64")


def split_up(folder, *members, out="out", **options):
    paths = [("", samples.write(folder / ("%d.tar" % number), some)) for number, some in enumerate(members)]
    target = out if out == STDOUT else str(folder / out)
    return split.split(split.Request(Sources(paths, **options), target), lambda *_: None)


def test_each_image_becomes_an_archive_of_its_own(tmp_path):
    both = samples.joined(samples.crane(ONE, "docker.io/library/one:1"), samples.crane(OTHER, "quay.io/team/other:2"))
    parts, notes = split_up(tmp_path, both)
    assert [(part.file, part.names) for part in parts] == [
        ("library_one_1.tar", ("library/one:1",)), ("team_other_2.tar", ("team/other:2",))]
    assert notes == []
    for part, image in zip(parts, (ONE, OTHER)):
        (found,) = read(tmp_path / "out" / part.file)
        assert (found.configs[0].digest, len(found.references)) == (image.image_id, 1)
    page = split.table(parts, ["take care"]).splitlines()
    assert len(page) == 3 and page[0].endswith(" library/one:1") and page[2] == "note  take care"


def test_an_archive_holds_each_blob_once_and_all_names(tmp_path):
    parts, _ = split_up(tmp_path, samples.layout(ONE, "docker.io/library/one:1", "docker.io/library/one:2"))
    (part,) = parts
    assert part.names == ("library/one:1", "library/one:2")
    with archive.open_archive(str(tmp_path / "out" / part.file)) as opened:
        assert len(opened.names()) == len(set(opened.names())) == 2 + 1 + 1 + 2


def test_a_signature_goes_with_its_image(tmp_path):
    data, blobs = samples.oci_manifest(ONE)
    subject = samples.descriptor(oci.OCI_MANIFEST, data)
    signature, more = samples.oci_manifest(OTHER, subject=subject)
    named = samples.descriptor(oci.OCI_MANIFEST, data, annotations={oci.REF_NAME: "docker.io/library/one:1"})
    (part,), _ = split_up(tmp_path, samples.layout_of([named, samples.descriptor(oci.OCI_MANIFEST, signature)],
                                                      blobs + more))
    assert [image.subject for image in read(tmp_path / "out" / part.file)] == ["", oci.digest_of(data)]


def test_a_signature_under_cosigns_tag_goes_with_its_image(tmp_path):
    (part,), _ = split_up(tmp_path, samples.cosign_save(ONE, "docker.io/library/one:1"))
    assert part.names == ("library/one:1",)
    image, signature = read(tmp_path / "out" / part.file)
    assert image.references == ("docker.io/library/one:1",) and signature.subject == image.root.digest
    assert signature.tags == (image.root.digest.replace(":", "-") + ".sig",)


def test_names_that_look_alike_in_a_file_name_are_told_apart(tmp_path):
    parts, _ = split_up(tmp_path, samples.crane(ONE, "quay.io/a/b:1"), samples.crane(OTHER, "quay.io/a_b:1"))
    assert len({part.file for part in parts}) == 2
    assert not any(set(part.file) & set(":\\/") for part in parts)


def test_two_images_that_differ_only_by_host_stay_apart(tmp_path):
    parts, notes = split_up(tmp_path, samples.crane(ONE, "docker.io/team/app:1"), samples.crane(OTHER, "quay.io/team/app:1"))
    assert [(part.file, part.names) for part in parts] == [
        ("team_app_1.tar", ("team/app:1",)), ("quay.io_team_app_1.tar", ("quay.io/team/app:1",))]
    pushed = [parse(name) for part in parts for image in read(tmp_path / "out" / part.file) for name in image.references]
    assert [(name.path, name.tag) for name in pushed] == [("team/app", "1"), ("quay.io/team/app", "1")]
    assert notes == ["quay.io/team/app:1: team/app:1 already leads to docker.io/team/app:1: pull this one by its full "
                     "name"]


def test_two_images_of_one_path_whose_hosts_fit_no_repository_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"b\.local:5000/team/app:1: could only be served as team/app:1, which .* NAME="):
        split_up(tmp_path, samples.crane(ONE, "a.local:5000/team/app:1"), samples.crane(OTHER, "b.local:5000/team/app:1"))
    assert not (tmp_path / "out").exists()


def test_the_folder_can_be_checked_and_is_the_same_each_time(tmp_path):
    members = samples.crane(ONE, "docker.io/library/one:1")
    for out in ("out", "again"):
        split_up(tmp_path, members, out=out)
    sums = (tmp_path / "out" / "SHA256SUMS").read_text()
    data = (tmp_path / "out" / "library_one_1.tar").read_bytes()
    page = (tmp_path / "out" / "README.txt").read_bytes()
    blobs = (tmp_path / "out" / "BLOBS").read_bytes()
    assert sums == (tmp_path / "again" / "SHA256SUMS").read_text() == (
        "%s  BLOBS\n%s  README.txt\n%s  library_one_1.tar\n" % tuple(
            hashlib.sha256(content).hexdigest() for content in (blobs, page, data)))
    assert page.startswith(split.MARK.encode()) and b"library_one_1.tar" in page


def test_splitting_again_replaces_the_folder(tmp_path):
    split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:1"))
    split_up(tmp_path, samples.crane(OTHER, "docker.io/library/other:1"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "BLOBS", "README.txt", "SHA256SUMS", "library_other_1.tar"]


@pytest.mark.parametrize("name", ["mine.tar", "00-namespace.yaml", "SHA256SUMS.old"])
def test_a_file_of_somebody_else_keeps_the_folder(tmp_path, name):
    split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:1"))
    (tmp_path / "out" / name).write_bytes(b"mine")
    with pytest.raises(InputError, match="out/%s: not written by Seedpod: move it away" % name):
        split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:1"))
    assert (tmp_path / "out" / name).read_bytes() == b"mine"


def test_a_seed_and_a_split_never_replace_each_other(tmp_path):
    path = samples.write(tmp_path / "one.tar", samples.crane(ONE, "docker.io/library/one:1"))
    for first, second in ((["split"], ["build", "--image", "x"]), (["build", "--image", "x"], ["split"])):
        out = str(tmp_path / ("first" + first[0]))
        assert cli.main([*first, path, "-o", out, "--quiet"]) == 0
        assert cli.main([*second, path, "-o", out, "--quiet"]) == 2
        assert cli.main([*first, path, "-o", out, "--quiet"]) == 0


@pytest.mark.parametrize("out", ("full", STDOUT))
def test_what_is_there_is_not_touched(out, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(InputError):
        split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:1"), out=out)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(InputError):
        split_up(tmp_path, *[samples.crane(image, "docker.io/library/one:1") for image in (ONE, OTHER)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.tar", "1.tar"]


def test_only_the_platforms_that_are_asked_for(tmp_path):
    both = samples.multi_platform([ONE, OTHER], "docker.io/library/both:1")
    (part,), _ = split_up(tmp_path, both, platforms=["linux/arm64"], compression=compression.NONE)
    (found,) = read(tmp_path / "out" / part.file)
    assert found.platforms == ("linux/arm64",)


def test_the_command_line_tells_what_was_written(tmp_path, capsys):
    path = samples.write(tmp_path / "one.tar", samples.crane(ONE, "docker.io/library/one:1"))
    assert cli.main(["split", path, "-o", str(tmp_path / "out"), "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["archives"] == [{"file": "library_one_1.tar", "names": ["library/one:1"],
                                 "size": page["archives"][0]["size"], "left_out": 0}]
    assert cli.main(["split", "-o", str(tmp_path / "none")]) == 2


# --- thin archives

SHARED = samples.with_layers(ONE.layers + samples.sample("c").layers)


def layers_in(path):
    """The digests of the layers that an archive holds, and of those that it lacks."""
    with archive.open_archive(str(path)) as opened:
        (image,) = read_images(opened, is_thin=True)
        return {blob.digest for blob in image.layers}, {hole.digest for hole in image.missing}


def digests(layers):
    return {oci.digest_of(samples.gzipped(layer)) for layer in layers}


@pytest.mark.parametrize("make_base", ["seed", "split"])
def test_a_thin_archive_lacks_the_layers_that_were_carried_before(tmp_path, make_base):
    members = samples.crane(ONE, "docker.io/library/one:1")
    if make_base == "seed":
        path = samples.write(tmp_path / "one.tar", members)
        build(Request(Sources([("", path)]), Site("x"), str(tmp_path / "base")), None, lambda *step: None)
    else:
        split_up(tmp_path, members, out="base")
    (part,), notes = split_up(tmp_path, samples.crane(SHARED, "docker.io/library/shared:1"),
                              onto=[str(tmp_path / "base")])
    assert layers_in(tmp_path / "out" / part.file) == (digests(SHARED.layers[2:]), digests(ONE.layers))
    assert part.left_out == 2 and "without 2 layers carried before" in split.table([part], notes)
    assert "only the spooler can read them" in (tmp_path / "out" / "README.txt").read_text()


def test_the_newest_split_is_enough_to_go_on_from(tmp_path):
    split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:1"), out="first")
    members = samples.crane(SHARED, "docker.io/library/shared:1")
    split_up(tmp_path, members, out="second", onto=[str(tmp_path / "first")])
    (part,), _ = split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:2"), onto=[str(tmp_path / "second")])
    assert layers_in(tmp_path / "out" / part.file) == (set(), digests(ONE.layers))


def test_a_split_of_an_older_seedpod_is_gone_on_from(tmp_path):
    split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:1"), out="base")
    page = tmp_path / "base" / "README.txt"
    page.write_text(page.read_text().replace(split.MARK, "Written by Seedpod --split."))
    (part,), _ = split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:2"), onto=[str(tmp_path / "base")])
    assert part.left_out == 2


@pytest.mark.parametrize("base, words", [
    ("out", "--onto .*out: cannot be the output folder as well"),
    ("nothing", "--onto .*nothing: is neither a seed nor a folder that split wrote: name one of them")])
def test_a_base_that_is_none_is_refused(tmp_path, base, words):
    members = samples.crane(ONE, "docker.io/library/one:1")
    split_up(tmp_path, members)
    with pytest.raises(InputError, match=words):
        split_up(tmp_path, members, onto=[str(tmp_path / base)])
    assert (tmp_path / "out" / "library_one_1.tar").exists()


def test_a_list_of_blobs_that_holds_something_else_leaves_nothing_out(tmp_path):
    split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:1"), out="base")
    (tmp_path / "base" / "BLOBS").write_bytes(b"\xff sha256:x\n../x\n")
    (part,), _ = split_up(tmp_path, samples.crane(ONE, "docker.io/library/one:1"), onto=[str(tmp_path / "base")])
    assert layers_in(tmp_path / "out" / part.file) == (digests(ONE.layers), set())
