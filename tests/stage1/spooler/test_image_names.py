"""stage1/spooler/image_names and credentials: what a file is called, and what a file of credentials holds."""
import base64

import pytest

from builder.reading.errors import InputError

from credentials import credentials_of
from image_names import Name, name_of_file, parse_name

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize("text, name", (
    ("app", Name("app", "latest")),
    ("team/app:1.2", Name("team/app", "1.2")),
    ("quay.io/team/app:1.2", Name("quay.io/team/app", "1.2")),
    ("app@" + DIGEST, Name("app", DIGEST)),
    ("app:1@" + DIGEST, Name("app", DIGEST)),
))
def test_a_name_is_the_repository_as_it_is_written(text, name):
    assert parse_name(text) == name
    assert parse_name(str(name)) == name
    assert not str(name).startswith("localhost")


@pytest.mark.parametrize("text", ("", ":1", "app:", "App", "a//b", "/a", "a/", "../a", "a/../b", "localhost:5000/app:1",
                                  "app:1:2", "app@sha256:12", "a b", "app:-1", "a" * 256, "app:" + "t" * 129,
                                  "app\n", "app!"))
def test_what_is_no_legal_name_is_refused(text):
    with pytest.raises(InputError, match="is not an image name"):
        parse_name(text)


@pytest.mark.parametrize("path, text", (
    ("registry.tar", "registry:latest"),
    ("team/app:1.2.tar", "team/app:1.2"),
    ("team\\app:1.2.tar", "team/app:1.2"),
    ("app:1.2.tar.gz", "app:1.2"),
    ("app:1.2.tgz", "app:1.2"),
    ("app:1.2", "app:1.2"),
    ("values.yaml", "values.yaml:latest"),
))
def test_a_file_is_named_after_its_image(path, text):
    assert str(name_of_file(path)) == text


@pytest.mark.parametrize("path", (".tar", "App.tar", "a b.tar", "app@%s.tar" % DIGEST, "app:1/x.tar"))
def test_a_file_whose_name_is_none_of_an_image_is_refused(path):
    with pytest.raises(InputError, match="is not an image name|is named after a digest"):
        name_of_file(path)


AUTH = base64.b64encode(b"user:pass:word").decode()


@pytest.mark.parametrize("text, expected", (
    ("user:pass:word\n", "user:pass:word"),
    ('{"auths": {"reg:5000": {"auth": "%s"}}}' % AUTH, "user:pass:word"),
    ('{"auths": {"https://reg:5000/v1/": {"auth": "%s"}}}' % AUTH, "user:pass:word"),
    ('{"auths": {"reg:5000": {"username": "user", "password": "pass:word"}}}', "user:pass:word"),
    ('{"auths": {"other": {"auth": "%s"}, "reg:50": {}}}' % AUTH, ""),
    ("{}", ""),
))
def test_credentials_are_one_line_or_a_config_json(text, expected):
    assert credentials_of(text, "reg:5000", "f") == expected


@pytest.mark.parametrize("text", ("", "secret", "a:secret\nb:c", '{"auths": []}', 
                                  '{"auths": {"reg:5000": {"auth": "secr!"}}}', '{"auths": {"reg:5000": "secret"}}',
                                  "{secret"))
def test_credentials_that_cannot_be_read_are_refused_and_not_quoted(text):
    with pytest.raises(InputError, match="^f: ") as failure:
        credentials_of(text, "reg:5000", "f")
    assert "secr" not in str(failure.value)
