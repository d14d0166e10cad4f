"""stage1/spooler/transport and all above it: whatever a registry answers, it costs one line and bounded time."""
import contextlib
import threading
import time

import pytest

from builder.reading.errors import InputError
from builder.reading.oci import OCI_MANIFEST, blob_of, digest_of

from tests.support import fake_registry
from tests.support.fake_registry import DATA, NONSENSE

import transport
from names import Name
from protocol import Manifest, RegistryError, Transient
from pull import FORMATS, pull

MANIFEST = Manifest(OCI_MANIFEST, digest_of(b"{}"), b"{}")
CPU_SECONDS = 5  # of one request with its new tries; the slowest takes half a second

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


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("kind", sorted(NONSENSE))
def test_nonsense_ends_in_one_line_of_error(kind, operation, fake, connect):
    fake.nonsense = NONSENSE[kind]
    client = connect(fake.url, "user:secret", retry_seconds=1)
    started = time.process_time()
    try:
        OPERATIONS[operation](client)
    except (RegistryError, InputError) as error:  # anything else would be a traceback
        line = str(error)
        assert line.isprintable() and len(line) <= 1000 and "None" not in line and "secret" not in line
    assert time.process_time() - started < CPU_SECONDS


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
