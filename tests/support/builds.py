"""A small build, as the tests of what comes after the archives need it."""
import io

from builder import pipeline
from builder.kubernetes.steps import STDOUT
from builder.kubernetes.site import Site
from builder.loading import Sources
from builder.payload import compression
from builder.pipeline import Request
from tests.support import samples

IMAGE = "example.com/python:3"


def archive(folder, marker="a", name=samples.NAME):
    """A crane tarball in `folder`; returns its path."""
    return samples.write(folder / (marker + ".tar"), samples.crane(samples.sample(marker), name))


def request(folder, out="out", site=None, archives=None, **options):
    """A request for one small image, or for `archives` (paths), to be written to `folder`/`out`. Its payload is not
    compressed. `options`: fields of Request and of Sources. Fields of `site` that are not at their default are given."""
    target = out if out == STDOUT else str(folder / out)
    sources = {"compression": compression.NONE, **{
        name: options.pop(name) for name in list(options) if name in Sources._fields}}
    paths = [archive(folder)] if archives is None else archives
    site = site or Site(IMAGE)
    options.setdefault("given", {name for name, value in Site._field_defaults.items() if getattr(site, name) != value})
    return Request(Sources([path if isinstance(path, tuple) else ("", path) for path in paths], **sources),
                   site, target, **options)


def build(folder, out="out", site=None, **options):
    """-> the Result, and what went to stdout."""
    stdout = io.BytesIO()
    return pipeline.build(request(folder, out, site, **options), stdout, lambda *_: None), stdout.getvalue()


def content(folder):
    """File name -> bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
