# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Print the answer of a command: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.json_text import indented
from batchy_provider.cli.styled_text import StyledText
from batchy_provider.cli.table import table_lines
from batchy_provider.cli.terminal import Terminal, write
from batchy_provider.core.dates import BEGINNING, parse_date
from batchy_provider.core.terminal_text import is_printable, printable
from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
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
_AT_ONCE = 250
"""So many rows or items are written at once."""
_BROKEN_YAML = '- "the rest could not be read\n'
"""The quote has no end, so it is no YAML. The beginning of a list alone would be a list."""


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
            write(_yaml(data))
        else:
            write(f"{_json(data)}\n")

    def records(self, items: Iterable[Any]) -> None:
        """Write a list for programs, the same text as `data` does, while its items are read.

        If reading fails after some items are written, no program can read the text as a shorter list.
        """
        given, is_first = iter(items), True
        while some := self._next(given, is_first):
            if self.form == "yaml":
                text = _yaml(some)
            else:
                text = ("[\n    " if is_first else ",\n    ") + ",\n    ".join([_json(item, 1) for item in some])
            write(text)
            is_first = False
        if self.form == "yaml":
            write(_yaml([]) if is_first else "")
        else:
            write("[]\n" if is_first else "\n]\n")

    def _next(self, items: Iterator[Any], is_first: bool) -> list[Any]:
        try:
            return list(islice(items, _AT_ONCE))
        except BaseException:
            if self.form == "yaml" and not is_first:
                write(_BROKEN_YAML)  # JSON without its last bracket is broken as it is
            raise

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
        """Write a table for people, while its rows are read. A cell is a string, a `StyledText`, or None."""
        if self.form == "plain":
            given = iter(rows)
            while some := list(islice(given, _AT_ONCE)):
                write("".join(["\t".join(map(_plain, row)) + "\n" for row in some]))
            return
        terminal = Terminal()
        width, color, rule = terminal.width, terminal.has_colors, terminal.rule
        for lines in table_lines(columns, rows, width=width, color=color, rule=rule, title=title):
            write("".join([f"{line}\n" for line in lines]))

    def line(self, text: str) -> None:
        """Write a line for people; nothing in JSON and YAML."""
        if self.is_table:
            write(f"{printable(text)}\n")

    def hint(self, text: str) -> None:
        """Write a line that only the ``table`` format has."""
        if self.form == "table":
            self.line(text)

    def note(self, text: str) -> None:
        """Write a line to stderr: it is not part of the answer."""
        print(printable(text), file=sys.stderr, flush=True)

    def document(self, text: str) -> None:
        """Write the content of a file, such as a parameter file: exact, but with escapes in a terminal."""
        write(printable(text) if sys.stdout.isatty() else text)


def _json(data: Any, level: int = 0) -> str:
    return indented(data, level).replace("\x7f", "\\u007f")


def _yaml(data: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text if is_printable(text) else str(yaml.safe_dump(data, sort_keys=False))


def _plain(cell: Any) -> str:
    text = "-" if cell is None else str(cell) or "-"
    if text.isascii() and text.isprintable():
        return text
    return printable(" ".join(text.split("\t")).replace("\n", " "))


def styled(word: str | None) -> StyledText:
    """Return a status or outcome in its color."""
    return StyledText((word or "-", STYLES.get(word or "", "")))


def date_text(stored: Any) -> str:
    """Format a stored date for people: UTC, to the second."""
    return _shown_date(stored) if isinstance(stored, str) else "-"


@lru_cache(maxsize=4096)
def _shown_date(stored: str) -> str:
    # The rows of a table have many dates in common.
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


def outcomes_text(jobs: Mapping[str, Mapping[str, Any]]) -> StyledText:
    """Format the outcome of each job, in color, on one line."""
    parts: list[tuple[str, str]] = []
    for job, fields in jobs.items():
        word = str(fields.get("outcome") or fields.get("status") or "new")
        parts += [(f"{', ' if parts else ''}{job} ", ""), (word, STYLES.get(word, ""))]
    return StyledText(*parts)


WINDOW_COLUMNS = ("from (UTC)", "to (UTC)", "started (UTC)", "took")
BATCH_COLUMNS = ("batch", "kind", "status", *WINDOW_COLUMNS, "jobs")


def batch_row(batch: Batch | BatchView) -> list[Any]:
    """Return the row of a batch in a table with the columns ``BATCH_COLUMNS``."""
    return [str(batch.batch_id), batch.kind, styled(batch.status), *window_cells(batch), outcomes_text(batch.jobs)]


def window_cells(batch: Batch | BatchView) -> list[str]:
    """Return the cells of a batch in the columns ``WINDOW_COLUMNS``."""
    started = batch.started
    window = [date_text(batch.from_date), date_text(batch.to_date)]
    return [*window, date_text(started), duration_text(started, batch.batch_end)]


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
