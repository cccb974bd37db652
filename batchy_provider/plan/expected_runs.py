# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the plan says of one run, and what it needs to know of a workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from batchy_provider.plan.airflow_facts import DagFacts
from batchy_provider.plan.duration_model import DurationModel
from batchy_provider.plan.run_history import RunHistory
from batchy_provider.plan.why_facts import WorkflowFacts


class RunState(str, Enum):
    """How far an expected run is."""

    RUNNING = "running"
    """Its batch is open."""
    PENDING = "pending"
    """It was due, and its batch is not open yet."""
    EXPECTED = "expected"
    """It is due later."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """A step of the critical path: a run that decides when the last one ends, and its job that takes most of the time.

    :param job: None where nobody measured the single jobs.
    """

    workflow: str
    job: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedRun:
    """One run of the next hours. Moments are naive UTC.

    :param due: None for a run that starts after the success of another workflow.
    :param start: when it started, or when it probably will (P50); None if that is unknown.
    :param end_p50: it ends before that in half of all cases; None if that is unknown, or not within the plan.
    :param end_p90: it ends before that in nine of ten cases.
    :param waits_for: the workflows whose success it needs, and does not have yet.
    :param deadline: None without one.
    :param miss_probability: the probability that it misses its deadline, from 0 to 1; None if that is unknown.
    :param critical_path: the runs that decide when it ends, in order; the last step is the run itself.
    :param is_stuck: it has failed, and nothing starts it again before its workflow is due again.
    """

    workflow: str
    due: datetime | None
    state: RunState
    start: datetime | None = None
    end_p50: datetime | None = None
    end_p90: datetime | None = None
    waits_for: Sequence[str] = ()
    deadline: datetime | None = None
    miss_probability: float | None = None
    critical_path: Sequence[PathStep] = ()
    is_stuck: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInput:
    """What the plan needs to know of a workflow.

    :param history: its past runs; None if none is known.
    :param model: how long its next run takes; None if too few past runs are known.
    :param max_active_runs: how many of its runs may be there at the same time.
    :param paused: Airflow starts no run of it.
    :param slice_length: at most so much data in one window; None for no limit.
    :param failure_chance: the share of its latest batches that have failed; None if too few are known.
    :param retries: job → how many seconds its latest executions lost by tries that failed, zeros included; without the
        jobs of which that is not known.
    :param jobs: job → the pool that it takes a slot of, by the file. None without a file.
    :param max_active_tasks: how many of its tasks may run at the same time, by Airflow; None if that is not known.
    :param dag: what Airflow knows of its DAG; None if it has none, or cannot be asked.
    """

    facts: WorkflowFacts
    history: RunHistory | None = None
    model: DurationModel | None = None
    max_active_runs: int = 1
    slice_length: timedelta | None = None
    paused: bool = False
    failure_chance: float | None = None
    retries: Mapping[str, Sequence[float]] = field(default_factory=dict)
    jobs: Mapping[str, str] | None = None
    max_active_tasks: int | None = None
    dag: DagFacts | None = None
