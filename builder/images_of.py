"""Manifests -> the images that they name. Pure.

In:  text of Kubernetes manifests, as `helm template`, `kubectl kustomize` and `kubectl get -o json` print it.
Out: what stands under a key `image`, which a node will surely pull; words elsewhere (arguments, environment, image
     volumes) that look like an image; and what stands where an image should and cannot be read.

The standard library reads JSON, but not YAML: that is read by lines, which finds an image in every style that manifests
are written in, also in a manifest within a ConfigMap. Images that a program has built in cannot be found.
"""
import json
import re
from typing import Any, Collection, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from builder.reading.errors import BuildError
from builder.reading.oci import Image
from builder.reading.reference import parse
from builder.rewriting.platforms import matches

# Values that are prose for people, or a schema: what looks like an image there is an example.
PROSE = {"annotations", "description", "x-kubernetes-validations"}
TEMPLATE = re.compile(r"\{\{|\$\(|\$\{")

_KEY = re.compile(r"""(\s*(?:-\s+)*)(?:"([^"\\]*)"|'([^']*)'|([A-Za-z0-9_][\w./-]*))\s*:(?:\s+(.*))?$""")
_FLOW_IMAGE = re.compile(r"""[{,]\s*(?:"image"|'image'|image)\s*:\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,{}\[\]"']+)""")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ITEM = re.compile(r"^(?:-\s+)+")
_BLOCK_SCALAR = re.compile(r"[|>][0-9+-]*\s*(#.*)?$")
_WORD = re.compile(r"[^\s\"'`,;=<>()\[\]{}|]+")
# A registry host has a dot, a port, or is localhost; then a path, then a tag or a digest.
_IMAGE = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]+)?|[A-Za-z0-9-]+:[0-9]+|localhost)/[a-z0-9._/-]+"
                    r"(?::[\w][\w.-]*)?(?:@sha256:[0-9a-f]{64}|@sha512:[0-9a-f]{128})?")
_TAGGED = re.compile(r"[a-z0-9][a-z0-9._/-]*(?::[\w][\w.-]*|@sha(256|512):[0-9a-f]+)")
_NAMES_AN_IMAGE = re.compile(r"image(s|-[a-z0-9]+)?$", re.IGNORECASE)  # a flag or a variable: -git-image, RELATED_IMAGE
_EFFECTS = (":NoSchedule", ":PreferNoSchedule", ":NoExecute")  # a taint looks like an image


class Found(NamedTuple):
    """What manifests name, each with the first place that names it: FILE:LINE, or FILE."""
    images: Dict[str, str]  # under a key `image`, as written there
    mentioned: Dict[str, str]  # elsewhere: a guess
    unclear: Dict[str, str]  # where an image should stand, or seems to: a template, or not an image name


def images_of(text: str, name: str) -> Found:
    """The images of one file. Never raises: what cannot be read is unclear, or not an image."""
    found = Found({}, {}, {})
    document = _json(text)
    if document is not None:
        for key, value, hinted in _walk(document):
            _take(found, key, value, name, hinted)
        return found
    for number, key, value, hinted in _scan(text.splitlines()):
        _take(found, key, value, "%s:%d" % (name, number), hinted)
    return found


def joined(parts: List[Found]) -> Found:
    """What several files name; what surely is an image is not mentioned once more."""
    found = Found({}, {}, {})
    for part in parts:
        for mine, its in zip(found, part):
            for text, place in its.items():
                mine.setdefault(text, place)
    for text in found.images:
        found.mentioned.pop(text, None)
    return found


class Missing(BuildError):
    """The seed lacks images that the manifests need; `images` are all of them."""

    def __init__(self, images: Sequence[str], line: str) -> None:
        super().__init__(line)
        self.images = images


def check(found: Found, images: Sequence[Image], addresses: Mapping[str, str], excepted: Collection[str],
          platforms: Collection[str]) -> List[str]:
    """Hold what manifests name against the images of a seed; -> notes.

    `addresses`: full reference -> address with host, name and tag, which manifests may name as well; `excepted`: what
    the operator has elsewhere, as written in the manifests; `platforms`: of the nodes, "linux/arm64". Raises Missing
    for images that are sure, and notes the others.
    """
    offered = _offered(images, addresses)
    lacking = {text: place for text, place in found.images.items()
               if text not in excepted and _full(text) not in offered}
    if lacking:
        raise Missing(list(lacking), "%s: not in the archives: %s: save and add them, or except what the cluster has "
                      "already by --not-image" % (next(iter(lacking.values())), ", ".join(lacking)))
    lacks = {text: [wanted for wanted in platforms if not any(matches(one, [wanted]) for one in offered[_full(text)])]
             for text in found.images if text not in excepted and offered[_full(text)]}
    wrong = {text: missing for text, missing in lacks.items() if missing}
    if wrong:
        raise Missing(list(wrong), "%s: not for every node: %s: save and add them for these platforms, too, or except "
                      "them by --not-image" % (found.images[next(iter(wrong))], ", ".join(
                          "%s (%s)" % (text, ", ".join(missing)) for text, missing in wrong.items())))
    return doubts(found._replace(mentioned={text: place for text, place in found.mentioned.items()
                                            if text not in excepted and _full(text) not in offered}))


def doubts(found: Found) -> List[str]:
    """What a person should look at, a line each."""
    return ["%s: mentions %s, which may be an image" % (place, text) for text, place in found.mentioned.items()] + [
        "%s: has %s where an image should be: only the cluster knows which" % (place, text)
        for text, place in found.unclear.items()]


def _offered(images: Sequence[Image], addresses: Mapping[str, str]) -> Dict[str, Collection[str]]:
    """Every full name that leads to an image of the seed -> the platforms it runs on, none where that is not known."""
    found: Dict[str, Collection[str]] = {}
    for image in images:
        for reference in image.references:
            names = [reference] + [addresses[reference]] * (reference in addresses)
            for name in names:
                parsed = parse(name)
                repository = "%s/%s" % (parsed.host, parsed.path)
                for suffix in (":" + parsed.tag, "@" + image.root.digest):
                    found.setdefault(repository + suffix, image.platforms)
    return found


def _full(text: str) -> str:
    """The full name that a text stands for: by digest where it has one, as a node pulls it."""
    parsed = parse(text)
    return "%s/%s%s" % (parsed.host, parsed.path, "@" + parsed.digest if parsed.digest else ":" + parsed.tag)


def _take(found: Found, key: str, value: str, place: str, hinted: bool) -> None:
    """Sort one value into `found`. `hinted`: its flag or variable says that it is an image."""
    if key == "image":
        if value and (TEMPLATE.search(value) or not _is_reference(value)):
            found.unclear.setdefault(value, place)
        elif value:
            found.images.setdefault(value, place)
        return
    for word in map(_bare, _WORD.findall(value)):
        if _looks_like_an_image(word, hinted):
            found.mentioned.setdefault(word, place)
        hinted = hinted and not word.startswith("-") or _is_flag_of_image(word)
    if hinted and TEMPLATE.search(value):
        found.unclear.setdefault(value, place)


def _bare(word: str) -> str:
    """Without the end of a sentence."""
    return word.rstrip(".:")


def _looks_like_an_image(word: str, hinted: bool) -> bool:
    if "://" in word or word.endswith(_EFFECTS) or not _is_reference(word):
        return False
    is_tagged = ":" in word.rpartition("/")[2] or "@" in word
    return bool(_IMAGE.fullmatch(word)) and (hinted or is_tagged) or hinted and bool(_TAGGED.fullmatch(word))


def _is_reference(text: str) -> bool:
    try:
        parse(text)
    except BuildError:
        return False
    return True


def _json(text: str) -> Any:
    """The document, or None where the text is not JSON."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _walk(document: Any) -> Iterator[Tuple[str, str, bool]]:
    """Every text in a JSON document with its key, "" in a list; without recursion, however deep it is."""
    waiting = [("", document, False)]
    while waiting:
        key, value, hinted = waiting.pop()
        if isinstance(value, dict):
            name = value.get("name")
            waiting += [(inner, item, inner == "value" and _names_an_image(name))
                        for inner, item in reversed(list(value.items())) if inner not in PROSE]
        elif isinstance(value, list):
            flags = [False] + [_is_flag_of_image(item) for item in value[:-1]]
            waiting += [("", item, hint) for item, hint in reversed(list(zip(value, flags)))]
        elif isinstance(value, str):
            # A manifest within a manifest, as ConfigMaps carry.
            for _, *inner in _scan(value.splitlines()) if "\n" in value else [(0, key, value, hinted)]:
                yield (inner[0], inner[1], inner[2])


def _scan(lines: List[str]) -> Iterator[Tuple[int, str, str, bool]]:
    """Lines of YAML -> (number, key, value, whether it is hinted to be an image); key "" where there is none."""
    prose = -1  # the column of a key whose deeper lines are prose
    hint = False  # whether the line before says that an image follows
    image_at = False  # whether the line before is a key `image` with nothing behind it
    for number, line in enumerate(lines, 1):
        content = line.lstrip()
        if not content or content.startswith("#"):
            continue
        column = len(line) - len(content)
        if 0 <= prose < column:
            continue
        prose = -1
        match = _KEY.match(line)
        if not match:
            if image_at:
                yield number, "image", _scalar(content), False
            else:
                item = _ITEM.sub("", content)
                yield number, "", _uncommented(item), hint
                yield from ((number, "image", _scalar(value), False) for value in _FLOW_IMAGE.findall(line))
                hint = _is_flag_of_image(_scalar(item)) or hint and not content.startswith("-")
            image_at = False
            continue
        key = match.group(2) or match.group(3) or match.group(4) or ""
        rest = match.group(5) or ""
        if key in PROSE:
            prose = len(match.group(1))
            continue
        image_at = key == "image" and (not rest or bool(_BLOCK_SCALAR.match(rest)))
        if key == "image" and not image_at:
            yield number, "image", _scalar(rest), False
        elif key != "image":
            yield number, key, _uncommented(rest), hint and key == "value"
            yield from ((number, "image", _scalar(value), False) for value in _FLOW_IMAGE.findall(line))
        if key == "name":
            hint = _names_an_image(_scalar(rest))
        elif key != "value" or not _BLOCK_SCALAR.match(rest):
            hint = False


def _scalar(text: str) -> str:
    """The value at the beginning of a text: quoted or plain, without anchor, tag and comment; "" for an alias."""
    text = re.sub(r"^(?:[&!]\S*\s+)+", "", text.strip())
    if text[:1] == '"':
        match = _QUOTED.match(text)
        try:
            return json.loads('"%s"' % match.group(1)) if match else ""
        except ValueError:
            return match.group(1)
    if text[:1] == "'":
        return text[1:].partition("'")[0]
    if text[:1] == "*":
        return ""
    if text[:2] == "{{":
        return text
    return re.split(r"\s#|[,}\]]", text)[0].strip()


def _uncommented(text: str) -> str:
    return re.split(r"\s#", text)[0]


def _names_an_image(text: Any) -> bool:
    """Whether the name of a flag or of a variable says that its value is an image."""
    return isinstance(text, str) and bool(_NAMES_AN_IMAGE.search(text))


def _is_flag_of_image(text: Any) -> bool:
    return _names_an_image(text) and text.startswith("-")
