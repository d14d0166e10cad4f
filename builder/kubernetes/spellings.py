"""The spellings of an image's name in Kubernetes manifests: reference -> every text that means it. Pure.

A kubelet completes short names as Docker does, so all of these lead to one image:

    docker.io/library/nginx:latest   library/nginx:latest   nginx:latest   nginx   index.docker.io/nginx   ...

Spec: https://github.com/distribution/reference (Docker Hub's short forms)
"""
from typing import Dict, List, Mapping

from builder.reading.reference import DEFAULT_TAG, DOCKER_HUB, parse, short_repositories

HUB_HOSTS = (DOCKER_HUB + "/", "", "index.docker.io/")  # that a reference to Docker Hub may begin with


def names(reference: str) -> List[str]:
    """Return every spelling of a full reference's name, without tag and digest, the full one first."""
    parsed = parse(reference)
    if parsed.host != DOCKER_HUB:
        return ["%s/%s" % (parsed.host, parsed.path)]
    spellings = [host + path for path in short_repositories(parsed) or (parsed.path,) for host in HUB_HOSTS]
    # `docker.io/quay.io/a`, without its host, would be the name of quay.io's image.
    return [spelling for spelling in spellings if parse(spelling)[:2] == parsed[:2]]


def suffixes(reference: str, digest: str) -> Dict[str, str]:
    """Full reference -> what may follow the name -> what follows the served name then.

    `digest`: that of the image where it was published, "" where it was rebuilt, so that no manifest can name it.
    """
    parsed = parse(reference)
    digest = parsed.digest or digest
    found = {}
    if parsed.tag:
        found[":" + parsed.tag] = ":" + parsed.tag
    if parsed.tag == DEFAULT_TAG:
        found[""] = ":" + parsed.tag
    if digest:
        found["@" + digest] = "@" + digest
    if parsed.tag and digest:
        found[":%s@%s" % (parsed.tag, digest)] = "@" + digest
    return found


def served_spellings(addresses: Mapping[str, str], digests: Mapping[str, str]) -> Dict[str, str]:
    """-> every spelling of every reference -> the address that it is served at, in a fixed order.

    `addresses`: full reference -> address with host, name and tag or digest; `digests`: full reference -> digest of the
    image where it was published, for those that have it still.
    """
    found: Dict[str, str] = {}
    for reference, address in addresses.items():
        parsed = parse(reference)
        served = address[:-len("@" + parsed.digest if not parsed.tag else ":" + parsed.tag)]
        for name in names(reference):
            for suffix, served_suffix in suffixes(reference, digests.get(reference, "")).items():
                if name + suffix != served + served_suffix:
                    found.setdefault(name + suffix, served + served_suffix)
    return found
