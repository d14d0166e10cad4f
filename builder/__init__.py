"""The operator's side: image archives -> payload -> chunks -> manifests. See README.md beside this file."""

VERSION = "0.3.0"
