# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The codes of an answer to "why is this workflow not running, or not done?", and which of them matters most."""

from __future__ import annotations

from batchy_provider.core.vocabulary import SentenceCode


class WhyCode(SentenceCode):
    """Why a workflow is not running, or not done: the code beside the sentence in `Link.text`.

    The order is that of importance: of several workflows that one waits for, the first in this order is named as root.
    """

    LOST_STATE = "lost_state"
    """The archive has a newer state than Redis, so no batch opens until somebody restores it."""
    UNREADABLE_STATE = "unreadable_state"
    """Redis holds a value that cannot be read, or a rename was interrupted."""
    UNKNOWN_WORKFLOW = "unknown_workflow"
    """Neither Redis nor a file knows it."""
    SCHEDULER_SILENT = "scheduler_silent"
    """Airflow's scheduler has not been heard of for too long."""
    TRIGGERER_SILENT = "triggerer_silent"
    """Airflow's triggerer has not been heard of for too long, and a task waits in it."""
    DAG_PROCESSOR_SILENT = "dag_processor_silent"
    """Airflow's DAG processor has not been heard of for too long, and there is no DAG."""
    FAULTY_FILE = "faulty_file"
    """Its file has errors."""
    IMPORT_ERROR = "import_error"
    """Airflow could not make the DAG of its file."""
    NO_DAG = "no_dag"
    """Airflow has no DAG of it."""
    FAILED = "failed"
    """Its latest batch has failed."""
    RUN_FAILED = "run_failed"
    """Its latest run in Airflow has failed before it opened a batch."""
    HELD = "held"
    """A person has put it on hold."""
    WAIT_CYCLE = "wait_cycle"
    """It waits for a workflow that waits for it."""
    PAUSED = "paused"
    """Its DAG is paused."""
    FILE_DISABLED = "file_disabled"
    """Its file says ``enabled: false``, so there is no DAG."""
    ALL_DISABLED = "all_disabled"
    """All its jobs are disabled."""
    JOB_DISABLED = "job_disabled"
    """A job that another workflow waits for is disabled."""
    UNKNOWN_JOB = "unknown_job"
    """It waits for a job that the other workflow does not have."""
    LEFT_OPEN = "left_open"
    """A program has left its batch open, and does not run any more. The next opening takes it over."""
    HELD_BY_DEPLOYMENT = "held_by_deployment"
    """A run of another Airflow holds its batch open."""
    HELD_BY_PROGRAM = "held_by_program"
    """A program holds its batch open by a lease."""
    HELD_BY_RUN = "held_by_run"
    """An earlier run holds its batch open."""
    MAX_ACTIVE_RUNS = "max_active_runs"
    """Its run is queued: as many runs as `max_active_runs` allows are active."""
    MAX_ACTIVE_TASKS = "max_active_tasks"
    """A task is queued: as many tasks of the DAG as it allows are running."""
    POOL_FULL = "pool_full"
    """A task is queued: its pool has no free slot."""
    SLOTS_FULL = "slots_full"
    """A task is queued: the executor has no free slot."""
    QUEUED = "queued"
    """Its run or a task is queued, and the scheduler starts it next."""
    RETRY_PENDING = "retry_pending"
    """A task has failed and is tried again."""
    WAITING = "waiting"
    """It waits for other workflows."""
    NOT_STARTED = "not_started"
    """It is due, no batch was opened, and nothing that is known here explains it."""
    CATCHING_UP = "catching_up"
    """It loads a window in slices, and more of them follow."""
    RUNNING = "running"
    """Its batch is open, and its jobs run."""
    NOTHING_TO_LOAD = "nothing_to_load"
    """It is due, and the shape of its windows leaves nothing to load now."""
    NO_SCHEDULE = "no_schedule"
    """It has no schedule: it runs when somebody starts it."""
    SCHEDULE_ENDED = "schedule_ended"
    """Its `end_date` has passed."""
    NOT_DUE = "not_due"
    """It is not due yet."""
    DONE = "done"
    """Its latest batch has succeeded, and nothing more is due."""
    NOT_DISCLOSED = "not_disclosed"
    """It is a workflow that the caller may not see."""

    @property
    def rank(self) -> int:
        """How much it matters: 0 is the most important."""
        return list(WhyCode).index(self)

    @property
    def is_settled(self) -> bool:
        """Tell whether nothing is to be done about it now: it is done, or not due."""
        return self in _SETTLED

    @property
    def is_problem(self) -> bool:
        """Tell whether it does not end by itself: a person must act."""
        return self.rank <= WhyCode.LEFT_OPEN.rank or self is WhyCode.NOT_STARTED


_SETTLED = frozenset({WhyCode.NOT_DUE, WhyCode.DONE, WhyCode.NO_SCHEDULE, WhyCode.SCHEDULE_ENDED})
