import argparse

import pytest

from builder import arguments
from builder.kubernetes import site
from builder.reading.errors import BuildError
from builder.kubernetes.site import Site


def site_of(*words):
    return arguments.site_of(arguments.parser().parse_args(words))


@pytest.mark.parametrize("text, size", [("1", 1), ("512KiB", 512 << 10), ("512kib", 512 << 10), ("1MiB", 1 << 20)])
def test_sizes_are_read(text, size):
    assert arguments.size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1.5MiB", "-1", "1 KiB", "1KB", "1GiB", "0x10", "\u0661"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.size(text)


def test_a_file_whose_name_holds_an_equals_sign_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.tar").touch()
    assert arguments.named_archive("a=b.tar") == ("", "a=b.tar")
    assert arguments.named_archive("a=c.tar") == ("a", "c.tar")
    assert arguments.named_archive("x.tar") == ("", "x.tar")


def test_without_options_the_site_is_the_plain_one():
    assert site_of() == Site()


@pytest.mark.parametrize("words, given", [
    ("--image x --interpreter /p", {"image": "x", "interpreter": "/p"}),
    ("--try 3", {"tries": 3}), ("--replicas 3", {"replicas": 3}), ("--expose hostport", {"expose": "hostport"}),
    ("--host-python", {"host_python": ""}), ("--host-python /p", {"host_python": "/p"}),
    ("--namespace n --create-namespace", {"namespace": "n", "create_namespace": True}),
    ("--node-port 30001", {"node_port": 30001}), ("--no-user", {"no_user": True}),
    ("--node-selector a=b --node-selector c=d", {"node_selector": {"a": "b", "c": "d"}}),
    ("--tolerate a --tolerate b=c:NoExecute", {"tolerations": (
        {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Equal", "value": "c", "effect": "NoExecute"})}),
    ("--tolerate a --tolerate-all", {"tolerations": (site.TOLERATE_ALL,)}),
    ("--requests cpu=1 --limits memory=1Gi", {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}),
    ("--pull-secret a --pull-secret b", {"pull_secrets": ("a", "b")}),
    ("--label a=b --annotation c=d=e", {"labels": {"a": "b"}, "annotations": {"c": "d=e"}}),
    ("--priority-class p", {"priority_class": "p"}),
])
def test_each_option_is_in_its_place(words, given):
    assert site_of(*words.split()) == Site(**given)


def registry_of(*words):
    return arguments.registry_of(arguments.parser().parse_args(words))


def test_a_registry_that_stays_has_the_usual_port_and_the_injector_the_one_below():
    assert site_of("--with-registry") == Site(node_port=31998)
    assert site_of("--with-registry", "--node-port", "30001") == Site(node_port=30001)


def test_the_port_of_the_registry_that_stays_is_refused_for_the_injector():
    with pytest.raises(BuildError, match="--node-port 31999: is the port of the registry that --with-registry writes: "
                                         "leave it out"):
        registry_of("--with-registry", "--node-port", "31999")
    assert registry_of("--with-registry", "--node-port", "31998") and not registry_of("--node-port", "31999")


def test_every_field_of_the_site_has_an_option():
    options = vars(arguments.parser().parse_args([]))
    aliases = {"tolerations": "tolerate", "pull_secrets": "pull_secret", "labels": "label", "annotations": "annotation"}
    assert {aliases.get(name, name) for name in Site._fields} <= set(options)


@pytest.mark.parametrize("words, line", [
    ("--what", "unrecognized arguments: --what: see python3 build.py --help"),
    ("--expose loadbalancer", "argument --expose: invalid choice: 'loadbalancer'"),
    ("--ima x", "unrecognized arguments"),
    ("--node-port 80", "--node-port '80': is not a port from 1024 to 65535: choose one from 30000 to 32767"), ("--tolerate =", "--tolerate '=': is no taint"),
    ("--explain", "--explain: needs --cluster FILE"),
    ("--replicas 2 --try 2", "--try: its Pods are to fail"),
])
def test_wrong_words_are_told_in_one_line(words, line):
    with pytest.raises(BuildError) as refusal:
        site_of(*words.split())
    assert str(refusal.value).startswith(line) and "\n" not in str(refusal.value)
