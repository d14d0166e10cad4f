"""stage1/spooler/upload: a blob arrives, whatever happens on its way."""
import functools
import io

import pytest

from builder.reading.errors import InputError
from builder.reading.oci import Blob, blob_of, digest_of

from tests.support import fake_registry
from tests.support.fake_registry import CUT, DATA, HALF

import registry_client
import upload
from protocol import RegistryError
from upload import MOUNTED, SENT, THERE


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
    original = upload.blocks_of
    upload.blocks_of = lambda blob, start, count: sent.append((start, count)) or original(blob, start, count)
    try:
        fake.faults = [("PATCH", "", HALF)]
        client.upload("app", blob_of(DATA))
    finally:
        upload.blocks_of = original
    part = len(DATA) // 4
    assert sent[:2] == [(0, part), (part // 2, part)]


def test_a_put_whose_answer_was_lost_is_not_sent_again(fake, client):
    original = fake_registry.upload

    def lose_answer(handler, fake, method, *rest):
        if method == "PUT":
            reply, fake_registry.reply = fake_registry.reply, lambda *args: None
            original(handler, fake, method, *rest)
            fake_registry.reply = reply
            handler.close_connection = True
        else:
            original(handler, fake, method, *rest)
    fake_registry.upload = lose_answer
    try:
        assert client.upload("app", blob_of(DATA)) == SENT
    finally:
        fake_registry.upload = original
    assert len(fake.sent("PUT")) == 1


def test_a_registry_that_forgets_every_upload_is_given_up(fake, client, small_chunks):
    fake.faults = [("PATCH", "", CUT), ("GET", "uploads", 404)] * 20
    with pytest.raises(RegistryError, match="lost the upload"):
        client.upload("app", blob_of(DATA))


@pytest.mark.parametrize("said", ("0-0", "0-99999999"))
def test_a_registry_that_counts_wrong_is_refused(said, fake, client, small_chunks):
    fake.faults = [("PATCH", "", (202, {"Location": "/v2/app/blobs/uploads/u?", "Range": said}))] * 2
    if said == "0-0":  # it says nothing: what was sent counts, and the difference shows at the end
        fake.faults += [("PUT", "", 400)] * 9
    with pytest.raises(RegistryError):
        client.upload("app", blob_of(DATA))


def test_an_upload_without_location_is_refused(fake, client):
    fake.faults = [("POST", "", 202)]
    with pytest.raises(RegistryError, match="without Location"):
        client.upload("app", blob_of(DATA))


def test_a_file_that_shrinks_while_it_is_sent_is_the_files_fault(fake, client):
    blob = Blob(digest_of(DATA), len(DATA), functools.partial(io.BytesIO, DATA[:100]))
    with pytest.raises(InputError, match="became shorter"):
        client.upload("app", blob)
    gone = blob._replace(open=functools.partial(open, "/does/not/exist", "rb"))
    with pytest.raises(InputError, match="cannot be read"):
        client.upload("app", gone)
