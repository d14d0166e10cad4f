"""stage1/spooler/protocol: what a status, a header or a JSON body means."""
import pytest

from tests.support import fake_registry

import protocol


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
    assert protocol.challenge(header) == expected


@pytest.mark.parametrize("header, count", ((None, 0), ("", 0), ("0-0", 0), ("0-9", 10), ("bytes=0-9", 10), ("5-9", 0),
                                            ("0--9", 0), ("0-99999999999999999999", 0)))
def test_the_range_of_an_upload_is_read_as_a_count_of_bytes(header, count):
    assert protocol.received(header) == count


@pytest.mark.parametrize("header, seconds", ((None, 0), ("7", 7), ("-1", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0),
                                              ("9999999", 0), ("²", 0), ("٣", 0)))
def test_retry_after_is_read_in_seconds_and_nothing_else_counts(header, seconds):
    assert protocol.wait_of(header) == seconds


@pytest.mark.parametrize("body, line", (
    (b"", ""), (b"<html>", ""), (b'{"errors":[]}', ""), (b'{"errors":["x"]}', ""), (b"[]", ""),
    (fake_registry.error("DENIED", "no"), "DENIED no"),
    (b'{"errors":[{"code":"A"},{"message":"b\\nc"}]}', "A; b\\nc"),
    (fake_registry.error("A", "b" * 999), "A %s ... %s" % ("b" * 95, "b" * 97)),
))
def test_what_a_registry_complains_of_is_one_short_line(body, line):
    assert protocol.complaint(body) == line
