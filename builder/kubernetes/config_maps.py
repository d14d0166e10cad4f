"""Chunks of the payload, contents.json and programs -> ConfigMaps. Pure.

Immutable, and named after their content: kubelets do not watch them, no one can edit part of a payload, and a changed
build is applied next to the old one. Data is base64, or a placeholder that is replaced when the file is written.

https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable
"""
from typing import Mapping

from builder.kubernetes.labels import CHUNK, CONTENTS, PROGRAM, labels
from builder.kubernetes.manifest import SHORT_HASH_DIGITS, Object, manifest, short_hash
from builder.kubernetes.site import NAME, Site

CONTENTS_FILE, INJECTOR_FILE = "contents.json", "injector.pyz"


def chunk_config_map(site: Site, chunk_name: str, data: str) -> Object:
    """Return the ConfigMap of a chunk. It has no seed label: every seed that contains the chunk shares it."""
    return file_config_map(site, chunk_object_name(chunk_name), labels(CHUNK), chunk_name, data)


def chunk_object_name(chunk_name: str) -> str:
    return "%s-%s" % (NAME, chunk_name)


def contents_config_map(site: Site, seed: str, text: str) -> Object:
    """Return the ConfigMap of contents.json, as text: base64 of a large seed would not fit the annotation of plain
    `kubectl apply`."""
    return manifest("ConfigMap", site, contents_object_name(text), labels(CONTENTS, seed), immutable=True,
                    data={CONTENTS_FILE: text})


def contents_object_name(text: str) -> str:
    return "%s-contents-%s" % (NAME, short_hash(text.encode()))


def injector_config_map(site: Site, name: str, data: str) -> Object:
    """Return the ConfigMap of the injector. It has no seed label, so that an update shares it with its base."""
    return file_config_map(site, name, labels(PROGRAM), INJECTOR_FILE, data)


def program_object_name(program: str, sha256: str) -> str:
    """Return the name of the ConfigMap of a program. `sha256`: of its bytes, in hex."""
    return "%s-%s-%s" % (NAME, program, sha256[:SHORT_HASH_DIGITS])


def file_config_map(site: Site, name: str, own_labels: Mapping[str, str], key: str, data: str) -> Object:
    """Return a ConfigMap of one file, `key`, with `data` in base64."""
    return manifest("ConfigMap", site, name, own_labels, immutable=True, binaryData={key: data})
