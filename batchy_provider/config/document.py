# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Parse the text of a workflow file to plain data (str, int, float, bool, None, list, dict).

Positions are found on demand: `Document.position` parses the text a second time, only when there is an error to report.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from batchy_provider.config.diagnostics import Code, KeyPath, Violation
from batchy_provider.config.plain_data import MAX_DEPTH, PlainDataError, check_plain
from batchy_provider.config.yaml_builder import Builder, DocumentError, Marks, canonical

__all__ = ["MAX_BYTES", "Document", "DocumentError", "canonical", "decode", "parse"]

MAX_BYTES = 1024 * 1024

_SURROGATE_ESCAPES = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


@dataclass(frozen=True)
class Document:
    """A parsed text.

    :param data: plain data; mappings have text keys only, as written.
    """

    data: Any
    _text: str = field(repr=False)
    has_rewritten: bool = False
    """Whether YAML reads one of its values as something that is written in another way, such as ``0022``."""

    @property
    def texts(self) -> Any:
        """The data with the text of each value as written in the file."""
        return Builder(self._text, as_written=True).build()[0] if self.has_rewritten else self.data

    def written(self, path: KeyPath) -> KeyPath:
        """Return a path as the file has it: ``after: a`` means ``after: [a]``, without an index."""
        marks = self._marks()
        parents = {mark[:-1] for mark in marks if mark}
        real: KeyPath = ()
        for part in path:
            if (*real, part) not in marks and real in marks:
                if real not in parents:  # `wait_for: crm` is all that there is of wait_for[0].workflow
                    break
                if isinstance(part, int):
                    continue
            real = (*real, part)
        return real

    def position(self, path: KeyPath, *, at_key: bool = False) -> tuple[int | None, int | None]:
        """Return line and column, from 1, of a value or of its key; of its nearest parent if it has none.

        :param path: as `written` returns it.
        """
        marks = self._marks()
        for end in range(len(path), -1, -1):
            if (mark := marks.get(path[:end])) is not None:
                return mark[0] if at_key or end < len(path) else mark[1]
        return None, None

    def _marks(self) -> Marks:
        if "_kept_marks" not in self.__dict__:
            # JSON writes a character beyond the first 65,536 as two escapes, and YAML does not read halves.
            text = _SURROGATE_ESCAPES.sub(r"\\ufffd", self._text)
            try:
                marks = Builder(text, with_marks=True).build()[1]
            except DocumentError:  # JSON that is no YAML
                marks = {}
            self.__dict__["_kept_marks"] = marks
        return cast("Marks", self.__dict__["_kept_marks"])


def decode(raw: bytes) -> str:
    """Turn a file's bytes to text.

    :raises DocumentError: if they are too many, or no UTF-8.
    """
    if len(raw) > MAX_BYTES:
        raise _too_large()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        violation = Violation((), Code.NOT_UTF8, f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8")
        raise DocumentError(violation, line, 1) from None


def _too_large() -> DocumentError:
    return DocumentError(
        Violation((), Code.TOO_LARGE, f"the file is larger than {MAX_BYTES // 1024} KiB; split the workflow")
    )


def parse(text: str, *, is_json: bool = False) -> Document:
    """Parse YAML or JSON. The same limits hold for both.

    :raises DocumentError: if it is malformed, has a key twice, tags, several documents, or is too large or
        too deep, aliases counted as often as they are used; if a key or value is such as cannot be stored.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        message = "this is half a character (a lone surrogate); save the file as UTF-8"
        raise DocumentError(
            Violation((), Code.NOT_UTF8, message), line, error.start - text.rfind("\n", 0, error.start)
        ) from None
    if size > MAX_BYTES:
        raise _too_large()
    if is_json:
        document = Document(_parse_json(text), text)
    else:
        builder = Builder(text)
        document = Document(builder.build()[0], text, builder.has_rewritten)
    try:
        check_plain(document.data)
    except PlainDataError as error:
        violation = error.violation
        position = document.position(document.written(violation.path), at_key=violation.at_key)
        raise DocumentError(violation, *position) from None
    return document


def _parse_json(text: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(items)
        if len(mapping) < len(items):
            seen: set[str] = set()
            for name, _ in items:
                if name in seen:
                    text = f"the key {name!r} is given twice in one object; remove one"
                    raise DocumentError(Violation((), Code.DUPLICATE_KEY, text))
                seen.add(name)
        return mapping

    def constant(name: str) -> NoReturn:
        raise DocumentError(
            Violation((), Code.JSON_SYNTAX, f"{name} is not a number in JSON; write it as text in quotes")
        )

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise DocumentError(
            Violation((), Code.JSON_SYNTAX, f"not valid JSON: {error.msg}"), error.lineno, error.colno
        ) from None
    except RecursionError:
        raise DocumentError(Violation((), Code.TOO_LARGE, f"nested deeper than {MAX_DEPTH} levels")) from None
    except ValueError as error:  # an integer of thousands of digits
        raise DocumentError(Violation((), Code.JSON_SYNTAX, f"not valid JSON: {error}")) from None
