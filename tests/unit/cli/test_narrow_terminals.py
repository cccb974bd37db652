# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Tables in terminals of any width: each cell can be read whole."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from batchy_provider.cli.output import fitting

WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=18)
CELL = st.lists(WORD, max_size=4).map(" ".join)
COLUMNS = ("job", "status", "from (UTC)", "to (UTC)", "progress")


def shown(rows: list[list[str]], width: int, columns: tuple[str, ...] = COLUMNS) -> str:
    out = Console(width=width, file=io.StringIO())
    out.print(fitting(columns, [[Text(cell) for cell in row] for row in rows], out), crop=False)
    return out.file.getvalue()


@given(rows=st.lists(st.lists(CELL, min_size=5, max_size=5), max_size=5), width=st.integers(32, 200))
def test_no_word_is_cut_at_any_width(rows: list[list[str]], width: int) -> None:
    text = shown(rows, width)
    words = text.split()
    assert all(word in words for row in rows for cell in row for word in cell.split())
    assert all(len(line.rstrip()) <= width for line in text.splitlines())


ROW = ["extract", "open", "2026-11-21 00:00:00", "-", "40% 2/5 files"]


def test_a_wide_one_has_a_row_in_a_line_and_all_columns() -> None:
    header, _, row, *_ = [line for line in shown([ROW], 120).splitlines() if line.strip()]
    assert header.split("  ")[0].strip() == "job"
    assert "to (UTC)" in header
    assert all(cell in row for cell in ROW)


def test_a_narrow_one_leaves_out_what_is_empty_and_breaks_between_words() -> None:
    text = shown([ROW], 46)
    assert "to (UTC)" not in text
    assert "2026-11-21" in text
    assert "00:00:00" in text
    assert "──" in text


def test_a_very_narrow_one_has_a_block_for_each_row() -> None:
    lines = [line.split() for line in shown([ROW], 34).splitlines()]
    assert ["job", "extract"] in lines
    assert ["status", "open"] in lines
