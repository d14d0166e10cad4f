"""The benchmark's own parts: what its clients count, and the chart that it draws."""
import xml.etree.ElementTree

import pytest

from tests.support import injector
from tests.support import samples
from tests.bench.chart import COLOURS, Panel, chart
from tests.bench.load import Job, Outcome, run

IMAGE = samples.sample()
MANIFEST, _ = samples.oci_manifest(IMAGE)
PATH = "/v2/sample/manifests/1"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    seed = injector.seed_of(tmp_path_factory.mktemp("seed"), samples.layout(IMAGE, "docker.io/library/sample:1"))
    with injector.serving(seed) as running:
        yield running


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("new_connection", [False, True])
def test_every_client_asks_for_every_path_once(server, processes, new_connection):
    outcome = run(Job(server.port, 5, [PATH, PATH, "/v2/"], 0, new_connection), processes)
    assert (outcome.requests, outcome.errors, len(outcome.latencies)) == (15, 0, 5)
    assert outcome.body_bytes == 5 * (2 * len(MANIFEST) + len(b"{}"))


def test_clients_go_on_until_the_time_is_over(server):
    outcome = run(Job(server.port, 3, [PATH], .1, False), 1)
    assert outcome.seconds >= .1 and outcome.errors == 0 and outcome.requests > 3
    assert len(outcome.latencies) == outcome.requests and outcome.latencies == sorted(outcome.latencies)
    assert outcome.body_bytes >= outcome.requests * len(MANIFEST)


def test_what_is_not_there_is_an_error_for_each_client(server):
    assert run(Job(server.port, 4, ["/none"], 0, False), 2).errors == 4


def test_percentiles_are_of_the_sorted_latencies():
    outcome = Outcome(1, 4, 0, [.1, .2, .3, .4], 0)
    assert [outcome.percentile(share) for share in (0, .5, .99)] == [.1, .3, .4]
    assert outcome._replace(latencies=[]).percentile(.5) == 0


def test_the_chart_has_a_bar_for_each_value_as_long_as_it_is_large():
    panels = [Panel("A & B", ["x", "y"], [[1, 2], [4, 0]], "%.1f <s>")]
    root = xml.etree.ElementTree.fromstring(chart(["one", "two"], panels))
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.get("width")) for bar in root.iter(space + "rect") if bar.get("height") == "11"]
    assert widths == [widths[2] / 4, widths[2] / 2, widths[2], 0]
    assert {bar.get("fill") for bar in root.iter(space + "rect")} == {"#ffffff"} | set(COLOURS[:2])
    words = [text.text for text in root.iter(space + "text")]
    assert words == ["one", "two", "A & B", "x", "1.0 <s>", "2.0 <s>", "y", "4.0 <s>", "0.0 <s>"]
