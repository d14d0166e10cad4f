import pytest

from builder.cli import options as arguments
from builder.kubernetes import site
from builder.reading.errors import InputError
from builder.kubernetes.site import Site


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The name of a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tar").touch()
    return "a.tar"


@pytest.fixture
def site_of(archive):
    """Words behind an archive -> the site."""
    return lambda *words: arguments.site_of(arguments.read([archive, *words]))


@pytest.mark.parametrize("text", ["registry:2", "quay.io/team/app", "busybox", "x=docker.io/library/busybox:1"])
def test_the_name_of_an_image_is_no_archive(text, archive):
    image = text.rpartition("=")[2]
    with pytest.raises(InputError, match="%s: no such file: if it is an image, save it first: docker save -o image.tar %s"
                                         % (image, image)):
        arguments.read([text])


@pytest.mark.parametrize("text", ["missing.tar", "a/b.tar.gz", "/abs/layout", "./layout", "no archive", "folder/"])
def test_what_is_no_image_name_is_a_file_that_is_not_there(text, archive):
    with pytest.raises(InputError, match="^%s: no such file or folder: check the path$" % text):
        arguments.read([text])


def test_without_options_the_site_is_the_plain_one(site_of):
    assert site_of() == Site()


@pytest.mark.parametrize("words, given", [
    ("--image x --interpreter /p", {"image": "x", "interpreter": "/p"}),
    ("--try 3", {"tries": 3}), ("--replicas 3", {"replicas": 3}), ("--expose hostport", {"expose": "hostport"}),
    ("--host-python", {"host_python": True}), ("--host-python --interpreter /p", {"host_python": True, "interpreter": "/p"}),
    ("--namespace n --create-namespace", {"namespace": "n", "create_namespace": True}),
    ("--no-create-namespace", {"create_namespace": False}),
    ("--node-port 30001", {"node_port": 30001}), ("--no-user", {"no_user": True}),
    ("--node-selector a=b --node-selector c=d", {"node_selector": {"a": "b", "c": "d"}}),
    ("--tolerate a --tolerate b=c:NoExecute", {"tolerations": (
        {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Equal", "value": "c", "effect": "NoExecute"})}),
    ("--tolerate all", {"tolerations": (site.TOLERATE_ALL,)}),
    ("--requests cpu=1 --limits memory=1Gi", {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}),
    ("--pull-secret a --pull-secret b", {"pull_secrets": ("a", "b")}),
    ("--label a=b --annotation c=d=e", {"labels": {"a": "b"}, "annotations": {"c": "d=e"}}),
])
def test_each_option_is_in_its_place(site_of, words, given):
    assert site_of(*words.split()) == Site(**given)


@pytest.mark.parametrize("words, fields", [
    ("", set()), ("--image x -n n --onto old", {"image", "namespace"}), ("--try=2 --label a=b", {"tries", "labels"}),
    ("--annotation a=b --pull-secret a --tolerate a", {"annotations", "pull_secrets", "tolerations"}),
    ("--no-create-namespace --with-registry", {"create_namespace"}), ("--host-python --node-port 30001", {"host_python", "node_port"})])
def test_what_is_given_is_not_taken_from_the_base_of_an_update(archive, words, fields):
    assert arguments.read([archive, *words.split()]).given & set(Site._fields) == fields


def test_every_field_of_the_site_has_an_option_of_a_build(archive):
    assert set(Site._fields) <= set(vars(arguments.read([archive])))


@pytest.mark.parametrize("words, line", [
    ("--namespace kube-system --create-namespace", "--create-namespace: namespace kube-system belongs to the cluster"),
    ("--replicas 2 --try 2", "--try: cannot be combined with --replicas"),
    ("--host-python --interpreter python3", "--interpreter 'python3': must be an absolute path with --host-python"),
    ("--tolerate =", "--tolerate '=': is not a taint")])
def test_options_of_the_site_that_are_wrong_are_refused_in_one_line(site_of, words, line):
    with pytest.raises(InputError) as refusal:
        site_of(*words.split())
    assert str(refusal.value).startswith(line) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("words, out", [
    (["a.tar"], "seedpod"), (["split", "a.tar"], "seedpod-images"), (["a.tar", "-o", "x"], "x"),
    (["inspect", "a.tar"], "")])
def test_each_command_that_writes_has_a_folder_of_its_own_by_default(archive, words, out):
    assert arguments.read(words).out == out


def test_without_a_cluster_an_image_is_required_before_an_archive_is_read(archive):
    for words, line in (([], "--image: is required: name an image with Python that the nodes already have"),
                        (["--try", "2"], "--try: requires --cluster FILE, which lists the images")):
        with pytest.raises(InputError, match="^" + line):
            arguments.request_of(arguments.read([archive, *words]), None, None, None)


@pytest.mark.parametrize("words, answer", [
    ("--json", (True, "")), ("--jsn a", (False, "")), ("a -o - --json --nonsense", (True, "-")), ("-o- x", (False, "-")),
    ("--json -o", (True, "")), ("-- --json", (False, ""))])
def test_how_to_answer_is_known_even_where_other_words_are_wrong(words, answer):
    assert arguments.answer_of(words.split()) == answer
