# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the error texts from the source of the package, for the test of the troubleshooting page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GAP = "…"
"""Replaces the variable part of a message."""

_RAISED = re.compile(r"\w*(Error|Exception)$")


class Message(NamedTuple):
    """The text of one raised error.

    :param place: file and line.
    :param error: name of the exception class.
    :param text: the text in the source, with `GAP` in place of inserted values.
    """

    place: str
    error: str
    text: str


def raised(folder: Path) -> list[Message]:
    """Return the texts of all errors that the modules of a folder raise."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = ast.unparse(node.exc.func).rsplit(".", 1)[-1]
                place = f"{path.relative_to(folder.parent)}:{node.lineno}"
                if _RAISED.match(name):
                    found += [Message(place, name, text) for text in _texts_of_call(node.exc)]
    return found


def all_texts(folder: Path) -> list[str]:
    """Return every text in the source of a folder, including log messages."""
    found: list[str] = []
    for path in sorted(folder.rglob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found += [text for node in nodes if (text := _text(node)) is not None]
    return found


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern of the page matches a text: the text contains its pieces in this order."""
    at = 0
    for piece in filter(None, (each.strip() for each in pattern.split(GAP))):
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def patterns(page: str) -> list[str]:
    """Return the message patterns of the page: its headings in code, and the first column of its tables."""
    return re.findall(r"^(?:### |\| )`([^`]+)`", page, re.MULTILINE)


def _texts_of_call(call: ast.Call) -> Iterator[str]:
    for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
        text = _text(argument)
        if text is not None and len(text.replace(GAP, "").strip()) > 5:
            yield text


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or GAP for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left) or GAP) + (_text(node.right) or GAP)
    return None
