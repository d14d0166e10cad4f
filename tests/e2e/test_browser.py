"""The page at / in a real browser, on a phone and on a desk, by day and by night.

The page as it was served, in a frame as wide as the device (no window of the browser is as narrow as a phone), and behind
it a script that writes down what the browser made of it.
"""
import html
import json
import re
import subprocess

import pytest

from tests.support import injector
from tests.support import samples
from tests.support import sent as seeds
from tests.support.page import Page

BROWSER_SECONDS = 120  # a start of the browser on a busy machine takes some
NAME = "ghcr.io/a-company-with-a-long-name/" + "and-a-project-with-a-longer-one-" * 3 + "app:" + "v" * 100
REPORT = """<script>
const box = document.createElement("i"), style = getComputedStyle(document.querySelector("dt"));
box.style.background = "Canvas";
document.body.append(box);
const found = {window: innerWidth, wide: document.documentElement.scrollWidth, title: document.title,
               text: document.querySelector("dl").innerText, ink: style.color, paper: getComputedStyle(box).backgroundColor,
               weight: style.fontWeight, selects: style.userSelect, mode: document.compatMode};
parent.document.body.append("<<<" + JSON.stringify(found) + ">>>");
</script>"""
FRAME = ("<!DOCTYPE html><html style='color-scheme: light dark'><body>"
         "<iframe style='border: 0; width: %dpx; height: 800px' srcdoc=\"%s\"></iframe>")
BLACK, WHITE, NIGHT = "rgb(0, 0, 0)", "rgb(255, 255, 255)", "rgb(18, 18, 18)"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sent")
    found = seeds.sent(folder, samples.layout(samples.sample(), "docker.io/library/sample:1", NAME))
    assert injector.run("unpack", *found.arguments, "--seed", found.seed)[0] == 0
    with injector.serving(found.seed) as running:
        yield running


@pytest.fixture
def browse(needs, tmp_path):
    """A function of an address and options: the page after its scripts have run, as HTML."""
    needs("chromium")

    def opened(address, *options):
        done = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--user-data-dir=%s" % (tmp_path / "profile"), *options, "--dump-dom", address],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=BROWSER_SECONDS,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()
    return opened


def served(server):
    """The page, asked for as a browser does."""
    host = "127.0.0.1:%d" % server.port
    request = "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host
    return host, injector.Reply(server.exchange(request.encode())).body


def test_a_browser_shows_the_page_that_is_served(server, browse):
    host, body = served(server)
    text = browse("http://%s/" % host)
    assert "<html lang=\"en\"><head>" in text
    assert Page(text).rows == Page(body.decode()).rows and Page(text).rows[0][0] == host + "/library/sample:1"


@pytest.mark.parametrize("scheme, ink, paper", [(1, BLACK, WHITE), (0, WHITE, NIGHT)], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_it_fits_a_phone_and_a_desk_by_day_and_by_night(server, browse, tmp_path, width, scheme, ink, paper):
    host, body = served(server)
    (tmp_path / "frame.html").write_text(FRAME % (width, html.escape(body.decode() + REPORT)))
    text = browse("file://%s" % (tmp_path / "frame.html"), "--window-size=1300,900",
                  "--blink-settings=preferredColorScheme=%d" % scheme)
    found = json.loads(html.unescape(re.search("&lt;&lt;&lt;({.*})&gt;&gt;&gt;", text).group(1)))
    (row,) = Page(body.decode()).rows
    assert found.pop("text").split("\n") == row and row[0] == host + "/library/sample:1" and NAME in row
    assert found == {"window": width, "wide": width, "title": "Seedpod", "ink": ink, "paper": paper, "weight": "700",
                     "selects": "all", "mode": "CSS1Compat"}
