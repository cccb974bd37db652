# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How wide the columns of a table are, and how its cells become lines: pure functions of texts and widths.

A width is a number of terminal cells: a Chinese or Japanese character takes two of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from batchy_provider.cli.styled_text import StyledText
from batchy_provider.core.terminal_text import printable

Cell = str | StyledText
"""A cell that a terminal can show as it is; it may have several lines."""

EDGE = " "
GAP = "   "
_WORD = re.compile(r"\S+")


def shown_cell(cell: object) -> Cell:
    """Return a cell with every control character visible; None is empty."""
    if type(cell) is str:
        return cell if cell.isascii() and cell.isprintable() else printable(cell).expandtabs()
    if isinstance(cell, StyledText):
        return cell.printable()
    return "" if cell is None else printable(cell).expandtabs()


def is_empty(cell: Cell) -> bool:
    """Tell whether a cell says nothing."""
    return str(cell) in ("", "-")


def width_of(text: str) -> int:
    """Return how many terminal cells a line takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def widest_line(text: str) -> int:
    """Return the width of the widest line of a text."""
    return max(map(width_of, text.split("\n"))) if "\n" in text else width_of(text)


@lru_cache(maxsize=4096)
def widest_word(text: str) -> int:
    """Return the width of the widest word of a text."""
    return max(map(width_of, text.split()), default=0)


def total(widths: Iterable[int]) -> int:
    """Return how wide a table is whose columns have these widths."""
    some = list(widths)
    return len(EDGE) + sum(some) + len(GAP) * (len(some) - 1)


def fitting(natural: Sequence[int], least: Sequence[int], width: int | None) -> list[int] | None:
    """Return the widths of columns, as near to the natural ones as a terminal allows. The widest become narrower first.

    :param natural: widths at which no cell is wrapped.
    :param least: widths of the longest words, which are never cut.
    :param width: of the terminal; None if there is no limit.
    :returns: None if even the longest words do not fit.
    """
    if width is None or total(natural) <= width:
        return list(natural)
    if total(least) > width:
        return None

    def capped(most: int) -> list[int]:
        return [max(short, min(long, most)) for long, short in zip(natural, least, strict=True)]

    low, high = 0, max(natural)  # `low` fits, `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if total(capped(middle)) <= width else (low, middle)
    widths = capped(low)
    free = width - total(widths)
    for place, more in enumerate(capped(high)):
        if free and more > widths[place]:
            widths[place] += 1
            free -= 1
    return widths


@lru_cache(maxsize=4096)
def line_breaks(text: str, width: int) -> tuple[tuple[int, int], ...]:
    """Return where the lines of a text start (inclusive) and end (exclusive) if they may be only so wide.

    Lines end between words. Only a word that is wider than a line is cut.
    """
    found: list[tuple[int, int]] = []
    offset = 0
    for line in text.split("\n"):
        found += [(offset + start, offset + end) for start, end in _parts(line, max(1, width))]
        offset += len(line) + 1
    return tuple(found)


def _parts(line: str, width: int) -> list[tuple[int, int]]:
    if width_of(line) <= width:
        return [(0, len(line))]
    found: list[tuple[int, int]] = []
    start = end = used = 0
    for word in _WORD.finditer(line):
        first, last = word.span()
        size = width_of(word.group())
        if end and used + width_of(line[end:first]) + size <= width:
            used += width_of(line[end:first]) + size
            end = last
            continue
        if end:
            found.append((start, end))
        start, end, used = first, last, size
        while used > width:
            cut = start + _head(line[start:end], width)
            found.append((start, cut))
            start = cut
            used = width_of(line[start:end])
    return [*found, (start, end)]


def _head(word: str, width: int) -> int:
    """Return how many characters of a word fit into a line; at least one."""
    if word.isascii():
        return width
    count = used = 0
    for character in word:
        used += width_of(character)
        if used > width:
            break
        count += 1
    return max(1, count)
