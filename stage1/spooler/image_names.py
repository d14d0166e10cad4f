"""Names of images in the registry: `team/app:1.2`, `app`, `app@sha256:...`, and the names of files that stand for them.

Text in, `Name` out. Unlike on the operator's side, there is no host and no "library/" in front: what is written is the
repository. Pure.

Rule: a Name is legal by the grammar of repositories and tags; callers do not check it again.
Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests
"""
from typing import NamedTuple

from builder.reading.errors import InputError
from builder.reading.oci import is_digest
from builder.reading.reference import ARCHIVE_SUFFIX, DEFAULT_TAG, PATH, is_tag

DELETE_MARK = "!"  # at the end of an empty file's name
MAX_CHARACTERS = 255  # of a repository: the limit of the reference grammar


class Name(NamedTuple):
    """One image of the registry."""
    repository: str
    reference: str  # a tag or a digest

    def __str__(self) -> str:
        return self.repository + ("@" if is_digest(self.reference) else ":") + self.reference


def parse_name(text: str) -> Name:
    """Parse the name of an image. Raise InputError if it is not legal."""
    name, at, digest = text.partition("@")
    repository, colon, tag = name.partition(":")
    if not PATH.fullmatch(repository) or len(repository) > MAX_CHARACTERS or colon and not is_tag(tag) \
            or at and not is_digest(digest):
        raise InputError("%s: is not an image name: write REPOSITORY[:TAG], the repository in lower-case letters and "
                         "digits, separated by one of . _ - /" % text)
    return Name(repository, digest or tag or DEFAULT_TAG)


def name_of_file(path: str) -> Name:
    """Return the image name of a file's path in the spool folder: a backslash is a slash, and `.tar` and its kin are
    left out. InputError if that is not a legal name, or one of a digest."""
    stem = path.replace("\\", "/")
    while ARCHIVE_SUFFIX.search(stem):
        stem = ARCHIVE_SUFFIX.sub("", stem)
    name = parse_name(stem)
    if is_digest(name.reference):
        raise InputError("%s: is named after a digest, which is computed: name it after a tag" % path)
    return name
