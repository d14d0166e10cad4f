"""stage1/injector/registry without a socket: names, the table, what is in it and what is not."""
import hashlib
import io
import json
import os
import re

import pytest

from tests.support import injector
import registry
from tests.support import samples
import server
from builder.payload import contents
from builder.reading import oci
from builder.reading.reference import full_repository, parse, short_repositories

REFERENCES = [
    "docker.io/library/registry:2", "docker.io/library/registry", "docker.io/grafana/grafana:11.0.0",
    "docker.io/library/a/b:1", "quay.io/a/b:1", "quay.io/a:1", "Quay.IO/a/b:1", "localhost/x:1", "localhost:5000/x:1",
    "localhost:5000/x", "[::1]:5000/x:1", "registry.example.com:443/a/b/c:v1.2-3", "ghcr.io/library/x:1",
    "gcr.io/library/x:1", "a.b/c__d-e---f.g:T_1", "docker.io/library/x@sha256:" + "0" * 64,
    "docker.io/library/x:1@sha256:" + "0" * 64, "localhost:5000/x@sha512:" + "0" * 128,
    "harbor.local/quay.io/a/b:1", "harbor.local/localhost/x:1", "harbor.local:5000/quay.io/a:1", "docker.io/quay.io/x:1",
    "harbor.local/x.y:1", "docker.io/library/x.y:1", "harbor.local/a/quay.io/b:1", "MYHOST/a:1",
]


@pytest.mark.parametrize("text", REFERENCES)
def test_names_are_those_that_the_builder_promises(text):
    reference = parse(text)
    names = registry.names_of(str(reference))
    assert names.tag == reference.tag
    assert names.full == "%s/%s" % (reference.host.lower(), reference.path)
    assert names.short == list(short_repositories(reference))
    assert full_repository(reference) == (names.full if registry.is_name(names.full) else "")


def test_both_sides_know_the_same_digests_and_manifests():
    for algorithm, digits in oci.DIGEST_DIGITS.items():
        assert registry.is_digest(algorithm + ":" + "a" * digits)
        assert not registry.is_digest(algorithm + ":" + "a" * (digits - 1))
    assert set(registry.MANIFESTS) == set(oci.MANIFEST_TYPES + oci.INDEX_TYPES)
    assert registry.INDEX == oci.OCI_INDEX and registry.REF_NAME == oci.REF_NAME
    assert registry.DESCRIPTION == contents.DESCRIPTION


def table_of(*layouts):
    """Members of layouts -> Registry."""
    blobs = {name[6:].replace("/", ":"): data for members in layouts for name, data in members}

    def open_blob(digest, size):
        if len(blobs.get(digest, b"")) != size:
            raise OSError("its size has changed")
        return io.BytesIO(blobs[digest])

    index = {"manifests": [entry for members in layouts
                           for entry in json.loads(dict(members)["index.json"].decode())["manifests"]]}
    return registry.Registry(index, open_blob)


def status(table, target, method="GET", **headers):
    return table.answer(method, target, headers).status


IMAGE = samples.sample()
MANIFEST, BLOBS = samples.oci_manifest(IMAGE)
DIGEST = oci.digest_of(MANIFEST)


def test_an_image_is_served_under_each_of_its_names():
    table = table_of(samples.layout(IMAGE, "docker.io/library/x:1", "quay.io/a/b:2"))
    for name, tag in (("x", "1"), ("library/x", "1"), ("docker.io/library/x", "1"), ("a/b", "2"), ("quay.io/a/b", "2")):
        answer = table.answer("GET", "/v2/%s/manifests/%s" % (name, tag), {})
        assert (answer.status, answer.entity.body) == (200, MANIFEST)
    for name, tag in (("x", "2"), ("quay.io/x", "1"), ("b", "2"), ("quay.io/library/x", "1")):
        assert status(table, "/v2/%s/manifests/%s" % (name, tag)) == 404


@pytest.mark.parametrize("target, expected", [
    ("/v2/library/x/manifests/1?ns=docker.io", 200), ("/v2/library/x/manifests/1?ns=Docker.IO", 200),
    ("/v2/library/x/manifests/1?ns=quay.io", 404), ("/v2/x/manifests/1?ns=docker.io", 404),
    ("/v2/a/b/manifests/2?ns=host:5000", 200), ("/v2/a/b/manifests/2?ns=host%3A5000", 200),
    ("/v2/a/b/manifests/2?x=y&ns=HOST:5000", 200), ("/v2/host:5000/a/b/manifests/2", 400),
    ("/v2/a/b/manifests/2?ns=docker.io", 404), ("/v2/a/b/manifests/2?ns=", 200), ("/v2/a/b/manifests/2?ns", 200),
    ("/v2/docker.io/library/x/manifests/1?ns=docker.io", 200), ("/v2/docker.io/library/x/manifests/1", 200),
    ("/v2/docker.io/library/x/manifests/1?ns=index.docker.io", 200),
    ("/v2/library/x/manifests/1?ns=registry-1.docker.io", 200),
    ("/v2/docker.io/library/x/manifests/1?ns=registry.hub.docker.com", 200),
    ("/v2/docker.io/library/x/manifests/1?ns=quay.io", 404),
    ("/v2/docker.io/library/x/manifests/1?ns=an.index.docker.io", 404),
    ("/v2/a/b/tags/list?ns=host:5000", 200), ("/v2/a/b/blobs/%s?ns=host:5000" % oci.digest_of(IMAGE.config), 200),
    ("/v2/a/b/referrers/%s?ns=host:5000" % DIGEST, 200)])
def test_the_host_of_the_original_picks_the_image_for_a_mirror(target, expected):
    table = table_of(samples.layout(IMAGE, "docker.io/library/x:1", "host:5000/a/b:2"))
    assert status(table, target) == expected


@pytest.mark.parametrize("name", ["x", ":1", "@", "/", "X/Y:1", "a/b:1:2", "\n"])
def test_an_entry_whose_name_is_not_a_full_one_keeps_no_other_from_being_served(name):
    table = table_of(samples.layout(samples.sample("b"), name), samples.layout(IMAGE, "docker.io/library/x:1"))
    assert digests_of(table, "/v2/docker.io/library/x/manifests/1") == [DIGEST]


def test_of_two_images_with_one_short_name_the_first_has_the_tag_and_both_have_their_digests():
    other = samples.sample("b")
    table = table_of(samples.layout(IMAGE, "docker.io/a/b:1"), samples.layout(other, "quay.io/a/b:1"))
    assert table.answer("GET", "/v2/a/b/manifests/1", {}).entity.digest == DIGEST
    digest = oci.digest_of(samples.oci_manifest(other)[0])
    assert table.answer("GET", "/v2/quay.io/a/b/manifests/1", {}).entity.digest == digest
    assert status(table, "/v2/a/b/manifests/" + digest) == 200


EXPORTER, COPY = "quay.io/prom/exporter:v1", "harbor.local/quay.io/prom/exporter:v1"


def digests_of(table, *targets):
    """The digest that each target leads to, or the status of its error."""
    answers = [table.answer("GET", target, {}) for target in targets]
    return [answer.entity.digest if answer.status == 200 else answer.status for answer in answers]


@pytest.mark.parametrize("copy", [COPY, "harbor.local:5000/quay.io/prom/exporter:v1"])
@pytest.mark.parametrize("is_copy_first", [True, False])
def test_a_full_name_leads_to_its_own_image_whatever_is_called_so_below_another_host(copy, is_copy_first):
    other = samples.sample("b")
    digest = oci.digest_of(samples.oci_manifest(other)[0])
    layouts = [samples.layout(IMAGE, copy), samples.layout(other, EXPORTER)]
    table = table_of(*(layouts if is_copy_first else layouts[::-1]))
    host = copy.partition("/")[0]
    assert digests_of(
        table, "/v2/quay.io/prom/exporter/manifests/v1", "/v2/quay.io/prom/exporter/manifests/v1?ns=quay.io",
        "/v2/prom/exporter/manifests/v1?ns=quay.io", "/v2/prom/exporter/manifests/v1",
        "/v2/quay.io/prom/exporter/manifests/v1?ns=" + host) == [digest] * 4 + [DIGEST]


@pytest.mark.parametrize("copy", [COPY, "harbor.local:5000/quay.io/prom/exporter:v1"])
@pytest.mark.parametrize("others", [[], ["quay.io/prom/exporter:v2"]])
def test_a_mirror_of_a_host_gets_no_image_of_another_whose_path_begins_with_that_host(copy, others):
    table = table_of(samples.layout(IMAGE, copy), *[samples.layout(samples.sample("b"), name) for name in others])
    assert digests_of(
        table, "/v2/quay.io/prom/exporter/manifests/v1?ns=quay.io", "/v2/prom/exporter/manifests/v1?ns=quay.io",
        "/v2/quay.io/prom/exporter/manifests/%s?ns=quay.io" % DIGEST) == [404] * 3
    listed = table.answer("GET", "/v2/prom/exporter/tags/list?ns=quay.io", {})
    assert listed.status == 404 if not others else json.loads(listed.entity.body.decode())["tags"] == ["v2"]


def test_a_path_that_begins_with_a_host_is_a_name_only_where_the_images_own_host_has_a_port():
    table = table_of(samples.layout(IMAGE, COPY, "harbor.local:5000/ghcr.io/x:1", "docker.io/localhost/y:1"))
    answer = table.answer("GET", "/v2/_catalog", {})
    assert json.loads(answer.entity.body.decode())["repositories"] == [
        "docker.io/localhost/y", "ghcr.io/x", "harbor.local/quay.io/prom/exporter"]


def test_a_repository_that_images_share_by_a_short_name_lists_the_tags_of_all_and_by_full_name_of_one():
    other = samples.sample("b")
    table = table_of(samples.layout(IMAGE, "docker.io/a/b:1", "docker.io/a/b:2"),
                     samples.layout(other, "quay.io/a/b:2", "quay.io/a/b:3"))
    for target, tags in (("a/b", ["1", "2", "3"]), ("quay.io/a/b", ["2", "3"]), ("docker.io/a/b", ["1", "2"])):
        answer = table.answer("GET", "/v2/%s/tags/list" % target, {})
        assert json.loads(answer.entity.body.decode())["tags"] == tags
    answer = table.answer("GET", "/v2/a/b/tags/list?ns=quay.io&n=1", {})
    assert json.loads(answer.entity.body.decode())["tags"] == ["2"]
    assert answer.headers["Link"] == '</v2/a/b/tags/list?ns=quay.io&n=1&last=2>; rel="next"'


def test_what_refers_to_an_image_is_found_by_a_mirror_of_its_host_too():
    data, blobs = signature(samples.descriptor(oci.OCI_MANIFEST, MANIFEST))
    table = table_of(samples.layout(IMAGE, "quay.io/x:1"),
                     samples.layout_of([samples.descriptor(oci.OCI_MANIFEST, data)], blobs))
    assert digests_of(table, "/v2/x/manifests/%s?ns=quay.io" % oci.digest_of(data)) == [oci.digest_of(data)]
    listed = json.loads(table.answer("GET", "/v2/x/referrers/%s?ns=quay.io" % DIGEST, {}).entity.body.decode())
    assert [entry["digest"] for entry in listed["manifests"]] == [oci.digest_of(data)]


def test_an_index_is_served_with_those_of_its_platforms_that_are_there():
    images = [samples.sample("a"), samples.sample("b", platform="linux/arm64")]
    table = table_of(samples.multi_platform(images, "docker.io/library/x:1", left_out=[1]))
    index = table.answer("GET", "/v2/x/manifests/1", {})
    there, absent = (entry["digest"] for entry in json.loads(index.entity.body.decode())["manifests"])
    assert status(table, "/v2/x/manifests/" + there) == 200
    assert status(table, "/v2/x/manifests/" + absent) == 404
    assert status(table, "/v2/x/blobs/" + oci.digest_of(images[0].config)) == 200
    assert status(table, "/v2/x/blobs/" + oci.digest_of(images[1].config)) == 404


@pytest.mark.parametrize("data, media_type", [
    (b"\0\1", "application/x"), (b'{"config":"x","layers":5}', "application/x+json"), (b"", "x"),
    (b"{{ not JSON }}", "text/plain")], ids=["binary", "other JSON", "empty", "text"])
def test_what_an_index_lists_that_is_not_a_manifest_is_served_as_a_blob(data, media_type):
    entry = samples.descriptor(media_type, data)
    index = samples.index_of([samples.descriptor(oci.OCI_MANIFEST, MANIFEST), entry])
    root = samples.descriptor(oci.OCI_INDEX, index, annotations={oci.REF_NAME: "docker.io/library/x:1"})
    table = table_of(samples.layout_of([root], [samples.blob(index), samples.blob(data)] + BLOBS))
    answer = table.answer("GET", "/v2/x/blobs/" + entry["digest"], {})
    assert (answer.status, answer.entity.body) == (200, None)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert status(table, "/v2/x/manifests/" + entry["digest"]) == 404


@pytest.mark.parametrize("algorithm", sorted(oci.DIGEST_DIGITS))
def test_manifests_of_every_registered_digest_are_served(algorithm):
    digest = "%s:%s" % (algorithm, hashlib.new(algorithm, MANIFEST).hexdigest())
    root = {"mediaType": oci.OCI_MANIFEST, "digest": digest, "size": len(MANIFEST),
            "annotations": {oci.REF_NAME: "docker.io/library/x:1"}}
    table = table_of(samples.layout_of([root], [("blobs/" + digest.replace(":", "/"), MANIFEST)] + BLOBS))
    for reference in ("1", digest):
        answer = table.answer("GET", "/v2/x/manifests/" + reference, {})
        assert (answer.status, answer.entity.body) == (200, MANIFEST)
        assert answer.headers["Docker-Content-Digest"] == digest


@pytest.mark.parametrize("media_type", oci.MANIFEST_TYPES + oci.INDEX_TYPES)
@pytest.mark.parametrize("stated_by", ["manifest", "descriptor"])
def test_a_manifest_is_served_under_its_own_type(media_type, stated_by):
    data = samples.to_json({"mediaType": media_type} if stated_by == "manifest" else {})
    root = dict(samples.descriptor(media_type if stated_by == "descriptor" else oci.OCI_MANIFEST, data),
                annotations={oci.REF_NAME: "docker.io/library/x:1"})
    table = table_of(samples.layout_of([root], [samples.blob(data)]))
    assert table.answer("GET", "/v2/x/manifests/1", {}).headers["Content-Type"] == media_type


@pytest.mark.parametrize("content, media_type", [({"manifests": []}, oci.OCI_INDEX), ({}, oci.OCI_MANIFEST)])
def test_a_manifest_without_any_type_is_stated_by_its_content(content, media_type):
    data = samples.to_json(content)
    root = dict(samples.descriptor("", data), annotations={oci.REF_NAME: "docker.io/library/x:1"})
    table = table_of(samples.layout_of([root], [samples.blob(data)]))
    assert table.answer("GET", "/v2/x/manifests/1", {}).headers["Content-Type"] == media_type


def test_a_blob_that_is_not_there_or_of_another_size_is_not_served():
    layers = json.loads(MANIFEST.decode())["layers"]
    short = [(name, data[:-1] if layers[0]["digest"][7:] in name else data) for name, data in BLOBS
             if layers[1]["digest"][7:] not in name]
    table = table_of(samples.layout_of([samples.descriptor(
        oci.OCI_MANIFEST, MANIFEST, annotations={oci.REF_NAME: "docker.io/library/x:1"})], short))
    assert [status(table, "/v2/x/blobs/" + layer["digest"]) for layer in layers] == [404, 404]
    assert status(table, "/v2/x/manifests/1") == 200


def signature(subject, marker="s", **more):
    """A manifest that refers to another -> (its bytes, members)."""
    return samples.oci_manifest(samples.with_layers([marker.encode()]), subject=subject, **more)


def test_what_refers_to_an_image_and_has_no_name_lives_beside_it():
    data, blobs = signature(samples.descriptor(oci.OCI_MANIFEST, MANIFEST))
    twice, more = signature(samples.descriptor(oci.OCI_MANIFEST, data), "t")
    table = table_of(
        samples.layout(IMAGE, "docker.io/library/x:1"), samples.layout(samples.sample("b"), "docker.io/library/y:1"),
        samples.layout_of([samples.descriptor(oci.OCI_MANIFEST, found) for found in (data, twice)], blobs + more))
    for digest in (oci.digest_of(data), oci.digest_of(twice)):
        assert [status(table, "/v2/%s/manifests/%s" % (name, digest)) for name in "xy"] == [200, 404]
    listed = json.loads(table.answer("GET", "/v2/x/referrers/" + DIGEST, {}).entity.body.decode())["manifests"]
    assert [entry["digest"] for entry in listed] == [oci.digest_of(data)]
    assert json.loads(table.answer("GET", "/v2/y/referrers/" + DIGEST, {}).entity.body.decode())["manifests"] == []


def test_what_refers_to_an_image_by_cosigns_tag_alone_is_a_referrer_of_it():
    data, blobs = samples.signature(MANIFEST)
    named = [samples.descriptor(oci.OCI_MANIFEST, content, annotations={oci.REF_NAME: "docker.io/library/x:" + tag})
             for content, tag in ((MANIFEST, "1"), (data, DIGEST.replace(":", "-") + ".sig"))]
    table = table_of(samples.layout_of(named, BLOBS + blobs))
    assert status(table, "/v2/x/manifests/sha256-%s.sig" % DIGEST[7:]) == 200
    listed = json.loads(table.answer("GET", "/v2/x/referrers/" + DIGEST, {}).entity.body.decode())["manifests"]
    assert [(entry["digest"], entry["artifactType"]) for entry in listed] == [(oci.digest_of(data), oci.OCI_CONFIG)]


def test_what_has_neither_name_nor_subject_is_served_by_digest_in_every_repository():
    other = samples.sample("b")
    table = table_of(samples.layout(IMAGE, "docker.io/library/x:1"), samples.layout(other))
    assert status(table, "/v2/x/manifests/" + oci.digest_of(samples.oci_manifest(other)[0])) == 200


def test_an_answer_never_reads_the_disk(tmp_path, monkeypatch):
    seed = injector.seed_of(tmp_path, samples.layout(IMAGE, "docker.io/library/x:1"))
    table = server.load(seed)
    for name in ("open", "stat", "read", "listdir"):
        monkeypatch.setattr(os, name, None)
    assert status(table, "/v2/x/manifests/1") == 200
    assert status(table, "/v2/x/blobs/" + oci.digest_of(IMAGE.config)) == 200


@pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "sha256:" + "0" * 63, "sha256/" + "0" * 64, "", "x",
                                    "md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256:" + "0" * 64 + "\n", "../x"])
def test_what_is_not_a_digest_never_becomes_a_path(tmp_path, digest):
    with pytest.raises(OSError, match="^not a digest: "):
        server.open_blob(str(tmp_path), digest, 0)
    entry = {"mediaType": oci.OCI_MANIFEST, "digest": digest, "size": 1}
    (tmp_path / "index.json").write_bytes(samples.index_of([entry]))
    assert server.load(str(tmp_path)).repositories == {}


LAYER = oci.digest_of(samples.gzipped(IMAGE.layers[0]))
SIZE = len(samples.gzipped(IMAGE.layers[0]))
RANGES = [  # RFC 9110, section 14: header, status, first byte, byte after the last one
    ("bytes=0-0", 206, 0, 1), ("bytes=0-", 206, 0, SIZE), ("bytes=5-9", 206, 5, 10),
    ("bytes=5-999999", 206, 5, SIZE), ("bytes=-1", 206, SIZE - 1, SIZE), ("bytes=-999999", 206, 0, SIZE),
    ("bytes=%d-" % (SIZE - 1), 206, SIZE - 1, SIZE),
    ("bytes=%d-" % SIZE, 416, 0, 0), ("bytes=99999-100000", 416, 0, 0), ("bytes=-0", 416, 0, 0),
    ("bytes=9-5", 416, 0, 0), ("bytes=-", 416, 0, 0), ("bytes=", 200, 0, SIZE), ("bytes=a-b", 200, 0, SIZE),
    ("bytes=0-0,2-2", 200, 0, SIZE), ("bytes=0-0, -1", 200, 0, SIZE), ("octets=0-0", 200, 0, SIZE),
    ("bytes=--1", 200, 0, SIZE), ("bytes=1-2-3", 200, 0, SIZE), ("bytes=" + "9" * 19 + "-", 200, 0, SIZE),
    ("", 200, 0, SIZE),
    ("bytes=\u0660-\u0661", 200, 0, SIZE)]


@pytest.mark.parametrize("value, expected, start, stop", RANGES, ids=[repr(row[0]) for row in RANGES])
def test_a_range_is_answered_by_the_rules(value, expected, start, stop):
    table = table_of(samples.layout(IMAGE, "docker.io/library/x:1"))
    answer = table.answer("GET", "/v2/x/blobs/" + LAYER, {"range": value})
    assert answer.status == expected
    if expected != 416:
        assert (answer.start, answer.stop) == (start, stop)
    assert answer.headers.get("Content-Range") == {
        200: None, 206: "bytes %d-%d/%d" % (start, stop - 1, SIZE), 416: "bytes */%d" % SIZE}[expected]


def test_a_range_counts_for_get_alone_and_only_of_what_the_client_has():
    table = table_of(samples.layout(IMAGE, "docker.io/library/x:1"))
    path = "/v2/x/blobs/" + LAYER
    wanted = {"range": "bytes=1-"}
    assert status(table, path, "HEAD", **wanted) == 200
    for if_range, expected in (('"%s"' % LAYER, 206), ('W/"%s"' % LAYER, 200), ('"other"', 200),
                               ("Sat, 29 Oct 1994 19:43:31 GMT", 200)):
        assert table.answer("GET", path, dict(wanted, **{"if-range": if_range})).status == expected


@pytest.mark.parametrize("value, expected", [
    ('"%s"', 304), ('W/"%s"', 304), ('"x", "%s"', 304), ('"x",W/"%s" , "y"', 304), ("*", 304),
    ("%s", 200), ('"x"', 200), ("", 200), ('"%s', 200)])
@pytest.mark.parametrize("path, digest", [("/v2/x/blobs/" + LAYER, LAYER), ("/v2/x/manifests/1", DIGEST)])
def test_what_the_client_has_already_is_not_sent_again(value, expected, path, digest):
    table = table_of(samples.layout(IMAGE, "docker.io/library/x:1"))
    held = value % digest if "%s" in value else value
    for method in ("GET", "HEAD"):
        answer = table.answer(method, path, {"if-none-match": held})
        assert answer.status == expected
        assert answer.headers["ETag"] == '"%s"' % digest
        assert (answer.start == answer.stop) == (expected == 304)


@pytest.mark.parametrize("path, expected", [
    ("library%2Fx/manifests/1", 200), ("%6cibrary/%78/manifests/%31", 200), ("x/manifests/%", 404),
    ("x/manifests/%4", 404), ("x/manifests/%zz", 404), ("x/manifests/%2531", 404), ("x/manifests/%ff", 404),
    ("x/manifests/\xff", 404), ("x+/manifests/1", 400)])
def test_percent_encoding_is_undone_once(path, expected):
    table = table_of(samples.layout(IMAGE, "docker.io/library/x:1"))
    assert status(table, "/v2/" + path) == expected


# --- what an answer may take of the memory, however many ask for it

@pytest.mark.parametrize("target", [
    "/%s", "/v2/%s/manifests/1", "/v2/x/manifests/%s", "/v2/x/blobs/%s", "/v2/_catalog?n=%s", "/v2/x/manifests/1?ns=%s"])
def test_an_error_quotes_little_of_a_long_request(target):
    table = table_of(samples.layout(IMAGE, "docker.io/library/x:1"))
    answer = table.answer("GET", target % ("\xff" * 16000), {})
    (error,) = json.loads(answer.entity.body.decode())["errors"]
    assert answer.status in (400, 404) and len(error["message"]) == registry.MESSAGE_CHARACTERS


def all_pages(table, target, key):
    """The names in each page, from one link to the next."""
    while target:
        answer = table.answer("GET", target, {})
        yield json.loads(answer.entity.body.decode())[key]
        target = re.sub('<(.+)>; rel="next"', r"\1", answer.headers.get("Link", ""))


@pytest.mark.parametrize("asked", ["", "?n=999999999"])
@pytest.mark.parametrize("length, largest", [(8, registry.LISTED_NAMES), (120, registry.LISTED_CHARACTERS // 120)])
def test_a_page_of_names_is_small_whatever_is_asked_for_and_links_to_the_rest(asked, length, largest):
    tags = [str(number).zfill(length) for number in range(2500)]
    table = table_of(samples.layout(IMAGE, *["docker.io/library/x:" + tag for tag in tags]))
    pages = list(all_pages(table, "/v2/x/tags/list" + asked, "tags"))
    assert [tag for page in pages for tag in page] == tags
    assert largest // 2 < max(map(len, pages)) <= largest


def test_a_long_catalog_is_listed_in_pages():
    names = ["localhost/%04d" % number for number in range(1200)]
    table = table_of(samples.layout(IMAGE, *[name + ":1" for name in names]))
    pages = list(all_pages(table, "/v2/_catalog", "repositories"))
    assert [name for page in pages for name in page] == [name[10:] for name in names] + names
    assert max(map(len, pages)) == registry.LISTED_NAMES


def test_the_page_for_a_person_is_made_once_for_a_host_and_for_few_hosts():
    table = table_of(samples.layout(IMAGE, "docker.io/library/x:1"))
    bodies = [table.answer("GET", "/", {"host": host}).entity.body
              for _ in range(2) for host in ["10.0.0.%d" % number for number in range(99)] + ["x" * 300]]
    assert len({id(body) for body in bodies}) == 1 + registry.PAGES
    assert b"<dt>10.0.0.0/library/x:1" in bodies[0] and b"<dt>library/x:1" in bodies[98] and bodies[98] is bodies[99]
