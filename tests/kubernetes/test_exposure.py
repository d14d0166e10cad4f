import ast
import pathlib

import pytest

from builder.kubernetes import exposure
from builder.kubernetes.exposure import EXPOSURES
from builder.kubernetes.site import Site

BUILDER = pathlib.Path(exposure.__file__).parents[1]


def test_no_other_module_compares_names_of_modes():
    paths = sorted(set(BUILDER.rglob("*.py")) - {pathlib.Path(exposure.__file__)})
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    assert len(trees) > 50 and [(str(path), node.lineno) for path, tree in trees.items() for node in ast.walk(tree)
                                if isinstance(node, ast.Constant) and node.value in EXPOSURES] == []


@pytest.mark.parametrize("row", EXPOSURES.values(), ids=list(EXPOSURES))
def test_something_leads_from_the_nodes_loopback_to_a_pod(row):
    assert row.service or row.every_node and row.host_port


@pytest.mark.parametrize("row", EXPOSURES.values(), ids=list(EXPOSURES))
def test_what_uses_the_node_itself_needs_the_widest_profile(row):
    assert (row.profile == exposure.PRIVILEGED) == (row.host_network or row.host_port)


@pytest.mark.parametrize("row", EXPOSURES.values(), ids=list(EXPOSURES))
def test_on_the_hosts_network_it_is_open_to_this_node_alone(row):
    assert (row.listen_host, row.probe_host) == ((exposure.LOOPBACK,) * 2 if row.host_network else ("", ""))


def test_a_site_that_names_no_mode_has_the_default_and_the_fallback_needs_neither_kube_proxy_nor_a_cni():
    assert Site().exposure is exposure.DEFAULT
    assert exposure.FALLBACK.host_network and not exposure.FALLBACK.service and not exposure.FALLBACK.portmap
