"""The common output of the YAML and the JSON reader."""
from typing import NamedTuple

IMAGE_KEY = "image"
# Prose for people, or a schema: image names in their values are examples, so both readers skip these.
PROSE_KEYS = {"annotations", "description", "x-kubernetes-validations"}


class Token(NamedTuple):
    """A text in a Kubernetes manifest."""
    line: int  # from 1; 0 in JSON
    key: str  # "" in a list, and on a line without a key
    value: str
    for_image: bool  # the value of a flag or variable whose name announces an image
