"""The OCI distribution spec 1.1, categories pull and content discovery: a test for each clause, which is quoted.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md; everything goes over a real socket.
"""
import hashlib
import json
import re

import pytest

from tests.support import injector
from tests.support import samples
from builder.reading import oci

IMAGE = samples.sample(layer_count=3)
OTHER = samples.sample("other")
MANIFEST, BLOBS = samples.oci_manifest(IMAGE)
DIGEST = oci.digest_of(MANIFEST)
LAYERS = json.loads(MANIFEST.decode())["layers"]
DOCKER = samples.to_json({"schemaVersion": 2, "mediaType": oci.DOCKER_MANIFEST,
                          "config": samples.descriptor(oci.DOCKER_CONFIG, IMAGE.config), "layers": []})
UNKNOWN = "sha256:" + "0" * 64
NAME = "library/sample"
TAGS = ["1", "10", "2", "A", "a", "B", "_x", "latest", "v1.0", "V1.1", "v1.2"]
LEXICAL = sorted(TAGS, key=lambda tag: (tag.lower(), tag))
REPOSITORIES = ["a/b", "docker.io/library/sample", "library/sample", "localhost/other", "other", "quay.io/a/b",
                "sample"]
CODES = {"BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
         "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED",
         "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS"}


def reference_to(data, marker, index=False, **more):
    """A signature, SBOM or the like -> (descriptor without a name, members)."""
    subject = samples.descriptor(oci.OCI_MANIFEST, data)
    if index:
        made = samples.index_of([], subject=subject, **more)
        return samples.descriptor(oci.OCI_INDEX, made), [samples.blob(made)]
    made, blobs = samples.oci_manifest(samples.with_layers([marker]), subject=subject, **more)
    return samples.descriptor(oci.OCI_MANIFEST, made), blobs


SBOM, SBOM_BLOBS = reference_to(MANIFEST, b"sbom", artifactType="application/vnd.example.sbom.v1",
                                annotations={"org.example": "yes"})
PLAIN, PLAIN_BLOBS = reference_to(MANIFEST, b"plain")
INDEX, INDEX_BLOBS = reference_to(MANIFEST, b"", index=True)
FOREIGN, FOREIGN_BLOBS = reference_to(samples.oci_manifest(OTHER)[0], b"foreign")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    seed = injector.seed_of(
        tmp_path_factory.mktemp("seed"),
        samples.layout(IMAGE, *["docker.io/%s:%s" % (NAME, tag) for tag in TAGS]),
        samples.layout(OTHER, "localhost/other:1"),
        samples.layout_of([samples.descriptor(oci.DOCKER_MANIFEST, DOCKER,
                                              annotations={oci.REF_NAME: "quay.io/a/b:1"})],
                          [samples.blob(DOCKER), samples.blob(IMAGE.config)]),
        samples.layout_of([SBOM, PLAIN, INDEX, FOREIGN], SBOM_BLOBS + PLAIN_BLOBS + INDEX_BLOBS + FOREIGN_BLOBS))
    with injector.serving(seed) as running:
        yield running


METHODS = pytest.mark.parametrize("method", ["GET", "HEAD"])


# --- determining support

@pytest.mark.parametrize("path", ["/v2/", "/v2"])
@METHODS
def test_end_1_if_the_response_is_200_the_registry_implements_this_specification(server, path, method):
    reply = server.get(path, method=method)
    assert reply.status == 200 and reply.headers["docker-distribution-api-version"] == "registry/2.0"


# --- pulling manifests

@pytest.mark.parametrize("reference", TAGS + [DIGEST])
def test_a_get_of_an_existing_manifest_must_provide_the_expected_manifest_with_200(server, reference):
    reply = server.get("/v2/%s/manifests/%s" % (NAME, reference))
    assert (reply.status, reply.body) == (200, MANIFEST)


def test_the_content_type_should_match_what_was_pushed_and_have_no_parameters(server):
    assert server.get("/v2/%s/manifests/1" % NAME).headers["content-type"] == oci.OCI_MANIFEST
    assert server.get("/v2/a/b/manifests/1").headers["content-type"] == oci.DOCKER_MANIFEST


@pytest.mark.parametrize("accept", ["*/*", "application/json", oci.DOCKER_MANIFEST, oci.OCI_INDEX, "text/html;q=0.1",
                                    ""])
def test_an_accept_header_without_the_stored_type_still_gets_the_manifest(server, accept):
    """"The client SHOULD include an Accept header": the fallbacks of clients count on an answer."""
    reply = server.get("/v2/%s/manifests/1" % NAME, "Accept: " + accept)
    assert (reply.status, reply.headers["content-type"]) == (200, oci.OCI_MANIFEST)


def test_a_successful_response_should_contain_the_digest_in_docker_content_digest(server):
    assert server.get("/v2/%s/manifests/1" % NAME).headers["docker-content-digest"] == DIGEST
    assert server.get("/v2/%s/blobs/%s" % (NAME, LAYERS[0]["digest"])).headers["docker-content-digest"] \
        == LAYERS[0]["digest"]


@pytest.mark.parametrize("reference", ["none", UNKNOWN, "sha512:" + "0" * 128, ".INVALID_MANIFEST_NAME", "x" * 129,
                                       oci.digest_of(samples.oci_manifest(OTHER)[0])])
@METHODS
def test_if_the_manifest_is_not_found_in_the_repository_the_code_must_be_404(server, reference, method):
    reply = server.get("/v2/%s/manifests/%s" % (NAME, reference), method=method)
    assert reply.status == 404
    if method == "GET":
        assert reply.code == "MANIFEST_UNKNOWN"


# --- pulling blobs

def test_a_get_of_an_existing_blob_must_provide_the_expected_blob_with_200(server):
    for name, data in BLOBS[1:]:
        digest = oci.digest_of(data)
        reply = server.get("/v2/%s/blobs/%s" % (NAME, digest))
        assert (reply.status, reply.body, reply.headers["content-length"]) == (200, data, str(len(data)))


@pytest.mark.parametrize("digest", [UNKNOWN, "sha512:" + "0" * 128, oci.digest_of(OTHER.config)])
@METHODS
def test_if_the_blob_is_not_found_in_the_repository_the_code_must_be_404(server, digest, method):
    reply = server.get("/v2/%s/blobs/%s" % (NAME, digest), method=method)
    assert reply.status == 404
    if method == "GET":
        assert reply.code == "BLOB_UNKNOWN"


def test_a_registry_should_support_the_range_request_header(server):
    digest, size = LAYERS[0]["digest"], LAYERS[0]["size"]
    data = dict(BLOBS)["blobs/sha256/" + digest[7:]]
    path = "/v2/%s/blobs/%s" % (NAME, digest)
    for value, start, stop in (("0-9", 0, 10), ("10-", 10, size), ("-7", size - 7, size), ("5-99999999", 5, size)):
        reply = server.get(path, "Range: bytes=" + value)
        assert (reply.status, reply.body) == (206, data[start:stop])
        assert reply.headers["content-range"] == "bytes %d-%d/%d" % (start, stop - 1, size)
        assert reply.headers["content-length"] == str(stop - start)
    reply = server.get(path, "Range: bytes=%d-" % size)
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */%d" % size)
    assert server.get(path).headers["accept-ranges"] == "bytes"


def test_a_download_that_was_cut_is_resumed_by_range_and_if_range(server):
    path = "/v2/%s/blobs/%s" % (NAME, LAYERS[1]["digest"])
    whole = server.get(path)
    rest = server.get(path, "Range: bytes=100-", "If-Range: " + whole.headers["etag"])
    assert rest.status == 206 and whole.body[:100] + rest.body == whole.body
    assert server.get(path, "Range: bytes=100-", 'If-Range: "another"').body == whole.body


def test_ranges_of_manifests_and_config_are_answered_too(server):
    assert server.get("/v2/%s/manifests/1" % NAME, "Range: bytes=1-5").body == MANIFEST[1:6]


# --- checking if content exists

@pytest.mark.parametrize("path", ["manifests/1", "manifests/" + DIGEST, "blobs/" + LAYERS[0]["digest"], "tags/list",
                                  "referrers/" + DIGEST])
def test_a_head_of_what_exists_must_return_200_with_the_headers_of_get(server, path):
    got, head = (server.get("/v2/%s/%s" % (NAME, path), method=method) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (200, b"")
    for reply in (got, head):
        del reply.headers["date"]
    assert head.headers == got.headers and int(head.headers["content-length"]) == len(got.body) > 0


# --- listing tags

def test_assuming_a_repository_is_found_the_list_of_tags_must_return_200(server):
    reply = server.get("/v2/%s/tags/list" % NAME)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert set(reply.json) == {"name", "tags"} and reply.json["name"] == NAME


def test_the_tags_must_be_in_lexical_order_case_insensitive(server):
    assert server.get("/v2/%s/tags/list" % NAME).json["tags"] == LEXICAL


@pytest.mark.parametrize("count", [1, 3, len(TAGS), len(TAGS) + 1])
def test_the_response_must_include_n_results_unless_there_are_fewer(server, count):
    assert server.get("/v2/%s/tags/list?n=%d" % (NAME, count)).json["tags"] == LEXICAL[:count]


def test_when_n_is_zero_the_list_must_be_empty_and_must_not_include_a_link_header(server):
    reply = server.get("/v2/%s/tags/list?n=0" % NAME)
    assert (reply.status, reply.json["tags"]) == (200, []) and "link" not in reply.headers


@pytest.mark.parametrize("last", LEXICAL + ["aa", "0", "zz", "%41"])
def test_up_to_n_tags_after_last_are_returned_non_inclusively(server, last):
    plain = last.replace("%41", "A")
    after = [tag for tag in LEXICAL if (tag.lower(), tag) > (plain.lower(), plain)]
    assert server.get("/v2/%s/tags/list?n=2&last=%s" % (NAME, last)).json["tags"] == after[:2]
    assert server.get("/v2/%s/tags/list?last=%s" % (NAME, last)).json["tags"] == after


@pytest.mark.parametrize("path, key, expected, more", [
    ("/v2/%s/tags/list" % NAME, "tags", LEXICAL, ""), ("/v2/library%2Fsample/tags/list", "tags", LEXICAL, ""),
    ("/v2/%s/tags/list" % NAME, "tags", LEXICAL, "&ns=docker.io"),
    ("/v2/_catalog", "repositories", REPOSITORIES, "")])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_links_with_the_relation_type_next_lead_through_all_pages(server, path, key, expected, more, count):
    found, target = [], "%s?n=%d%s" % (path, count, more)
    while target:
        reply = server.get(target)
        assert reply.status == 200 and 0 < len(reply.json[key]) <= count
        found += reply.json[key]
        link = reply.headers.get("link")
        target = re.fullmatch('<(/[^>]+)>; rel="next"', link).group(1) if link else None
    assert found == expected


@pytest.mark.parametrize("count", ["x", "-1", "1.5", "", "1e3", "9" * 20])
def test_an_n_that_is_not_a_number_is_refused(server, count):
    for path in ("/v2/%s/tags/list" % NAME, "/v2/_catalog"):
        reply = server.get("%s?n=%s" % (path, count))
        assert (reply.status, reply.code) == (400, "UNSUPPORTED")


@pytest.mark.parametrize("path", ["/v2/_catalog?n=1", "/v2/%s/tags/list?n=1" % NAME])
@pytest.mark.parametrize("more", ["&x=%0d%0ax:y", "&last=%0d%0a", "&ns=%0d%0a", "&x=\x1b"])
def test_no_text_of_a_request_gets_into_a_link(server, path, more):
    reply = server.get(path + more)
    assert reply.status == 404 or re.fullmatch('</v2/[a-z/_]+[?](ns=&)?n=1&last=[a-z0-9/_.-]+>; rel="next"',
                                               reply.headers["link"])


def test_the_catalog_lists_every_legal_name(server):
    assert server.get("/v2/_catalog").json == {"repositories": REPOSITORIES}


# --- listing referrers

def referrers(server, digest=DIGEST, query="", name=NAME):
    reply = server.get("/v2/%s/referrers/%s%s" % (name, digest, query))
    assert reply.status == 200
    assert set(reply.json) == {"schemaVersion", "mediaType", "manifests"}
    assert (reply.json["schemaVersion"], reply.json["mediaType"]) == (2, oci.OCI_INDEX)
    return reply


def test_the_referrers_must_be_an_image_index_of_its_content_type(server):
    assert referrers(server).headers["content-type"] == oci.OCI_INDEX


def test_each_descriptor_is_of_a_manifest_with_that_subject_and_of_the_same_name(server):
    listed = referrers(server).json["manifests"]
    assert [entry["digest"] for entry in listed] == [SBOM["digest"], PLAIN["digest"], INDEX["digest"]]
    for entry in listed:
        reply = server.get("/v2/%s/manifests/%s" % (NAME, entry["digest"]))
        assert (len(reply.body), reply.headers["content-type"]) == (entry["size"], entry["mediaType"])
        assert reply.json["subject"]["digest"] == DIGEST


def test_artifact_type_must_be_that_of_the_manifest_or_else_its_configs_or_else_left_out(server):
    types = [entry.get("artifactType") for entry in referrers(server).json["manifests"]]
    assert types == ["application/vnd.example.sbom.v1", oci.OCI_CONFIG, None]
    assert "artifactType" not in referrers(server).json["manifests"][2]


def test_the_descriptors_must_include_annotations(server):
    assert referrers(server).json["manifests"][0]["annotations"] == {"org.example": "yes"}


@pytest.mark.parametrize("digest", [UNKNOWN, "sha512:" + "0" * 128, SBOM["digest"]])
def test_if_nothing_refers_to_it_an_empty_list_must_be_returned_and_never_404(server, digest):
    assert referrers(server, digest).json["manifests"] == []
    assert referrers(server, digest, "?artifactType=x").json["manifests"] == []


@pytest.mark.parametrize("digest", ["x", "sha256:x", "sha256:" + "0" * 63, "md5:" + "0" * 32])
def test_a_digest_with_an_invalid_syntax_must_be_400(server, digest):
    for kind in ("referrers", "blobs"):
        reply = server.get("/v2/%s/%s/%s" % (NAME, kind, digest))
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert server.get("/v2/%s/manifests/sha256:x" % NAME).code == "DIGEST_INVALID"


@pytest.mark.parametrize("wanted, count", [
    ("application/vnd.example.sbom.v1", 1), ("application%2Fvnd.example.sbom.v1", 1),
    (oci.OCI_CONFIG.replace("+", "%2B"), 1), (oci.OCI_CONFIG, 1), ("x", 0)])
def test_if_filtering_is_applied_the_response_must_include_oci_filters_applied(server, wanted, count):
    reply = referrers(server, query="?artifactType=" + wanted)
    assert reply.headers["oci-filters-applied"] == "artifactType"
    assert len(reply.json["manifests"]) == count
    assert "oci-filters-applied" not in referrers(server).headers


# --- errors

@pytest.mark.parametrize("path, expected, code", [
    ("/v2/none/manifests/1", 404, "NAME_UNKNOWN"), ("/v2/none/blobs/" + UNKNOWN, 404, "NAME_UNKNOWN"),
    ("/v2/none/tags/list", 404, "NAME_UNKNOWN"), ("/v2/none/referrers/" + UNKNOWN, 404, "NAME_UNKNOWN"),
    ("/v2/Upper/manifests/1", 400, "NAME_INVALID"), ("/v2/a//b/manifests/1", 400, "NAME_INVALID"),
    ("/v2/../manifests/1", 400, "NAME_INVALID"), ("/v2/a___b/tags/list", 400, "NAME_INVALID"),
    ("/v2/%s/tags/list" % ("x" * 256), 400, "NAME_INVALID"), ("/v2/%s/tags/list" % ("x" * 255), 404, "NAME_UNKNOWN"),
    ("/v2/%s/tags/list" % ("x/" * 4000 + "x"), 400, "NAME_INVALID"), ("/v2/x%00/tags/list", 400, "NAME_INVALID"),
    ("/v2/%2e%2e/tags/list", 400, "NAME_INVALID"), ("/v2/sample%0a/tags/list", 404, "UNSUPPORTED"),
    ("/v1/", 404, "UNSUPPORTED"), ("/v2/sample", 404, "UNSUPPORTED"),
    ("/v2/sample/tags", 404, "UNSUPPORTED"), ("/v2/sample/tags/other", 404, "UNSUPPORTED"),
    ("/v2/sample/manifests/", 404, "UNSUPPORTED"), ("/v2/sample/blobs/uploads/", 404, "UNSUPPORTED"),
    ("/v2/manifests/1", 404, "UNSUPPORTED"), ("/etc/passwd", 404, "UNSUPPORTED"),
    ("/v2/_catalog/", 404, "UNSUPPORTED")])
@METHODS
def test_the_code_field_must_be_one_of_the_spec(server, path, expected, code, method):
    assert code in CODES
    reply = server.get(path, method=method)
    assert reply.status == expected
    if method == "GET":
        assert reply.code == code
        assert int(reply.headers["content-length"]) == len(reply.body)


def test_a_percent_encoded_name_leads_to_the_same_repository(server):
    for path in ("/v2/library%2Fsample/manifests/1", "/v2/%6cibrary/%73ample/manifests/%31",
                 "/v2/sample/manifests/" + DIGEST.replace(":", "%3A")):
        assert server.get(path).body == MANIFEST


@pytest.mark.parametrize("method, path", [
    ("POST", "/v2/%s/blobs/uploads/" % NAME), ("POST", "/v2/%s/blobs/uploads/?mount=%s&from=x" % (NAME, UNKNOWN)),
    ("PATCH", "/v2/%s/blobs/uploads/1" % NAME), ("PUT", "/v2/%s/blobs/uploads/1?digest=%s" % (NAME, UNKNOWN)),
    ("PUT", "/v2/%s/manifests/1" % NAME), ("DELETE", "/v2/%s/manifests/1" % NAME),
    ("DELETE", "/v2/%s/manifests/%s" % (NAME, DIGEST)), ("DELETE", "/v2/%s/blobs/%s" % (NAME, UNKNOWN)),
    ("OPTIONS", "/v2/"), ("TRACE", "/v2/"), ("CONNECT", "/v2/"), ("PROPFIND", "/v2/")])
def test_if_deletion_or_push_is_disabled_the_registry_must_respond_with_405(server, method, path):
    reply = server.get(path, method=method)
    assert (reply.status, reply.headers["allow"], reply.code) == (405, "GET, HEAD", "UNSUPPORTED")


def test_every_digest_in_every_answer_is_that_of_the_bytes(server):
    for name in server.get("/v2/_catalog").json["repositories"]:
        for tag in server.get("/v2/%s/tags/list" % name).json["tags"]:
            manifest = server.get("/v2/%s/manifests/%s" % (name, tag))
            blobs = [manifest.json["config"]] + manifest.json["layers"]
            replies = [manifest] + [server.get("/v2/%s/blobs/%s" % (name, blob["digest"])) for blob in blobs]
            for reply in replies:
                assert reply.headers["docker-content-digest"] == "sha256:" + hashlib.sha256(reply.body).hexdigest()
