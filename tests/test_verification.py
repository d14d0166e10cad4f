import hashlib
import io
import json
import os
import re
import subprocess
import zipfile

import pytest

from builder import VERSION
from builder.kubernetes.facts import parse_facts, to_json
from builder.kubernetes.persistent_registry import Storage, RegistryOptions
from builder.kubernetes.runner import Runner
from builder.output import reader
from builder.payload.contents import digest_of
from builder.reading.errors import InputError
from builder.rows import fields_of
from builder.verification import verify
from builder.zipapp import pyz
from tests.support import builds, samples


@pytest.fixture
def out(tmp_path):
    """A build of several chunks."""
    builds.build(tmp_path, chunk_bytes=1024)
    return tmp_path / "out"


def refused(out):
    with pytest.raises(InputError) as refusal:
        verify(str(out))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)[len(str(out)):]


def chunk_file(out):
    return sorted(out.glob("10-chunk-*.yaml"))[0]


def renew_sums(out):
    """Update the sums, as anyone could who edits the folder."""
    lines = ["%s  %s\n" % (hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
             for path in sorted(out.iterdir()) if path.name != "SHA256SUMS"]
    (out / "SHA256SUMS").write_text("".join(lines))


def damaged(path, pattern, replacement):
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    path.write_text(changed)


def test_verify_returns_the_facts_of_a_whole_folder(out, tmp_path):
    told = verify(str(out))
    result, _ = builds.build(tmp_path, "again", chunk_bytes=1024)
    assert told == {
        "out": str(out), "payload": {"digest": digest_of(result.plan.contents), "bytes": result.payload.contents.size},
        "chunks": {"count": len(result.payload.contents.chunks), "elsewhere": 0},
        "seedpod": VERSION, "manifests_compared": True, "namespace": "seedpod", "cluster_wide": ["00-namespace.yaml"],
        "runners": [{"image": builds.IMAGE, "interpreter": "python3", "host_python": False}],
        "images": [{"reference": samples.NAME, "pull": "127.0.0.1:31999/library/sample:1",
                    **fields_of(result.images.rows[result.images.images[0].root.digest])}]}


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"compression": "xz"}, {"chunk_bytes": 600},
                                     {"site": builds.Site("x", host_python=True, expose="hostport", node_port=30123)},
                                     {"site": builds.Site("x@sha256:" + "0" * 64, expose="nodeport", replicas=2)},
                                     {"site": builds.Site("x", expose="nodeport", namespace="other")}])
def test_a_folder_of_any_mode_is_whole(tmp_path, options):
    builds.build(tmp_path, **options)
    told = verify(str(tmp_path / "out"))
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
    name = "10-chunk-%s.yaml" % reader.open_seed(str(out)).contents.segments[0].chunks[0]
    os.rename(out / name, out.parent / name)
    renew_sums(out)
    assert refused(out).startswith(": %s: is missing, and FACTS does not list it as in another folder" % name)


def test_a_chunk_that_is_cut_off_is_named(out):
    path = chunk_file(out)
    path.write_bytes(path.read_bytes()[:-100])
    renew_sums(out)
    assert refused(out).startswith(": %s: its chunk is damaged: expected sha256:" % path.name)


def test_a_chunk_under_the_name_of_another_is_named(out):
    path = out / ("10-chunk-%s.yaml" % ("0" * 64))
    path.write_bytes(chunk_file(out).read_bytes())
    assert ": '%s': is not listed in SHA256SUMS" % path.name in refused(out)
    renew_sums(out)
    assert ": '%s': FACTS does not describe it" % path.name in refused(out)


def test_a_list_that_leaves_a_chunk_out_is_found(out):
    lines = (out / "CHUNKS").read_text().splitlines(True)
    (out / "CHUNKS").write_text("".join(lines[:-1]))
    renew_sums(out)
    assert refused(out).startswith(": CHUNKS: not what FACTS describes")


@pytest.mark.parametrize("name", ["._10-chunk.yaml", ".DS_Store", "50-more.yaml", "a\x1b[2J\nb"])
def test_a_file_that_the_sums_do_not_list_is_found(out, name):
    (out / name).write_bytes(b"")
    assert refused(out).startswith(": %s: is not listed in SHA256SUMS, remove it" % ascii(name))


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
    assert refused(out).startswith(": 40-pod.yaml: is missing")


def test_sums_that_list_a_file_twice_are_refused(out):
    with open(out / "SHA256SUMS", "a") as file:
        file.write("0" * 64 + "  40-pod.yaml\n")
    assert refused(out).startswith(": SHA256SUMS: is damaged")


def test_malformed_sums_are_found(out):
    (out / "SHA256SUMS").write_bytes(b"\xff\n")
    assert refused(out).startswith(": SHA256SUMS: is damaged")


def test_a_missing_readme_is_named(out):
    (out / "README.txt").unlink()
    assert refused(out).startswith(": README.txt: is missing")


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "missing"):
        assert refused(path) == ": is not a folder that Seedpod wrote: name the folder of -o"


def test_nothing_of_ours_is_left_in_the_temporary_folder(out, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    verify(str(out))
    assert os.listdir(tmp_path / "temporary") == []


# --- folders whose SHA256SUMS were made to fit

def edited(out, name, old, new):
    path = out / name
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    renew_sums(out)
    return refused(out)


ADDED = b"---\napiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: kube-system}\nspec: {containers: []}\n"


def names_of(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".yaml")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A build with every kind of file, and its update."""
    folder = tmp_path_factory.mktemp("full")
    registry = samples.with_layers([b"registry" * 100], command=["registry", "serve"])
    archive = samples.write(folder / "registry.tar", samples.podman_save(registry, "docker.io/library/registry:2"))
    storage = Storage("new", size="20Gi")
    site = builds.Site(builds.IMAGE, expose="nodeport", names="policy")
    builds.build(folder, "seed", site, archives=[archive], registry=RegistryOptions("", storage))
    builds.build(folder, "update", site, archives=[builds.archive(folder, "b")], onto=[str(folder / "seed")])
    return folder


@pytest.fixture
def copy(full, tmp_path):
    """A copy of both folders."""
    subprocess.run(["cp", "-r", str(full / "seed"), str(full / "update"), str(tmp_path)], check=True)
    return tmp_path


def test_an_object_that_is_added_to_any_file_is_found(copy):
    names = names_of(copy / "seed")
    assert len(names) == 13
    for name in names:
        data = (copy / "seed" / name).read_bytes()
        for changed in (data + ADDED, ADDED + data):
            (copy / "seed" / name).write_bytes(changed)
            renew_sums(copy / "seed")
            assert ": %s: " % name in refused(copy / "seed")
        (copy / "seed" / name).write_bytes(data)
    renew_sums(copy / "seed")
    assert verify(str(copy / "seed"))["images"]


@pytest.mark.parametrize("old, new", [
    (b'example.com/python:3"', b'example.com/evil:3"'), (b"runAsNonRoot: true", b"runAsNonRoot: false"),
    (b"# ", b"#  ")])
def test_any_change_of_the_pod_is_found(out, old, new):
    data = (out / "40-pod.yaml").read_bytes()
    if old not in data:
        old, new = old.strip(b'"'), new.strip(b'"')
    assert edited(out, "40-pod.yaml", old, new).startswith(": 40-pod.yaml: not what FACTS describes")


def test_a_chunk_that_is_swapped_under_a_right_name_is_found(out):
    chunks = sorted(out.glob("10-chunk-*.yaml"))
    first, second = (chunk.read_bytes() for chunk in chunks[:2])
    chunks[0].write_bytes(first.replace(reader.data_in(first) and first.rsplit(b'"', 2)[1], second.rsplit(b'"', 2)[1]))
    renew_sums(out)
    assert refused(out).startswith(": %s: its chunk is damaged" % chunks[0].name)


def test_a_chunk_in_another_namespace_is_found(out):
    path = chunk_file(out)
    assert edited(out, path.name, b"namespace: ", b"namespace: x").startswith(": %s: not what FACTS describes" % path.name)


@pytest.fixture
def build_with(tmp_path, monkeypatch):
    """Build with another program in every place."""
    def build(program):
        with monkeypatch.context() as patch:
            patch.setattr(pyz, "injector", lambda: program)
            builds.build(tmp_path)
        return tmp_path / "out"
    return build


def zipped(**files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", ".").replace(".main.", "__main__."), text)
    return made.getvalue()


def our_source():
    with zipfile.ZipFile(io.BytesIO(pyz.injector())) as archive:
        return archive.read("__main__.py").decode()


@pytest.mark.parametrize("program", [
    b"another", zipped(__main__py="print()"), zipped(__main__py="(" * 1000), zipped(__main__py="x" * 40000 + " ="),
    zipped(__main__py=our_source(), http__py="evil"), b"#!/bin/sh\n" + pyz.injector(), pyz.injector() + b"more",
    zipped(__main__py=our_source() + "\nprint()\n"), zipped(__main__py="\0")])
def test_another_program_is_found_even_where_everything_names_it(build_with, program):
    assert refused(build_with(program)).startswith(": injector.pyz: not the program of Seedpod ")


def test_the_same_program_as_another_python_prints_it_is_no_fault(build_with):
    """Pythons before 3.11 print brackets around a tuple in an index, and every zlib compresses differently."""
    assert verify(str(build_with(zipped(__main__py=our_source() + "\n#" + "x" * 100))))["images"]


def rewrite_facts(out, **changes):
    facts, _ = parse_facts((out / "FACTS").read_bytes(), "FACTS")
    (out / "FACTS").write_bytes(to_json(facts._replace(**changes)))
    renew_sums(out)


@pytest.mark.parametrize("field, value, words", [
    ("chunk_bytes", 2048, None), ("kinds", ("Pod",), None), ("programs", {"injector": "0" * 64}, "injector.pyz: not what FACTS"),
    ("runners", (Runner("evil:1"),), "not what FACTS describes"),
    ("site", builds.Site(builds.IMAGE, expose="nodeport", namespace="other"), "not what FACTS describes"),
    ("digests", {"docker.io/library/sample:1": "sha256:" + "0" * 64}, "FACTS: digests: not what the folder holds")])
def test_facts_that_are_edited_are_found(out, field, value, words):
    """Two of them have no effect on what is applied."""
    rewrite_facts(out, **{field: value})
    if words:
        assert words in refused(out)
    else:
        verify(str(out))


def test_facts_in_another_spelling_are_found(out):
    text = json.dumps(json.loads((out / "FACTS").read_bytes())).encode()
    (out / "FACTS").write_bytes(text)
    renew_sums(out)
    assert refused(out).startswith(": FACTS: not as Seedpod writes it")


def test_a_seed_of_another_version_is_checked_but_not_written_again(out):
    rewrite_facts(out, seedpod="0.4.0")
    found = verify(str(out))
    assert (found["seedpod"], found["manifests_compared"]) == ("0.4.0", False)
    chunk_file(out).unlink()
    renew_sums(out)
    assert "is missing" in refused(out)


def test_a_chunk_that_is_named_20_000_times_is_refused(out):
    seed = reader.open_seed(str(out))
    *layers, last = seed.contents.segments
    name = layers[0].chunks[0]
    many = layers[0]._replace(chunks=(name,) * 20000, blobs=(("sha256:" + "0" * 64, 20000 * 1024),), size=20000 * 1024)
    expansion = reader.Expansion(1)
    with open(os.devnull, "wb") as sink, pytest.raises(InputError, match="expands to more than"):
        for _ in range(20):
            reader.decode(seed, many, sink, expansion, lambda count: None)


# --- an update and its base

def both(copy, *folders):
    return verify(str(copy / "update"), [str(copy / folder) for folder in folders or ["seed"]])


def test_an_update_is_whole_with_its_base(copy):
    assert both(copy)["chunks"]["elsewhere"] == 0


def refused_with_base(copy, *folders):
    with pytest.raises(InputError) as refusal:
        both(copy, *folders)
    return str(refusal.value).replace(str(copy) + "/", "")


def test_a_base_that_was_changed_is_none(copy):
    seed = copy / "seed"
    (seed / "20-injector.yaml").unlink()
    assert refused_with_base(copy).startswith("seed: 20-injector.yaml: is missing")
    renew_sums(seed)
    assert refused_with_base(copy).startswith("--onto seed: is not a base of update, or was changed since")


@pytest.mark.parametrize("name, words", [
    ("20-injector.yaml", "seed: 20-injector.yaml: "), ("60-registry.yaml", "seed: 60-registry.yaml: not what FACTS describes"),
    ("CHUNKS", "seed: CHUNKS: not what FACTS")])
def test_a_base_is_checked_as_the_update_is(copy, name, words):
    """FACTS names its SHA256SUMS, which here are made to fit, too."""
    with open(copy / "seed" / name, "ab") as file:
        file.write(b"# more\n")
    renew_sums(copy / "seed")
    rewrite_facts(copy / "update", base=reader.sums_digest(str(copy / "seed")))
    assert refused_with_base(copy).startswith(words)


def test_with_a_base_nothing_may_be_in_another_folder(copy):
    name = next(iter(set(reader.open_seed(str(copy / "update")).facts.elsewhere) - {reader.open_seed(str(copy / "seed")).injector}))
    (copy / "seed" / ("10-chunk-%s.yaml" % name[len("seedpod-"):])).unlink()
    assert "is missing" in refused_with_base(copy)


def test_a_base_of_another_namespace_is_refused(copy):
    builds.build(copy, "other", builds.Site(builds.IMAGE, expose="nodeport", namespace="tools"))
    rewrite_facts(copy / "update", base=reader.sums_digest(str(copy / "other")))
    assert "is for namespace seedpod, its base other for namespace tools" in refused_with_base(copy, "other")


def test_a_folder_that_is_no_base_is_refused_by_name(copy):
    builds.build(copy, "other")
    assert refused_with_base(copy, "seed", "other").startswith("--onto other: is not a base of update")


def test_a_build_onto_a_damaged_base_is_refused(copy):
    path = sorted((copy / "seed").glob("10-chunk-*"))[0]
    path.write_bytes(path.read_bytes()[:-9] + b"AAAAAAA\"\n")
    with pytest.raises(InputError, match="seed: %s: is damaged" % path.name):
        builds.build(copy, "next", archives=[builds.archive(copy, "c")], onto=[str(copy / "seed")])
    assert not (copy / "next").exists()
