"""The written format from both sides: builder writes contents.json and chunks, injector and builder read them.

CASES is one table of what can be wrong with them. Whatever it is, both readers name it in one line, and no seed folder
is ever complete.
"""
import dataclasses
import hashlib
import json
import os
import pathlib
import resource
import subprocess

import pytest

from tests.support import at_once
from tests.support import injector
from tests.support import samples
from tests.support.interpreters import interpreters
from tests.support.sent import Sent, folder_of, sent as sent_of
import unpack
from builder.output import reader
from builder.payload import compression as coding, contents
from builder.payload.chunks import LARGEST_CHUNK_BYTES
from builder.reading.archive import open_archive
from builder.reading.errors import InputError
from builder.reading.images import read_images
from builder.reading.oci import blob_of

NAMES = ("docker.io/library/sample:1", "quay.io/a/b:2")
LARGE = 200 << 10  # bytes of a layer that is a segment of its own


def text(byte_count, seed=1):
    return (b"%d words that compress well. " % seed * byte_count)[:byte_count]


IMAGE = samples.with_layers([samples.tar_of([("noise", samples.noise(LARGE))]),
                             samples.tar_of([("small", samples.noise(5000, 2))]),
                             samples.tar_of([("text", text(LARGE))])])
ALL = {"%d.%d" % version: path for version, path in interpreters()}
OLDEST_AND_NEWEST = sorted({list(ALL.values())[0], list(ALL.values())[-1]})
EACH = pytest.mark.parametrize("wanted", [coding.AUTO, coding.NONE, coding.GZIP, coding.XZ])


@pytest.fixture
def sent(tmp_path):
    """Four segments: noise, as it is; text, packed; a small layer; manifest and config."""
    found = sent_of(tmp_path, samples.layout(IMAGE, *NAMES, compress=bytes), coding.AUTO, 50000)
    assert [len(segment.chunks) for segment in found.contents.segments] == [5, 1, 1, 1]
    return found


def unpacked(sent):
    unpack.run(sent.folder, sent.path(contents.FILE), sent.digest, sent.seed)
    return sent.seed


def files_under(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in pathlib.Path(folder).rglob("*")
            if path.is_file()}


def assert_is_the_image(seed, sent):
    """The seed folder is an OCI layout of exactly the image's blobs."""
    files = files_under(seed)
    assert json.loads(files.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(files.pop("index.json")) == contents.index_of(sent.images)
    assert files == {"blobs/" + digest.replace(":", "/"): data for digest, data in sent.blobs.items()}
    for name, data in files.items():
        assert name.rpartition("/")[2] == hashlib.new(name.split("/")[1], data).hexdigest()


# --- whole

@EACH
def test_what_the_builder_writes_both_readers_read(tmp_path, wanted):
    sent = sent_of(tmp_path, samples.layout(IMAGE, *NAMES, compress=bytes), wanted, 50000)
    assert_is_the_image(unpacked(sent), sent)
    out = folder_of(sent, tmp_path / "out")
    with reader.open_archive(reader.open_seed(out)) as archive:
        (image,) = read_images(archive)
    assert (image.root, image.references) == (sent.images[0].root, NAMES)


@EACH
def test_a_payload_arrives_whole_in_chunks_and_reads_of_one_byte(tmp_path, monkeypatch, wanted):
    monkeypatch.setattr(unpack, "BLOCK_BYTES", 1)
    sent = sent_of(tmp_path, samples.layout(samples.sample(layer_count=1), *NAMES), wanted, 1)
    assert [len(segment.chunks) for segment in sent.contents.segments] == [
        segment.size for segment in sent.contents.segments]
    assert_is_the_image(unpacked(sent), sent)


@pytest.mark.parametrize("wanted, magic", [(coding.GZIP, b"\x1f\x8b\x08\0\0\0\0\0"), (coding.XZ, b"\xfd7zXZ\0")])
def test_several_compressed_blocks_one_after_the_other_are_read_as_one(tmp_path, monkeypatch, wanted, magic):
    monkeypatch.setattr(coding, "READ_BYTES", 512)
    monkeypatch.setitem(coding.BLOCK_BYTES, wanted, 1024)
    sent = sent_of(tmp_path, samples.layout(samples.with_layers([samples.noise(5000)]), *NAMES, compress=bytes), wanted)
    layers = b"".join(pathlib.Path(sent.path(name)).read_bytes() for name in sent.contents.segments[0].chunks)
    assert layers.count(magic) == 5
    assert_is_the_image(unpacked(sent), sent)


@EACH
@pytest.mark.parametrize("layer", [b"", b"x", b"x" * 511, b"x" * 512, b"x" * 513], ids=len)
def test_a_layer_of_any_length_arrives_whole(tmp_path, wanted, layer):
    sent = sent_of(tmp_path, samples.layout(samples.with_layers([layer]), *NAMES, compress=bytes), wanted)
    assert_is_the_image(unpacked(sent), sent)


def test_equal_chunks_are_one_file(tmp_path):
    sent = sent_of(tmp_path, samples.podman_save(samples.with_layers([bytes(300000)]), *NAMES), coding.NONE, 1000)
    assert len(set(sent.contents.segments[0].chunks)) == 1 and len(os.listdir(sent.folder)) < 10
    assert_is_the_image(unpacked(sent), sent)


def test_blobs_of_both_registered_algorithms_arrive(tmp_path):
    data = samples.noise(3000)
    digest = "sha512:" + hashlib.sha512(data).hexdigest()
    with open_archive(samples.write(tmp_path / "a.tar", samples.layout(samples.sample(), *NAMES))) as archive:
        (image,) = read_images(archive)
        sent = Sent(tmp_path, [image._replace(layers=image.layers + (blob_of(data)._replace(digest=digest),))])
    assert files_under(unpacked(sent))["blobs/" + digest.replace(":", "/")] == data


def test_files_beside_the_chunks_are_passed_over(sent):
    sent.write("..data", b"")
    sent.write("0" * 64, b"of another seed")
    assert_is_the_image(unpacked(sent), sent)


# --- damage

def changed(sent, number, **fields):
    """contents.json with another segment in a place."""
    segments = list(sent.contents.segments)
    segments[number] = segments[number]._replace(**fields)
    sent.describe(dataclasses.replace(sent.contents, segments=tuple(segments)))


def edited(sent, edit):
    """contents.json after `edit` of its JSON."""
    document = json.loads(sent.text)
    edit(document)
    sent.describe_as(json.dumps(document))


def flipped(sent, segment, chunk, place):
    path = pathlib.Path(sent.path(sent.contents.segments[segment].chunks[chunk]))
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    path.write_bytes(data)


def cut_off(sent, segment, chunk, keep):
    path = sent.path(sent.contents.segments[segment].chunks[chunk])
    os.truncate(path, int(os.path.getsize(path) * keep) if keep < 1 else os.path.getsize(path) - 1)


def swapped_files(sent):
    one, other = (pathlib.Path(sent.path(name)) for name in sent.contents.segments[0].chunks[:2])
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def other_chunks(sent, number, change):
    changed(sent, number, chunks=tuple(change(list(sent.contents.segments[number].chunks))))


def followed_by(sent, number, data, alone):
    """More bytes behind those of a segment, in a chunk of their own or in the last one."""
    *names, last = sent.contents.segments[number].chunks
    if alone:
        names.append(last)
    else:
        data = pathlib.Path(sent.path(last)).read_bytes() + data
    names.append(hashlib.sha256(data).hexdigest())
    sent.write(names[-1], data)
    changed(sent, number, chunks=tuple(names))


def other_blobs(sent, number, change):
    changed(sent, number, blobs=tuple(change(list(sent.contents.segments[number].blobs))))


def resized(by):
    return lambda blobs: [(digest, size + by) for digest, size in blobs]


NO_DIGEST = ["../x", "/x", "", "blobs", "0" * 63 + "G", "0" * 63 + "\n", 7, None, ["0" * 64]]
NO_BLOB = ["md5:00", "sha256:../x", "sha256:" + "0" * 63 + "/", "sha256:", "sha256", "a\nb", 7, None, [], {}]
CASES = {  # name -> what is done, part of the line of the stage
    # the chunk files
    **{"chunk %d of segment %d missing" % (chunk, segment): (
        lambda sent, segment=segment, chunk=chunk: os.unlink(sent.path(sent.contents.segments[segment].chunks[chunk])),
        "No such file or directory: ") for segment, chunk in ((0, 0), (0, 2), (0, -1), (1, 0), (2, 0), (3, 0))},
    **{"a bit flipped at %s of chunk %d of segment %d" % (place, chunk, segment): (
        lambda sent, segment=segment, chunk=chunk, place=place: flipped(sent, segment, chunk, place),
        "ConfigMap seedpod-")
        for segment, chunk in ((0, 0), (0, -1), (1, 0), (2, 0), (3, 0)) for place in (0, .5, 1)},
    **{"chunk %d of segment %d cut off at %s" % (chunk, segment, keep): (
        lambda sent, segment=segment, chunk=chunk, keep=keep: cut_off(sent, segment, chunk, keep),
        "ConfigMap seedpod-") for segment, chunk in ((0, 0), (0, -1), (3, 0)) for keep in (0, .5, 1)},
    "two chunks with their content swapped": (swapped_files, "ConfigMap seedpod-"),
    # the list of chunks
    "chunks listed in another order": (lambda sent: other_chunks(sent, 0, lambda names: names[::-1]),
                                       "content is damaged: expected "),
    "a chunk too few": (lambda sent: other_chunks(sent, 0, lambda names: names[:-1]), "is truncated: "),
    "a chunk too many": (lambda sent: other_chunks(sent, 0, lambda names: names + names[:1]),
                         "trailing data after the last blob"),
    **{"%r behind segment %d, in %s chunk" % (data[:4], number, "another" if alone else "its last"): (
        lambda sent, number=number, data=data, alone=alone: followed_by(sent, number, data, alone), "")
        for number in (0, 1) for data in (b"x", b"junk" * 9999, b"\xfd7zX") for alone in (True, False)},
    "a chunk of another segment": (
        lambda sent: other_chunks(sent, 0, lambda names: names[:-1] + list(sent.contents.segments[3].chunks)), ""),
    "no chunks": (lambda sent: other_chunks(sent, 1, lambda names: []), "Compressed file ended before"),
    **{"a chunk named %r" % (name,): (
        lambda sent, name=name: edited(sent, lambda document: document["segments"][0]["chunks"].insert(0, name)),
        "not the name of a chunk: " if isinstance(name, str) else "") for name in NO_DIGEST},
    # the list of blobs
    "a blob one byte longer": (lambda sent: other_blobs(sent, 0, resized(1)), "is truncated: 1 bytes are missing"),
    "a blob one byte shorter": (lambda sent: other_blobs(sent, 0, resized(-1)), "content is damaged: expected "),
    "a packed blob one byte longer": (lambda sent: other_blobs(sent, 1, resized(1)), "is truncated: 1 bytes"),
    "a packed blob one byte shorter": (lambda sent: other_blobs(sent, 1, resized(-1)), "content is damaged: "),
    "a blob of more bytes than there are in the world": (lambda sent: other_blobs(sent, 0, resized(10 ** 30)), ""),
    "a blob of negative size": (lambda sent: other_blobs(sent, 0, resized(-10 ** 6)), "content is damaged: "),
    "bytes of which no blob is listed": (lambda sent: other_blobs(sent, 3, lambda blobs: blobs[:-1]),
                                         "trailing data after the last blob"),
    "another digest": (lambda sent: other_blobs(sent, 2, lambda blobs: [("sha256:" + "0" * 64, blobs[0][1])]),
                       "content is damaged: expected " + "0" * 64),
    **{"a blob named %r" % (name,): (
        lambda sent, name=name: edited(sent, lambda document: document["segments"][0]["blobs"][0].__setitem__(0, name)),
        "is not a digest" if isinstance(name, str) else "") for name in NO_BLOB},
    **{"a size of %r" % (size,): (
        lambda sent, size=size: edited(sent, lambda document: document["segments"][0]["blobs"][0].__setitem__(1, size)),
        "") for size in ("1", None, 1.5, [], float("nan"))},
    # contents.json itself
    "another compression": (lambda sent: changed(sent, 1, compression="gzip"), ""),
    "no compression": (lambda sent: changed(sent, 1, compression=""), ""),
    **{"contents.json that is %s" % text[:20]: (lambda sent, text=text: sent.describe_as(text), "contents.json: ")
       for text in ("", "[]", "null", "{", '"x"', "{}", '{"segments":7}', "[" * 100000)},
    **{"segments that are %s" % text: (lambda sent, text=text: sent.describe_as('{"segments":%s}' % text), "segment: ")
       for text in ("[[]]", "[{}]", '{"a":1}', "[null]")},
    **{"without %s" % key: (
        lambda sent, key=key: edited(sent, lambda document: document["segments"][-1].pop(key)), "KeyError")
        for key in ("compression", "blobs", "chunks")},
    "a bit flipped in contents.json": (
        lambda sent: sent.write(contents.FILE, sent.text.replace("xz", "yz").encode()),
        "contents.json is damaged: expected sha256:"),
    "contents.json cut off": (lambda sent: sent.write(contents.FILE, sent.text[:-1].encode()),
                              "contents.json is damaged: expected sha256:"),
    "contents.json of another seed": (
        lambda sent: sent.write(contents.FILE, sent.text.replace("sample", "another").encode()),
        "contents.json is damaged: expected sha256:"),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_reported_by_the_stage_in_one_line(sent, name):
    damage, part = CASES[name]
    damage(sent)
    with pytest.raises(OSError) as raised:
        unpacked(sent)
    line = str(raised.value)
    assert part in line and "\n" not in line and len(line) < 1000
    files = files_under(sent.seed)
    assert "index.json" not in files
    for path, data in files.items():
        assert path == "partial" or path.rpartition("/")[2] == hashlib.sha256(data).hexdigest()
    assert sorted(os.listdir(os.path.dirname(sent.seed))) == ["archive.tar", "chunks"] + ["packed"] + ["seed"] * bool(
        os.path.exists(sent.seed))


@pytest.mark.parametrize("name", [name for name in CASES if name != "contents.json of another seed"])  # whole for it
def test_damage_is_reported_by_the_builders_reader_in_one_line(sent, tmp_path, name):
    CASES[name][0](sent)
    for file in os.listdir(sent.folder):
        if file != contents.FILE and len(file) != 64:
            os.unlink(sent.path(file))
    with open(sent.path(contents.FILE), encoding="utf-8") as file:
        sent.text = file.read()
    out = folder_of(sent, tmp_path / "out")
    with pytest.raises(InputError) as raised:
        with reader.open_archive(reader.open_seed(out)) as archive:
            read_images(archive)
    assert "\n" not in str(raised.value) and str(raised.value).startswith(out)


# --- faults of the machine

def test_a_second_run_over_the_leftovers_of_a_first_succeeds(sent):
    """What a kill leaves behind: some blobs, a half one aside, no index.json."""
    unpacked(sent)
    os.unlink(os.path.join(sent.seed, "index.json"))
    blobs = sorted(pathlib.Path(sent.seed).rglob("blobs/*/*"))
    blobs[0].unlink()
    blobs[1].rename(os.path.join(sent.seed, "partial"))
    os.truncate(os.path.join(sent.seed, "partial"), 1)
    unpacked(sent)
    assert_is_the_image(sent.seed, sent)


def test_a_second_run_over_a_whole_seed_succeeds(sent):
    unpacked(sent)
    unpacked(sent)
    assert_is_the_image(sent.seed, sent)


def run(sent, **more):
    return injector.run("unpack", *sent.arguments, "--seed", sent.seed, **more)


def test_a_full_disk_is_reported_in_one_line_and_leaves_no_half_blob(sent):
    limit = 100000
    status, out, err = run(sent, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert (status, out) == (1, "")
    first = sent.contents.segments[0].blobs[0][0]
    assert err == "error: blob %r: [Errno 27] File too large\n" % first
    assert list(files_under(sent.seed)) == ["partial"]
    unpacked(sent)
    assert_is_the_image(sent.seed, sent)


def test_a_seed_folder_where_nothing_can_be_written_is_reported_in_one_line(sent):
    sent.seed = "/proc/seed"
    status, out, err = run(sent)
    assert (status, out) == (1, "") and err.startswith("error: ") and err.count("\n") == 1 and "/proc/seed" in err


def test_a_seed_folder_that_is_a_file_is_reported_in_one_line(sent):
    with open(sent.seed, "w"):
        pass
    status, out, err = run(sent)
    assert (status, out) == (1, "") and err.startswith("error: ") and err.count("\n") == 1 and sent.seed in err


def test_damage_ends_the_process_with_status_1_and_one_line(sent):
    name = sent.contents.segments[0].chunks[0]
    os.unlink(sent.path(name))
    assert run(sent) == (1, "", "error: blob %r: [Errno 2] No such file or directory: '%s'\n" % (
        sent.contents.segments[0].blobs[0][0], sent.path(name)))


def test_where_python_has_no_lzma_the_line_names_the_remedy(tmp_path):
    sent = sent_of(tmp_path, samples.layout(samples.sample(), *NAMES), coding.XZ)
    command = injector.patched("import sys; sys.modules['lzma'] = None", "unpack", *sent.arguments, "--seed", sent.seed)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == b"error: segment: is xz, and this Python has no lzma: build it with --compression gzip\n"


@pytest.fixture(scope="module", params=[coding.NONE, coding.GZIP, coding.XZ])
def large(request, tmp_path_factory):
    """A payload of 64 MiB, in the largest chunks, and the MiB that `unpack` may take of memory."""
    image = samples.with_layers([samples.noise(2 << 20) + bytes(62 << 20)])
    return (sent_of(tmp_path_factory.mktemp("large"), samples.podman_save(image, *NAMES), request.param,
                    LARGEST_CHUNK_BYTES), 64 if request.param == coding.XZ else 32)


def test_memory_stays_flat_whatever_the_payload(large, tmp_path):
    """The Pod's limit is the payload (its chunks lie in a tmpfs) and 64 MiB."""
    sent, limit = large
    code = ("import atexit\natexit.register(lambda: print(*[line for line in open('/proc/self/status')"
            " if line.startswith('VmHWM')]))")

    def peak_mib(python):
        seed = tmp_path / ("seed%d" % OLDEST_AND_NEWEST.index(python))
        done = subprocess.run(injector.patched(code, "unpack", *sent.arguments, "--seed", seed, python=python),
                              stdout=subprocess.PIPE, check=True)
        return int(done.stdout.split()[-2]) / 1024
    peaks = dict(zip(OLDEST_AND_NEWEST, at_once.each(peak_mib, OLDEST_AND_NEWEST)))
    assert max(peaks.values()) <= limit, peaks


@pytest.mark.parametrize("wanted, part", [(coding.GZIP, "zipped file"), (coding.XZ, "trailing data after the last blob")])
def test_bytes_behind_a_stream_are_refused_on_every_python(tmp_path, wanted, part):
    sent = sent_of(tmp_path, samples.layout(samples.with_layers([text(LARGE)]), *NAMES, compress=bytes), wanted)
    followed_by(sent, 0, b"junk", alone=False)

    def check(version):
        seed = tmp_path / ("seed-" + version)
        status, out, err = injector.run("unpack", *sent.arguments, "--seed", seed, python=ALL[version])
        assert (status, out, err.count("\n")) == (1, "", 1) and err.startswith("error: blob ") and part in err, version
    at_once.each(check, ALL)
