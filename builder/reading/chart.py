"""A Helm chart, as `helm package` writes it -> the OCI artifact that `helm push` would make of it.

In: an archive whose files all lie in one folder that holds Chart.yaml. Out: an Image without a platform: the chart as
its one layer, byte for byte as given, and its provenance, if there is one, as a second. It is named
charts/NAME:VERSION, a `+` in the version written as `_`, which is how Helm asks for it.

The config has the texts of Chart.yaml, without lists and mappings (maintainers, dependencies, annotations): Helm reads
everything from the chart itself, of the config only that it is a JSON object of this kind. The manifest's annotations
are made of the same texts, and there is no time in them: the same chart gives the same digests.

Rule: what Helm would not load is refused here, where something can be done about it: another compression than gzip, a
Chart.yaml that is a link or below `./`, a name or version that it does not take.
Specs: https://helm.sh/docs/topics/registries/  https://helm.sh/docs/topics/charts/#the-chartyaml-file
Python 3.6 syntax and library only (it also runs in the cluster).
"""
import functools
import json
import re
from typing import Any, Dict, List, Tuple

from builder.reading import yaml_scalars
from builder.reading.archive import WHOLE, Archive
from builder.reading.errors import InputError
from builder.reading.oci import HELM_CONFIG, OCI_MANIFEST, Blob, Descriptor, Image, blob_of
from builder.reading.reference import DEFAULT_TAG, parse

CHART_TYPE = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PROVENANCE_TYPE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
PROVENANCE_SUFFIX = ".prov"  # of the file next to the chart's
MAX_PROVENANCE_BYTES = 1 << 20  # it holds Chart.yaml, a checksum and a signature
_FILE = "/Chart.yaml"
_MAX_FILE_BYTES = 1 << 20  # real ones have up to some 100 KB of annotations; Helm takes 5 MiB of any file
_REPOSITORY = "charts/"
# The texts of Chart.yaml, in the order in which Helm writes them, and the annotation that is made of some.
_KEYS = {"name": "title", "home": "url", "version": "version", "description": "description", "icon": "",
         "apiVersion": "", "appVersion": "", "kubeVersion": "", "type": ""}
_ANNOTATION = "org.opencontainers.image."
_NAME = re.compile("[a-zA-Z0-9._-]+")
_WORDS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(r"v?[0-9]+(?:\.[0-9]+){0,2}(?:-%s)?(?:\+%s)?" % (_WORDS, _WORDS))
_PLAIN_FILES = (b"0", b"\0")  # flags of a tar header


def is_chart(archive: Archive) -> bool:
    """Return whether all files are in one folder with Chart.yaml."""
    names = archive.names()
    tops = {name.partition("/")[0] for name in names}
    return len(tops) == 1 and tops.pop() + _FILE in names


def read_chart(archive: Archive, provenance: bytes = b"") -> Image:
    """The chart in the archive; `provenance`: the content of the file of the same name and `.prov`."""
    if archive.given is None or archive.compressions != ("gzip",):
        raise archive.error("", "is a Helm chart, but not compressed only with gzip: make it with helm package")
    name = archive.names()[0].partition("/")[0] + _FILE
    where = archive.where(name)
    header = archive.header(name)
    if header[156:157] not in _PLAIN_FILES or header.startswith((b"./", b"/")):
        raise archive.error(name, "is a link, or has ./ in front, so that Helm would not find it: make it with helm "
                            "package")
    try:
        text = archive.read(name, _MAX_FILE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise archive.error(name, "is not UTF-8: write it so, and package the chart again")
    texts = yaml_scalars.read_scalars(text, _KEYS, where)
    reference = _reference(texts["name"], texts["version"], where)
    layers = [(CHART_TYPE, Blob(archive.given.digest(WHOLE), archive.given.size(WHOLE),
                                functools.partial(archive.given.open, WHOLE)))]
    if provenance:
        digest = layers[0][1].digest
        if digest.encode() not in provenance:
            raise InputError("%s%s: does not name %s, the chart next to it: sign the chart again, or move this file "
                             "away" % (archive.where(), PROVENANCE_SUFFIX, digest))
        layers.append((PROVENANCE_TYPE, blob_of(provenance)))
    return _image(reference, dict(texts, apiVersion=texts["apiVersion"] or "v1"), layers)


def versioned(tag: str, image: Image) -> str:
    """The tag for an image to which a name without a tag was given: that of a chart is its version."""
    return parse(image.references[0]).tag if tag == DEFAULT_TAG and image.is_chart and image.references else tag


def _reference(name: str, version: str, where: str) -> str:
    for what, text, legal in (("name", name, _NAME), ("version", version, _VERSION)):
        if not legal.fullmatch(text):
            raise InputError("%s: its %s is %s, which Helm does not take: mend it, and package the chart again"
                             % (where, what, ascii(text)))
    try:
        return str(parse("%s%s:%s" % (_REPOSITORY, name, version.replace("+", "_"))))
    except InputError as e:
        raise InputError("%s: %s; give the chart another name, and package it again" % (where, e))


def _image(reference: str, texts: Dict[str, str], layers: List[Tuple[str, Blob]]) -> Image:
    config = _json_blob({key: texts[key] for key in _KEYS if texts[key]})
    root = _json_blob({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(HELM_CONFIG, config),
        "layers": [_descriptor(media_type, blob) for media_type, blob in layers],
        "annotations": {_ANNOTATION + word: texts[key] for key, word in sorted(_KEYS.items()) if word and texts[key]},
    })
    return Image(references=(reference,), root=Descriptor(OCI_MANIFEST, root.digest, root.size), manifests=(root,),
                 configs=(config,), layers=tuple(blob for _, blob in layers), platforms=(), missing=(), subject="",
                 notes=(), rebuilt=True, is_chart=True)


def _descriptor(media_type: str, blob: Blob) -> Dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _json_blob(document: Dict[str, Any]) -> Blob:
    return blob_of(json.dumps(document, separators=(",", ":")).encode("ascii"))
