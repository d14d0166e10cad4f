"""The page of the injector as a browser parses it."""
import html.parser

TAGS = {"html", "meta", "title", "style", "h1", "dl", "dt", "dd"}
ADDED = {"head", "body"}  # by a browser
ATTRIBUTES = {("lang", "en"), ("name", "viewport"), ("content", "width=device-width")}


class Page(html.parser.HTMLParser):
    """`rows`: an image each, the texts of its lines; `title`, `heading`, all `attributes`. Fails for tags and attributes
    that are not the page's own."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.declared, self.heading, self.title, self.inside = [], "", "", "", ""
        self.attributes = set()
        self.feed(text)
        self.close()

    def handle_decl(self, decl):
        self.declared = decl

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS | ADDED and set(attrs) <= ATTRIBUTES, (tag, attrs)
        self.inside = tag
        self.attributes.update(attrs)
        if tag == "dt":
            self.rows.append([""])
        elif tag == "dd":
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside in ("dt", "dd"):
            self.rows[-1][-1] += data
        elif self.inside == "h1":
            self.heading += data
        elif self.inside == "title":
            self.title += data
