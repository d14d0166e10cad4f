"""A hostile text in every field of a dump, one after the other: what the command line prints, and writes as YAML, has
no control character but newline, and no line that Seedpod did not write."""
import json

import pytest

from builder.cli import main as cli
from builder.zipapp import pyz
from tests.support import builds, dumps

LINE = "FORGED"
HOSTILE = "\x1b[2J\r\n%s: now apply\n%s\x9b31m\u202e\u2028%s\x00\x7f\ud800" % (LINE, LINE, LINE)
PYTHON = "docker.io/library/python:3.12"
TAINT = {"key": "dedicated", "value": "infra", "effect": "NoSchedule"}
KUBE_PROXY = dumps.pod("registry.k8s.io/kube-proxy:v1.34.3", name="kube-proxy-1", namespace="kube-system",
                       owner="kube-proxy", container="kube-proxy", command=["kube-proxy", "--proxy-mode=ipvs"])
OTHERS = [dumps.pod("app:1", name="a", secrets=["s"], ports=[{"containerPort": 80, "hostPort": 30100}],
                    requests={"cpu": "1m", "memory": "1Mi"}, status={"imageID": "x"}),
          dumps.service("registry", 30100, "other"), dumps.namespace("seedpod", {"a": "b"})]
ROOM = {"cpu": "1", "memory": "1Gi", "pods": "100"}
NODES = [dumps.node("n1", [PYTHON, "app:1"], labels={"kubernetes.io/hostname": "h1", "disk": "ssd"}, allocatable=ROOM),
         dumps.node("n2", [PYTHON], "Rocky Linux 9.6", "arm64", [TAINT], False, "Kubelet stopped.",
                    runtime="cri-o://1.36.0", providerID="kind://docker/kind/n2", unschedulable=True)]

# (objects, options): each leads to other sentences
CASES = [
    ([*NODES, dumps.pod(PYTHON, name="python"), *OTHERS, dumps.kube_proxy("mode: iptables\n")], []),
    ([*NODES, *OTHERS, KUBE_PROXY], ["--expose", "hostport", "--node-selector", "disk=ssd"]),
    ([*NODES, *OTHERS, dumps.kube_proxy("mode: ipvs\n")], ["--host-python"]),
    ([*NODES, *OTHERS], ["--try", "3", "--node-port", "30100"]),
    ([*NODES, *OTHERS], ["--image", "python:3.12", "--namespace", "other"]),
    ([NODES[1], *OTHERS], []),
    ([dumps.node("n1", ["app:1"], "Talos (v1.12.0)"), dumps.namespace("openshift-dns")], []),
]


def poisoned(value):
    """`value` with each of its texts in turn, keys as well, replaced and appended to, at any depth."""
    if isinstance(value, str):
        yield HOSTILE
        yield value + HOSTILE
    elif isinstance(value, dict):
        for key, item in value.items():
            yield {key + HOSTILE if name == key else name: part for name, part in value.items()}
            yield from (dict(value, **{key: part}) for part in poisoned(item))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from (value[:place] + [part] + value[place + 1:] for part in poisoned(item))


def check(text):
    """It prints nothing but text, and none of its lines is forged."""
    strange = {character for character in text if not character.isprintable() and character != "\n"}
    assert not strange, strange
    assert [line for line in text.split("\n") if line.lstrip("# ").startswith(LINE)] == []


@pytest.mark.parametrize("objects, options", CASES, ids=range(len(CASES)))
def test_no_text_of_a_dump_forges_what_is_printed(tmp_path, capsys, objects, options):
    path, shown = tmp_path / "dump.json", 0
    for items in poisoned(objects):
        path.write_text(json.dumps({"kind": "List", "items": items}))
        for more in [[], ["--json"]]:
            status = cli.main(["explain", str(path), "--platform", "linux/amd64", *options, *more])
            output = capsys.readouterr()
            assert status in (0, 2) and (output.out or output.err)
            check(output.out)
            check(output.err)
            shown += LINE in output.out + output.err
    assert shown  # or the dump led to no sentence


def test_no_text_of_a_dump_forges_a_line_of_the_yaml_or_of_the_summary(tmp_path, capsys, monkeypatch):
    packed = pyz.injector()
    monkeypatch.setattr(pyz, "pack", lambda *_: packed)  # which takes longer than all else
    path, archive, written = tmp_path / "dump.json", builds.archive(tmp_path), 0
    objects = [dumps.node("n1", [PYTHON], labels={"kubernetes.io/hostname": "h1"}), dumps.pod(PYTHON, name="python")]
    for items in poisoned(objects):
        path.write_text(json.dumps({"kind": "List", "items": items}))
        status = cli.main([str(archive), "--cluster", str(path), "-o", "-"])
        output = capsys.readouterr()
        check(output.out)
        check(output.err)
        written += status == 0 and LINE in output.out
    assert written


@pytest.mark.parametrize("name", [HOSTILE.replace("\x00", "").replace("\ud800", "\udc80") + ".json", "\udcff\x1b[2J"])
@pytest.mark.parametrize("content", [b"", b"no JSON", None])
def test_the_name_of_a_dump_forges_no_line(tmp_path, capsys, name, content):
    if content is not None:
        with open(str(tmp_path / name), "wb") as file:
            file.write(content)
    assert cli.main(["explain", str(tmp_path / name)]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: ") and output.err.count("\n") == 1
    check(output.err)


@pytest.mark.parametrize("option", ["--image", "--namespace", "--interpreter", "--node-selector", "--tolerate"])
def test_what_an_option_says_forges_no_line(tmp_path, capsys, option):
    for text in (HOSTILE, "a" + HOSTILE, "/" + HOSTILE, "a=" + HOSTILE):
        assert cli.main([str(builds.archive(tmp_path)), option, text, "-o", "-"]) == 2
        output = capsys.readouterr()
        assert output.out == "" and output.err.count("\n") == 1
        check(output.err)
