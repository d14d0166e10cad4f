"""A small build, as the tests of what comes after the archives need it."""
import io

from builder import pipeline
from builder.commands import STDOUT
from builder.kubernetes.site import Site
from builder.order import Order
from builder.payload import compression
from tests.support import samples

IMAGE = "example.com/python:3"


def archive(folder, marker="a", name=samples.NAME):
    """A crane tarball in `folder`; returns its path."""
    return samples.write(folder / (marker + ".tar"), samples.crane(samples.sample(marker), name))


def order(folder, out="out", site=None, **options):
    """An order of one small image, to be written to `folder`/`out`; its payload takes several chunks of 1 KiB."""
    target = out if out == STDOUT else str(folder / out)
    return Order([("", archive(folder))], site or Site(IMAGE), target,
                          **dict({"compression": compression.NONE}, **options))


def build(folder, out="out", site=None, **options):
    """-> the Result, and what went to stdout."""
    stdout = io.BytesIO()
    return pipeline.build(order(folder, out, site, **options), stdout, lambda *_: None), stdout.getvalue()


def content(folder):
    """File name -> bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
