"""stage1/spooler/registry_client: what is in a registry goes in, comes out and is deleted."""
import pytest

from builder.reading.oci import OCI_MANIFEST, digest_of

from tests.support.fake_registry import DATA

from protocol import Manifest, RegistryError

MANIFEST_DATA = b'{"schemaVersion":2,"config":{},"layers":[]}'
MANIFEST = Manifest(OCI_MANIFEST, digest_of(MANIFEST_DATA), MANIFEST_DATA)


@pytest.mark.parametrize("answer", (b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x03\x00\x02", b"HTTP/1.1 abc\r\n\r\n"))
def test_what_does_not_speak_http_is_reported_at_once(answer, fake, clock, client):
    fake.faults = [("HEAD", "", answer)]
    with pytest.raises(RegistryError, match="is it a registry"):
        client.has_blob("app", digest_of(DATA))
    assert not clock.slept


@pytest.mark.parametrize("body", (b"<html>", b"[]", b'{"tags": 3}', b'{"tags": [1]}'))
def test_what_is_not_a_list_is_refused(body, fake, client):
    fake.faults = [("GET", "", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))]
    with pytest.raises(RegistryError, match="is not a list of tags"):
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


def test_delete_removes_every_tag_and_says_when_it_is_not_allowed(fake, client):
    client.put_manifest("app", "1", MANIFEST)
    client.put_manifest("app", "2", MANIFEST)
    client.delete_manifest("app", MANIFEST.digest)
    assert client.tags("app") == []
    client.put_manifest("app", "1", MANIFEST)
    fake.allows_delete = False
    with pytest.raises(RegistryError, match="REGISTRY_STORAGE_DELETE_ENABLED"):
        client.delete_manifest("app", MANIFEST.digest)
