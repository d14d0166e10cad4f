from functools import partial

import pytest

from builder.kubernetes import site
from builder.reading.errors import InputError

LONG = "a" * 63

GOOD = [
    (site.image, "python", "python"),
    (site.image, "Registry.Example/a:B", "Registry.Example/a:B"),
    (site.image, "quay.io/a/b@sha256:" + "0" * 64, "quay.io/a/b@sha256:" + "0" * 64),
    (site.namespace, "seedpod", "seedpod"),
    (site.namespace, LONG, LONG),
    (site.port, "31999", 31999),
    (partial(site.count, "--try"), "99", 99),
    (partial(site.subdomain, "--pull-secret"), "my.secret-1", "my.secret-1"),
    (partial(site.label, "--node-selector"), "kubernetes.io/hostname=node-1", ("kubernetes.io/hostname", "node-1")),
    (partial(site.label, "--node-selector"), "node-role.kubernetes.io/worker=", ("node-role.kubernetes.io/worker", "")),
    (site.own_label, "team=a", ("team", "a")),
    (site.own_label, "app.kubernetes.io/part-of=x", ("app.kubernetes.io/part-of", "x")),
    (site.annotation, "a/b=any text: =,\"\u00e9", ("a/b", "any text: =,\"\u00e9")),
    (site.toleration, "key", {"key": "key", "operator": "Exists"}),
    (site.toleration, "key=value", {"key": "key", "operator": "Equal", "value": "value"}),
    (site.toleration, "key:NoExecute", {"key": "key", "operator": "Exists", "effect": "NoExecute"}),
    (site.toleration, "a.b/key=:NoSchedule",
     {"key": "a.b/key", "operator": "Equal", "value": "", "effect": "NoSchedule"}),
    (partial(site.quantities, "--limits"), "cpu=1,memory=64Mi", {"cpu": "1", "memory": "64Mi"}),
]
BAD = [
    (site.image, ["", "a b", "a\nb", "a\"b", "<none>:<none>", "Python:3.12", "Library/x", "a/B", "a\x1b[2J",
                  "a\ud800", "\u202ea", "-o", "a:" + "x" * 129, "sha256:" + "0" * 64], "--image"),
    (site.namespace, ["", "A", "a_b", "-a", "a-", "a.b", LONG + "a", "a\n"], "--namespace"),
    (site.port, ["", "0", "80", "65536", "-1", "x", "1e4", "\u0661\u0661\u0661\u0661"], "--node-port"),
    (partial(site.count, "--try"), ["", "0", "100", "-1", "1.5"], "--try"),
    (partial(site.subdomain, "--pull-secret"), ["", "A", "a_b", ".a", "a" * 254], "--pull-secret"),
    (partial(site.label, "--node-selector"), ["a", "=b", "a=b c", "a/=b", "/a=b", "A/b/c=d", "a=" + LONG + "a"],
     "--node-sel"),
    (site.own_label, ["app.kubernetes.io/name=x", "app.kubernetes.io/instance=x", "seedpod/part=x", "seedpod/team=x", "x"], "--label"),
    (site.annotation, ["a", "=b", "a b=c", "a=\udcff"], "--annotation"),
    (site.interpreter, ["", "\udcff", "a\nb", "\x1b[0m"], "--interpreter"),
    (site.toleration, ["", "a b", "key:", "key:Never", "=v", "key=a b"], "--tolerate"),
    (partial(site.quantities, "--limits"), ["", "cpu", "cpu=", "cpu=x", "gpu=1", "cpu=1,cpu=2", "cpu=0", "memory=-1"],
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


@pytest.mark.parametrize("given, line", [
    ({"expose": "hostport", "replicas": 2}, "--expose hostport: cannot be combined with --replicas"),
    ({"expose": "hostnetwork", "tries": 2}, "--expose hostnetwork: cannot be combined with --try"),
    ({"replicas": 2, "tries": 2}, "--try: cannot be combined with --replicas"),
    ({"image": "x", "tries": 2}, "--try: cannot be combined with --image"),
    ({"host_python": True, "tries": 2}, "--host-python: cannot be combined with --try"),
    ({"host_python": True, "interpreter": "python3"}, "--interpreter 'python3': must be an absolute path with --host-p"),
    ({"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}, "--requests cpu=2: is more than --limits cpu=1500m"),
])
def test_options_that_contradict_each_other_are_refused(given, line):
    with pytest.raises(InputError, match=line):
        site.checked(site.Site(**given))


def test_options_that_go_together_are_taken():
    for given in ({"replicas": 3}, {"tries": 3}, {"expose": "hostport", "host_python": True}, {"host_python": True, "interpreter": "/x"},
                  {"requests": {"cpu": "1"}, "limits": {"cpu": "1000m", "memory": "1Gi"}}):
        assert site.checked(site.Site(**given)) == site.Site(**given)


def test_only_our_own_namespace_is_emitted_unless_asked_for():
    assert site.Site().emits_namespace
    assert not site.Site(namespace="other").emits_namespace
    assert site.Site(namespace="other", create_namespace=True).emits_namespace
    assert not site.Site(create_namespace=False).emits_namespace
    assert not site.Site(namespace="other", create_namespace=False).emits_namespace


@pytest.mark.parametrize("name", ["default", "kube-node-lease", "kube-public", "kube-system"])
def test_a_namespace_of_the_cluster_may_be_used_and_is_never_created(name):
    with pytest.raises(InputError, match="--create-namespace: namespace %s belongs to the cluster: leave it out" % name):
        site.checked(site.Site(namespace=name, create_namespace=True))
    for create in (None, False):
        given = site.Site(namespace=name, create_namespace=create)
        assert site.checked(given) == given and not given.emits_namespace


TAINT = {"key": "dedicated", "value": "infra", "effect": "NoSchedule"}


@pytest.mark.parametrize("text, fits", [
    ("dedicated", True), ("dedicated=infra", True), ("dedicated=infra:NoSchedule", True),
    ("dedicated:NoSchedule", True),
    ("dedicated=other", False), ("dedicated:NoExecute", False), ("dedicate", False), ("dedicated=", False),
])
def test_a_toleration_fits_a_taint_as_the_scheduler_sees_it(text, fits):
    assert site.tolerates((site.toleration(text),), TAINT) == fits


def test_every_taint_is_tolerated_on_demand():
    assert site.toleration("all") == site.TOLERATE_ALL
    assert site.toleration("all:NoSchedule")["key"] == "all"
    assert site.tolerates((site.TOLERATE_ALL,), TAINT)
    assert not site.tolerates((), TAINT)
