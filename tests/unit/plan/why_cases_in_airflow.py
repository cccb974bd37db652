# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Facts that lead to each code of an answer, where Airflow can be asked."""

from __future__ import annotations

from dataclasses import replace

from told_facts import RUN, after, airflow, at, file, moment, run_holder, state, unmet, until
from why_cases import BEFORE, FAILED, OPEN, queued, running, told

from batchy_provider.core.schedules import Schedule
from batchy_provider.plan.airflow_facts import DagFacts, PoolFacts, RunFacts, TaskFacts
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import EmptyWindow, Facts, FailedJob

CASES_IN_AIRFLOW: dict[WhyCode, list[tuple[Facts, str]]] = {
    WhyCode.WAITING: [
        (told(BEFORE, file=file("crm"), waits=[unmet("crm")]), "sales waits for crm"),
        (told(BEFORE, file=file("crm", "erp"), waits=[unmet("crm"), unmet("erp")]), "sales waits for crm and erp"),
        (told(BEFORE, file=file(after("crm"), schedule=Schedule())), "it starts when it has succeeded again"),
        (
            told(
                BEFORE, file=file(until("crm")), empty=EmptyWindow(code="upstream_behind", text="sales: crm is behind")
            ),
            "sales waits for crm: crm is behind",
        ),
        (
            told(
                BEFORE,
                airflow=airflow(
                    running(TaskFacts(task_id="wait_for_crm", role="wait", state="deferred", waits_for="crm"))
                ),
            ),
            f"run {RUN} of sales waits for crm",
        ),
    ],
    WhyCode.FAILED: [
        (told(FAILED), "sales has failed: job load of batch 7 ended at 2026-11-29 02:30"),
        (told(FAILED, failures=3), "3 batches have failed since the last success"),
        (
            told(FAILED, failed_job=FailedJob(job="load", exit_code=3, last_line="ORA-00942: no table")),
            "with exit code 3; stderr ends with: ORA-00942: no table",
        ),
        (told(FAILED, failed_job=FailedJob(job="load", reason="was stopped after 2h")), "(was stopped after 2h)"),
        (told(state("sales", "failed", record={"closed_by": "ann", "closed_why": "bad file"})), "by ann: bad file"),
        (told(state("sales", "failed", began="28 02:00", ended="28 02:30")), "job load of batch 7"),
        (told(FAILED, airflow=airflow(DagFacts(paused=True))), "its DAG is paused"),
    ],
    WhyCode.RUN_FAILED: [
        (
            told(
                BEFORE,
                airflow=airflow(
                    DagFacts(last_run=RunFacts(run_id=RUN, state="failed", due=moment("02:00"), ended=moment("02:01")))
                ),
            ),
            f"run {RUN} of sales has failed",
        )
    ],
    WhyCode.RUNNING: [
        (told(OPEN), "is open since 2026-11-29 02:00 UTC (1h)"),
        (told(state("sales", "open")), "by ops"),
        (
            told(replace(OPEN, progress={"load": {"batch_id": 7, "progress": 0.8, "message": "34 of 68"}})),
            "job load reports 80% (34 of 68)",
        ),
        (
            told(OPEN, airflow=airflow(running(TaskFacts(task_id="load", state="running", since=moment("02:10"))))),
            "job load since 2026-11-29 02:10 UTC running",
        ),
        (told(state("sales", "open", holder=run_holder("west"))), "of the Airflow west"),
        (told(OPEN, process="alive", airflow=None), "batch 7"),
    ],
    WhyCode.HELD_BY_RUN: [
        (
            told(
                state(
                    "sales",
                    "open",
                    began="28 02:00",
                    holder=run_holder(run="yesterday"),
                    record={"due": at("28 02:00")},
                )
            ),
            "run 'yesterday' of DAG 'sales', which was due at 2026-11-28 02:00",
        ),
        (
            told(BEFORE, airflow=airflow(running(TaskFacts(task_id="open", role="open", state="deferred")))),
            "waits until the batch that is open is closed",
        ),
    ],
    WhyCode.HELD_BY_DEPLOYMENT: [
        (
            told(state("sales", "open", holder=run_holder("west")), airflow=airflow(deployment="east")),
            "of the Airflow west",
        )
    ],
    WhyCode.RETRY_PENDING: [
        (
            told(
                OPEN,
                airflow=airflow(
                    running(TaskFacts(task_id="load", state="up_for_retry", retry_at=moment("03:05"), tries=1))
                ),
            ),
            "load of sales has failed (try 1), and Airflow tries it again at 2026-11-29 03:05",
        ),
        (
            told(BEFORE, airflow=airflow(running(TaskFacts(task_id="open", role="open", state="up_for_retry")))),
            "Airflow tries it again",
        ),
    ],
    WhyCode.QUEUED: [
        (told(BEFORE, airflow=airflow(queued())), "is queued since 2026-11-29 02:00 UTC; the scheduler starts it next"),
        (told(BEFORE, airflow=airflow(running(TaskFacts(task_id="open", role="open")))), "opens its batch next"),
        (
            told(OPEN, airflow=airflow(running(TaskFacts(task_id="load", state="scheduled")))),
            "task load of sales is queued",
        ),
    ],
    WhyCode.MAX_ACTIVE_RUNS: [
        (
            told(
                BEFORE,
                airflow=airflow(
                    queued(
                        RunFacts(
                            run_id="backfill_1",
                            state="running",
                            tasks=[TaskFacts(task_id="open", role="open", state="success")],
                        )
                    )
                ),
            ),
            "max_active_runs is 1, and active already: backfill_1",
        )
    ],
    WhyCode.MAX_ACTIVE_TASKS: [
        (
            told(
                OPEN,
                airflow=airflow(
                    DagFacts(
                        max_active_tasks=1,
                        runs=[
                            RunFacts(run_id="other", state="running", tasks=[TaskFacts(task_id="a", state="running")]),
                            RunFacts(run_id=RUN, state="running", tasks=[TaskFacts(task_id="load", state="scheduled")]),
                        ],
                    )
                ),
            ),
            "1 tasks of the DAG are active, and max_active_jobs allows 1",
        )
    ],
    WhyCode.POOL_FULL: [
        (
            told(
                OPEN,
                airflow=airflow(
                    running(TaskFacts(task_id="load", state="scheduled", pool="oracle")),
                    pools={"oracle": PoolFacts(4, 4)},
                ),
            ),
            "pool oracle has no free slot (4 of 4 taken)",
        )
    ],
    WhyCode.SLOTS_FULL: [
        (
            told(OPEN, airflow=airflow(running(TaskFacts(task_id="load", state="queued")), parallelism=8, running=8)),
            "free slot of the executor (8 of 8 taken)",
        ),
        (
            told(
                BEFORE,
                airflow=airflow(
                    running(TaskFacts(task_id="open", role="open", state="scheduled")), parallelism=8, running=9
                ),
            ),
            "free slot of the executor",
        ),
    ],
    WhyCode.PAUSED: [
        (told(BEFORE, airflow=airflow(DagFacts(paused=True))), "sales is paused in Airflow"),
        (told(BEFORE, airflow=airflow(queued(paused=True))), "is queued"),
        (told(None, file=file(starts_paused=True)), "its file says paused: true"),
    ],
    WhyCode.FAULTY_FILE: [
        (told(None, file=file(fault="sales.yaml:3: no such key", faults=2)), "sales.yaml:3: no such key (and 1 more)"),
        (told(BEFORE, file=file(fault="bad", faults=1), airflow=airflow(DagFacts())), "the last valid version"),
    ],
    WhyCode.IMPORT_ERROR: [
        (told(None, airflow=airflow(import_errors={"sales": "no such operator"})), "no such operator")
    ],
    WhyCode.NO_DAG: [(told(BEFORE, airflow=airflow()), "Airflow has no DAG of sales")],
    WhyCode.DAG_PROCESSOR_SILENT: [
        (
            told(None, airflow=airflow(silent={"dag_processor": moment("01:00")})),
            "DAG processor was last heard of 2h ago",
        )
    ],
    WhyCode.SCHEDULER_SILENT: [
        (told(BEFORE, airflow=airflow(DagFacts(), silent={"scheduler": None})), "scheduler was never heard of"),
        (
            told(BEFORE, airflow=airflow(queued(), silent={"scheduler": moment("02:00")})),
            "scheduler was last heard of 1h ago",
        ),
        (told(OPEN, airflow=airflow(running(TaskFacts(task_id="load")), silent={"scheduler": None})), "scheduler"),
    ],
    WhyCode.TRIGGERER_SILENT: [
        (
            told(
                BEFORE,
                airflow=airflow(
                    running(TaskFacts(task_id="wait_for_crm", role="wait", state="deferred", waits_for="crm")),
                    silent={"triggerer": None},
                ),
            ),
            "triggerer was never heard of",
        ),
        (
            told(
                OPEN, airflow=airflow(running(TaskFacts(task_id="load", state="deferred")), silent={"triggerer": None})
            ),
            "triggerer",
        ),
    ],
}
"""Code → facts, and what the text has then."""
