from builder.kubernetes import ports
from builder.kubernetes.site import Site


def test_containers_of_one_pod_listen_on_different_ports():
    assert len({ports.REGISTRY, ports.HEALTH, ports.SERVE}) == 3


def test_what_nodes_pull_from_is_a_node_port_of_a_usual_cluster():
    assert {ports.IMAGES, ports.SEED} < set(ports.NODE_PORTS) < set(ports.UNPRIVILEGED)
    assert Site().node_port == ports.IMAGES != ports.SEED
