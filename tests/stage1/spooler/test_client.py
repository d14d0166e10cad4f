"""stage1/spooler/registry_client: the rules of the protocol, and a registry that fails to order."""
import contextlib
import functools
import io

import pytest

from builder.reading.errors import BuildError
from builder.reading.oci import OCI_MANIFEST, Blob, digest_of

from tests.support import fake_registry
from tests.support.fake_registry import CUT, HALF, Clock, FakeRegistry, running

import registry_client
from registry_client import MOUNTED, SENT, THERE, Manifest, Registry, RegistryError, Transient

DATA = bytes(range(256)) * 40
MANIFEST_DATA = b'{"schemaVersion":2,"config":{},"layers":[]}'
MANIFEST = Manifest(OCI_MANIFEST, digest_of(MANIFEST_DATA), MANIFEST_DATA)
BEARER = 'Bearer realm="URL/token",service="registry",scope="repository:app:pull,push"'


def blob_of(data):
    return Blob(digest_of(data), len(data), functools.partial(io.BytesIO, data))


@pytest.fixture
def fake():
    with running() as registry:
        yield registry


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def connect(clock):
    """A function of URL and credentials."""
    with contextlib.ExitStack() as stack:
        def connected(url, credentials="", **more):
            client = Registry(url, credentials, **dict({"retry_seconds": 60, "clock": clock}, **more))
            stack.callback(client.close)
            return client
        yield connected


@pytest.fixture
def client(fake, connect):
    return connect(fake.url)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(registry_client, "CHUNK_BYTES", len(DATA) // 4)
    monkeypatch.setattr(registry_client, "BLOCK_BYTES", 100)


@pytest.mark.parametrize("header, expected", (
    ("", ("", {})),
    ("Negotiate", ("", {})),
    ('Basic realm="a, b"', ("basic", {"realm": "a, b"})),
    ("basic realm=plain", ("basic", {"realm": "plain"})),
    ('Bearer realm="https://a/t",service="r",scope="repository:x:pull,push"',
     ("bearer", {"realm": "https://a/t", "service": "r", "scope": "repository:x:pull,push"})),
    ('Basic realm="x", Bearer realm="https://a/t", service="r"', ("bearer", {"realm": "https://a/t", "service": "r"})),
))
def test_a_challenge_is_read_and_bearer_preferred(header, expected):
    assert registry_client.challenge(header) == expected


@pytest.mark.parametrize("header, count", ((None, 0), ("", 0), ("0-0", 0), ("0-9", 10), ("bytes=0-9", 10), ("5-9", 0),
                                            ("0--9", 0), ("0-99999999999999999999", 0)))
def test_the_range_of_an_upload_tells_the_bytes_that_are_there(header, count):
    assert registry_client.received(header) == count


@pytest.mark.parametrize("header, seconds", ((None, 0), ("7", 7), ("-1", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0),
                                              ("9999999", 0)))
def test_retry_after_is_read_in_seconds(header, seconds):
    assert registry_client.wait_of(header) == seconds


@pytest.mark.parametrize("body, line", (
    (b"", ""), (b"<html>", ""), (b'{"errors":[]}', ""), (b'{"errors":["x"]}', ""), (b"[]", ""),
    (fake_registry.error("DENIED", "no"), "DENIED no"),
    (b'{"errors":[{"code":"A"},{"message":"b\\nc"}]}', "A; b c"),
    (fake_registry.error("A", "b" * 999), "A " + "b" * (registry_client.ERROR_LETTERS - 2)),
))
def test_what_a_registry_complains_of_is_one_short_line(body, line):
    assert registry_client.complaint(body) == line


def test_a_blob_is_sent_once_then_it_is_there_then_it_is_mounted(fake, client):
    blob = blob_of(DATA)
    assert [client.upload(name, blob) for name in ("app", "app", "other")] == [SENT, THERE, MOUNTED]
    assert fake.blobs == {("app", blob.digest): DATA, ("other", blob.digest): DATA}
    assert len(fake.sent("PUT")) == 1


def test_a_large_blob_is_mounted_from_a_repository_that_another_process_filled(fake, client, monkeypatch):
    monkeypatch.setattr(registry_client, "SEARCH_BYTES", len(DATA))
    fake.blobs["far/away", digest_of(DATA)] = DATA
    assert client.upload("app", blob_of(DATA)) == MOUNTED


def test_a_registry_that_does_not_list_is_sent_the_blob(fake, client, monkeypatch):
    monkeypatch.setattr(registry_client, "SEARCH_BYTES", len(DATA))
    fake.faults = [("GET", "/v2/_catalog", 403)]
    assert client.upload("app", blob_of(DATA)) == SENT


@pytest.mark.parametrize("data", (b"", b"x", DATA[:len(DATA) // 4], DATA[:len(DATA) // 4 + 1], DATA))
def test_a_blob_of_any_size_arrives(data, fake, client, small_chunks):
    assert client.upload("app", blob_of(data)) == SENT
    assert fake.blobs["app", digest_of(data)] == data


def test_a_blob_is_sent_in_parts_of_which_the_last_closes_it(fake, client, small_chunks):
    client.upload("app", blob_of(DATA))
    assert (len(fake.sent("PATCH")), len(fake.sent("PUT"))) == (3, 1)


def test_a_registry_that_takes_no_parts_gets_the_whole(fake, client, small_chunks):
    fake.takes_parts = False
    assert client.upload("app", blob_of(DATA)) == SENT
    assert fake.blobs["app", digest_of(DATA)] == DATA


@pytest.mark.parametrize("faults, patches", (
    ([("PATCH", "", HALF)], 4),  # goes on behind the half that arrived
    ([("PATCH", "", CUT)], 4),
    ([("PATCH", "", 503)], 4),
    ([("PATCH", "", (429, {"Retry-After": "5"}))], 4),
    ([("PUT", "", HALF)], 3),
    ([("PUT", "", CUT), ("GET", "uploads", 404)], 6),  # it forgot the upload: begin again
    ([("PATCH", "", CUT), ("GET", "uploads", CUT), ("HEAD", "", CUT)], 4),
    ([("POST", "", CUT), ("POST", "", 500)], 3),
    ([("HEAD", "", 502), ("HEAD", "", CUT)], 3),
    ([("PATCH", "", 416)], 4),  # it counts otherwise: asked, then believed
))
def test_an_upload_survives(faults, patches, fake, client, small_chunks):
    fake.faults = list(faults)
    assert client.upload("app", blob_of(DATA)) == SENT
    assert not fake.faults
    assert fake.blobs["app", digest_of(DATA)] == DATA
    assert len(fake.sent("PATCH")) <= patches


def test_after_half_a_part_only_the_rest_is_sent(fake, client, small_chunks):
    sent = []
    original = registry_client.blocks_of
    registry_client.blocks_of = lambda blob, start, count: sent.append((start, count)) or original(blob, start, count)
    try:
        fake.faults = [("PATCH", "", HALF)]
        client.upload("app", blob_of(DATA))
    finally:
        registry_client.blocks_of = original
    part = len(DATA) // 4
    assert sent[:2] == [(0, part), (part // 2, part)]


def test_a_put_whose_answer_was_lost_is_not_sent_again(fake, client):
    upload = fake_registry.upload

    def lose_answer(handler, fake, method, *rest):
        if method == "PUT":
            reply, fake_registry.reply = fake_registry.reply, lambda *args: None
            upload(handler, fake, method, *rest)
            fake_registry.reply = reply
            handler.close_connection = True
        else:
            upload(handler, fake, method, *rest)
    fake_registry.upload = lose_answer
    try:
        assert client.upload("app", blob_of(DATA)) == SENT
    finally:
        fake_registry.upload = upload
    assert len(fake.sent("PUT")) == 1


def test_a_registry_that_forgets_every_upload_is_given_up(fake, client, small_chunks):
    fake.faults = [("PATCH", "", CUT), ("GET", "uploads", 404)] * 20
    with pytest.raises(RegistryError, match="lost the upload"):
        client.upload("app", blob_of(DATA))


@pytest.mark.parametrize("told", ("0-0", "0-99999999"))
def test_a_registry_that_counts_wrong_is_refused(told, fake, client, small_chunks):
    fake.faults = [("PATCH", "", (202, {"Location": "/v2/app/blobs/uploads/u?", "Range": told}))] * 2
    if told == "0-0":  # none told: what was sent counts, and the lie shows at the end
        fake.faults += [("PUT", "", 400)] * 9
    with pytest.raises(RegistryError):
        client.upload("app", blob_of(DATA))


def test_waiting_grows_and_ends(fake, clock, client):
    fake.faults = [("GET", "", 503)] * 50
    with pytest.raises(Transient, match="status 503"):
        client.tags("app")
    assert clock.slept[:4] == [.25, .5, 1, 2] and max(clock.slept) == registry_client.LONGEST_WAIT_SECONDS
    assert clock.now <= 60


def test_retry_after_is_obeyed(fake, clock, client):
    fake.faults = [("GET", "", (429, {"Retry-After": "9"}))]
    assert client.tags("app") == []
    assert clock.slept == [9]


def test_a_registry_that_is_not_there_may_come(connect):
    with running(FakeRegistry()) as gone:
        pass
    told = []
    client = connect(gone.url, retry_seconds=1, log=told.append)
    assert not client.answers()
    with pytest.raises(Transient, match="refused"):
        client.has_blob("app", digest_of(DATA))
    assert told and all(line.startswith("again in ") for line in told)


@pytest.mark.parametrize("answer", (b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x03\x00\x02", b"HTTP/1.1 abc\r\n\r\n"))
def test_nonsense_is_told_at_once(answer, fake, clock, client):
    fake.faults = [("HEAD", "", answer)]
    with pytest.raises(RegistryError, match="is it a registry"):
        client.has_blob("app", digest_of(DATA))
    assert not clock.slept


def test_an_upload_without_location_is_refused(fake, client):
    fake.faults = [("POST", "", 202)]
    with pytest.raises(RegistryError, match="without Location"):
        client.upload("app", blob_of(DATA))


@pytest.mark.parametrize("body", (b"<html>", b"[]", b'{"tags": 3}', b'{"tags": [1]}'))
def test_a_list_that_is_none_is_refused(body, fake, client):
    fake.faults = [("GET", "", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))]
    with pytest.raises(RegistryError, match="is no list of tags"):
        client.tags("app")


def test_a_manifest_goes_in_and_comes_out_byte_for_byte(fake, client):
    client.put_manifest("app", "1", MANIFEST)
    assert client.manifest("app", "1") == client.manifest("app", MANIFEST.digest) == MANIFEST
    assert client.manifest("app", "2") is None


def test_a_manifest_that_the_registry_changed_is_refused(fake, client):
    fake.manifests["app", MANIFEST.digest] = OCI_MANIFEST, MANIFEST_DATA + b" "
    with pytest.raises(RegistryError, match="is damaged"):
        client.manifest("app", MANIFEST.digest)
    fake.faults = [("PUT", "", (201, {"Docker-Content-Digest": "sha256:" + "0" * 64}))]
    with pytest.raises(RegistryError, match="the registry took"):
        client.put_manifest("app", "1", MANIFEST)


def test_lists_are_read_page_by_page(fake, client):
    fake.page = 2
    for tag in "abcde":
        client.put_manifest("app", tag, MANIFEST)
    assert client.tags("app") == list("abcde")
    assert client.repositories() == ["app"]


def test_a_blob_comes_out_and_goes_on_after_a_cut(fake, client, small_chunks):
    fake.blobs["app", digest_of(DATA)] = DATA
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA[:1000]
    fake.faults = [("GET", "blobs", cut), ("GET", "blobs", 503)]
    assert b"".join(client.blob("app", digest_of(DATA), len(DATA))) == DATA
    assert not fake.faults


def test_a_blob_of_other_bytes_is_refused(fake, client):
    fake.blobs["app", digest_of(DATA)] = DATA[::-1]
    with pytest.raises(RegistryError, match="is damaged in the registry"):
        list(client.blob("app", digest_of(DATA), len(DATA)))


def test_a_blob_behind_a_redirect_gets_no_credentials(fake, connect):
    with running() as store:
        store.blobs["x", digest_of(DATA)] = DATA
        store.authorization = ""
        fake.authorization, fake.challenge = "Basic dTpw", 'Basic realm="r"'
        client = connect(fake.url, "u:p")
        fake.faults = [("GET", "blobs", (307, {"Location": "%s/v2/x/blobs/%s" % (store.url, digest_of(DATA))}))]
        seen = []
        serve = fake_registry.serve
        fake_registry.serve = lambda handler, *rest: seen.append(handler.headers.get("Authorization")) or serve(
            handler, *rest)
        try:
            assert b"".join(client.blob("app", digest_of(DATA), len(DATA))) == DATA
        finally:
            fake_registry.serve = serve
        assert seen == [None]


def test_basic_credentials_are_given_when_they_are_asked_for(fake, connect):
    fake.authorization, fake.challenge = "Basic dXNlcjpzZWNyZXQ=", 'Basic realm="r"'
    assert connect(fake.url, "user:secret").upload("app", blob_of(DATA)) == SENT


def test_the_token_dance(fake, connect):
    fake.authorization, fake.challenge = "Bearer t0", BEARER
    client = connect(fake.url, "user:secret")
    assert client.upload("app", blob_of(DATA)) == SENT
    assert fake.sent("GET") == ["/token"]  # one serves for the whole repository


def test_a_token_that_ran_out_is_asked_for_again_in_the_middle_of_an_upload(fake, connect, small_chunks):
    fake.authorization, fake.challenge = "Bearer t0", BEARER
    client = connect(fake.url, "user:secret")
    fake.faults = [("PATCH", "", (401, {"WWW-Authenticate": BEARER.replace("URL", fake.url)}))]
    assert client.upload("app", blob_of(DATA)) == SENT
    assert fake.sent("GET") == ["/token", "/token"]


@pytest.mark.parametrize("credentials, challenge, words", (
    ("user:wrong", 'Basic realm="r"', "give the right --credentials"),
    ("user:wrong", BEARER, "give the right --credentials"),
    ("", 'Basic realm="r"', "give the right --credentials"),
    ("user:secret", 'Bearer realm="ftp://else/token"', "no credentials go there"),
    ("user:secret", "", "give the right --credentials"),
))
def test_wrong_credentials_are_told_at_once_and_never_quoted(credentials, challenge, words, fake, clock, connect):
    fake.authorization, fake.challenge = "Bearer t0", challenge
    client = connect(fake.url, credentials)
    with pytest.raises(RegistryError, match=words) as failure:
        client.upload("app", blob_of(DATA))
    assert "wrong" not in str(failure.value) and "secret" not in str(failure.value)
    assert not clock.slept and client.answers()


def test_nothing_goes_from_https_to_http(connect):
    client = connect("https://127.0.0.1:1")
    with pytest.raises(RegistryError, match="not encrypted"):
        client._send("GET", "http://127.0.0.1:1/v2/", {}, None)


def test_a_file_that_shrinks_while_it_is_sent_is_the_files_fault(fake, client):
    blob = Blob(digest_of(DATA), len(DATA), functools.partial(io.BytesIO, DATA[:100]))
    with pytest.raises(BuildError, match="became shorter"):
        client.upload("app", blob)
    gone = blob._replace(open=functools.partial(open, "/does/not/exist", "rb"))
    with pytest.raises(BuildError, match="cannot be read"):
        client.upload("app", gone)


def test_delete_removes_every_tag_and_says_when_it_is_not_allowed(fake, client):
    client.put_manifest("app", "1", MANIFEST)
    client.put_manifest("app", "2", MANIFEST)
    client.delete_manifest("app", MANIFEST.digest)
    assert client.tags("app") == []
    client.put_manifest("app", "1", MANIFEST)
    fake.allows_delete = False
    with pytest.raises(RegistryError, match="REGISTRY_STORAGE_DELETE_ENABLED"):
        client.delete_manifest("app", MANIFEST.digest)
