"""stage1/spooler/session: credentials, tokens, redirects, another try."""
import pytest

from builder.reading.oci import blob_of, digest_of

from tests.support import fake_registry
from tests.support.fake_registry import DATA, FakeRegistry, running

import session
from protocol import RegistryError, Transient
from transport import Tls, Transport
from upload import SENT

BEARER = 'Bearer realm="URL/token",service="registry",scope="repository:app:pull,push"'


def test_waiting_grows_and_ends(fake, clock, client):
    fake.faults = [("GET", "", 503)] * 50
    with pytest.raises(Transient, match="status 503"):
        client.tags("app")
    assert clock.slept[:4] == [.25, .5, 1, 2] and max(clock.slept) == session.LONGEST_WAIT_SECONDS
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
    ("user:secret", 'Bearer realm="ftp://else/token"', "no credentials go there"),
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
        Transport("https://127.0.0.1:1", Tls()).send("GET", "http://127.0.0.1:1/v2/", {})
