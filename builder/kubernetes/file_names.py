"""The names of the files of OUT: one table for the writer and the verifier. Pure values.

kubectl applies files in the order of their names, so the numbers are the order to apply: a Pod comes after the objects
that it needs. The table is in this folder because persistent_registry.py and names.py return objects by file name.
"""
import re
from typing import Dict, Iterable

from builder.kubernetes.config_maps import INJECTOR_FILE, chunk_object_name

# "*" is replaced by the part that differs between files of one kind.
NAMESPACE = "00-namespace.yaml"
CHUNK = "10-chunk-*.yaml"
CONTENTS = "20-contents.yaml"
INJECTOR = "20-injector.yaml"
SERVICE = "30-service.yaml"
WORKLOAD = "40-*.yaml"
REGISTRY_CLAIM = "50-registryclaim.yaml"
SPOOLER = "51-spooler.yaml"
REGISTRY_SERVICE = "52-registryservice.yaml"
REGISTRY = "60-registry.yaml"
MIRROR = "70-mirror.yaml"
POLICY = "70-policy-*.yaml"  # last: Pods that it rewrites need all of the above
BINDING = "71-binding-*.yaml"

README = "README.txt"  # begins with the mark that identifies our folders
PYZ = INJECTOR_FILE  # to inspect, or to run by hand
CHUNKS = "CHUNKS"  # the objects of all chunks that the Pod needs, as `kubectl get -o name` prints them, one a line
FACTS = "FACTS"  # what the build decided and no other file holds; JSON
SUMS = "SHA256SUMS"  # written last, of all other files
SIGNATURE_SUFFIX = ".sig"  # which ssh-keygen appends
SIGNATURE = SUMS + SIGNATURE_SUFFIX  # only if the build is signed

_PARTS = "[a-z0-9]+(-[a-z0-9]+)*"  # for "*"


def shared(injector: str, chunks: Iterable[str]) -> Dict[str, str]:
    """Return ConfigMap -> file for those that builds share: the program, in ConfigMap `injector`, and the chunks."""
    return {injector: INJECTOR, **{chunk_object_name(name): CHUNK.replace("*", name) for name in chunks}}


def is_one(row: str, name: str) -> bool:
    """Return whether a file name matches a row."""
    return bool(re.fullmatch(re.escape(row).replace(r"\*", _PARTS), name))
