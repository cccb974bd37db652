# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Print the answer of a command: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batchy_provider.core.dates import BEGINNING, parse_date
from batchy_provider.core.terminal_text import is_printable, printable
from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from batchy_provider.core.values import Batch
    from batchy_provider.services.answers import BatchView

STYLES = {
    "success": "green",
    "failed": "bold red",
    "open": "yellow",
    "running": "yellow",
    "new": "cyan",
    "unreadable": "bold red",
    "skipped": "dim",
    "aborted": "magenta",
    "upstream_failed": "magenta",
    "disabled": "dim",
}
# In a pipe, no line may be wrapped.
_PIPE_WIDTH = 1000


class Output:
    """Print the answer of a command in the format that the user asked for.

    :param form: ``table``, ``plain`` (the same cells, separated by tabs, for `cut` and `awk`), ``json`` or ``yaml``.
    """

    def __init__(self, form: str = "table") -> None:
        self.form = form

    @property
    def is_table(self) -> bool:
        """Whether the answer has rows: ``table`` or ``plain``."""
        return self.form in ("table", "plain")

    def data(self, data: Any) -> None:
        """Write data for programs."""
        if self.form == "yaml":
            import yaml

            text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
            sys.stdout.write(text if is_printable(text) else yaml.safe_dump(data, sort_keys=False))
        else:
            print(json.dumps(data, indent=4).replace("\x7f", "\\u007f"))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
        """Write a table for people. A cell is a string, rich's `Text`, or None."""
        if self.form == "plain":
            for row in rows:
                print("\t".join(_plain(cell) for cell in row))
            return
        out = console()
        out.print(fitting(columns, [[_cell(cell) for cell in row] for row in rows], out, title=title), crop=False)

    def line(self, text: str) -> None:
        """Write a line for people; nothing in JSON and YAML."""
        if self.form == "plain":
            print(printable(text))
        elif self.is_table:
            console().print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def hint(self, text: str) -> None:
        """Write a line that only the ``table`` format has."""
        if self.form == "table":
            self.line(text)

    def note(self, text: str) -> None:
        """Write a line to stderr: it is not part of the answer."""
        print(printable(text), file=sys.stderr, flush=True)

    def document(self, text: str) -> None:
        """Write the content of a file, such as a parameter file: exact, but with escapes in a terminal."""
        sys.stdout.write(printable(text) if sys.stdout.isatty() else text)


def _plain(cell: Any) -> str:
    text = "-" if cell is None or str(cell) == "" else str(cell)
    return printable(" ".join(text.split("\t")).replace("\n", " "))


def console() -> Console:
    """Return rich's console for stdout."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def make_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> Table:
    """Return a table without a frame, as wide as its content."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table

    cells = [[_cell(cell) for cell in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        # In a narrow terminal a cell wraps between words; a word is never cut.
        words = [word for text in (column, *(str(row[number]) for row in cells)) for word in text.split()]
        table.add_column(column, min_width=max(map(cell_len, words), default=1), overflow="fold")
    for row in cells:
        table.add_row(*row)
    return table


def fitting(columns: Sequence[str], rows: Sequence[Sequence[Text]], out: Console, *, title: str | None = None) -> Any:
    """Return the widest layout of rows that fits into the terminal.

    A table; if it is too wide, a table without empty columns; if that is too wide, too, a block of lines for each row.
    """
    from rich.segment import Segment

    def fits(table: Table) -> bool:
        # Measure the rendered lines: rich's own measure forgets one column of the frame.
        lines = Segment.split_lines(out.render(table, out.options))
        return all(sum(segment.cell_length for segment in line) <= out.width for line in lines)

    table = make_table(columns, rows, title=title)
    if fits(table):
        return table
    full = [number for number in range(len(columns)) if any(str(row[number]) not in ("", "-") for row in rows)]
    table = make_table(
        [columns[number] for number in full], [[row[number] for number in full] for row in rows], title=title
    )
    return table if fits(table) else _blocks(columns, rows, title)


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[Text]], title: str | None) -> Table:
    from rich.table import Table
    from rich.text import Text

    blocks = Table.grid(padding=(0, 2))
    blocks.title, blocks.title_justify, blocks.title_style = title, "left", "bold"
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if str(cell) not in ("", "-"):
                blocks.add_row(Text(column, style="dim"), cell)
        blocks.add_row()
    return blocks


def _cell(cell: Any) -> Text:
    from rich.text import Text

    if not isinstance(cell, Text):
        return Text("" if cell is None else printable(cell))
    if not is_printable(cell.plain):
        cell.plain = printable(cell.plain)
    return cell


def styled(word: str | None) -> Text:
    """Return a status or outcome in its color."""
    from rich.text import Text

    return Text(word or "-", style=STYLES.get(word or "", ""))


def date_text(stored: Any) -> str:
    """Format a stored date for people: UTC, to the second."""
    if not isinstance(stored, str):
        return "-"
    try:
        moment = parse_date(stored)
    except BatchyError:
        return stored
    if moment == BEGINNING:
        return "the beginning"
    return moment.replace(microsecond=0).isoformat(" ")


def duration_text(start: str | None, end: str | None) -> str:
    """Format the time between two stored dates."""
    if start is None or end is None:
        return "-"
    seconds = int((parse_date(end) - parse_date(start)).total_seconds())
    minutes, seconds = divmod(max(0, seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"


def outcomes_text(jobs: Mapping[str, Mapping[str, Any]]) -> Text:
    """Format the outcome of each job, in color, on one line."""
    from rich.text import Text

    parts = []
    for job, fields in jobs.items():
        word = str(fields.get("outcome") or fields.get("status") or "new")
        parts.append(Text.assemble(f"{job} ", (word, STYLES.get(word, ""))))
    return Text(", ").join(parts)


BATCH_COLUMNS = ("batch", "kind", "status", "from (UTC)", "to (UTC)", "started (UTC)", "took", "jobs")


def batch_row(batch: Batch | BatchView) -> list[Any]:
    """Return the row of a batch in a table with the columns ``BATCH_COLUMNS``."""
    return [
        str(batch.batch_id),
        batch.kind,
        styled(batch.status),
        date_text(batch.from_date),
        date_text(batch.to_date),
        date_text(batch.started),
        duration_text(batch.started, batch.batch_end),
        outcomes_text(batch.jobs),
    ]


_BATCH_FIELDS = frozenset(
    (
        "workflow",
        "batch_id",
        "kind",
        "status",
        "from_date",
        "to_date",
        "started",
        "batch_end",
        "run",
        "by",
        "reason",
        "why",
        "left_out",
        "jobs",
    )
)


def batch_data(batch: BatchView) -> dict[str, Any]:
    """Return a batch as data for programs."""
    return {name: value for name, value in batch.data().items() if name in _BATCH_FIELDS}
