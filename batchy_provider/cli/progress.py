# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Shows runs as they go on: a live table in a terminal, a line for each step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from batchy_provider.cli.output import make_table, styled

if TYPE_CHECKING:
    from rich.live import Live

Tasks = Mapping[str, Mapping[str, Mapping[str, Any]]]
Reports = Mapping[str, Mapping[str, Mapping[str, Any]]]

_WAITING = ("none", "scheduled", "queued")
_MARKS = {"success": "✓", "failed": "✗", "upstream_failed": "✗", "skipped": "-", **dict.fromkeys(_WAITING, "·")}


class View(Protocol):
    """What is told of each look at the runs."""

    def show(self, states: Mapping[str, str], tasks: Tasks, reports: Reports) -> None:
        """
        Show how things stand.

        :param states: DAG → state of its run.
        :param tasks: DAG → task → task instance.
        :param reports: DAG → job → its latest progress.
        """


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

    def show(self, states: Mapping[str, str], tasks: Tasks, reports: Reports) -> None:
        """Tell what has changed."""
        for dag_id, state in states.items():
            for task_id, instance in _in_order(tasks[dag_id]):
                self._tell((dag_id, task_id), str(instance["state"]))
                if instance["state"] == "running" and (report := _report_text(reports[dag_id].get(task_id))):
                    self._tell((dag_id, task_id), report)
            self._tell((dag_id,), state)

    def _tell(self, place: tuple[str, ...], what: str) -> None:
        if self._told.get(place) != what and what.lower() not in _WAITING:
            self._told[place] = what
            print(f"  {' · '.join(place)}: {what}", file=sys.stderr, flush=True)


class LiveTable:
    """A table that changes in its place."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, states: Mapping[str, str], tasks: Tasks, reports: Reports) -> None:
        """Draw it anew."""
        from rich.text import Text

        rows: list[list[Any]] = []
        for dag_id, state in states.items():
            line = Text()
            for task_id, instance in _in_order(tasks[dag_id]):
                word = str(instance["state"] or "none")
                mark = styled(word)
                mark.plain = f"{task_id} {_MARKS.get(word, '…')}"
                report = _report_text(reports[dag_id].get(task_id)) if word == "running" else ""
                line += mark + Text(f" {report}" if report else "") + Text("  ")
            rows.append([dag_id, styled(state), line])
        self._live.update(make_table(("workflow", "run", "jobs"), rows))


def _in_order(instances: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Tasks by when they started; those that have not, last."""
    return sorted(instances.items(), key=lambda item: item[1].get("start_date") or "9999")


def _report_text(report: Mapping[str, Any] | None) -> str:
    if not report:
        return ""
    share = report.get("progress")
    parts = [f"{share:.0%}" if isinstance(share, int | float) else "", str(report.get("message") or "")]
    return " ".join(part for part in parts if part)
