# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find what Airflow cannot store in a JSON value, on any of its databases, and where it is in the value.

A value travels as MessagePack, as JSON, through Pydantic and into a column of type JSONB, JSON or text. If one of these
refuses it, the task fails after the script has done its work. So values are checked before.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

DEPTH = 64
"""Limit for nested lists and objects. Pydantic fails at about 250 levels, MySQL at 100."""
LEAST, MOST = -(2**63), 2**64 - 1
"""The range of integers in MessagePack."""

_RESERVED_KEYS = frozenset(("__classname__", "__id__"))
_OLD_FORM = frozenset(("__type", "__var"))
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACE_CHARACTERS = 200
_NOT_FINITE = "is not finite"

Place = tuple[Any, "str | int"] | None
"""A place in a value: the place above, and the step from there; None is the top."""


def parse_value(data: bytes) -> Any:
    """Parse JSON. ``NaN`` and numbers of any length are accepted, so that `storage_problem` can name their place.

    :raises ValueError: not JSON; the text has line and column.
    """
    try:
        return json.loads(data, parse_int=_integer)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEPTH} levels deep") from None


def _integer(text: str) -> int:
    # Python refuses thousands of digits, or takes very long to parse them.
    return int(text) if len(text) <= len(str(LEAST)) else MOST + 1


def storage_problem(value: Any) -> str | None:
    """Return the first place in a JSON value that cannot be stored, and why; None if all of it can be stored.

    Works without recursion, so that it can check a value of any depth.
    """
    todo: list[tuple[Any, Place, int]] = [(value, None, 0)]
    while todo:
        each, place, depth = todo.pop()
        reason = _problem(each, depth)
        if reason == _NOT_FINITE:
            return f"it is not JSON ({json.dumps(each)} at {_written(place)}, which no database takes)"
        if reason:
            return f"{_written(place)} {reason}"
        todo += [(child, (place, step), depth + 1) for step, child in reversed(list(_children(each)))]
    return None


def _children(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _problem(value: Any, depth: int) -> str | None:
    if isinstance(value, str):
        return _text_problem(value, "has")
    if isinstance(value, float) and not math.isfinite(value):
        return _NOT_FINITE
    if isinstance(value, int) and not LEAST <= value <= MOST:
        return "is an integer beyond 64 bits: write it as text, in quotes"
    if isinstance(value, (dict, list)) and depth >= DEPTH:
        return f"is nested more than {DEPTH} levels deep"
    if isinstance(value, dict):
        for key in value:
            if reason := _text_problem(key, f"has a name {json.dumps(key[:40])} with"):
                return reason
        reserved = sorted(_RESERVED_KEYS & value.keys()) or (sorted(_OLD_FORM) if value.keys() >= _OLD_FORM else [])
        if reserved:
            return f"has the name {reserved[0]!r}, which Airflow reserves for itself"
    return None


def _text_problem(text: str, has: str) -> str | None:
    if "\0" in text:
        return f"{has} a NUL character (\\u0000), which no database takes: remove it"
    if _SURROGATE.search(text):
        return f"{has} half of a surrogate pair (such as \\ud800), which is no character"
    return None


def _written(place: Place) -> str:
    """Return a place as a JSON path: ``$.rows[3].name``."""
    steps: list[str] = []
    while place is not None:
        place, step = place
        if isinstance(step, int):
            steps.append(f"[{step}]")
        else:
            steps.append(f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{json.dumps(step)}]")
    path = "$" + "".join(reversed(steps))
    return path if len(path) <= _PLACE_CHARACTERS else f"{path[:_PLACE_CHARACTERS]}…"
