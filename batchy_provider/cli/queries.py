# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy list`` and ``status``: show workflows and jobs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.context import Commands, Context, add_command
from batchy_provider.cli.output import (
    WINDOW_COLUMNS,
    date_text,
    styled,
    window_cells,
)
from batchy_provider.core.workflow_state import WorkflowState
from batchy_provider.services.hold_answers import HoldView

if TYPE_CHECKING:
    from batchy_provider.core.workflow_state import UnreadableWorkflow


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    add_command(
        commands,
        "list",
        list_workflows,
        "show all workflows with their latest batch",
        "batchy list",
        "It knows only what is in Redis; for what only the archive has, see: batchy restore --all --dry-run",
    )

    status = add_command(
        commands,
        "status",
        show_status,
        "show the current state of a workflow's jobs",
        "batchy status sales\nbatchy -o json status sales   # the original's body: job -> fields",
        "It knows only what is in Redis; batches that only the archive has are in: batchy history WORKFLOW",
    )
    status.add_argument("workflow")


def list_workflows(context: Context, arguments: argparse.Namespace) -> int:
    """Show all workflows."""
    states = context.redis_services.states.each()
    if not context.output.is_table:
        context.output.records(map(_summary, states))
        return 0
    remarks = _Remarks()
    rows = map(_summary_row, remarks.noting(states))
    context.output.table(("workflow", "status", *WINDOW_COLUMNS, "holder", "jobs"), rows)
    for text in remarks.hints:
        context.output.hint(text)
    for text in remarks.errors:
        context.output.note(text)
    if not remarks.count:
        context.output.hint("This Redis has no workflows yet. Run a workflow's DAG once, or: batchy load WORKFLOW")
        context.output.hint(
            "If it had some, Redis has lost them. See what can be restored: batchy restore --all --dry-run"
        )
    return 0


class _Remarks:
    """What is to be said below the table: only these rows are kept until its end.

    :param count: how many rows there are.
    """

    def __init__(self) -> None:
        self.count = 0
        self.hints: list[str] = []
        self.errors: list[str] = []

    def noting(
        self, states: Iterable[WorkflowState | UnreadableWorkflow]
    ) -> Iterator[WorkflowState | UnreadableWorkflow]:
        """Yield the rows, and note what is to be said of them."""
        for state in states:
            self.count += 1
            if not isinstance(state, WorkflowState):
                self.errors.append(f"batchy: {state.workflow} cannot be read: {state.reason}")
            elif state.hold is not None:
                self.hints.append(f"{state.workflow} is {state.hold}")
            yield state


def show_status(context: Context, arguments: argparse.Namespace) -> int:
    """Show the jobs of one workflow."""
    state = context.redis_services.states.get(arguments.workflow)
    if not context.output.is_table:
        context.output.data(state.jobs)
        return 0
    rows = []
    for job, fields in state.jobs.items():
        status = str(fields.get("status", "new"))
        rows.append(
            [
                job,
                styled("disabled" if job in state.disabled else status),
                styled(fields.get("outcome")),
                str(fields.get("batch_id", "-")),
                date_text(fields.get("from_date")),
                date_text(fields.get("to_date") or fields.get("batch_start")),
                date_text(fields.get("batch_end")),
                _progress_text(state.progress.get(job), fields.get("batch_id")),
            ]
        )
    columns = ("job", "status", "outcome", "batch", "from (UTC)", "to (UTC)", "ended (UTC)", "progress")
    context.output.table(columns, rows)
    if state.hold is not None:
        context.output.hint(f"{state.workflow} is {state.hold}")
    if state.batch is not None and (note := state.batch.acknowledged) is not None:
        context.output.hint(f"The failure of batch {state.batch.batch_id} is {note}")
    if state.holder is not None and state.batch is not None:
        since = date_text(state.batch.started)
        context.output.hint(f"Batch {state.batch.batch_id} is held open by {state.holder} since {since} UTC.")
    return 0


def _summary(state: WorkflowState | UnreadableWorkflow) -> dict[str, Any]:
    if isinstance(state, WorkflowState):
        return {**_facts(state), "unreadable": None}
    nothing = dict.fromkeys(
        ("batch_id", "from_date", "to_date", "started", "batch_end", "holder", "hold", "acknowledged")
    )
    known = {"workflow": state.workflow, "status": "unreadable", **nothing}
    return {**known, "timezone": "UTC", "jobs": [], "disabled": [], "unreadable": state.reason}


def _facts(state: WorkflowState) -> dict[str, Any]:
    batch = state.batch
    return {
        "workflow": state.workflow,
        "status": batch.status if batch else "new",
        "batch_id": batch.batch_id if batch else None,
        "from_date": batch.from_date if batch else None,
        "to_date": batch.to_date if batch else None,
        "started": batch.started if batch else None,
        "batch_end": batch.batch_end if batch else None,
        "holder": str(state.holder) if state.holder else None,
        "hold": None if state.hold is None else asdict(HoldView.of(state.workflow, state.hold)),
        "acknowledged": asdict(batch.acknowledged) if batch and batch.acknowledged else None,
        "timezone": state.timezone,
        "jobs": list(state.jobs),
        "disabled": sorted(state.disabled),
    }


def _summary_row(state: WorkflowState | UnreadableWorkflow) -> list[Any]:
    if not isinstance(state, WorkflowState):
        return [state.workflow, styled("unreadable"), *["-"] * 4, None, None]
    batch = state.batch
    middle = window_cells(batch) if batch else ["-"] * 4
    jobs = ", ".join(f"{job} (disabled)" if job in state.disabled else job for job in state.jobs)
    return [
        state.workflow,
        _status_cell(state),
        *middle,
        str(state.holder) if state.holder else None,
        jobs,
    ]


def _status_cell(state: WorkflowState) -> Any:
    cell = styled(state.batch.status if state.batch else "new")
    if state.batch is not None and state.batch.acknowledged is not None:
        cell += ", acknowledged"
    if state.hold is not None:
        cell += ", on hold"
    return cell


def _progress_text(report: Mapping[str, Any] | None, batch_id: Any) -> str | None:
    if report is None or report.get("batch_id") != batch_id:
        return None
    share = report.get("progress")
    parts = [f"{share:.0%}" if isinstance(share, int | float) else "", str(report.get("message") or "")]
    return " ".join(part for part in parts if part)
