# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find values that YAML reads as something else than what is written: ``0022``, ``12:30``, ``0x1F``, ``1_000``, ``no``.

YAML 1.1 takes ``0022`` for the number 18 and ``12:30`` for 750. One rule finds them all: the text in the file is
compared with the canonical text of the value that was read. What differs is a problem

- where text is meant: variables of scripts, entries of ``for_each``, values of runs;
- anywhere else, if another reader of YAML (1.2, JSON) would read another value, or if digits are lost. So ``1.50`` and
  ``0x1F`` are numbers in ``params``, and ``012`` and ``no`` are violations.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from batchy_provider.config.diagnostics import QUOTES, Code, KeyPath, Violation, show
from batchy_provider.config.document import Document, canonical

_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_OCTAL = re.compile(r"[-+]?0[0-9]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_BOOLS = frozenset(("true", "True", "TRUE", "false", "False", "FALSE"))
_FREE = ("params", "args", "for_each")
"""Keys of jobs whose values have no type of their own, so that ``no`` may be a text there."""


def rewritten(document: Document, invalid: Collection[KeyPath] = ()) -> Iterator[Violation]:
    """Yield an error for each value of a file that YAML rewrites.

    :param invalid: keys whose value, as YAML reads it, is invalid anyway.
    """
    for path, value, text in _differences(document.data, document.texts, ()) if document.has_rewritten else ():
        if _means_text(value, path) or _is_ambiguous(value, text, path):
            instead = "" if path in invalid or path[-2:-1] == ("env",) else _or(value)
            yield Violation(
                path, Code.YAML_REWRITE, f"YAML reads {text} as {show(value)}{QUOTES}: {_quoted(text)}{instead}"
            )


def with_written_text(document: Document, problem: Violation) -> Violation:
    """Add the written text to the advice to write a value in quotes."""
    if not problem.needs_quotes:
        return problem
    text = _at(document.texts, problem.path)
    # Of a document in which nothing is rewritten, `texts` are its values.
    return (
        problem
        if isinstance(text, dict | list)
        else problem._replace(message=f"{problem.message}: {_quoted(canonical(text))}")
    )


def _differences(value: Any, text: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any, str]]:
    match value:
        case dict():
            for key, item in value.items():
                if path or not key.startswith("x-"):
                    yield from _differences(item, text[key], (*path, key))
        case list():
            for index, item in enumerate(value):
                yield from _differences(item, text[index], (*path, index))
        case str():
            pass
        case _:
            if canonical(value) != text:
                yield path, value, text


def _means_text(value: Any, path: KeyPath) -> bool:
    """Return whether the value of this key is used as text."""
    match path:
        case ("defaults", "env", _) | ("jobs", _, "env", _):
            return value is not None  # which the model refuses
        case ("jobs", _, "for_each", int()):
            return True
        case ("run_params", _) | ("run_params", _, "default") | ("run_params", _, "choices", int()):
            return isinstance(value, int | float) and not isinstance(value, bool)
    return False


def _is_ambiguous(value: Any, text: str, path: KeyPath) -> bool:
    """Return whether YAML 1.2 would read another value, or the number loses digits."""
    if isinstance(value, bool):
        return text not in _BOOLS and _is_free(path)
    if value is None:
        return False
    if _HEX.fullmatch(text):
        return False
    if not _NUMBER.fullmatch(text) or (_OCTAL.fullmatch(text) and isinstance(value, int)):
        return True
    try:
        return Decimal(text) != Decimal(repr(value))
    except InvalidOperation:
        return True


def _is_free(path: KeyPath) -> bool:
    """Return whether the model allows any type for a value."""
    match path:
        case ("run_params", _) | ("run_params", _, "default") | ("run_params", _, "choices", int()):
            return True
        case ("jobs", _, *keys) if keys[:1] and keys[0] in _FREE:
            return True
        case ("jobs", _, *keys):
            return "args" in keys  # of a notifier
    return "args" in path


def _or(value: Any) -> str:
    """Return what to write if the value is not meant as text."""
    kind = "boolean" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "null"
    return f", or {canonical(value)} if you mean the {kind}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        if not isinstance(data, dict | list):
            return data  # `after: a` means `after: [a]`
        try:
            data = data[part]  # type: ignore[index]  # a wrong index is caught below
        except (KeyError, IndexError, TypeError):
            return {}
    return data
