"""A registry that fails to order, and clients of it whose clock stands still unless they wait."""
import contextlib

import pytest

from tests.support.fake_registry import DATA, Clock, running

import upload
import registry_client
from registry_client import RegistryClient


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
            client = RegistryClient(url, credentials, **dict({"retry_seconds": 60, "clock": clock}, **more))
            stack.callback(client.close)
            return client
        yield connected


@pytest.fixture
def client(fake, connect):
    return connect(fake.url)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(upload, "CHUNK_BYTES", len(DATA) // 4)
    for module in (upload, registry_client):
        monkeypatch.setattr(module, "BLOCK_BYTES", 100)
