# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The forms in which programs print one secret.

They print a secret of several lines line by line; a JSON document in another layout (`jq` spreads or compacts it), or
only one value of it; and a text inside JSON with escapes. All these forms are secrets, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

LEAST_CHARACTERS = 5
"""Shorter texts are not masked, as in Airflow: they would be masked in the middle of words."""
LEAST_LINE = 16
"""Shorter lines, and shorter values of a document, are not masked on their own: they are ordinary words."""


def forms(secret: str, is_secret_name: Callable[[str], bool]) -> set[str]:
    """Return all forms of a secret, including itself.

    :param is_secret_name: tells whether a value with a certain name in a JSON document is secret, even a short value.
    """
    texts = {secret, *_values(secret, is_secret_name)}
    texts |= {line for text in texts for line in map(str.strip, text.split("\n")) if len(line) >= LEAST_LINE}
    return texts | {escaped for text in texts for escaped in _escaped(text)}


def _values(secret: str, is_secret_name: Callable[[str], bool]) -> Iterator[str]:
    """Yield the texts and numbers of a JSON document, and of documents inside its texts, as they are written."""
    todo: list[tuple[Any, bool]] = [(_document(secret), False)]
    while todo:
        value, named = todo.pop()
        if isinstance(value, dict):
            todo += [(each, named or is_secret_name(name)) for name, each in value.items()]
        elif isinstance(value, list):
            todo += [(each, named) for each in value]
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
            text = str(value)
            if len(text) >= (LEAST_CHARACTERS if named else LEAST_LINE):
                yield text
            if isinstance(value, str):
                todo.append((_document(value), named))


def _document(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        # Numbers as they are written: another program may print more digits than Python reads.
        return json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _escaped(text: str) -> Iterator[str]:
    """Yield a text as written in JSON. Some programs escape everything but ASCII, others escape slashes, too."""
    for ascii_only in (True, False):
        written = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield written
        yield written.replace("/", "\\/")
