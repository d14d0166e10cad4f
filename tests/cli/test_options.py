import pytest

from builder.cli import options as arguments
from builder.kubernetes import site
from builder.reading.errors import InputError
from builder.kubernetes.site import Site


def site_of(*words):
    return arguments.site_of(arguments.read(words))


@pytest.mark.parametrize("path, typed", [
    ("build.py", "python3 build.py"), ("not/there/build.py", "python3 not/there/build.py"), ("/bin/sh", "sh"),
    ("/proc/self/exe", "/proc/self/exe"), ("a b.pyz", "python3 'a b.pyz'")])
def test_a_program_is_named_as_it_was_started(path, typed, monkeypatch):
    monkeypatch.setenv("PATH", "/bin")
    assert arguments.started(path) == typed


@pytest.mark.parametrize("text, size", [("1", 1), ("184KiB", 184 << 10), ("512kib", 512 << 10), ("1MiB", 1 << 20)])
def test_sizes_are_read(text, size):
    assert arguments.size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1.5MiB", "-1", "1 KiB", "1KB", "1GiB", "0x10", "\u0661", "0", "0KiB",
                                  "9" * 5000])
def test_what_is_not_a_size_is_refused(text):
    with pytest.raises(InputError, match="--chunk-size .*: is not a size: write 184KiB, 1MiB or a number of bytes"):
        arguments.size(text)


def test_a_file_whose_name_holds_an_equals_sign_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.tar").touch()
    assert arguments.named_archive("a=b.tar") == ("", "a=b.tar")
    assert arguments.named_archive("a=c.tar") == ("a", "c.tar")
    assert arguments.named_archive("x.tar") == ("", "x.tar")


@pytest.mark.parametrize("text", ["registry:2", "quay.io/team/app", "busybox", "x=docker.io/library/busybox:1"])
def test_the_name_of_an_image_is_no_archive(text):
    image = text.rpartition("=")[2]
    with pytest.raises(InputError, match="%s: there is no such file: if it is an image, save it first: docker save -o "
                                         "image.tar %s" % (image, image)):
        arguments.named_archive(text)


@pytest.mark.parametrize("text", ["missing.tar", "a/b.tar.gz", "/abs/layout", "./layout", "-", "no archive", "folder/"])
def test_what_is_no_image_name_is_left_to_whoever_opens_it(text):
    assert arguments.named_archive(text) == ("", text)


def test_without_options_the_site_is_the_plain_one():
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
def test_each_option_is_in_its_place(words, given):
    assert site_of(*words.split()) == Site(**given)


@pytest.mark.parametrize("words, fields", [
    ("", set()), ("--image x --namespace n --onto old", {"image", "namespace"}), ("--try=2 --label a=b", {"tries", "labels"}),
    ("--annotation a=b --pull-secret a --tolerate a", {"annotations", "pull_secrets", "tolerations"}),
    ("--no-create-namespace --with-registry", {"create_namespace"}),
    ("--host-python --node-port 30001", {"host_python", "node_port"})])
def test_what_was_given_is_not_taken_from_the_base_of_an_update(words, fields):
    assert arguments.given_fields(arguments.read(words.split())) == fields


def test_every_field_of_the_site_has_an_option():
    options = vars(arguments.read([]))
    aliases = {"tolerations": "tolerate", "pull_secrets": "pull_secret", "labels": "label", "annotations": "annotation"}
    assert {aliases.get(name, name) for name in Site._fields} <= set(options)


@pytest.mark.parametrize("words, line", [
    ("--what", "--what: unknown option: see --help"),
    ("--expose loadbalancer", "--expose: invalid choice: 'loadbalancer'"),
    ("--ima x", "--ima: unknown option: did you mean --image?"),
    ("--nodeport=31999 a.tar", "--nodeport=31999: unknown option: did you mean --node-port?"),
    ("-o", "-o/--out: expected one argument: see --help"),
    ("--node-port 80", "--node-port '80': is not a port from 1024 to 65535"), ("--tolerate =", "--tolerate '=': is not a taint"),
    ("--images-of a --image x", "--image: means nothing with --images-of alone"),
    ("--not-image a", "--not-image: means nothing without --images-of: add it"),
    ("--explain", "--explain: means nothing without --cluster: add it"),
    ("--signers f", "--signers: means nothing without --verify: add it"),
    ("--registry-image x", "--registry-image: means nothing without --with-registry: add it"),
    ("--registry-storage new:1Gi", "--registry-storage: means nothing without --with-registry: add it"),
    ("--explain --cluster c -o x", "--out: means nothing with --explain alone: name archives, or leave it out"),
    ("--create-namespace --no-create-namespace", "--create-namespace, --no-create-namespace: exclude each other"),
    ("--no-create-namespace a.tar --create-namespace", "--create-namespace, --no-create-namespace: exclude each other"),
    ("--namespace kube-system --create-namespace", "--create-namespace: namespace kube-system belongs to the cluster"),
    ("--json --quiet a.tar", "--quiet, --json: exclude each other: give one of them"),
    ("nosuch.tar --spooler f --pyz f", "--pyz, --spooler: exclude each other: give one of them"),
    ("--demo --split a.tar", "--split, --demo: exclude each other: give one of them"),
    ("a.tar --demo", "--demo: takes no archive: leave out a.tar"),
    ("--verify seed a.tar", "--verify: takes no archive: leave out a.tar"),
    ("--pyz f --image x", "--image: means nothing with --pyz: leave out one of them"),
    ("--demo -oout", "--out: means nothing with --demo: leave out one of them"),
    ("--split a.tar --squeeze", "--squeeze: means nothing with --split: leave out one of them"),
    ("--verify seed --chunk-size 184KiB", "--chunk-size: means nothing with --verify: leave out one of them"),
    ("--replicas 2 --try 2", "--try: cannot be combined with --replicas"),
])
def test_wrong_words_are_refused_in_one_line(words, line):
    with pytest.raises(InputError) as refusal:
        site_of(*words.split())
    assert str(refusal.value).startswith(line) and "\n" not in str(refusal.value)


def test_archives_may_stand_anywhere():
    options = arguments.read("a.tar --image x b.tar --squeeze -- --c.tar".split())
    assert options.archives == ["a.tar", "b.tar", "--c.tar"]


@pytest.mark.parametrize("words, out", [("a.tar", "seedpod"), ("--split a.tar", "seedpod-images"), ("a.tar -o x", "x"),
                                        ("--split a.tar --out=x", "x"), ("a.tar -ox", "x")])
def test_each_mode_has_a_folder_of_its_own_by_default(words, out):
    assert arguments.read(words.split()).out == out


@pytest.mark.parametrize("mode", sorted(arguments.MODES))
def test_whatever_a_mode_takes_beside_it_is_an_option(mode):
    assert set(arguments.MODES[mode].options) | {mode} <= set(arguments.option_names(arguments.parser()))


@pytest.mark.parametrize("words, answer", [
    ("--json", (True, "")), ("--jsn a", (False, "")), ("a -o - --json --nonsense", (True, "-")), ("-o- x", (False, "-")),
    ("--json -o", (True, "")), ("-- --json", (False, ""))])
def test_how_to_answer_is_known_even_where_other_words_are_wrong(words, answer):
    assert arguments.answer_of(words.split()) == answer


def test_the_help_names_every_exit_status():
    page = arguments.parser().format_help()
    for part in ("exit status:", "0 done", "2 the input or the options are wrong", "1 something else failed", "128 + N"):
        assert part in page
