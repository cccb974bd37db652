# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What is known of workflows when somebody asks why: their files, their state, their waits, and Airflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchy_provider.core.holders import HolderState
from batchy_provider.core.schedules import NO_SCHEDULE, Schedule
from batchy_provider.core.vocabulary import Scope, SentenceCode, SubscribedResult
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.plan.airflow_facts import AirflowFacts, DagFacts
from batchy_provider.plan.why_codes import WhyCode


class Dependency(SentenceCode):
    """How a workflow needs another one: the key of its file that says so."""

    WAIT_FOR = "wait_for"
    """Its runs wait for a success."""
    AFTER = "after"
    """Its schedule starts a run after a success."""
    UNTIL = "until"
    """Its windows go no further than what the other one has loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A workflow that another one needs, as its file says.

    :param jobs: for ``wait_for``: only these jobs; empty for all.
    :param scope: for ``wait_for``: which success counts.
    :param timezone: for ``wait_for``: in which the day is read.
    """

    workflow: str
    by: Dependency
    jobs: Sequence[str] = ()
    scope: Scope = "today"
    within_seconds: float | None = None
    fail_on_failed: bool = False
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What the file of a workflow says.

    :param fault: its first error, with its place; None without errors. With one, nothing else is known.
    :param faults: number of errors.
    :param has_dag: a DAG is made of it.
    :param enabled: it does not say ``enabled: false``.
    :param starts_paused: it says ``paused: true``, so Airflow starts the new DAG paused.
    :param schedule: when it is due.
    :param special: ``@once`` or ``@continuous``, which no cron expression says.
    :param begins: its `start_date`, naive UTC.
    :param ends: its `end_date`, naive UTC.
    :param catches_up: it says ``catchup: true``, so runs that were missed since `begins` are made up for.
    :param deadline: how long after it was due its deadline is; None without one.
    :param needs: the workflows that it needs.
    :param after_any: its schedule starts a run after a success of any of them, not of all.
    :param after_result: which end of a batch its schedule waits for.
    :param skips_empty: a run without anything to load is skipped.
    """

    fault: str | None = None
    faults: int = 0
    has_dag: bool = True
    enabled: bool = True
    starts_paused: bool = False
    schedule: Schedule = NO_SCHEDULE
    special: str | None = None
    begins: datetime | None = None
    ends: datetime | None = None
    catches_up: bool = False
    deadline: timedelta | None = None
    needs: Sequence[Need] = ()
    after_any: bool = False
    after_result: SubscribedResult = "success"
    skips_empty: bool = True

    def needed(self, *kinds: Dependency) -> list[Need]:
        """Return what it needs in some ways; without any, in all ways."""
        return [need for need in self.needs if not kinds or need.by in kinds]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedJob:
    """The first job that has failed in a batch.

    :param exit_code: of its script; None if it is not known.
    :param reason: why its execution has failed, as the result store has it.
    :param last_line: the last line that the script wrote to stderr; None if it is not known, or may not be seen.
    :param attempt: the try that failed; None if it is not known.
    """

    job: str
    exit_code: int | None = None
    reason: str | None = None
    last_line: str | None = None
    attempt: str | None = None


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """A wait of the run that is due, and what it finds now."""

    wait: Wait
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyWindow:
    """Why an opening finds nothing to load now.

    :param code: a `NothingToLoad`.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFacts:
    """What is known of one workflow.

    :param file: None if no file defines it.
    :param state: None if Redis does not know it.
    :param lost: what the archive has that Redis has lost, as a sentence; None if nothing is lost.
    :param failures: how many of its latest batches have failed, one after the other.
    :param failed_job: of its latest batch, if that has failed.
    :param process: what this machine sees of the process that holds its batch.
    :param waits: the waits of the run that is due, if it is not done.
    :param empty: why it has nothing to load; None if it has, or if nobody asked.
    """

    workflow: str
    file: FileFacts | None = None
    state: WorkflowState | UnreadableWorkflow | None = None
    lost: str | None = None
    failures: int = 0
    failed_job: FailedJob | None = None
    process: HolderState | None = None
    waits: Sequence[WaitFacts] = ()
    empty: EmptyWindow | None = None

    @property
    def exists(self) -> bool:
        """Whether a file or Redis knows it."""
        return self.file is not None or self.state is not None

    @property
    def readable(self) -> WorkflowState | None:
        """Its state, if Redis has one that can be read."""
        return self.state if isinstance(self.state, WorkflowState) else None

    @property
    def schedule(self) -> Schedule:
        """When it is due: by its file or, without a valid one, by what Redis remembers."""
        if self.file is not None and self.file.fault is None:
            return self.file.schedule
        return self.readable.schedule if self.readable is not None else NO_SCHEDULE

    @property
    def needs(self) -> Sequence[Need]:
        """What it needs: by its file or, without one, by what Redis remembers of its windows."""
        if self.file is not None:
            return self.file.needs
        window = self.readable.window if self.readable is not None else None
        return [Need(workflow=name, by=Dependency.UNTIL) for name in window.workflows] if window is not None else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of all workflows at one moment.

    :param now: by the clock of the Redis server; naive UTC.
    :param airflow: None if no Airflow can be asked.
    """

    now: datetime
    workflows: Mapping[str, WorkflowFacts]
    airflow: AirflowFacts | None = None

    def dag(self, workflow: str) -> DagFacts | None:
        """Return what Airflow knows of the DAG of a workflow; None if there is no DAG, or no Airflow."""
        return None if self.airflow is None else self.airflow.dags.get(workflow)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why one workflow is not running, or not done.

    :param upstream: the workflows that it waits for.
    """

    code: WhyCode
    text: str
    upstream: tuple[str, ...] = ()
