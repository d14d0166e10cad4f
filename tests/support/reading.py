"""Images as tests look at them: read, each blob compared with its digest, and held in memory."""
import io
import json

import pytest

from builder.reading.archive import open_archive
from builder.reading.errors import InputError
from builder.reading.images import read_images
from builder.reading.oci import digest_of


def bytes_of(blob):
    """The bytes of a blob; fails the test if they are not those of its digest and size."""
    with blob.open() as source:
        data = source.read()
    assert (digest_of(data, blob.digest.partition(":")[0]), len(data)) == (blob.digest, blob.size)
    return data


def document(blob):
    """The JSON in a manifest, an index or a config."""
    return json.loads(bytes_of(blob).decode())


def in_memory(image):
    """The image with its blobs in memory, so that its archive can be closed."""
    def held(blob):
        data = bytes_of(blob)
        return blob._replace(open=lambda: io.BytesIO(data))
    return image._replace(**{kind: tuple(map(held, getattr(image, kind)))
                             for kind in ("manifests", "configs", "layers")})


def read(path):
    """The images of the archive at a path."""
    with open_archive(str(path)) as archive:
        return [in_memory(image) for image in read_images(archive)]


def ids(images):
    """The config digests of each image."""
    return [[config.digest for config in image.configs] for image in images]


def refusal(path, action):
    """The one line in which `action()` refuses the file at `path`."""
    with pytest.raises(InputError) as error:
        action()
    message = str(error.value)
    assert message.startswith(str(path) + ": ") and "\n" not in message
    return message
