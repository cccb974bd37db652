# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Tables in terminals of any width: each cell can be read whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.cli import table
from batchy_provider.cli.table import table_lines
from batchy_provider.cli.table_layout import line_breaks, width_of

WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=18)
CELL = st.lists(WORD, max_size=4).map(" ".join)
COLUMNS = ("job", "status", "from (UTC)", "to (UTC)", "progress")


def shown(rows: list[list[str]], width: int | None, columns: tuple[str, ...] = COLUMNS) -> list[str]:
    return [line for some in table_lines(columns, rows, width=width) for line in some]


@given(
    rows=st.lists(st.lists(CELL, min_size=5, max_size=5), max_size=5),
    width=st.integers(32, 200),
    first=st.sampled_from([1, 2, 1000]),
)
def test_no_word_is_cut_at_any_width(rows: list[list[str]], width: int, first: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "FIRST_ROWS", first)
        lines = shown(rows, width)
    words = " ".join(lines).split()
    assert all(word in words for row in rows for cell in row for word in cell.split())
    assert all(len(line) <= width for line in lines)


ROW = ["extract", "open", "2026-11-21 00:00:00", "-", "40% 2/5 files"]


def test_a_wide_one_has_a_row_in_a_line_and_all_columns() -> None:
    header, _, row, *_ = [line for line in shown([ROW], 120) if line.strip()]
    assert header.split("  ")[0].strip() == "job"
    assert "to (UTC)" in header
    assert all(cell in row for cell in ROW)


def test_a_narrow_one_leaves_out_what_is_empty_and_breaks_between_words() -> None:
    text = "\n".join(shown([ROW], 46))
    assert "to (UTC)" not in text
    assert "2026-11-21" in text
    assert "00:00:00" in text
    assert "──" in text


def test_a_very_narrow_one_has_a_block_for_each_row() -> None:
    lines = [line.split() for line in shown([ROW], 34)]
    assert ["job", "extract"] in lines
    assert ["status", "open"] in lines


def test_without_a_limit_no_line_is_wrapped() -> None:
    long = "word " * 1000
    assert [line.strip() for line in shown([["a", long, "-", "-", "b"]], None)][-2].endswith("b")


@given(st.text("ab 数据仓é\n", max_size=40), st.integers(2, 12))
def test_a_wrapped_cell_has_all_its_characters_and_no_line_is_too_wide(text: str, width: int) -> None:
    lines = [text[start:end] for start, end in line_breaks(text, width)]
    assert all(width_of(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_wide_characters_take_two_cells() -> None:
    rows = [["数据仓库", "success", "-", "-", "a"], ["crm", "failed", "-", "-", "b"]]
    lines = [line for line in shown(rows, 80) if line.endswith((" a", " b"))]
    assert len({width_of(line) for line in lines}) == 1
