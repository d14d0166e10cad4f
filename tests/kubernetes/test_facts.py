"""builder/kubernetes/facts: written and read from one table, and refused where no build writes it."""
import json

import pytest

from builder import VERSION
from builder.kubernetes.facts import Facts, parse_facts, to_json
from builder.kubernetes.persistent_registry import CLAIM, NEW_CLAIM, PersistentRegistry, Storage
from builder.kubernetes.runner import Runner
from builder.cli.site_options import annotation, label, own_label, toleration
from builder.kubernetes.site import TOLERATE_ALL, Site
from builder.payload.chunks import LARGEST_CHUNK_BYTES
from builder.payload.contents import Contents, Segment, to_text
from builder.reading.errors import InputError

HEX = "0123456789abcdef" * 4
CONTENTS = Contents({"manifests": []}, (Segment("", (("sha256:" + HEX, 5),), (HEX,), 5),))
SMALL = Facts(Site("python:3", expose="nodeport"), (Runner("python:3"),), to_text(CONTENTS), 188416, {"injector": HEX}, None, (),
              {}, ("ConfigMap", "Pod"), "")
SITES = [
    Site("python:3", "/usr/bin/python3", namespace="tools", create_namespace=True, node_port=31998, expose="hostport"),
    Site(interpreter="/usr/bin/python3", host_python=True, expose="nodeport", replicas=3, no_user=True, names="policy"),
    Site("x", expose="hostnetwork", names="mirror", containerd_config="/etc/k0s", pull_secrets=("a", "b.c"),
         labels=dict([own_label("a.b/c=d")]), annotations=dict([annotation("note=any: text\n\"é\"")]),
         node_selector=dict([label("", "kubernetes.io/arch=arm64")]), requests={"cpu": "50m"}, limits={"memory": "1Gi"},
         tolerations=(TOLERATE_ALL, toleration("a"), toleration("a="), toleration("a=b:NoSchedule"), toleration("a:NoExecute"))),
]
TABLE = [SMALL, *(SMALL._replace(site=site) for site in SITES),
         SMALL._replace(runners=(Runner("a", "/usr/bin/python3.12", True, "amd64", ("n1", "n2")), Runner("b:1"))),
         SMALL._replace(chunk_bytes=LARGEST_CHUNK_BYTES, programs={"injector": HEX, "mirror": HEX}, base=HEX,
                        elsewhere=("seedpod-" + HEX,), digests={"docker.io/library/a:1": "sha256:" + HEX}),
         *(SMALL._replace(programs={"injector": HEX, "spooler": HEX},
                          registry=PersistentRegistry("docker.io/library/registry:2", ("/entry", "a b"), storage))
           for storage in (Storage(), Storage(size="5Gi"), Storage(CLAIM, claim="data"), Storage(NEW_CLAIM, storage_class="fast")))]


@pytest.mark.parametrize("facts", TABLE)
def test_facts_are_written_and_read(facts):
    assert parse_facts(to_json(facts), "FACTS") == (facts, CONTENTS)


def test_the_text_is_json_of_every_field():
    document = json.loads(to_json(SMALL))
    assert set(document) == {"format", *Facts._fields} and document["format"] == 1 and document["seedpod"] == VERSION
    assert document["site"]["image"] == "python:3" and document["runners"][0]["interpreter"] == "python3"


def changed(path, value):
    """The text of the fullest facts with the value at `path` replaced."""
    document = json.loads(to_json(TABLE[-1]._replace(base=HEX, elsewhere=("seedpod-" + HEX,))))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize("path, value, words", [
    (("format",), 2, r"written by Seedpod '%s', in a format that this one does not read" % VERSION),
    (("more",), 1, "in a format that this one does not read"),
    (("seedpod",), "9\x1b[2J", "seedpod: no build writes this"),
    (("chunk_bytes",), 0, "chunk_bytes: no build writes this"), (("chunk_bytes",), "5", "chunk_bytes: is not of type int"),
    (("chunk_bytes",), LARGEST_CHUNK_BYTES + 1, "chunk_bytes: no build"), (("chunk_bytes",), True, "is not of type int"),
    (("site",), {}, "site: does not have the keys image, "), (("site", "more"), "", "site: does not have the keys"),
    *((("site", *path), value, "FACTS: site: %s: no build writes this" % path[0]) for path, value in (
        (("image",), "UPPER"), (("namespace",), "a b; rm"), (("node_port",), 80), (("replicas",), 1000), (("replicas",), -1),
        (("tries",), 0), (("expose",), "other"), (("expose",), ""), (("names",), "other"), (("labels",), {"seedpod/part": "x"}),
        (("annotations",), {"a": "\ud800"}), (("node_selector",), {"a": "$(x)"}), (("limits",), {"gpu": "1"}),
        (("tolerations",), [{"key": "a", "operator": "In"}]), (("tolerations",), [{"operator": "Exists", "effect": "x"}]),
        (("tolerations",), [{"key": "a", "operator": "Equal"}]), (("tolerations",), [{}]), (("pull_secrets",), ["A"]),
        (("interpreter",), "\n"))),
    (("site", "containerd_config"), "/a/../b", "site: containerd_config: no build"), (("site", "containerd_config"), "/a",
     "FACTS: --containerd-config: requires"),
    (("site", "labels"), {"a": 1}, "not of type str"), (("site", "tolerations"), [7], "not of type dict"),
    (("site", "create_namespace"), 1, "create_namespace: is not of type bool"),
    (("runners",), [], "runners: no build writes this"), (("runners", 0, "image"), "a b", "runners: no build"),
    (("runners", 0, "nodes"), ["a b"], "runners: no build"), (("runners", 0, "interpreter"), "\x1b", "runners: no build"),
    (("contents",), "{", "contents: is not valid JSON"), (("contents",), "\ud800", "FACTS: contents"),
    (("programs",), {}, "programs: no build"), (("programs",), {"injector": HEX}, "programs: no build"),
    (("programs", "injector"), "x", "programs: no build"), 
    (("registry", "storage", "kind"), "hostpath", "registry: no build"), (("registry", "storage", "size"), "1", "registry: no build"),
    (("registry", "storage", "claim"), "x", "registry: no build"),
    (("elsewhere",), ["../x"], "elsewhere: no build"), (("base",), "", "elsewhere: no build"), (("base",), "x", "base: no build"),
    (("digests",), {"a": "sha256:1"}, "digests: no build"), (("kinds",), ["Namespace"], "kinds: no build"),
    (("kinds",), ["Secret"], "kinds: no build")])
def test_what_no_build_writes_is_refused_in_one_line(path, value, words):
    with pytest.raises(InputError, match=words) as error:
        parse_facts(changed(path, value), "FACTS")
    assert str(error.value).isprintable() and str(error.value).startswith("FACTS: ")


def test_options_that_cannot_be_combined_are_refused():
    facts = SMALL._replace(site=SITES[0]._replace(replicas=2))
    with pytest.raises(InputError, match="FACTS: --expose hostport: cannot be combined with --replicas"):
        parse_facts(to_json(facts), "FACTS")


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe\x00", b"[" * 100000, b"{}"])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(InputError, match="^FACTS"):
        parse_facts(text, "FACTS")


def test_facts_that_are_cut_short_are_refused():
    text = to_json(SMALL)
    for length in range(len(text) - 2):
        with pytest.raises(InputError):
            parse_facts(text[:length], "FACTS")
