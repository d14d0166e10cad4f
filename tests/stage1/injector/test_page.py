"""The page at / for a person with a browser: which rows it has, and what can never get into it.

tests/e2e/test_browser.py looks at it in a real browser.
"""
import io

import pytest

from tests.support import injector
import registry
from tests.support import samples
from tests.support import sent as seeds
from builder.payload import contents
from builder.payload.human import human
from builder.reading import oci
from builder.reading.archive import open_archive
from builder.reading.images import read_images
from tests.support.interpreters import interpreters
from tests.support.page import ATTRIBUTES, Page

HOST = "127.0.0.1:31999"
IMAGE, OTHER, ARM = samples.sample(), samples.sample("other"), samples.sample("arm", platform="linux/arm/v7")
MANIFEST, BLOBS = samples.oci_manifest(IMAGE)
DIGEST = oci.digest_of(MANIFEST)
CHART = samples.to_json({
    "schemaVersion": 2, "mediaType": oci.OCI_MANIFEST,
    "config": samples.descriptor("application/vnd.cncf.helm.config.v1+json", b'{"name":"app"}'),
    "layers": [samples.descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", samples.gzipped(b"app"))]})
CHART_BLOBS = [samples.blob(data) for data in (CHART, b'{"name":"app"}', samples.gzipped(b"app"))]


def table_of(index, *members):
    """An index of entries, and the members of layouts -> Registry."""
    blobs = {name[6:].replace("/", ":"): data for layout in members for name, data in layout}

    def open_blob(digest, size):
        if len(blobs.get(digest, b"")) != size:
            raise OSError("its size has changed")
        return io.BytesIO(blobs[digest])
    return registry.Registry(index, open_blob)


def built(tmp_path, *layouts):
    """What the builder makes of archives -> Registry, and the images."""
    images = []
    for number, members in enumerate(layouts):
        with open_archive(samples.write(tmp_path / ("%d.tar" % number), members)) as archive:
            images += read_images(archive)
    return table_of(contents.index_of(images), *layouts), images


def made_by_hand(name, **annotations):
    """One image under a name that nobody has checked -> Registry."""
    entry = samples.descriptor(oci.OCI_MANIFEST, MANIFEST, annotations=dict({oci.REF_NAME: name}, **annotations))
    return table_of({"manifests": [entry]}, BLOBS)


def page_of(table, host=HOST):
    answer = table.answer("GET", "/", {"host": host})
    assert (answer.status, answer.headers) == (200, {"Content-Type": "text/html;charset=utf-8"})
    page = Page(answer.entity.body.decode("utf-8"))
    assert (page.declared, page.title, page.heading) == ("DOCTYPE html", "Seedpod", "Seedpod registry")
    assert page.attributes == ATTRIBUTES  # without its viewport, a phone shows a desk in small
    return page


def size_of(*contents):
    return human(sum(map(len, contents)))


def test_an_image_is_a_row_the_line_to_copy_first_then_its_other_names_what_it_is_and_its_digest(tmp_path):
    table, _ = built(tmp_path, samples.layout(IMAGE, "docker.io/library/sample:1", "quay.io/a/b:v2"))
    assert page_of(table).rows == [[
        HOST + "/library/sample:1", "docker.io/library/sample:1", "sample:1", "a/b:v2", "quay.io/a/b:v2",
        "linux/amd64, " + size_of(*dict(BLOBS).values()), DIGEST]]


def test_an_image_of_several_platforms_is_one_row_that_lists_them(tmp_path):
    table, (image,) = built(tmp_path, samples.multi_platform([IMAGE, ARM], "quay.io/a/b:1"))
    assert page_of(table).rows == [[HOST + "/a/b:1", "quay.io/a/b:1",
                                    "linux/amd64, linux/arm/v7, " + human(contents.bytes_of(image)),
                                    image.root.digest]]


def test_a_chart_has_a_size_and_no_platform():
    entry = samples.descriptor(oci.OCI_MANIFEST, CHART)
    blobs = tuple(oci.blob_of(data) for _, data in CHART_BLOBS)
    image = oci.Image(("quay.io/charts/app:1.2.3",), oci.Descriptor(entry["mediaType"], entry["digest"], entry["size"]),
                      blobs[:1], blobs[1:2], blobs[2:], (), (), "", ())
    table = table_of(contents.index_of([image]), CHART_BLOBS)
    assert page_of(table).rows == [[HOST + "/charts/app:1.2.3", "quay.io/charts/app:1.2.3",
                                    size_of(*dict(CHART_BLOBS).values()), entry["digest"]]]


def test_an_image_that_is_known_by_digest_alone_is_pulled_by_it():
    table = made_by_hand("quay.io/a/b@" + DIGEST)
    assert page_of(table).rows == [["%s/a/b@%s" % (HOST, DIGEST), "quay.io/a/b@" + DIGEST, "", DIGEST]]


def test_a_name_that_leads_to_another_image_stands_with_that_one_alone(tmp_path):
    table, _ = built(tmp_path, samples.layout(IMAGE, "docker.io/a/b:1"), samples.layout(OTHER, "quay.io/a/b:1"))
    assert [row[:-2] for row in page_of(table).rows] == [[HOST + "/a/b:1", "docker.io/a/b:1"],
                                                         [HOST + "/quay.io/a/b:1"]]


def test_every_name_on_the_page_can_be_pulled(tmp_path):
    table, _ = built(tmp_path, samples.layout(IMAGE, "docker.io/library/sample:1", "localhost:5000/x:1"),
                     samples.layout(OTHER, "quay.io/x:1", "quay.io/a/b:1"))
    rows = page_of(table).rows
    assert len(rows) == 2
    for first, *names, _, digest in rows:
        for name in [first[len(HOST) + 1:]] + names:
            answer = table.answer("GET", "/v2/%s/manifests/%s" % tuple(name.split(":")), {})
            assert (answer.status, answer.entity.digest) == (200, digest)


def test_a_seed_that_says_nothing_of_its_images_has_rows_of_names_and_digest():
    assert page_of(made_by_hand("quay.io/a/b:1")).rows == [[HOST + "/a/b:1", "quay.io/a/b:1", "", DIGEST]]


def test_an_empty_seed_has_a_page_without_rows():
    assert page_of(table_of({"manifests": []})).rows == []


HOSTILE = ["<script>alert(1)</script>", "</dl><img src=x onerror=alert(1)>", "&lt;b&gt;", "'\"><b>", "\ud800", "\n<dt>\n"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_tag_is_shown_as_it_is_and_is_no_markup(text):
    text = text.replace(":", "")
    (row,) = page_of(made_by_hand("quay.io/a/b:" + text)).rows
    assert row[0] == "%s/a/b:%s" % (HOST, text.replace("\ud800", "?")) and row[-1] == DIGEST


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_has_no_row(text):
    assert page_of(made_by_hand("quay.io/%s/b:1" % text)).rows == []


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_description_is_shown_as_it_is_and_is_no_markup(text):
    (row,) = page_of(made_by_hand("quay.io/a/b:1", **{contents.DESCRIPTION: text})).rows
    assert row[2:] == [text.replace("\ud800", "?"), DIGEST]


@pytest.mark.parametrize("value", [None, 7, ["<b>"], {"<b>": "<b>"}])
def test_a_description_that_is_not_a_text_spoils_nothing(value):
    (row,) = page_of(made_by_hand("quay.io/a/b:1", **{contents.DESCRIPTION: value})).rows
    assert row[2:] == [str(value), DIGEST]


@pytest.mark.parametrize("host", ["localhost:8080", "node-1.example.com:31999", "[::1]:31999", "[fd00::7]", "10.0.0.7"])
def test_the_address_is_the_one_that_the_browser_asked(host):
    (row,) = page_of(made_by_hand("quay.io/a/b:1"), host).rows
    assert row[0] == host + "/a/b:1"


@pytest.mark.parametrize("host", ["", "<script>", "x\"y", "a&b", "a b", "a/b", "a\nb", "x'", "\u00e9"])
def test_what_is_not_an_address_never_gets_into_the_page(host):
    (row,) = page_of(made_by_hand("quay.io/a/b:1"), host).rows
    assert row[0] == "a/b:1"


@pytest.mark.parametrize("python", [path for _, path in interpreters()],
                         ids=["%d.%d" % version for version, _ in interpreters()])
def test_what_the_builder_says_of_an_image_comes_through_both_stages(tmp_path, python):
    found = seeds.sent(tmp_path, samples.layout(IMAGE, "docker.io/library/sample:1"))
    status, _, err = injector.run("unpack", *found.arguments, "--seed", found.seed, python=python)
    assert (status, err) == (0, "")
    with injector.serving(found.seed, python=python) as server:
        reply = server.get("/")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html;charset=utf-8")
        (row,) = Page(reply.body.decode("utf-8")).rows
        assert row[-2:] == ["linux/amd64, " + size_of(*dict(BLOBS).values()), DIGEST]
        head = server.get("/", method="HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(reply.body)))
