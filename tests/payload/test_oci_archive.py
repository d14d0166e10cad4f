import io
import tarfile

import pytest

from builder.payload import oci_archive
from builder.reading import oci
from builder.reading.archive import open_archive
from builder.reading.errors import InputError
from builder.reading.images import read_images
from tests.support.samples import NAME, gzipped, layout, sample, with_layers, write

IMAGE, OTHER = sample(), sample("b")


@pytest.fixture
def images(tmp_path):
    """A function: members of an archive -> its images, readable for the length of the test."""
    archives = []

    def read(members):
        archives.append(open_archive(write(tmp_path / ("%d.tar" % len(archives)), members)))
        return read_images(archives[-1])
    yield read
    for archive in archives:
        archive.__exit__()


def written(found):
    return b"".join(oci_archive.tar(oci_archive.members(found), lambda count: None))


def test_it_is_an_image_layout_that_our_own_reader_takes(tmp_path, images):
    before = images(layout(IMAGE, NAME))
    counted = []
    (tmp_path / "again.tar").write_bytes(b"".join(oci_archive.tar(oci_archive.members(before), counted.append)))
    with open_archive(str(tmp_path / "again.tar")) as archive:
        after, = read_images(archive)
        assert archive.notes == ()
    assert after.root == before[0].root and after.references == (NAME,)
    assert sum(counted) == sum(blob.size for _, blob in oci_archive.members(before))


def test_what_a_registry_parses_comes_before_the_layers_and_each_blob_once(images):
    shared = with_layers(IMAGE.layers[:1] + OTHER.layers[1:])
    found = (images(layout(IMAGE, NAME)) + images(layout(shared, "docker.io/library/other:1"))
             + images(layout(IMAGE, "example.com/a:1")))
    with tarfile.open(fileobj=io.BytesIO(written(found))) as tar:
        names = tar.getnames()
    digests = [found[0].root.digest, found[1].root.digest, IMAGE.image_id, shared.image_id]
    digests += [oci.digest_of(gzipped(layer)) for layer in IMAGE.layers + shared.layers[1:]]
    assert names == ["oci-layout", "index.json"] + ["blobs/" + digest.replace(":", "/") for digest in digests]


def test_members_say_nothing_of_time_and_place(images):
    with tarfile.open(fileobj=io.BytesIO(written(images(layout(IMAGE, NAME))))) as tar:
        found = {(member.mode, member.uid, member.gid, member.uname, member.gname, member.mtime, member.type)
                 for member in tar}
    assert found == {(0o444, 0, 0, "", "", 0, tarfile.REGTYPE)}


def test_a_member_may_be_larger_than_8_gib():
    size = (8 << 30) + 1
    assert tarfile.TarInfo.frombuf(oci_archive.header("blobs/x", size), "utf-8", "strict").size == size


def test_a_blob_that_changes_while_it_is_read_is_reported():
    blob = oci.blob_of(b"content")._replace(open=lambda: io.BytesIO(b"another"))
    with pytest.raises(InputError, match="%s: its archive changed while it was read" % blob.digest):
        b"".join(oci_archive.tar([("blobs/x", blob)], lambda count: None))
