"""Every kubectl and oc command that is printed, for a shell. Pure.

A function returns a command; its name and docstring describe what the command does.

Rules for editors, which tests check:
- No other module contains such a command.
- Every apply is server-side: plain apply stores each chunk twice in etcd, and takes longer.
- A selector requires a key of ours (labels.py).
"""
import json
import shlex
from typing import Sequence

READY_TIMEOUT = "--timeout=300s"  # for a Pod to serve; unpacking 2 GiB, the usual limit of etcd, takes a quarter of it

APPLY = "kubectl apply --server-side"
PLAIN_APPLY = "plain kubectl apply"
DELETE_FOLDER = "kubectl delete -f OUT"  # in messages
GET_CLUSTER = "kubectl get nodes,pods,services,namespaces -A -o json"
GET_KUBE_PROXY = "kubectl get configmap kube-proxy -n kube-system -o json"
LIST_PODS = "kubectl get pods -A -o wide"
OUTCOME_COLUMNS = (  # a missing interpreter leaves no log, only this message
    ("POD", ".metadata.name"), ("NODE", ".spec.nodeName"), ("IMAGE", ".spec.containers[0].image"),
    ("PHASE", ".status.phase"), ("READY", ".status.containerStatuses[0].ready"),
    ("WAITS", ".status.initContainerStatuses[0].state.waiting.reason"),
    ("FAILED", ".status.initContainerStatuses[0].state.terminated.message"))


def apply(out: str, selector: str = "") -> str:
    """Apply a folder, or those of its objects that the selector finds."""
    return "%s -f %s%s" % (APPLY, shlex.quote(out), " -l '%s'" % selector if selector else "")


def delete_folder(out: str) -> str:
    """Delete all objects of a folder."""
    return "kubectl delete --ignore-not-found -f " + shlex.quote(out)


def delete_selected(namespace: str, kinds: str, selector: str) -> str:
    """Delete objects of some kinds. `namespace`: "" for cluster-wide kinds."""
    return "kubectl %sdelete %s -l '%s'" % ("-n %s " % namespace if namespace else "", kinds, selector)


def delete_pods(namespace: str, names: Sequence[str]) -> str:
    """Delete Pods without waiting, even those of a lost node."""
    return "kubectl -n %s delete pod %s --ignore-not-found --force" % (namespace, " ".join(names))


def list_config_maps(namespace: str, selector: str) -> str:
    """List ConfigMaps by name."""
    return "kubectl -n %s get configmap -l '%s' -o name" % (namespace, selector)


def delete_unlisted(namespace: str, selector: str, listed: str) -> str:
    """Delete the ConfigMaps that a file does not list. `listed`: its path."""
    return "%s | grep -vxFf %s | xargs -r kubectl -n %s delete --ignore-not-found" % (
        list_config_maps(namespace, selector), shlex.quote(listed), namespace)


def list_missing(namespace: str, selector: str, out: str, listed: str) -> str:
    """List the ConfigMaps of the file `listed` that neither the cluster nor the folder has; fail if there are some."""
    return "! (%s; kubectl create --dry-run=client -o name -f %s) | grep -vxFf - %s" % (
        list_config_maps(namespace, selector), shlex.quote(out), shlex.quote(listed))


def wait_for_pod(namespace: str, name: str) -> str:
    """Wait until a Pod is ready."""
    return "kubectl -n %s wait --for=condition=Ready pod/%s %s" % (namespace, name, READY_TIMEOUT)


def wait_for_rollout(namespace: str, kind: str, name: str) -> str:
    """Wait until a Deployment or a DaemonSet is rolled out."""
    return "kubectl -n %s rollout status %s/%s %s" % (namespace, kind, name, READY_TIMEOUT)


def watch_pods(namespace: str, selector: str) -> str:
    """Watch Pods."""
    return "kubectl -n %s get pods -l %s --watch" % (namespace, selector)


def list_pods(namespace: str) -> str:
    """List Pods with their nodes."""
    return "kubectl -n %s get pods -o wide" % namespace


def list_outcomes(namespace: str, selector: str) -> str:
    """List each Pod's outcome."""
    return "kubectl -n %s get pods -l %s -o custom-columns=%s" % (
        namespace, selector, ",".join("%s:%s" % column for column in OUTCOME_COLUMNS))


def logs(namespace: str, selector: str) -> str:
    """Show the log of every container."""
    return "kubectl -n %s logs -l %s --all-containers" % (namespace, selector)


def run_in(namespace: str, deployment: str, container: str, words: Sequence[str]) -> str:
    """Run a program in a container of a Deployment; it reads standard input."""
    return "kubectl -n %s exec -i deploy/%s -c %s -- %s" % (namespace, deployment, container, " ".join(words))


def label_namespace(namespace: str, key: str, value: str, overwrite: bool) -> str:
    """Label a namespace."""
    return "kubectl label%s namespace %s %s=%s" % (" --overwrite" if overwrite else "", namespace, key, value)


def allow_insecure_registry(registry: str) -> str:
    """Let OpenShift's nodes pull from a registry by plain HTTP."""
    patch = {"spec": {"registrySources": {"insecureRegistries": [registry]}}}
    return "oc patch image.config.openshift.io/cluster --type merge -p \\\n    '%s'" % json.dumps(
        patch, separators=(",", ":"))


def allow_privileged(namespace: str) -> str:
    """Let the default ServiceAccount of a namespace run privileged Pods on OpenShift."""
    return "oc adm policy add-scc-to-user privileged -z default -n %s" % namespace
