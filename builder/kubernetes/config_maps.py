"""Bytes that travel -> ConfigMaps: chunks of the payload, what is in them, and the program. Pure.

Immutable, and named after their content: kubelets open no watch on them, nobody edits half a payload, and a changed
build applies beside the old one. Data comes in base64, or as what stands for it until it is written.

https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable
"""
from typing import Mapping

from builder.kubernetes.labels import CHUNK, CONTENTS, PROGRAM, labels
from builder.kubernetes.manifest import Object, manifest, short_hash
from builder.kubernetes.site import NAME, Site

CONTENTS_FILE, INJECTOR_FILE = "contents.json", "injector.pyz"


def chunk_config_map(site: Site, chunk_name: str, data: str) -> Object:
    """Of no build: the same in every seed that holds the chunk."""
    return file_config_map(site, chunk_object_name(chunk_name), labels(CHUNK), chunk_name, data)


def chunk_object_name(chunk_name: str) -> str:
    return "%s-%s" % (NAME, chunk_name)


def contents_config_map(site: Site, seed: str, text: str) -> Object:
    """Return the ConfigMap of contents.json. As text: in base64 that of a large seed would not fit the annotation of
    plain `kubectl apply`."""
    return manifest("ConfigMap", site, contents_object_name(text), labels(CONTENTS, seed), immutable=True,
                    data={CONTENTS_FILE: text})


def contents_object_name(text: str) -> str:
    return "%s-contents-%s" % (NAME, short_hash(text.encode()))


def injector_config_map(site: Site, name: str, data: str) -> Object:
    """Return the ConfigMap of the program: of no build, as a chunk is, so that an update need not carry it again."""
    return file_config_map(site, name, labels(PROGRAM), INJECTOR_FILE, data)


def program_object_name(program: str, code: bytes) -> str:
    """The name of the ConfigMap that carries `code`."""
    return "%s-%s-%s" % (NAME, program, short_hash(code))


def file_config_map(site: Site, name: str, own_labels: Mapping[str, str], key: str, data: str) -> Object:
    """One file (`data` in base64) under `key`."""
    return manifest("ConfigMap", site, name, own_labels, immutable=True, binaryData={key: data})
