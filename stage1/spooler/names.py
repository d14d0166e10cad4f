"""Names of images in the registry: `team/app:1.2`, `app`, `app@sha256:...`, and the names of files that stand for them.

Text in, `Name` out. Other than on the operator's side there is no host and no "library/" in front: what is written is
the repository. Pure.

Rule: whatever leaves this module as a Name is legal by the grammar of repositories and tags; nobody checks again.
Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests
"""
from typing import NamedTuple

from builder.errors import BuildError
from builder.oci import is_digest
from builder.reference import ARCHIVE_SUFFIX, DEFAULT_TAG, NAME_LETTERS, PATH, is_tag

DELETE_MARK = "!"  # at the end of an empty file's name


class Name(NamedTuple):
    """One image of the registry."""
    repository: str
    reference: str  # a tag or a digest

    def __str__(self) -> str:
        return self.repository + ("@" if is_digest(self.reference) else ":") + self.reference


def parse_name(text: str) -> Name:
    """The name that `text` stands for; BuildError when it is none."""
    repository, at, reference = text.partition("@")
    if not at:
        repository, colon, reference = text.partition(":")
        reference = reference if colon else DEFAULT_TAG
    if not PATH.fullmatch(repository) or len(repository) > NAME_LETTERS:
        raise _illegal(text, "a repository is written in lower case letters and digits, parted by one of . _ - /")
    if not (is_digest(reference) if at else is_tag(reference)):
        raise _illegal(text, "a tag has at most 128 letters, digits or any of _ . -")
    return Name(repository, reference)


def name_of_file(path: str) -> Name:
    """The name that a file's path in the spool folder stands for: a backslash is a slash, and `.tar` and its kin are
    left out. BuildError when it is none, or one of a digest."""
    text = path.replace("\\", "/")
    stem = text
    while ARCHIVE_SUFFIX.search(stem):
        stem = ARCHIVE_SUFFIX.sub("", stem)
    name = parse_name(stem)
    if is_digest(name.reference):
        raise _illegal(text, "a file is named after a tag, its digest is computed")
    return name


def _illegal(text: str, why: str) -> BuildError:
    return BuildError("%s: is not the name of an image: %s" % (ascii(text)[1:-1], why))
