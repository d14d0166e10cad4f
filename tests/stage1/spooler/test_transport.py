"""stage1/spooler/transport and its callers: new tries, credentials, redirects, and answers of any bytes, each of which
ends in one line and bounded time."""
import contextlib
import threading
import time

import pytest

from builder.reading.errors import InputError
from builder.reading.oci import OCI_MANIFEST, blob_of, digest_of

from tests.support import fake_registry
from tests.support.fake_registry import DATA, NONSENSE, FakeRegistry, running

import transport
from image_names import Name
from protocol import Manifest, RegistryError, Transient
from pull import FORMATS, pull
from transport import Tls, Transport
from upload import SENT

MANIFEST = Manifest(OCI_MANIFEST, digest_of(b"{}"), b"{}")
BEARER = 'Bearer realm="URL/token",service="registry",scope="repository:app:pull,push"'

OPERATIONS = {
    "answers": lambda client: client.answers(),
    "upload": lambda client: client.upload("app", blob_of(DATA)),
    "put a manifest": lambda client: client.put_manifest("app", "1", MANIFEST),
    "get a manifest": lambda client: client.manifest("app", MANIFEST.digest),
    "list": lambda client: (client.repositories(), client.tags("app")),
    "delete": lambda client: client.delete_manifest("app", MANIFEST.digest),
    "get a blob": lambda client: list(client.blob("app", digest_of(DATA), len(DATA))),
    "pull": lambda client: list(pull(client, Name("app", "1"), FORMATS[0], "")),
}


# Heads are read in one place, bodies by what is asked for: every kind for a request that reads JSON and for an upload,
# which follows a Location; every operation for kinds of each sort.
SORTS = ("zero bytes", "redirects in a circle", "non-ASCII headers", "an upload somewhere else")
PAIRS = sorted({(kind, operation) for kind in NONSENSE for operation in ("list", "upload")}
               | {(kind, operation) for kind in SORTS for operation in OPERATIONS})


@pytest.mark.parametrize("kind, operation", PAIRS)
def test_nonsense_ends_in_one_line_of_error(kind, operation, fake, connect):
    fake.nonsense = NONSENSE[kind]
    client = connect(fake.url, "user:secret", retry_seconds=1)
    try:
        OPERATIONS[operation](client)
    except (RegistryError, InputError) as error:  # anything else would be a traceback
        line = str(error)
        assert line.isprintable() and len(line) <= 1000 and "None" not in line and "secret" not in line


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - {"answers", "get a blob"}))
def test_after_nonsense_the_next_request_is_a_fresh_one(operation, fake, connect):
    client = connect(fake.url, retry_seconds=1)
    for kind in sorted(NONSENSE):
        fake.nonsense = NONSENSE[kind]
        with contextlib.suppress(RegistryError, InputError):
            OPERATIONS[operation](client)
        fake.nonsense = None
        client.tags("app")


def test_an_illegal_name_in_a_list_is_left_out_and_the_others_stay(fake, client):
    body = b'{"repositories": ["b", "../x", "A", "a"]}'
    fake.faults = [("GET", "_catalog", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))]
    assert client.repositories() == ["b", "a"]


def test_a_registry_that_lists_the_same_page_for_ever_is_refused(fake, client):
    fake.nonsense = NONSENSE["a next page that is the same"]
    with pytest.raises(RegistryError, match="more than 100 pages"):
        client.repositories()


def test_a_status_without_a_known_reason_says_nothing_more(fake, client):
    fake.nonsense = NONSENSE["404 without a body"]
    with pytest.raises(RegistryError, match="status 404$"):
        client.put_manifest("app", "1", MANIFEST)


def test_an_answer_that_comes_byte_by_byte_for_ever_is_given_up(fake, connect, monkeypatch):
    monkeypatch.setattr(transport, "ANSWER_SECONDS", .2)
    over = threading.Event()

    def drip(file, data):
        file.write(data)
        while not over.wait(.01):
            file.write(b"y")
    monkeypatch.setattr(fake_registry, "write", drip)
    fake.nonsense = b"HTTP/1.1 200 OK\r\nX: y"
    try:
        with pytest.raises(Transient, match="took more than"):
            connect(fake.url, retry_seconds=0).tags("app")
    finally:
        over.set()


def test_waiting_grows_and_ends(fake, clock, client):
    fake.faults = [("GET", "", 503)] * 50
    with pytest.raises(Transient, match="status 503"):
        client.tags("app")
    assert clock.slept[:4] == [.25, .5, 1, 2] and max(clock.slept) == transport.LONGEST_WAIT_SECONDS
    assert clock.now <= 60


def test_retry_after_is_obeyed(fake, clock, client):
    fake.faults = [("GET", "", (429, {"Retry-After": "9"}))]
    assert client.tags("app") == []
    assert clock.slept == [9]


def test_a_registry_that_is_not_there_may_come(connect):
    with running(FakeRegistry()) as gone:
        pass
    lines = []
    client = connect(gone.url, retry_seconds=1, log=lines.append)
    assert not client.answers()
    with pytest.raises(Transient, match="refused"):
        client.has_blob("app", digest_of(DATA))
    assert lines and all(line.startswith("again in ") for line in lines)


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
    ("user:secret", 'Bearer realm="ftp://else/token"', "refusing to send credentials to ftp://else/token"),
    ("user:secret", "", "give the right --credentials"),
))
def test_wrong_credentials_are_reported_at_once_and_never_quoted(credentials, challenge, words, fake, clock, connect):
    fake.authorization, fake.challenge = "Bearer t0", challenge
    client = connect(fake.url, credentials)
    with pytest.raises(RegistryError, match=words) as failure:
        client.upload("app", blob_of(DATA))
    assert "wrong" not in str(failure.value) and "secret" not in str(failure.value)
    assert not clock.slept and client.answers()


def test_nothing_goes_from_https_to_http():
    with pytest.raises(RegistryError, match="not encrypted"):
        Transport("https://127.0.0.1:1", "", Tls(), 0, time, print).request("GET", "http://127.0.0.1:1/v2/")
