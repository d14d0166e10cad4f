import ast
import pathlib

import pytest

from builder.kubernetes import ports
from builder.kubernetes.site import NAME, Site

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path, twins", [
    ("stage1/server.py", [":%d" % ports.IMAGES]),
    ("stage1/spooler/__main__.py", ["http://127.0.0.1:%d" % ports.REGISTRY, ports.HEALTH,
                                    "http://%s:%d" % (NAME, ports.SEED)]),
])
def test_the_programs_of_stage1_have_the_same_numbers_as_defaults(path, twins):
    tree = ast.parse((TOP / path).read_text(encoding="utf-8"))
    assert set(twins) <= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


def test_containers_of_one_pod_listen_on_different_ports():
    assert len({ports.REGISTRY, ports.HEALTH, ports.SERVE}) == 3


def test_what_nodes_pull_from_is_a_node_port_of_a_usual_cluster():
    assert {ports.IMAGES, ports.SEED} < set(ports.NODE_PORTS) < set(ports.UNPRIVILEGED)
    assert Site().node_port == ports.IMAGES != ports.SEED
