# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show the progress of runs: a live table in a terminal, otherwise one line for each change."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from batchy_provider.cli.output import STYLES
from batchy_provider.core.terminal_text import printable
from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
    from rich.live import Live


@dataclass(frozen=True)
class RunView:
    """The state of one run, as the view shows it.

    :param name: of the run, for people.
    :param tasks: task id → task instance, as in Airflow's REST API.
    :param reports: job → its latest progress.
    """

    name: str
    state: str
    tasks: Mapping[str, Mapping[str, Any]]
    reports: Mapping[str, Mapping[str, Any]]

    def steps(self) -> Iterator[tuple[str, str, str]]:
        """Yield task id, state and progress of each task, in the order in which they started."""
        for task_id, instance in sorted(self.tasks.items(), key=lambda item: item[1].get("start_date") or "9999"):
            state = str(instance["state"] or "none")
            yield task_id, state, _report_text(self.reports.get(task_id)) if state == "running" else ""


_WAITING = ("none", "scheduled", "queued")
_MARKS = {"success": "✓", "failed": "✗", "upstream_failed": "✗", "skipped": "-", **dict.fromkeys(_WAITING, "·")}


class View(Protocol):
    """Shows the runs after each poll."""

    def show(self, runs: Sequence[RunView]) -> None:
        """Show the runs as they are now."""


@contextmanager
def progress_view() -> Iterator[View]:
    """Yield the view for stderr: a terminal, or a file or pipe."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        yield LiveTable(live)


class Lines:
    """Write one line for each change."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, ...], str] = {}

    def show(self, runs: Sequence[RunView]) -> None:
        """Write what has changed."""
        for run in runs:
            for task_id, state, report in run.steps():
                self._write_change((run.name, task_id), state)
                if report:
                    self._write_change((run.name, task_id, "progress"), report)
            self._write_change((run.name,), run.state)

    def _write_change(self, key: tuple[str, ...], what: str) -> None:
        if self._shown.get(key) != what and what.lower() not in _WAITING:
            self._shown[key] = what
            text = printable(f"{' · '.join(key)}: {what}", lines=False)
            print(f"  {text}", file=sys.stderr, flush=True)


class LiveTable:
    """Redraw one table in its place."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, runs: Sequence[RunView]) -> None:
        """Redraw the table."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table("workflow", "run", "jobs", box=box.SIMPLE_HEAD, pad_edge=False)
        for run in runs:
            line = Text(overflow="fold")
            for task_id, state, report in run.steps():
                line.append(printable(f"{task_id} {_MARKS.get(state, '…')}"), STYLES.get(state, ""))
                line.append(printable(f" {report}  ") if report else "  ")
            state_text = Text(printable(run.state), STYLES.get(run.state, ""))
            table.add_row(Text(printable(run.name), overflow="fold"), state_text, line)
        self._live.update(table)


def _report_text(report: Mapping[str, Any] | None) -> str:
    if not report:
        return ""
    share = report.get("progress")
    parts = [f"{share:.0%}" if isinstance(share, int | float) else "", str(report.get("message") or "")]
    return " ".join(part for part in parts if part)


class JobReports:
    """Reads the latest progress of a workflow's jobs; nothing while Valkey does not answer."""

    def __init__(self, redis_url: str) -> None:
        from batchy_provider.services.services_at_url import services_at

        self._services = services_at(redis_url)

    def of(self, workflow: str) -> Mapping[str, Any]:
        """Return job → its latest progress."""
        from redis.exceptions import RedisError

        try:
            return self._services.states.get(workflow).progress
        except (BatchyError, RedisError, OSError):
            return {}
