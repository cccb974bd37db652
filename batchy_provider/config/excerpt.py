# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show the line of a file that a diagnostic is about, with a caret under its column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.config.document import MAX_BYTES

MAX_WIDTH = 120
_BEFORE = 80


class Excerpts:
    """Lines of files, each file read once.

    :param texts: file → text, for texts that are not on the disk.
    """

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self._lines = {file: _lines(text) for file, text in (texts or {}).items()}

    def of(self, diagnostic: Diagnostic) -> str | None:
        """Return two lines: that of the file, and one with a caret; None if the diagnostic has no line."""
        if diagnostic.line is None or diagnostic.column is None:
            return None
        lines = self._read(diagnostic.file)
        if not diagnostic.line <= len(lines) + 1:
            return None
        # A key that is missing at the end of a file is shown on a line after its last one.
        line = lines[diagnostic.line - 1] if diagnostic.line <= len(lines) else ""
        # A terminal must show the same width for both lines: a tab or a control character is one blank.
        line = "".join(letter if letter.isprintable() else " " for letter in line)
        start = max(0, diagnostic.column - 1 - _BEFORE) if len(line) > MAX_WIDTH else 0
        shown = line[start : start + MAX_WIDTH].rstrip()
        number = f"{diagnostic.line:>5}"
        return f"{number} | {shown}\n{'':>5} | {' ' * (diagnostic.column - 1 - start)}^"

    def _read(self, file: str) -> list[str]:
        if file not in self._lines:
            try:
                with Path(file).open("rb") as opened:
                    text = opened.read(MAX_BYTES).decode("utf-8-sig", "replace")
            except OSError:
                text = ""
            self._lines[file] = _lines(text)
        return self._lines[file]


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")


def with_excerpts(diagnostics: Iterable[Diagnostic], texts: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield each diagnostic as text, the line of its file below it.

    :param texts: file → text, for texts that are not on the disk.
    """
    excerpts = Excerpts(texts)
    for diagnostic in diagnostics:
        lines = excerpts.of(diagnostic)
        yield str(diagnostic) if lines is None else f"{diagnostic}\n{lines}"
