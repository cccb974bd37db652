# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Summarize workflows and jobs, from their state in Redis and their files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batchy_provider.core.dates import format_date
from batchy_provider.core.job_state import Fields, JobState
from batchy_provider.core.typed_data import encodable
from batchy_provider.core.values import WorkflowConfig
from batchy_provider.core.windows import position_or_none
from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.exceptions import BatchyError
from batchy_provider.services.answers import JobSummary, WorkflowSummary
from batchy_provider.services.deadlines import DeadlineCache
from batchy_provider.services.hold_answers import HoldView
from batchy_provider.services.warning_answers import standing
from batchy_provider.state.log_throttle import LogThrottle

if TYPE_CHECKING:
    from batchy_provider.config.graph import Node
    from batchy_provider.config.model import WorkflowModel
    from batchy_provider.config.workflow import Workflow

_unforeseen = LogThrottle(logging.getLogger(__name__))


def waits_of(workflow: Workflow) -> list[str]:
    """Return the workflows whose success a workflow needs."""
    from batchy_provider.config.cross_file_checks import needs

    return list(dict.fromkeys(other for other, _ in needs(workflow)))


def row_of(
    name: str,
    state: WorkflowState | UnreadableWorkflow | None,
    workflow: Workflow | None,
    *,
    faults: int,
    waits_for: list[str],
    waited_for_by: list[str],
    now: datetime,
    deadlines: DeadlineCache | None = None,
) -> WorkflowSummary:
    """Return the row of a workflow in a list. An error in one workflow makes only its own row unreadable.

    The parameters are those of `summary_of`.
    """
    neighbours: dict[str, Any] = {"faults": faults, "waits_for": waits_for, "waited_for_by": waited_for_by}
    given: dict[str, Any] = {**neighbours, "now": now, "deadlines": deadlines}
    try:
        if not isinstance(state, UnreadableWorkflow):
            return summary_of(name, state, workflow, **given)
        return replace(summary_of(name, None, workflow, **given), **_unreadable(state.reason))
    except Exception as error:
        _unforeseen.warning(name, "%s: its row cannot be made", name, exc_info=error)
        reason = f"{error}" if isinstance(error, BatchyError) else f"{type(error).__name__}: {error}"
        in_cfg = workflow is not None or faults > 0
        return WorkflowSummary(workflow=name, **_unreadable(encodable(reason)), in_cfg=in_cfg, **neighbours)


def _unreadable(reason: str) -> dict[str, Any]:
    return {"status": "unreadable", "unreadable": reason, "in_redis": True, "late_seconds": None}


def summary_of(
    name: str,
    state: WorkflowState | None,
    workflow: Workflow | None,
    *,
    faults: int,
    waits_for: list[str],
    waited_for_by: list[str],
    now: datetime,
    deadlines: DeadlineCache | None = None,
) -> WorkflowSummary:
    """Summarize a workflow from its state, its file, or both.

    :param now: by the clock of the Redis server, which has written the dates of batches; naive UTC.
    :param deadlines: finds deadlines; None without a cache of them.
    """
    batch = state.batch if state is not None else None
    model = workflow.model if workflow is not None else None
    config = workflow.config() if workflow is not None and state is None else None
    live = {} if state is None or batch is None or batch.status != "open" else state.progress
    last_success = state.last_success if state is not None else None
    span = None if workflow is None else (deadlines or DeadlineCache()).find(workflow, last_success, now)
    deadline = None if span is None else span.deadline(now)
    return WorkflowSummary(
        workflow=name,
        status=batch.status if batch else "new",
        batch_id=batch.batch_id if batch else None,
        from_date=batch.from_date if batch else None,
        to_date=batch.to_date if batch else None,
        started=batch.started if batch else None,
        run=batch.record.run if batch and batch.record else None,
        batch_end=batch.batch_end if batch is not None and batch.status != "open" else None,
        last_success=last_success,
        holder=str(state.holder) if state is not None and state.holder else None,
        timezone=state.timezone if state is not None else config.timezone if config is not None else "UTC",
        jobs=list(state.jobs if state is not None else config.jobs if config is not None else ()),
        disabled=sorted(state.disabled if state is not None else config.disabled if config is not None else ()),
        progress={job: dict(r) for job, r in live.items() if batch is not None and r.get("batch_id") == batch.batch_id},
        in_redis=state is not None,
        in_cfg=workflow is not None or faults > 0,
        faults=faults,
        description=model.description if model is not None else None,
        schedule=_schedule_text(model) if model is not None else None,
        window=_window(state, workflow),
        deadline=deadline.at if deadline is not None else None,
        late_seconds=deadline.late_seconds if deadline is not None else None,
        waits_for=waits_for,
        waited_for_by=waited_for_by,
        hold=HoldView.of(name, state.hold) if state is not None and state.hold is not None else None,
        acknowledged=batch.acknowledged if batch is not None else None,
        warning=next(iter(standing(name, state.warnings, now)), None) if state is not None else None,
        tags=list(dict.fromkeys(model.tags)) if model is not None else [],
        owners=owners_of(model) if model is not None else [],
    )


def owners_of(model: WorkflowModel) -> list[str]:
    """Return the owners of all jobs. A job without one has the default owner of Airflow, which says nothing."""
    found = [job.owner or model.defaults.owner or model.owner for job in model.jobs.values()]
    return list(dict.fromkeys(owner for owner in found if owner))


def _schedule_text(model: WorkflowModel) -> str | None:
    from batchy_provider.config.graph import schedule_text

    return schedule_text(model)


def _window(state: WorkflowState | None, workflow: Workflow | None) -> str | None:
    """Return the shape of windows in words: that of the file, which the next run takes, or else that in Redis."""
    shape = workflow.config().window if workflow is not None else state.window if state is not None else None
    return None if shape is None else str(shape)


def job_summaries(
    workflow: str, state: WorkflowState | None, config: WorkflowConfig | None, nodes: Mapping[str, Node]
) -> Iterable[JobSummary]:
    """Yield a summary of each job and handler of a workflow."""
    from batchy_provider.bundles.masking import hide

    names = list(state.jobs) if state is not None else list(config.jobs) if config is not None else []
    handlers = [name for name, node in nodes.items() if node.kind == "handler"]
    for name in dict.fromkeys([*names, *handlers]):
        stored: Fields = state.jobs.get(name, {}) if state is not None else {}
        given: Mapping[str, Any] = config.jobs.get(name, {}) if config is not None else {}
        node = nodes.get(name)
        report = state.progress.get(name) if state is not None else None
        at = position_or_none(workflow, name, JobState(stored), state) if state is not None and stored else None
        known_in_file = config is not None and name in config.jobs
        reset = position_or_none(workflow, name, JobState.new(given), config) if config and known_in_file else None
        disabled = name in (state.disabled if state is not None else config.disabled if config is not None else ())
        yield JobSummary(
            job=name,
            kind="handler" if name in handlers else "job",
            status=str(stored.get("status") or "new"),
            outcome=stored.get("outcome"),
            batch_id=stored.get("batch_id"),
            from_date=stored.get("from_date"),
            to_date=stored.get("to_date") or stored.get("batch_start"),
            batch_start=stored.get("batch_start"),
            batch_end=stored.get("batch_end"),
            disabled=disabled,
            params=encodable(hide(JobState(stored or dict(given)).params)),
            progress=dict(report) if report is not None and report.get("batch_id") == stored.get("batch_id") else None,
            upstream=list(node.upstream) if node is not None else [],
            note=node.note if node is not None else "",
            next_from=format_date(at.start) if at is not None else None,
            watermark=format_date(at.watermark) if at is not None else None,
            reset_from=format_date(reset.start) if reset is not None else None,
        )
