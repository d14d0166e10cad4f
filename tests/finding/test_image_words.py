"""builder/finding/image_words: which words are image names, and which announce one."""
import pytest

from builder.finding.image_words import announces_image, has_placeholder, is_image_flag, resembles_image

DIGEST = "@sha256:" + "a" * 64


@pytest.mark.parametrize("word", [
    "q.io/a:1", "localhost/a:1", "host:5000/a:1", "q.io/a" + DIGEST, "q.io:443/a/b:1" + DIGEST])
def test_a_word_with_a_host_and_a_version_resembles_an_image(word):
    assert resembles_image(word, False) and resembles_image(word, True)


@pytest.mark.parametrize("word", ["q.io/a", "localhost/a", "a:1", "a/b:1", "a" + DIGEST])
def test_one_of_the_two_is_enough_for_an_announced_image(word):
    assert not resembles_image(word, False) and resembles_image(word, True)


@pytest.mark.parametrize("word", [
    "a", "a/b", "https://q.io/a:1", "q.io/a:NoSchedule", "q.io/a:NoExecute", "q.io/A:1", ""])
def test_another_word_never_resembles_an_image(word):
    assert not resembles_image(word, False) and not resembles_image(word, True)


@pytest.mark.parametrize("name", ["--image", "-git-image", "--images", "RELATED_IMAGE", "defaultImage", "--image-name"])
def test_a_name_that_ends_with_image_announces_one(name):
    assert announces_image(name) and is_image_flag(name) == name.startswith("-")


@pytest.mark.parametrize("name", ["--imagery", "IMAGE_GIT", "--image=a", "", None, 1])
def test_another_name_announces_nothing(name):
    assert not announces_image(name) and not is_image_flag(name)


def test_placeholders_are_those_of_templates_kubernetes_and_shells():
    assert all(map(has_placeholder, ["{{ .Values.a }}", "a:$(TAG)", "${A}:1"]))
    assert not any(map(has_placeholder, ["{a}", "$A", "a:1"]))
