"""A Choice checked against the cluster: errors for what will not work, warnings for what may not. Pure.

Each finding is one line with a remedy. choice.py has already avoided the problems that it can avoid.
"""
from typing import Dict, List, NamedTuple

from builder.cluster.candidates import parsed
from builder.cluster.choice import Choice, is_openshift, loopback_problem
from builder.cluster.names_preflight import CRI_O
from builder.cluster.objects import Cluster
from builder.kubernetes import kubectl, ports
from builder.kubernetes.exposure import FALLBACK, PRIVILEGED, RESTRICTED
from builder.kubernetes.persistent_registry import REGISTRY
from builder.kubernetes.security import ENFORCE, PROFILES
from builder.kubernetes.site import NAME, Site
from builder.payload.human import abbreviated

CRIO_STRICT = (1, 35)  # since this version, CRI-O must be configured for plain HTTP, on loopback too
SECRETS_CHECKED = (1, 33)  # since this version, a kubelet may refuse an image pulled with a secret to Pods without it

REGISTRIES_CONF = """\
CRI-O 1.35 and newer ({nodes}) refuses plain HTTP on loopback unless it is configured.
Write to /etc/containers/registries.conf.d/seedpod.conf of each node, then systemctl reload crio:
  [[registry]]
  location = "127.0.0.1:{port}"
  insecure = true"""
IMAGE_CONFIG = """
On OpenShift configure the cluster instead (keep what is listed there already; nodes are updated one by one):
  {allow}"""


class PortUser(NamedTuple):
    """An object that uses a port of every node."""
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "%s %s/%s" % self


def errors(choice: Choice, cluster: Cluster, has_registry: bool) -> List[str]:
    """Return what will not work, a line each. With an empty cluster, check only the options."""
    return (_port_errors(choice.site, cluster) + _namespace_errors(choice, cluster)
            + (_registry_errors(choice.site, cluster) if has_registry else []))


def warnings(choice: Choice, cluster: Cluster, has_registry: bool) -> List[str]:
    """Return what may not work, a line each."""
    site = choice.site
    return [*_image_warnings(choice, cluster), *_port_warnings(site), *_namespace_warnings(choice, cluster),
            *_runtime_warnings(site, cluster), *_pull_warnings(choice, cluster), *_network_warnings(site, cluster),
            *_constraint_warnings(choice, cluster), *(_registry_warnings(site, cluster) if has_registry else [])]


def _image_warnings(choice: Choice, cluster: Cluster) -> List[str]:
    """Return a warning if no node of the dump is known to have the image that was asked for."""
    wanted = choice.site.image and parsed(choice.site.image)
    if not wanted or not cluster.nodes or any(parsed(one.image) == wanted for one in choice.candidates):
        return []
    return ["--image %s: no Pod runs it and no node lists it (each lists its 50 largest images): nodes without it must "
            "be able to pull it" % choice.site.image]


def _port_errors(site: Site, cluster: Cluster) -> List[str]:
    """Return an error if another object has the node port. A Service or Pod of an older seed is replaced."""
    users = _port_users(site, cluster)
    if site.node_port not in users:
        return []
    free = min(set(ports.NODE_PORTS) - set(users), key=lambda port: (abs(port - site.node_port), port), default=None)
    return ["--node-port %d: is taken by %s: %s" % (
        site.node_port, users[site.node_port], "free one, all are taken" if free is None
        else "use --node-port %d" % free)]


def _registry_errors(site: Site, cluster: Cluster) -> List[str]:
    """Return an error if another object has the port of the persistent registry, and one if node ports do not answer at
    127.0.0.1."""
    errors = []
    user = _port_users(site, cluster).get(ports.IMAGES)
    if user not in (None, PortUser("Service", site.namespace, REGISTRY)):
        errors.append("--with-registry: its node port %d is taken by %s: move that one to another port first"
                      % (ports.IMAGES, user))
    problem, presumed = loopback_problem(cluster)
    if problem and not presumed:
        errors.append("--with-registry: %s, and that is where nodes pull from this registry: leave it out, and keep "
                      "the injector" % problem)
    return errors


def _registry_warnings(site: Site, cluster: Cluster) -> List[str]:
    """Return a warning if nodes may not reach the persistent registry. It needs a node port: it is one Pod, and with
    the host's network or a host port only its own node could reach it at 127.0.0.1."""
    problem, presumed = loopback_problem(cluster)
    if site.exposure.service and not (problem and presumed):
        return []
    return ["the persistent registry has a node port, regardless of --expose: if node ports do not answer at "
            "127.0.0.1, nodes cannot pull from it: keep the injector"]


def _port_users(site: Site, cluster: Cluster) -> Dict[int, PortUser]:
    """Return port of every node -> object that has it, except objects of older seeds."""
    users = {port: PortUser("Service", service.namespace, service.name) for service in cluster.services
             if not (service.ours and service.namespace == site.namespace) for port in service.node_ports}
    users.update({port: PortUser("Pod", pod.namespace, pod.name) for pod in cluster.pods
                  if not (pod.ours and pod.namespace == site.namespace) for port in pod.host_ports})
    return users


def _port_warnings(site: Site) -> List[str]:
    if not site.exposure.service or site.node_port in ports.NODE_PORTS:
        return []
    return ["--node-port %d: is outside %d to %d, the range of node ports by default"
            % (site.node_port, ports.NODE_PORTS[0], ports.NODE_PORTS[-1])]


def _namespace_errors(choice: Choice, cluster: Cluster) -> List[str]:
    """Return an error if the namespace is missing, is being deleted, or refuses the Pod. A namespace that OUT contains
    gets the right label."""
    name, emitted, wanted = choice.site.namespace, choice.site.emits_namespace, choice.profile
    found = {namespace.name: namespace for namespace in cluster.namespaces}
    if not found or emitted and name not in found:
        return []
    if name not in found:
        advice = "leave out --no-create-namespace" if name == NAME else "add --create-namespace"
        return ["--namespace %s: does not exist: create it, or %s" % (name, advice)]
    if found[name].ending:
        return ["--namespace %s: is being deleted: wait until it is gone, or choose another" % name]
    enforced = found[name].labels.get(ENFORCE, "")
    if emitted or enforced not in PROFILES or PROFILES.index(enforced) >= PROFILES.index(wanted):
        return []
    return ["--namespace %s: enforces Pod Security %s, this Pod needs %s: %s"
            % (name, enforced, wanted, kubectl.label_namespace(name, ENFORCE, wanted, overwrite=True))]


def _namespace_warnings(choice: Choice, cluster: Cluster) -> List[str]:
    site = choice.site
    for namespace in cluster.namespaces:
        if namespace.name != site.namespace:
            continue
        if site.create_namespace and not namespace.ours:
            return ["--create-namespace: namespace %s is there already, and %s would delete it with all that it "
                    "holds: leave it out" % (site.namespace, kubectl.DELETE_FOLDER)]
        if not site.emits_namespace and ENFORCE not in namespace.labels and choice.profile == PRIVILEGED:
            return ["--namespace %s: enforces no Pod Security of its own: if the cluster's default refuses the Pod, %s"
                    % (site.namespace, kubectl.label_namespace(site.namespace, ENFORCE, PRIVILEGED, overwrite=False))]
    return []


def _runtime_warnings(site: Site, cluster: Cluster) -> List[str]:
    """Return a warning if CRI-O would refuse plain HTTP on loopback."""
    strict = [node.name for node in cluster.nodes
              if node.runtime_name == CRI_O and node.runtime_version >= CRIO_STRICT]
    if not strict:
        return []
    text = REGISTRIES_CONF + (IMAGE_CONFIG if is_openshift(cluster) else "")
    return [text.format(nodes=abbreviated(strict), port=site.node_port,
                        allow=kubectl.allow_insecure_registry("127.0.0.1:%d" % site.node_port))]


def _constraint_warnings(choice: Choice, cluster: Cluster) -> List[str]:
    """Return a warning if OpenShift's own admission, which it has in addition to Pod Security, would refuse the Pod."""
    if choice.profile == RESTRICTED or not is_openshift(cluster):
        return []
    return ["OpenShift's security context constraints refuse hostPath volumes, host ports and the host's network: %s"
            % kubectl.allow_privileged(choice.site.namespace)]


def _pull_warnings(choice: Choice, cluster: Cluster) -> List[str]:
    """Return warnings if the Pod may not be allowed to use an image that is on its node."""
    warnings = []
    secret = [candidate.image for candidate in choice.candidates if candidate.chosen and candidate.pull_secret]
    newest = max((node.kubelet_version for node in cluster.nodes), default=(0, 0))
    if secret and newest >= SECRETS_CHECKED and not choice.site.pull_secrets and not is_openshift(cluster):
        warnings.append("%s: all its Pods have a pull secret, and kubelets since 1.33 may keep it from others: if so, "
                        "copy the secret into namespace %s and add --pull-secret NAME"
                        % (abbreviated(secret), choice.site.namespace))
    if cluster.always_pull:
        warnings.append("the API server runs the admission plug-in AlwaysPullImages: the node must be able to pull the "
                        "injector's image, even though it has it")
    return warnings


def _network_warnings(site: Site, cluster: Cluster) -> List[str]:
    """Return a warning for networks of which users report both success and failure."""
    remedy = "if pulls are refused, use --expose " + FALLBACK.name
    if site.exposure.portmap and any(node.runtime_name == CRI_O for node in cluster.nodes):
        return ["CRI-O's own bridge does not lead 127.0.0.1 to host ports: " + remedy]
    names = {container.name for pod in cluster.pods for container in pod.containers if pod.running}
    if site.exposure.host_network or not names & {"cilium-agent", "anetd"} or "kube-proxy" in names:
        return []
    return ["Cilium takes the place of kube-proxy: most such clusters serve %s at 127.0.0.1, some do not: %s"
            % (site.exposure.ports, remedy)]
