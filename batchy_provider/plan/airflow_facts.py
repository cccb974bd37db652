# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow knows of DAGs, their unfinished runs, its pools and its own programs, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Program = Literal["scheduler", "triggerer", "dag_processor"]
"""One of Airflow's programs that send heartbeats."""

TaskRole = Literal["wait", "open", "job"]
"""What a task does in the run of a workflow.

- ``wait``: it waits for another workflow.
- ``open``: it opens the batch.
- ``job``: anything else.
"""

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""The states of tasks that are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """One task instance of an unfinished run.

    :param state: Airflow's word; None if the task has not been scheduled yet.
    :param since: when it started, or was queued; naive UTC.
    :param pool: the pool whose slots it needs.
    :param waits_for: the workflow that it waits for, of a task that waits.
    :param retry_at: when it is tried again, naive UTC; None if it does not wait for that.
    :param tries: how often it was tried.
    """

    task_id: str
    role: TaskRole = "job"
    state: str | None = None
    since: datetime | None = None
    pool: str = "default_pool"
    waits_for: str | None = None
    retry_at: datetime | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run of a DAG.

    :param state: ``queued``, ``running``, ``success`` or ``failed``.
    :param since: when it started, or was queued if it has not started; naive UTC.
    :param due: when it was due; naive UTC.
    :param ended: naive UTC; None while it runs.
    """

    run_id: str
    state: str
    since: datetime | None = None
    due: datetime | None = None
    ended: datetime | None = None
    tasks: Sequence[TaskFacts] = ()

    @property
    def has_opened(self) -> bool:
        """Whether it has opened its batch, or failed to. What it does then is in Redis."""
        return any(task.state in ENDED for task in self.tasks if task.role == "open")

    @property
    def is_backfill(self) -> bool:
        """Whether it loads history only."""
        return self.run_id.startswith("backfill__")


@dataclass(frozen=True, slots=True, kw_only=True)
class DagFacts:
    """One DAG.

    :param next_run: when its next run is due, naive UTC; None if none is planned.
    :param runs: its unfinished runs, oldest first.
    :param last_run: its newest run that has ended.
    """

    paused: bool = False
    next_run: datetime | None = None
    max_active_runs: int = 1
    max_active_tasks: int | None = None
    runs: Sequence[RunFacts] = ()
    last_run: RunFacts | None = None

    @property
    def unopened(self) -> list[RunFacts]:
        """Its unfinished runs that have not opened their batches, oldest first; without those of backfills."""
        return [run for run in self.runs if not (run.has_opened or run.is_backfill)]


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """The slots of a pool: how many there are, and how many are taken."""

    slots: int
    used: int

    @property
    def is_full(self) -> bool:
        """Tell whether it has no free slot. A pool of -1 slots has no limit."""
        return 0 <= self.slots <= self.used


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowFacts:
    """What one Airflow knows.

    :param dags: DAG id → its facts; without the DAGs that Airflow does not have.
    :param import_errors: workflow → why no DAG could be made of its file.
    :param silent: program → when it was last heard of, naive UTC; only programs that are not heard of any more.
    :param pools: name → its slots.
    :param parallelism: how many tasks run at most; 0 for no limit.
    :param running: how many tasks run or are with the executor.
    :param deployment: name of this Airflow.
    """

    dags: Mapping[str, DagFacts] = field(default_factory=dict)
    import_errors: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[Program, datetime | None] = field(default_factory=dict)
    pools: Mapping[str, PoolFacts] = field(default_factory=dict)
    parallelism: int = 0
    running: int = 0
    deployment: str | None = None
