from functools import partial

import pytest

from builder.cli import site_options
from builder.kubernetes import site
from builder.kubernetes.persistent_registry import Storage
from builder.reading.errors import InputError

LONG = "a" * 63

GOOD = [
    (site_options.image, "python", "python"),
    (site_options.image, "Registry.Example/a:B", "Registry.Example/a:B"),
    (site_options.image, "quay.io/a/b@sha256:" + "0" * 64, "quay.io/a/b@sha256:" + "0" * 64),
    (site_options.namespace, "seedpod", "seedpod"),
    (site_options.namespace, LONG, LONG),
    (site_options.port, "31999", 31999),
    (partial(site_options.count, "--try"), "99", 99),
    (partial(site_options.object_name, "--pull-secret"), "my.secret-1", "my.secret-1"),
    (partial(site_options.label, "--node-selector"), "kubernetes.io/hostname=node-1", ("kubernetes.io/hostname", "node-1")),
    (partial(site_options.label, "--node-selector"), "node-role.kubernetes.io/worker=", ("node-role.kubernetes.io/worker", "")),
    (site_options.own_label, "team=a", ("team", "a")),
    (site_options.own_label, "app.kubernetes.io/part-of=x", ("app.kubernetes.io/part-of", "x")),
    (site_options.annotation, "a/b=any text: =,\"\u00e9", ("a/b", "any text: =,\"\u00e9")),
    (site_options.toleration, "key", {"key": "key", "operator": "Exists"}),
    (site_options.toleration, "key=value", {"key": "key", "operator": "Equal", "value": "value"}),
    (site_options.toleration, "key:NoExecute", {"key": "key", "operator": "Exists", "effect": "NoExecute"}),
    (site_options.toleration, "a.b/key=:NoSchedule",
     {"key": "a.b/key", "operator": "Equal", "value": "", "effect": "NoSchedule"}),
    (partial(site_options.quantities, "--limits"), "cpu=1,memory=64Mi", {"cpu": "1", "memory": "64Mi"}),
]
BAD = [
    (site_options.image, ["", "a b", "a\nb", "a\"b", "<none>:<none>", "Python:3.12", "Library/x", "a/B", "a\x1b[2J",
                  "a\ud800", "\u202ea", "-o", "a:" + "x" * 129, "sha256:" + "0" * 64], "--image"),
    (site_options.namespace, ["", "A", "a_b", "-a", "a-", "a.b", LONG + "a", "a\n"], "--namespace"),
    (site_options.port, ["", "0", "80", "65536", "-1", "x", "1e4", "\u0661\u0661\u0661\u0661"], "--node-port"),
    (partial(site_options.count, "--try"), ["", "0", "100", "-1", "1.5"], "--try"),
    (partial(site_options.object_name, "--pull-secret"), ["", "A", "a_b", ".a", "a" * 254], "--pull-secret"),
    (partial(site_options.label, "--node-selector"), ["a", "=b", "a=b c", "a/=b", "/a=b", "A/b/c=d", "a=" + LONG + "a"],
     "--node-sel"),
    (site_options.own_label, ["app.kubernetes.io/name=x", "app.kubernetes.io/instance=x", "seedpod/part=x", "seedpod/team=x", "x"], "--label"),
    (site_options.annotation, ["a", "=b", "a b=c", "a=\udcff"], "--annotation"),
    (site_options.interpreter, ["", "\udcff", "a\nb", "\x1b[0m", "python3;rm", "python3 -x", "$(x)"], "--interpreter"),
    (site_options.toleration, ["", "a b", "key:", "key:Never", "=v", "key=a b"], "--tolerate"),
    (partial(site_options.quantities, "--limits"), ["", "cpu", "cpu=", "cpu=x", "gpu=1", "cpu=1,cpu=2", "cpu=0", "memory=-1"],
     "--limits"),
]


@pytest.mark.parametrize("read, text, value", GOOD)
def test_what_the_cluster_takes_is_read(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize("read, text, option", [(read, text, option) for read, texts, option in BAD for text in texts])
def test_what_the_cluster_would_refuse_is_refused_with_its_option(read, text, option):
    with pytest.raises(InputError, match="^%s" % option) as refusal:
        read(text)
    assert "\n" not in str(refusal.value)


TAINT = {"key": "dedicated", "value": "infra", "effect": "NoSchedule"}


@pytest.mark.parametrize("text, fits", [
    ("dedicated", True), ("dedicated=infra", True), ("dedicated=infra:NoSchedule", True),
    ("dedicated:NoSchedule", True),
    ("dedicated=other", False), ("dedicated:NoExecute", False), ("dedicate", False), ("dedicated=", False),
])
def test_a_toleration_fits_a_taint_as_the_scheduler_sees_it(text, fits):
    assert site.tolerates((site_options.toleration(text),), TAINT) == fits


def test_every_taint_is_tolerated_on_demand():
    assert site_options.toleration("all") == site.TOLERATE_ALL
    assert site_options.toleration("all:NoSchedule")["key"] == "all"
    assert site.tolerates((site.TOLERATE_ALL,), TAINT)
    assert not site.tolerates((), TAINT)


@pytest.mark.parametrize("text, place", (
    ("emptydir", Storage()), ("emptydir:50Gi", Storage(size="50Gi")),
    ("claim:data", Storage("claim", claim="data")),
    ("new:20Gi", Storage("new", size="20Gi")),
    ("new:20Gi:fast", Storage("new", size="20Gi", storage_class="fast")),
))
def test_storage_is_read(text, place):
    assert site_options.storage(text) == place


@pytest.mark.parametrize("text", ("", "claim", "claim:", "claim:A_b", "new", "new:", "new:much", "new:1",
                                  "new:20Gi:A b", "nfs:x", "emptydir:", "emptydir:1", "emptydir:1Gi:fast"))
def test_storage_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="^--registry-storage "):
        site_options.storage(text)


@pytest.mark.parametrize("text", ["", "etc", "/", "/etc/../root", "/a b", "/etc/containerd\n", "//etc", "/./etc"])
def test_what_is_no_folder_of_a_node_is_refused(text):
    with pytest.raises(InputError, match="^--containerd-config "):
        site_options.folder("--containerd-config", text)


def test_a_folder_loses_its_last_slash():
    assert site_options.folder("--containerd-config", "/etc/containerd/") == "/etc/containerd"


@pytest.mark.parametrize("text, size", [("1", 1), ("184KiB", 184 << 10), ("512kib", 512 << 10), ("1MiB", 1 << 20)])
def test_sizes_are_read(text, size):
    assert site_options.size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1.5MiB", "-1", "1 KiB", "1KB", "1GiB", "0x10", "\u0661", "0", "0KiB",
                                  "9" * 5000])
def test_what_is_not_a_size_is_refused(text):
    with pytest.raises(InputError, match="--chunk-size .*: is not a size: write 184KiB, 1MiB or a number of bytes"):
        site_options.size(text)
