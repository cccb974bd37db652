# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Facts of workflows, told in a few words. It is Sunday, 29 November 2026, 03:00 UTC."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.holders import Holder
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import Batch, BatchRecord
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.core.workflow_state import WorkflowState
from batchy_provider.plan.airflow_facts import AirflowFacts, DagFacts
from batchy_provider.plan.why_facts import Dependency, Facts, FileFacts, Need, WaitFacts, WorkflowFacts

NOW = datetime(2026, 11, 29, 3)
NIGHTLY = Schedule(crons=("0 2 * * *",))
RUN = "scheduled__2026-11-29T02:00:00"


def at(text: str) -> str:
    """Return a time of this night, or with its day, as the state has it: "02:05" or "28 02:05"."""
    day, _, time = text.rpartition(" ")
    return format_date(parse_date(f"2026-11-{day or '29'}T{time}:00"))


def moment(text: str) -> datetime:
    """Return the same as a moment."""
    return parse_date(at(text))


def state(
    workflow: str,
    status: str = "success",
    *,
    began: str = "02:00",
    ended: str | None = "02:30",
    last_success: str | None = None,
    jobs: dict[str, dict[str, Any]] | None = None,
    holder: Holder | None = None,
    record: dict[str, Any] | None = None,
    **more: Any,
) -> WorkflowState:
    """Return the state of a workflow with one job, `load`, after a batch that has window and record as in a night."""
    end = at(ended) if ended is not None and status != "open" else None
    fields = {"batch_id": 7, "status": status, "from_date": at("28 02:00"), "to_date": at(began), "batch_end": end}
    found = {name: {**fields, **extra} for name, extra in (jobs or {"load": {}}).items()}
    facts = {"kind": "live", "started": at(began), "to_date": at(began), "day": "2026-11-29", "reason": "next window"}
    batch = Batch(
        workflow=workflow,
        batch_id=7,
        status=status,
        kind="live",
        jobs=found,
        record=BatchRecord(**{**facts, "status": status, **(record or {})}),
    )
    success = at(last_success) if last_success is not None else end if status == "success" else None
    return WorkflowState(
        workflow=workflow,
        jobs=found,
        batch=batch,
        holder=holder if holder is not None or status != "open" else Holder(by="ops"),
        last_success=success,
        **{"disabled": frozenset(), "timezone": "UTC", **more},
    )


def run_holder(deployment: str | None = None, run: str = RUN) -> Holder:
    """Return a run of the workflow's own DAG as holder."""
    return Holder(dag_id="sales", run_id=run, deployment=deployment)


def file(*needs: Need | str, schedule: Schedule = NIGHTLY, **facts: Any) -> FileFacts:
    """Return what a file says; a name among the needs is a workflow to wait for."""
    read = tuple(Need(workflow=each, by=Dependency.WAIT_FOR) if isinstance(each, str) else each for each in needs)
    return FileFacts(schedule=schedule, needs=read, **facts)


def after(workflow: str) -> Need:
    """Return the need of a schedule by batches."""
    return Need(workflow=workflow, by=Dependency.AFTER)


def until(workflow: str) -> Need:
    """Return the need of windows that go up to another workflow."""
    return Need(workflow=workflow, by=Dependency.UNTIL)


def unmet(workflow: str, *, jobs: tuple[str, ...] = (), code: VerdictCode = VerdictCode.SUCCESS_TOO_OLD) -> WaitFacts:
    """Return a wait that is not over."""
    wait = Wait(workflow=workflow, jobs=jobs, day="2026-11-29")
    return WaitFacts(wait, Verdict(state="waiting", text=f"{workflow}: {code} says why", code=code))


def met(workflow: str) -> WaitFacts:
    """Return a wait that is over."""
    return WaitFacts(Wait(workflow=workflow, day="2026-11-29"), Verdict(state="done", text=f"{workflow}: succeeded"))


def workflow(name: str, **facts: Any) -> WorkflowFacts:
    """Return a workflow that is due at 02:00 each night, and more of it as told."""
    return WorkflowFacts(workflow=name, **{"file": file(), **facts})


def facts(*workflows: WorkflowFacts, airflow: AirflowFacts | None = None, now: datetime = NOW) -> Facts:
    """Return the facts of some workflows."""
    return Facts(now=now, workflows={each.workflow: each for each in workflows}, airflow=airflow)


def airflow(dag: DagFacts | None = None, *, name: str = "sales", **more: Any) -> AirflowFacts:
    """Return an Airflow with one DAG, or none."""
    return AirflowFacts(dags={} if dag is None else {name: dag}, **more)


HOUR = timedelta(hours=1)
