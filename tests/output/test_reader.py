import hashlib
import os
import re
import subprocess

import pytest

from builder.output import reader
from builder.reading.errors import InputError
from builder.payload.contents import digest_of
from tests.support import builds, samples


@pytest.fixture
def out(tmp_path):
    """A build of several chunks."""
    builds.build(tmp_path, chunk_bytes=1024)
    return tmp_path / "out"


def refused(out):
    with pytest.raises(InputError) as refusal:
        reader.verify(str(out))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)[len(str(out)):]


def chunk_file(out):
    return sorted(out.glob("10-chunk-*.yaml"))[0]


def renew_sums(out):
    """Update the sums, as anyone could who edits the folder."""
    lines = ["%s  %s\n" % (hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
             for path in sorted(out.iterdir()) if path.name != "SHA256SUMS"]
    (out / "SHA256SUMS").write_text("".join(lines))


def call_elsewhere(out, *names):
    """List objects as --onto does."""
    (out / "ELSEWHERE").write_text("".join("configmap/%s\n" % name for name in names))


def damaged(path, pattern, replacement):
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    path.write_text(changed)


def test_verify_returns_the_facts_of_a_whole_folder(out, tmp_path):
    told = reader.verify(str(out))
    result, _ = builds.build(tmp_path, "again", chunk_bytes=1024)
    assert told == {
        "out": str(out), "payload": {"digest": digest_of(result.plan.contents), "bytes": result.payload.contents.size},
        "chunks": {"count": len(result.payload.contents.chunks), "elsewhere": 0},
        "images": [{"reference": samples.NAME, "pull": "127.0.0.1:31999/library/sample:1",
                    "digest": result.images.images[0].root.digest, "platforms": ["linux/amd64"],
                    "is_chart": False}]}


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"compression": "xz"}, {"chunk_bytes": 600},
                                     {"site": builds.Site("x", host_python="", expose="hostport", node_port=30123)},
                                     {"site": builds.Site("x@sha256:" + "0" * 64, expose="nodeport", replicas=2)},
                                     {"site": builds.Site("x", expose="nodeport", namespace="other")}])
def test_a_folder_of_any_mode_is_whole(tmp_path, options):
    builds.build(tmp_path, **options)
    told = reader.verify(str(tmp_path / "out"))
    port = options["site"].node_port if "site" in options else 31999
    assert [image["pull"] for image in told["images"]] == ["127.0.0.1:%d/library/sample:1" % port]


def test_sha256sum_can_check_the_folder(out):
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=out, check=True)


@pytest.mark.parametrize("name", ["00-namespace.yaml", "20-contents.yaml", "20-injector.yaml", "30-service.yaml", "40-pod.yaml",
                                  "injector.pyz", "README.txt"])
def test_a_flipped_bit_in_any_file_is_found(out, name):
    data = bytearray((out / name).read_bytes())
    data[len(data) // 2] ^= 1
    (out / name).write_bytes(data)
    assert ": %s: is damaged: expected sha256:" % name in refused(out)


def test_a_flipped_bit_in_a_chunk_is_found_with_and_without_the_sums(out):
    path = chunk_file(out)
    damaged(path, r'([0-9a-f]{64}"?: ")(.)', lambda match: match.group(1) + ("B" if match.group(2) == "A" else "A"))
    assert ": %s: is damaged: " % path.name in refused(out)
    renew_sums(out)
    assert ": %s: its chunk is damaged: expected sha256:" % path.name in refused(out)


def test_a_missing_chunk_is_named(out):
    name = chunk_file(out).name
    os.unlink(out / name)
    assert refused(out) == ": %s: is missing: copy the folder again, or build it again" % name


def test_a_missing_chunk_of_a_full_seed_is_named_even_where_the_sums_agree(out):
    """Without a list of what is elsewhere, nothing is."""
    name = "10-chunk-%s.yaml" % reader.open_seed(str(out)).contents.segments[0].chunks[0]
    os.rename(out / name, out.parent / name)
    renew_sums(out)
    assert refused(out).startswith(": %s: is missing, and ELSEWHERE does not list it" % name)


def test_a_missing_program_of_a_full_seed_is_named_even_where_the_sums_agree(out):
    (out / "20-injector.yaml").unlink()
    renew_sums(out)
    assert refused(out).startswith(": 20-injector.yaml: is missing, and ELSEWHERE does not list it")
    call_elsewhere(out, reader.open_seed(str(out)).injector)
    renew_sums(out)
    assert reader.verify(str(out))["chunks"]["elsewhere"] == 0


def test_chunks_that_are_elsewhere_are_counted_and_found_in_the_folders_that_hold_them(out, tmp_path):
    whole = reader.verify(str(out))
    path = chunk_file(out)
    (tmp_path / "base").mkdir()
    for name in ("README.txt", path.name):
        (tmp_path / "base" / name).write_bytes((out / name).read_bytes())
    path.unlink()
    seed = reader.open_seed(str(out))
    assert seed.elsewhere == [path.stem[len("10-chunk-"):]]
    call_elsewhere(out, "seedpod-" + seed.elsewhere[0])
    renew_sums(out)
    with pytest.raises(InputError, match="chunk %s: missing: name the folder that contains it with --onto FOLDER"
                                         % seed.elsewhere[0]):
        reader.open_archive(seed)
    assert reader.verify(str(out), [str(tmp_path / "base")]) == whole


def test_without_its_layers_a_folder_serves_the_same(out):
    whole, (layers, last) = reader.verify(str(out)), reader.open_seed(str(out)).contents.segments
    for name in set(layers.chunks):
        (out / ("10-chunk-%s.yaml" % name)).unlink()
    call_elsewhere(out, *("seedpod-" + name for name in layers.chunks))
    renew_sums(out)
    assert reader.verify(str(out)) == dict(whole, chunks={
        "count": len(set(layers.chunks + last.chunks)), "elsewhere": len(set(layers.chunks))})


def test_a_chunk_that_is_cut_off_is_named(out):
    path = chunk_file(out)
    path.write_bytes(path.read_bytes()[:-100])
    renew_sums(out)
    assert refused(out).startswith(": %s: holds no chunk, or another one, or is damaged" % path.name)


def test_a_chunk_under_the_name_of_another_is_named(out):
    path = out / ("10-chunk-%s.yaml" % ("0" * 64))
    path.write_bytes(chunk_file(out).read_bytes())
    assert ": '%s': is not listed in SHA256SUMS" % path.name in refused(out)
    renew_sums(out)
    assert ": %s: holds no chunk, or another one" % path.name in refused(out)


def test_contents_of_another_build_are_found(out, tmp_path):
    request = builds.request(tmp_path, "other", archives=[builds.archive(tmp_path, "b")], chunk_bytes=1024)
    builds.pipeline.build(request, None, lambda *_: None)
    (out / "20-contents.yaml").write_bytes((tmp_path / "other" / "20-contents.yaml").read_bytes())
    renew_sums(out)
    assert ": contents.json: digest mismatch: expected sha256:" in refused(out)


@pytest.mark.parametrize("line", ["contents.json: 7", "contents.json: \"{\\\"", "contents.json: \"\\x\"", "other: \"\""])
def test_a_malformed_contents_file_is_found(out, line):
    damaged(out / "20-contents.yaml", r"contents\.json: .*", lambda match: line)
    renew_sums(out)
    assert refused(out)


def test_a_list_that_leaves_a_chunk_out_is_found(out):
    lines = (out / "CHUNKS").read_text().splitlines(True)
    (out / "CHUNKS").write_text("".join(lines[:-1]))
    renew_sums(out)
    assert refused(out).startswith(": CHUNKS: does not list every chunk")


@pytest.mark.parametrize("name", ["._10-chunk.yaml", ".DS_Store", "50-more.yaml", "a\x1b[2J\nb"])
def test_a_file_that_the_sums_do_not_list_is_found(out, name):
    (out / name).write_bytes(b"")
    assert refused(out).startswith(": %s: is not listed in SHA256SUMS" % ascii(name))


@pytest.mark.parametrize("sums", [None, b""])
def test_a_folder_without_sums_is_not_whole(out, sums):
    (out / "SHA256SUMS").unlink()
    if sums is not None:
        (out / "SHA256SUMS").write_bytes(sums)
    (out / "30-service.yaml").unlink()
    assert refused(out).startswith(": SHA256SUMS: missing or empty")


def test_sums_that_leave_a_file_out_are_not_enough(out):
    lines = [line for line in (out / "SHA256SUMS").read_text().splitlines(True) if "40-pod.yaml" not in line]
    (out / "SHA256SUMS").write_text("".join(lines))
    assert refused(out).startswith(": '40-pod.yaml': is not listed in SHA256SUMS")


@pytest.mark.parametrize("put", [lambda path: path.symlink_to("README.txt"), os.mkfifo, os.mkdir])
def test_only_regular_files_are_opened(out, put):
    (out / "30-service.yaml").unlink()
    put(out / "30-service.yaml")
    assert refused(out).startswith(": '30-service.yaml': is not a regular file")


def test_a_missing_workload_is_found(out):
    os.unlink(out / "40-pod.yaml")
    renew_sums(out)
    assert refused(out).startswith(": the file of the Pod is missing")


def test_a_program_that_is_not_the_one_of_the_pod_is_found(out):
    (out / "injector.pyz").write_bytes(b"another")
    renew_sums(out)
    assert refused(out).startswith(": 20-injector.yaml: is not injector.pyz (and 1 more fault)")
    (out / "20-injector.yaml").unlink()
    call_elsewhere(out, reader.open_seed(str(out)).injector)
    renew_sums(out)
    assert refused(out).startswith(": injector.pyz: is not the program that the Pod runs")


def test_a_damaged_program_is_found(out):
    damaged(out / "20-injector.yaml", r'injector\.pyz: "...', 'injector.pyz: "')
    renew_sums(out)
    assert refused(out).startswith(": 20-injector.yaml: is not injector.pyz")


def test_malformed_sums_are_found(out):
    (out / "SHA256SUMS").write_bytes(b"\xff\n")
    assert refused(out).startswith(": SHA256SUMS: is damaged")


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "missing"):
        assert refused(path) == ": is not a folder that Seedpod wrote: name the folder of -o"


def test_nothing_of_ours_is_left_in_the_temporary_folder(out, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    reader.verify(str(out))
    assert os.listdir(tmp_path / "temporary") == []
