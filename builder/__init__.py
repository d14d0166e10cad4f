"""The operator's side: image archives -> payload -> chunks -> manifests. See README.md in this folder."""

VERSION = "0.3.0"
