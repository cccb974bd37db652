# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Shows runs as they go on: a live table in a terminal, a line for each step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from batchy_provider.cli.output import make_table, styled
from batchy_provider.core.terminal_text import printable

if TYPE_CHECKING:
    from rich.live import Live


@dataclass(frozen=True)
class RunView:
    """
    One run at one moment.

    :param name: what to call it.
    :param state: of the run.
    :param tasks: task → task instance, as Airflow's REST API tells it.
    :param reports: job → its latest progress.
    """

    name: str
    state: str
    tasks: Mapping[str, Mapping[str, Any]]
    reports: Mapping[str, Mapping[str, Any]]

    def steps(self) -> Iterator[tuple[str, str, str]]:
        """Yield task, state and progress, in the order in which they started; those that have not, last."""
        for task_id, instance in sorted(self.tasks.items(), key=lambda item: item[1].get("start_date") or "9999"):
            state = str(instance["state"] or "none")
            yield task_id, state, _report_text(self.reports.get(task_id)) if state == "running" else ""


_WAITING = ("none", "scheduled", "queued")
_MARKS = {"success": "✓", "failed": "✗", "upstream_failed": "✗", "skipped": "-", **dict.fromkeys(_WAITING, "·")}


class View(Protocol):
    """What is told of each look at the runs."""

    def show(self, runs: Sequence[RunView]) -> None:
        """Show how things stand."""


@contextmanager
def progress_view() -> Iterator[View]:
    """Return a view that fits where standard error leads to."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        yield LiveTable(live)


class Lines:
    """One line for each change."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, ...], str] = {}

    def show(self, runs: Sequence[RunView]) -> None:
        """Tell what has changed."""
        for run in runs:
            for task_id, state, report in run.steps():
                self._tell((run.name, task_id), state)
                if report:
                    self._tell((run.name, task_id, "progress"), report)
            self._tell((run.name,), run.state)

    def _tell(self, place: tuple[str, ...], what: str) -> None:
        if self._told.get(place) != what and what.lower() not in _WAITING:
            self._told[place] = what
            text = printable(f"{' · '.join(place)}: {what}", lines=False)
            print(f"  {text}", file=sys.stderr, flush=True)


class LiveTable:
    """A table that changes in its place."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, runs: Sequence[RunView]) -> None:
        """Draw it anew."""
        from rich.text import Text

        rows: list[list[Any]] = []
        for run in runs:
            line = Text()
            for task_id, state, report in run.steps():
                mark = styled(state)
                mark.plain = f"{task_id} {_MARKS.get(state, '…')}"
                line += mark + Text(f" {report}  " if report else "  ")
            rows.append([run.name, styled(run.state), line])
        self._live.update(make_table(("workflow", "run", "jobs"), rows))


def _report_text(report: Mapping[str, Any] | None) -> str:
    if not report:
        return ""
    share = report.get("progress")
    parts = [f"{share:.0%}" if isinstance(share, int | float) else "", str(report.get("message") or "")]
    return " ".join(part for part in parts if part)
