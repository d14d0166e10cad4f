"""Bytes that travel -> ConfigMaps: chunks of the payload, and the program. Pure.

Immutable, and named after their content: kubelets open no watch on them, nobody edits half a payload, and a changed
build applies beside the old one. Data comes in base64, or as what stands for it until it is written.

https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable
"""
from typing import Mapping

from builder.kubernetes.manifest import Object, labels, manifest, short_hash
from builder.kubernetes.site import NAME, Site

INJECTOR_FILE = "injector.pyz"


def chunk_config_map(site: Site, instance: str, chunk_name: str, data: str) -> Object:
    return file_config_map(site, chunk_object_name(chunk_name), labels("chunk", instance), chunk_name, data)


def chunk_object_name(chunk_name: str) -> str:
    return "%s-%s" % (NAME, chunk_name)


def injector_config_map(site: Site, instance: str, name: str, data: str) -> Object:
    return file_config_map(site, name, labels("injector", instance), INJECTOR_FILE, data)


def program_object_name(program: str, code: bytes) -> str:
    """The name of the ConfigMap that carries `code`."""
    return "%s-%s-%s" % (NAME, program, short_hash(code))


def file_config_map(site: Site, name: str, own_labels: Mapping[str, str], key: str, data: str) -> Object:
    """One file (`data` in base64) under `key`."""
    return manifest("ConfigMap", site, name, own_labels, immutable=True, binaryData={key: data})
