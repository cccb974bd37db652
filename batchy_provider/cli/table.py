# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A table that is written while its rows are read.

The first rows decide how wide the columns are. A later row with a longer cell makes its columns wider from there on.
So a table of ten thousand rows neither waits for the last one nor measures all of them first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from batchy_provider.cli.styled_text import StyledText, in_style
from batchy_provider.cli.table_layout import (
    EDGE,
    GAP,
    Cell,
    fitting,
    is_empty,
    line_breaks,
    shown_cell,
    total,
    widest_line,
    widest_word,
    width_of,
)

FIRST_ROWS = 1000
"""So many rows decide the first widths: those of one round trip."""
_AT_ONCE = 250
_SEPARATE = "  "


def table_lines(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    width: int | None,
    color: bool = False,
    rule: str = "─",
    title: str | None = None,
) -> Iterator[list[str]]:
    """Yield the lines of a table, some at a time, as soon as their rows are there.

    If the columns do not fit into the width, cells wrap between words. If that does not suffice, empty columns are left
    out, and at last each row becomes a block of lines.

    :param rows: a cell is a string, a `StyledText`, None, or anything that `str` takes.
    :param width: of the terminal; None if there is no limit.
    :param rule: the character of the line below the headings.
    """
    given = iter(rows)
    some = [[shown_cell(cell) for cell in row] for row in islice(given, FIRST_ROWS)]
    table = _Table(columns, some, width, color, rule)
    lines = []
    if title is not None:
        text = str(shown_cell(title))
        parts = [text[start:end] for start, end in line_breaks(text, width)] if width is not None else [text]
        lines = [in_style(part, "bold" if color else "") for part in parts]
    lines += table.head()
    while some:
        for row in some:
            lines += table.row(row)
            if len(lines) >= _AT_ONCE:
                yield lines
                lines = []
        if lines:
            yield lines
            lines = []
        some = [[shown_cell(cell) for cell in row] for row in islice(given, _AT_ONCE)]
    yield [*lines, *table.foot()]


class _Table:
    """The columns of a table, and how its rows become lines.

    :param rows: the first rows.
    """

    def __init__(
        self, columns: Sequence[str], rows: Sequence[Sequence[Cell]], width: int | None, color: bool, rule: str
    ) -> None:
        self._columns = columns
        self._width = width
        self._color = color
        self._rule = rule
        self._natural = [width_of(column) for column in columns]
        self._least = [widest_word(column) for column in columns]
        for row in rows:
            self._natural = list(map(max, self._natural, _sizes(row)))
        # Words are measured only if cells must wrap.
        self._wraps = width is not None and total(self._natural) > width
        if self._wraps:
            for row in rows:
                self._least = list(map(max, self._least, _word_sizes(row)))
        every = range(len(columns))
        self._shown = list(every)
        widths = self._fit(self._shown)
        if widths is None:
            full = [place for place in every if any(not is_empty(row[place]) for row in rows)]
            widths = self._fit(full) if full else None
            self._shown = full if widths is not None else list(every)
        self._widths: list[int] | None = widths

    def head(self) -> list[str]:
        """Return the headings, and the line below them."""
        if self._widths is None:
            return []
        headings: list[Cell] = [StyledText((column, "bold")) for column in self._columns]
        return ["", *self._line(headings), EDGE + self._rule * (total(self._widths) - len(EDGE))]

    def foot(self) -> list[str]:
        """Return what ends the table."""
        return [] if self._widths is None else [""]

    def row(self, row: Sequence[Cell]) -> list[str]:
        """Return the lines of a row."""
        if self._widths is None:
            return self._block(row)
        before = len(self._shown)
        if not self._make_room(row):
            return ["", *self._block(row)]
        return [*(self.head() if len(self._shown) > before else ()), *self._line(row)]

    def _fit(self, places: Sequence[int]) -> list[int] | None:
        return fitting([self._natural[i] for i in places], [self._least[i] for i in places], self._width)

    def _make_room(self, row: Sequence[Cell]) -> bool:
        """Make columns wider for a row that needs it.

        :returns: False if it does not fit into this terminal. Then nothing has changed.
        """
        sizes = _sizes(row)
        shown = self._shown
        if len(shown) < len(row):
            more = [i for i, cell in enumerate(row) if i not in shown and not is_empty(cell)]
            shown = sorted([*shown, *more])
        known = self._natural, self._least
        is_new = len(shown) > len(self._shown) or any(map(int.__gt__, sizes, self._natural))
        words = _word_sizes(row) if self._width is not None and (is_new or self._wraps) else self._least
        if not is_new and not any(map(int.__gt__, words, self._least)):
            return True
        self._natural = list(map(max, self._natural, sizes))
        self._least = list(map(max, self._least, words))
        widths = self._fit(shown)
        if widths is None:
            self._natural, self._least = known
            return False
        self._shown, self._widths = shown, widths
        return True

    def _line(self, row: Sequence[Cell]) -> list[str]:
        """Return the lines of a row beside each other."""
        assert self._widths is not None
        cells = [self._cell_lines(row[place], width) for place, width in zip(self._shown, self._widths, strict=True)]
        height = max(map(len, cells))
        if height == 1:
            return [f"{EDGE}{GAP.join([lines[0] for lines in cells])}".rstrip()]
        full = [
            [*lines, *[" " * width] * (height - len(lines))] for lines, width in zip(cells, self._widths, strict=True)
        ]
        return [f"{EDGE}{GAP.join(line)}".rstrip() for line in zip(*full, strict=True)]

    def _cell_lines(self, cell: Cell, width: int) -> list[str]:
        """Return the lines of a cell, each as wide as its column."""
        if type(cell) is str and cell.isascii() and "\n" not in cell and len(cell) <= width:
            return [cell.ljust(width)]
        text = str(cell)
        found = []
        for start, end in line_breaks(text, width):
            part = text[start:end]
            shown = part if isinstance(cell, str) else cell.slice(start, end, color=self._color)
            found.append(shown + " " * (width - width_of(part)))
        return found

    def _block(self, row: Sequence[Cell]) -> list[str]:
        """Return a line for each cell that says something, with the heading of its column."""
        labels = max(map(width_of, self._columns))
        rest = max(1, (self._width or 0) - labels - len(_SEPARATE))
        lines = []
        for column, cell in zip(self._columns, row, strict=True):
            if is_empty(cell):
                continue
            for at, text in enumerate(self._cell_lines(cell, rest)):
                label = column + " " * (labels - width_of(column))
                shown = in_style(label, "dim" if self._color else "") if not at else " " * labels
                lines.append(f"{shown}{_SEPARATE}{text}".rstrip())
        return [*lines, ""]


def _sizes(row: Sequence[Cell]) -> list[int]:
    return [widest_line(str(cell)) for cell in row]


def _word_sizes(row: Sequence[Cell]) -> list[int]:
    return [widest_word(str(cell)) for cell in row]
