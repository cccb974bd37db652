# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Facts that lead to each code of an answer, as far as Redis and the files alone have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from told_facts import RUN, after, at, facts, file, met, moment, run_holder, state, unmet, workflow

from batchy_provider.core.holders import CallingProcess, Holder, Lease, ProcessId
from batchy_provider.core.holds import Hold
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.plan.airflow_facts import DagFacts, RunFacts, TaskFacts
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import EmptyWindow, Facts

OPEN = state("sales", "open", holder=run_holder(), record={"due": at("02:00")})
BEFORE = state("sales", began="28 02:00", ended="28 02:30")
"""Loaded last night; tonight's run has not opened yet."""
FAILED = state("sales", "failed", jobs={"extract": {"status": "success"}, "load": {"outcome": "failed"}})


def running(*tasks: TaskFacts, **dag: Any) -> DagFacts:
    return DagFacts(runs=[RunFacts(run_id=RUN, state="running", since=moment("02:00"), tasks=tasks)], **dag)


def queued(*others: RunFacts, **dag: Any) -> DagFacts:
    return DagFacts(runs=[*others, RunFacts(run_id=RUN, state="queued", since=moment("02:00"))], **dag)


def told(found: WorkflowState | None = None, **more: Any) -> Facts:
    around = more.pop("airflow", None)
    return facts(workflow("sales", state=found, **more), airflow=around)


HOLD = Hold(by="ann", why="the source is down", since=at("28 20:00"), until=at("30 06:00"))
CASES: dict[WhyCode, list[tuple[Facts, str]]] = {
    WhyCode.DONE: [
        (told(state("sales")), "batch 7 has succeeded at 2026-11-29 02:30 UTC (30m ago); it is due next at 2026-11-30"),
        (
            told(state("sales", began="28 14:00", ended="28 15:00"), file=file(schedule=Schedule())),
            "it has no schedule",
        ),
        (told(state("sales", "new", last_success="02:20")), "its last success was at 2026-11-29 02:20"),
        (
            facts(
                workflow("sales", file=file(after("crm"), schedule=Schedule()), state=state("sales", began="02:40")),
                workflow("crm", state=state("crm")),
            ),
            "it starts again after crm",
        ),
    ],
    WhyCode.NOT_DUE: [
        (told(None, file=file(begins=moment("30 12:00"))), "not due before 2026-12-01 02:00 UTC"),
        (told(None), "has never run; it is due next at 2026-11-30 02:00 UTC"),
        (told(BEFORE, file=file(after("crm"), schedule=Schedule(), after_result="failed")), "of crm has failed"),
    ],
    WhyCode.NO_SCHEDULE: [(told(None, file=file(schedule=Schedule())), "has no schedule that is known")],
    WhyCode.SCHEDULE_ENDED: [(told(None, file=file(begins=moment("28 12:00"), ends=moment("28 18:00"))), "end_date")],
    WhyCode.NOTHING_TO_LOAD: [
        (told(BEFORE, empty=EmptyWindow(code="up_to_date", text="sales: loaded up to 00:00")), "loaded up to 00:00")
    ],
    WhyCode.CATCHING_UP: [
        (told(state("sales", "open", holder=run_holder(), record={"more": True})), "more slices follow"),
        (told(state("sales", "open", holder=run_holder(), record={"reason_code": "next_slice"})), "the last one"),
        (told(state("sales", record={"more": True})), "the next slice starts at once"),
    ],
    WhyCode.HELD_BY_PROGRAM: [
        (
            told(state("sales", "open", holder=Holder(by="cron"), lease=Lease(7, at("03:02")))),
            "by a lease until 2026-11-29 03:02",
        )
    ],
    WhyCode.HELD: [
        (
            told(replace(BEFORE, hold=HOLD)),
            "is on hold since 2026-11-28T20:00:00 UTC, until 2026-11-30T06:00:00 UTC, by ann",
        ),
        (told(replace(FAILED, hold=HOLD)), "the source is down (batchy release sales)"),
    ],
    WhyCode.LEFT_OPEN: [
        (
            told(state("sales", "open", holder=Holder(by="cron"), lease=Lease(7, at("02:50")))),
            "lease has ended at 2026-11-29 02:50",
        ),
        (
            told(
                state(
                    "sales",
                    "open",
                    holder=Holder(by="ann", process=CallingProcess(host="db1", place="p", chain=[ProcessId(9, 1)])),
                ),
                process="gone",
            ),
            "ann (process 9 on db1), which does not run",
        ),
    ],
    WhyCode.FILE_DISABLED: [(told(BEFORE, file=file(enabled=False)), "enabled: false")],
    WhyCode.ALL_DISABLED: [(told(replace(BEFORE, disabled=frozenset({"load"}))), "all jobs of sales are disabled")],
    WhyCode.JOB_DISABLED: [
        (
            told(BEFORE, file=file("crm"), waits=[unmet("crm", jobs=("x",), code=VerdictCode.ALL_DISABLED)]),
            "batchy enable crm x",
        )
    ],
    WhyCode.UNKNOWN_JOB: [
        (
            told(BEFORE, file=file("crm"), waits=[unmet("crm", jobs=("x",), code=VerdictCode.UNKNOWN_JOB)]),
            "job x of crm",
        )
    ],
    WhyCode.LOST_STATE: [(told(None, lost="the archive has batch 9"), "batchy restore sales")],
    WhyCode.UNREADABLE_STATE: [
        (facts(workflow("sales", state=UnreadableWorkflow("sales", "no JSON"))), "cannot be read: no JSON"),
        (told(state("sales", "open", lease=Lease(7, "tomorrow"))), "cannot be read"),
    ],
    WhyCode.NOT_STARTED: [
        (told(BEFORE), "sales is due since 2026-11-29 02:00 UTC, and no batch was opened since"),
        (told(BEFORE, file=file("crm"), waits=[met("crm")]), "ask with --api"),
        (told(None, file=file(catches_up=True, begins=moment("28 00:00"))), "no batch of it was ever opened"),
    ],
    WhyCode.UNKNOWN_WORKFLOW: [(facts(), "sales is not known")],
}
"""Code → facts, and what the text has then."""
