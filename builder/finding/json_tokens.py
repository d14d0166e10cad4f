"""A JSON document -> tokens; a Kubernetes manifest within it, as in a ConfigMap, is read as YAML."""
import json
from typing import Any, Iterator, Optional

from builder.finding.image_words import announces_image, is_image_flag
from builder.finding.tokens import PROSE_KEYS, Token
from builder.finding.yaml_tokens import yaml_tokens


def json_tokens(text: str) -> Optional[Iterator[Token]]:
    """Return the tokens of a JSON document; None if the text is not JSON."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return _walk(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _walk(document: Any) -> Iterator[Token]:
    """Yield a token for each text. Do not recurse, so that any depth is read."""
    waiting = [("", document, False)]
    while waiting:
        key, value, for_image = waiting.pop()
        if isinstance(value, dict):
            is_announced = announces_image(value.get("name"))
            waiting += [(inner, item, inner == "value" and is_announced)
                        for inner, item in reversed(list(value.items())) if inner not in PROSE_KEYS]
        elif isinstance(value, list):
            after_flag = [False] + [is_image_flag(item) for item in value[:-1]]
            waiting += [("", item, flagged) for item, flagged in reversed(list(zip(value, after_flag)))]
        elif isinstance(value, str) and "\n" in value:
            yield from (token._replace(line=0) for token in yaml_tokens(value.splitlines()))
        elif isinstance(value, str):
            yield Token(0, key, value, for_image)
