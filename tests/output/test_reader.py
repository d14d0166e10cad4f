import hashlib
import os
import re
import subprocess

import pytest

from builder.output import reader
from builder.reading.errors import BuildError
from tests.support import builds, samples


@pytest.fixture
def out(tmp_path):
    """A build of several chunks."""
    builds.build(tmp_path, chunk_size=1024)
    return tmp_path / "out"


def refused(out):
    with pytest.raises(BuildError) as refusal:
        reader.verify(str(out))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)[len(str(out)):]


def chunk_file(out, number=2):
    (path,) = out.glob("10-chunk-%04d-*.yaml" % number)
    return path


def renew_sums(out):
    """As somebody would who edits the folder and its sums, too."""
    lines = ["%s  %s\n" % (hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
             for path in sorted(out.iterdir()) if path.name != "SHA256SUMS"]
    (out / "SHA256SUMS").write_text("".join(lines))


def damaged(path, pattern, replacement):
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    path.write_text(changed)


def test_a_whole_folder_tells_what_it_would_serve(out, tmp_path):
    told = reader.verify(str(out))
    result, _ = builds.build(tmp_path, "again", chunk_size=1024)
    assert told == {
        "out": str(out), "payload": {"digest": result.digest, "bytes": result.payload.size},
        "chunks": {"count": len(result.chunks)},
        "images": [{"reference": samples.NAME, "pull": "127.0.0.1:31999/library/sample:1",
                    "digest": result.images[0].root.digest, "platforms": ["linux/amd64"]}]}


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"compression": "xz"}, {"chunk_size": 600},
                                     {"site": builds.Site("x", host_python="", expose="hostport", node_port=30123)},
                                     {"site": builds.Site("x@sha256:" + "0" * 64, expose="nodeport", replicas=2)},
                                     {"site": builds.Site("x", expose="nodeport", namespace="other")}])
def test_a_folder_of_any_mode_is_whole(tmp_path, options):
    builds.build(tmp_path, **options)
    told = reader.verify(str(tmp_path / "out"))
    port = options["site"].node_port if "site" in options else 31999
    assert [image["pull"] for image in told["images"]] == ["127.0.0.1:%d/library/sample:1" % port]


def test_the_sums_can_be_checked_with_what_every_system_has(out):
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=out, check=True)


@pytest.mark.parametrize("name", ["00-namespace.yaml", "20-injector.yaml", "30-service.yaml", "40-pod.yaml",
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
    assert refused(out).startswith(": %s: is missing (and " % name)
    renew_sums(out)
    assert refused(out).startswith(": chunk 2 of ")


def test_a_chunk_that_is_cut_off_is_named(out):
    path = chunk_file(out)
    path.write_bytes(path.read_bytes()[:-100])
    renew_sums(out)
    assert refused(out).startswith(": %s: holds no chunk, or is damaged" % path.name)


def test_a_doubled_chunk_is_named(out):
    (out / "10-chunk-9999-of-9999.yaml").write_bytes(chunk_file(out).read_bytes())
    assert ": '10-chunk-9999-of-9999.yaml': is not listed in SHA256SUMS" in refused(out)
    renew_sums(out)
    assert ": 10-chunk-9999-of-9999.yaml: holds the same chunk as 10-chunk-0002" in refused(out)


def test_chunks_of_another_payload_are_found(out, tmp_path):
    order = builds.order(tmp_path, "other", chunk_size=1024)._replace(archives=[("", builds.archive(tmp_path, "b"))])
    builds.pipeline.build(order, None, lambda *_: None)
    for path in (tmp_path / "other").glob("10-chunk-*"):
        (out / path.name).write_bytes(path.read_bytes())
    renew_sums(out)
    assert ": the payload is sha256:" in refused(out)


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
    assert refused(out).startswith(": SHA256SUMS: is missing or empty")


def test_sums_that_leave_a_file_out_are_not_enough(out):
    lines = [line for line in (out / "SHA256SUMS").read_text().splitlines(True) if "40-pod.yaml" not in line]
    (out / "SHA256SUMS").write_text("".join(lines))
    assert refused(out).startswith(": '40-pod.yaml': is not listed in SHA256SUMS")


@pytest.mark.parametrize("put", [lambda path: path.symlink_to("README.txt"), os.mkfifo, os.mkdir])
def test_what_is_not_a_regular_file_is_never_opened(out, put):
    (out / "30-service.yaml").unlink()
    put(out / "30-service.yaml")
    assert refused(out).startswith(": '30-service.yaml': is not a regular file")


@pytest.mark.parametrize("name, line", [("40-pod.yaml", ": the file of the Pod is missing"),
                                        ("20-injector.yaml", ": 20-injector.yaml: is missing")])
def test_what_runs_the_injector_must_be_there(out, name, line):
    os.unlink(out / name)
    renew_sums(out)
    assert refused(out).startswith(line)


def test_a_program_that_is_not_the_one_in_the_cluster_is_found(out):
    (out / "injector.pyz").write_bytes(b"another")
    renew_sums(out)
    assert refused(out).startswith(": 20-injector.yaml: is missing, or is not injector.pyz")


def test_a_program_that_lost_a_letter_is_found(out):
    damaged(out / "20-injector.yaml", r'injector\.pyz: "...', 'injector.pyz: "')
    renew_sums(out)
    assert refused(out).startswith(": 20-injector.yaml: is missing, or is not injector.pyz")


def test_sums_that_are_none_are_found(out):
    (out / "SHA256SUMS").write_bytes(b"\xff\n")
    assert refused(out).startswith(": SHA256SUMS: is damaged")


def test_what_is_no_folder_of_ours_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "missing"):
        assert refused(path) == ": is not a folder that Seedpod wrote: name the folder of -o"


def test_nothing_of_ours_is_left_in_the_temporary_folder(out, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    reader.verify(str(out))
    assert os.listdir(tmp_path / "temporary") == []
