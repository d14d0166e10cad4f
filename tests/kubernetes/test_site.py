import pytest

from builder.kubernetes import site
from builder.reading.errors import InputError


@pytest.mark.parametrize("given, line", [
    ({"expose": "hostport", "replicas": 2}, "--expose hostport: cannot be combined with --replicas"),
    ({"expose": "hostnetwork", "tries": 2}, "--expose hostnetwork: cannot be combined with --try"),
    ({"replicas": 2, "tries": 2}, "--try: cannot be combined with --replicas"),
    ({"image": "x", "tries": 2}, "--try: cannot be combined with --image"),
    ({"host_python": True, "tries": 2}, "--host-python: cannot be combined with --try"),
    ({"host_python": True, "interpreter": "python3"}, "--interpreter 'python3': must be an absolute path with --host-p"),
    ({"node_selector": {"kubernetes.io/os": "windows"}}, "--node-selector kubernetes.io/os=windows: the injector runs on L"),
    ({"image": "127.0.0.1:31999/a:1"}, "--image 127.0.0.1:31999/a:1: would be pulled from the injector that it runs"),
    ({"image": "localhost:30001/a", "node_port": 30001}, "--image localhost:30001/a: would be pulled from the injector"),
    ({"expose": "hostnetwork", "node_port": 10250}, "--node-port 10250: Kubernetes itself uses this port of nodes"),
    ({"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}, "--requests cpu=2: is more than --limits cpu=1500m"),
])
def test_options_that_contradict_each_other_are_refused(given, line):
    with pytest.raises(InputError, match=line):
        site.checked(site.Site(**given))


def test_options_that_go_together_are_taken():
    for given in ({"replicas": 3}, {"tries": 3}, {"expose": "hostport", "host_python": True}, {"host_python": True, "interpreter": "/x"},
                  {"image": "127.0.0.1:5000/a:1", "node_selector": {"kubernetes.io/os": "linux"}, "node_port": 10250},
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
