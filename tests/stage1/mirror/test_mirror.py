"""stage1/mirror: containerd's hosts.toml on a node: written, kept, removed, and nothing else touched."""
import errno
import importlib.util
import os
import pathlib
import signal
import subprocess

import pytest

from tests.support.interpreters import interpreters

PROGRAM = pathlib.Path(__file__).resolve().parents[3] / "stage1" / "mirror" / "__main__.py"
_SPEC = importlib.util.spec_from_file_location("mirror_program", str(PROGRAM))
program = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(program)

FOLDER = "/etc/containerd"
URL = "http://127.0.0.1:31999/v2/docker.io"
HOSTS = {"docker.io": [URL], "reg.local:5000": ["http://127.0.0.1:31999/v2"]}
PLACES = ("certs.d", "certs.d:/etc/docker/certs.d")  # of a containerd that no setting tells where
V1 = '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "%s"\n'
V2 = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = '%s' # here\n"
DOTTED = '[plugins."io.containerd.cri.v1.images"]\n  registry.config_path = "%s"\n'


@pytest.fixture
def node(tmp_path):
    """The root of a node with an empty /etc/containerd."""
    (tmp_path / "node" / "etc" / "containerd").mkdir(parents=True)
    return tmp_path / "node"


def mirror(node, hosts=HOSTS, folder=FOLDER, owner="seedpod", token="t1"):
    return program.Mirror(str(node), folder, owner, token, hosts)


def tree(folder):
    """Every path below a folder -> its text, None for a folder."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_text(encoding="utf-8")
            for path in sorted(pathlib.Path(folder).rglob("*"))}


def put(node, path, text=""):
    target = node / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def hosts_file(node, host="docker.io", place="certs.d"):
    return node / "etc" / "containerd" / place / host / "hosts.toml"


def test_without_a_setting_both_readings_of_containerds_default_are_written(node):
    mirror(node).keep()
    for place in PLACES:
        text = hosts_file(node, place=place).read_text()
        assert text.endswith('[host."%s"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n' % URL)


def test_a_host_with_a_port_has_the_folder_that_containerd_looks_for_first(node):
    mirror(node).keep()
    assert '[host."http://127.0.0.1:31999/v2"]' in hosts_file(node, "reg.local_5000_").read_text()


def test_the_urls_of_a_host_are_asked_in_the_order_given(node):
    mirror(node, {"quay.io": ["http://127.0.0.1:31999/v2/quay.io", "http://127.0.0.1:31998/v2/quay.io"]}).keep()
    text = hosts_file(node, "quay.io").read_text()
    assert 0 < text.index(":31999") < text.index(":31998")


@pytest.mark.parametrize("text", [V1, V2, DOTTED])
def test_config_path_is_read_from_the_configuration_of_the_node(node, text):
    put(node, "/etc/containerd/config.toml", text % "/etc/containerd/hosts.d")
    mirror(node).keep()
    assert hosts_file(node, place="hosts.d").exists() and not (node / "etc/containerd/certs.d").exists()


def test_config_path_is_read_from_conf_d_as_well(node):
    put(node, "/etc/containerd/conf.d/10-registry.toml", V2 % "/etc/containerd/mirrors")
    put(node, "/etc/containerd/conf.d/10-registry.toml.bak", V2 % "/etc/containerd/old")
    mirror(node).keep()
    assert sorted(os.listdir(str(node / "etc/containerd"))) == ["conf.d", "mirrors"]


@pytest.mark.parametrize("text", ['[plugins."x".registry]\n# config_path = "/etc/containerd/no"\n',
                                  '[plugins."x".registry]\nconfig_path = ""\n', '[other]\nconfig_path = "/etc/no"\n'])
def test_what_is_no_setting_of_the_registry_leaves_the_default(text):
    assert list(program.config_paths(text)) == []


def test_a_list_of_folders_is_written_as_the_text_and_as_the_list():
    assert program.places(["/etc/containerd/a:/etc/docker/certs.d"], FOLDER) == (
        ["/etc/containerd/a:/etc/docker/certs.d", "/etc/containerd/a"], [])


def test_a_config_path_outside_the_mounted_folder_is_reported_and_not_followed(node):
    put(node, "/etc/containerd/config.toml", V1 % "/opt/certs.d")
    assert mirror(node).keep() == ["/opt/certs.d: config_path lies outside /etc/containerd: mount it by "
                                   "--containerd-config"]
    assert not (node / "opt").exists()


@pytest.mark.parametrize("path", ["/etc/containerd/../../root", "/etc/containerd-2/certs.d", "/etc/containerd"])
def test_no_config_path_leads_out_of_the_mounted_folder(path):
    assert program.places([path], FOLDER) == ([], [path])


def test_another_distribution_has_its_own_folder(tmp_path):
    folder = "/var/lib/rancher/k3s/agent/etc/containerd"
    put(tmp_path, folder + "/config.toml", V1 % (folder + "/certs.d"))
    mirror(tmp_path, folder=folder).keep()
    assert (tmp_path / folder[1:] / "certs.d" / "docker.io" / "hosts.toml").exists()


@pytest.mark.parametrize("path", ["docker.io/hosts.toml", "docker.io/ca.crt"])
def test_a_foreign_folder_of_a_host_is_left_alone_and_reported_and_the_others_are_written(node, path):
    put(node, "/etc/containerd/certs.d/" + path, "mine")
    before = tree(node)
    lines = mirror(node).keep()
    assert "/etc/containerd/certs.d/docker.io: exists and is not Seedpod's: not touched, so images of docker.io are " \
           "not mirrored" in lines
    assert before.items() <= tree(node).items()
    assert os.listdir(str(hosts_file(node).parent)) == [os.path.basename(path)]
    assert hosts_file(node, "reg.local_5000_").exists()


@pytest.mark.parametrize("name", ["reg.local:5000", "_default"])
def test_a_foreign_folder_that_ours_would_shadow_keeps_ours_away(node, name):
    put(node, "/etc/containerd/certs.d/%s/hosts.toml" % name, "mine")
    mirror(node).keep()
    assert not hosts_file(node, "reg.local_5000_").exists()


def test_an_empty_folder_of_a_host_is_foreign_too(node):
    hosts_file(node).parent.mkdir(parents=True)
    mirror(node).keep()
    assert not hosts_file(node).exists()


def test_files_of_a_seed_in_another_namespace_are_foreign(node):
    mirror(node, owner="first").keep()
    before = tree(node)
    other = mirror(node, owner="second")
    other.keep()
    other.remove()
    assert tree(node) == before


def test_a_name_that_begins_with_the_namespace_is_another_namespace(node):
    mirror(node, owner="seed").keep()
    assert not mirror(node, owner="see").is_ours(str(hosts_file(node).parent))


def test_keeping_twice_changes_nothing(node):
    kept = mirror(node)
    first = kept.keep()
    stamps = {path: path.stat().st_mtime_ns for path in node.rglob("hosts.toml")}
    assert kept.keep() == first and stamps == {path: path.stat().st_mtime_ns for path in node.rglob("hosts.toml")}


def test_what_somebody_removed_is_written_again(node):
    kept = mirror(node)
    kept.keep()
    hosts_file(node).unlink()
    hosts_file(node).parent.rmdir()
    kept.keep()
    assert hosts_file(node).exists()


def test_a_host_that_the_seed_no_longer_has_is_removed(node):
    mirror(node).keep()
    lines = mirror(node, {"docker.io": [URL]}, token="t2").keep()
    assert "/etc/containerd/certs.d/reg.local_5000_: removed: no image of the seed is from there" in lines
    assert not hosts_file(node, "reg.local_5000_").parent.exists() and hosts_file(node).exists()


@pytest.mark.parametrize("there", [[], ["/etc/containerd/certs.d/quay.io/hosts.toml"], [
    "/etc/containerd/certs.d:/etc/other", "/etc/containerd/config.toml"], ["/etc/containerd/certs.d/_default/a.crt"]])
def test_removal_leaves_the_node_as_it_was(node, there):
    for path in there:
        put(node, path, "mine")
    before = tree(node)
    kept = mirror(node)
    kept.keep()
    kept.remove()
    assert tree(node) == before


def test_an_empty_folder_that_was_there_before_stays(node):
    (node / "etc/containerd/certs.d").mkdir()
    kept = mirror(node)
    kept.keep()
    kept.remove()
    assert os.listdir(str(node / "etc/containerd")) == ["certs.d"]


def test_what_somebody_put_beside_our_file_stays(node):
    kept = mirror(node)
    kept.keep()
    put(node, "/etc/containerd/certs.d/docker.io/ca.crt", "mine")
    kept.remove()
    assert os.listdir(str(hosts_file(node).parent)) == ["ca.crt"]


def test_files_are_removed_from_where_they_were_written_though_the_setting_has_changed(node):
    kept = mirror(node)
    kept.keep()
    put(node, "/etc/containerd/config.toml", V2 % "/etc/containerd/new")
    kept.keep()
    kept.remove()
    assert list(tree(node / "etc/containerd")) == ["config.toml"]


def test_a_pod_that_ends_leaves_the_files_of_its_successor(node):
    old, new = mirror(node, token="old"), mirror(node, token="new")
    old.keep()
    new.keep()
    kept = tree(node)
    old.remove()
    assert tree(node) == kept
    new.remove()
    assert tree(node / "etc/containerd") == {}


class Killed(BaseException):
    """The process ends here; not even a clean-up runs."""


def keep_until(monkeypatch, kept, count):
    """keep() up to its `count`-th change of the disk; -> whether it came to its end."""
    left = [count]

    def counted(function):
        def call(*arguments, **options):
            if not left[0]:
                raise Killed
            left[0] -= 1
            return function(*arguments, **options)
        return call
    with monkeypatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "unlink", "rmdir"):
            patch.setattr(program.os, name, counted(getattr(os, name)))
        patch.setattr(program, "open", counted(open), raising=False)
        try:
            kept.keep()
        except Killed:
            return False
    return True


def test_killed_at_any_moment_its_successor_completes_and_removes_everything(tmp_path, monkeypatch):
    count, ended = 0, False
    while not ended:
        node = tmp_path / str(count)
        (node / "etc/containerd").mkdir(parents=True)
        mirror(node, {"gone.io": [URL]}, token="first").keep()
        ended = keep_until(monkeypatch, mirror(node, token="killed"), count)
        last = mirror(node, token="last")
        last.keep()
        for place in PLACES:
            assert "last" in hosts_file(node, place=place).read_text()
        last.remove()
        assert tree(node / "etc/containerd") == {}, count
        count += 1
    assert count > 20


def test_a_folder_that_cannot_be_written_is_one_line_and_is_tried_again(node, monkeypatch):
    kept = mirror(node)
    with monkeypatch.context() as patch:
        patch.setattr(program.os, "mkdir", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file "
                                                                                                 "system")))
        assert kept.keep() == ["/etc/containerd/%s: Read-only file system: trying again every 10 s" % place
                               for place in reversed(PLACES)]
    kept.keep()
    assert hosts_file(node).exists()


def test_a_missing_folder_is_one_line_and_is_tried_again(tmp_path):
    kept = mirror(tmp_path)
    assert kept.keep() == ["/etc/containerd: No such file or directory: trying again every 10 s"]
    (tmp_path / "etc/containerd").mkdir(parents=True)
    kept.keep()
    assert hosts_file(tmp_path).exists()


@pytest.mark.parametrize("python", [path for _, path in interpreters()])
def test_as_a_process_it_writes_waits_and_removes_on_sigterm(node, python):
    source = PROGRAM.read_text(encoding="utf-8")
    process = subprocess.Popen([python, "-I", "-S", "-c", source, "--root", str(node), "--owner", "seedpod",
                                "docker.io=" + URL], stdout=subprocess.PIPE, universal_newlines=True)
    with process:
        lines = [process.stdout.readline() for _ in PLACES]
        assert sorted(lines) == ["/etc/containerd/%s/docker.io/hosts.toml: written\n" % place for place in PLACES]
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 0 and rest.count("removed") == len(PLACES)
    assert tree(node / "etc/containerd") == {}
