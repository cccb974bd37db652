# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The fixed words of batches and waits, with what each one means.

They are types of plain text (`Literal`), not enums: the same words stand in Redis, in JSON, in workflow files and in
calls of users, who write ``result="success"``. The type checker knows them, and nothing needs to be converted. The
codes beside sentences, `Reason` and `VerdictCode`, are enums: only this package writes them.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, get_args

Status = Literal["new", "open", "success", "failed"]
"""Status of a batch, and of a job in it.

- ``new``: it has a next window, and no batch was opened for it yet.
- ``open``: its batch was opened and not yet closed.
- ``success``: closed, and its window is loaded.
- ``failed``: closed, and its window is still to be loaded.
"""

Result = Literal["success", "failed"]
"""What a batch is closed as.

- ``success``: the next window starts where this one ends.
- ``failed``: the next batch takes the same window, extended to its own time.
"""

Outcome = Literal["success", "failed", "skipped", "aborted"]
"""What became of one job in a closed batch.

- ``success``: it has succeeded.
- ``failed``: it has failed.
- ``skipped``: it did not run.
- ``aborted``: its batch was ended without a result.
"""

Kind = Literal["live", "history"]
"""What a batch does to the watermark.

- ``live``: after a success, the next window starts at its end.
- ``history``: nothing. Backfills, one-off loads and re-runs of old windows are history.
"""

EventName = Literal[
    "open",
    "success",
    "failed",
    "window",
    "load",
    "switch",
    "restore",
    "remove",
    "rename",
    "import",
    "hold",
    "release",
    "note",
    "ack",
]
"""What a published event says of a workflow.

- ``open``: a batch was opened.
- ``success``: a batch was closed as success.
- ``failed``: a batch was closed as failed.
- ``window``: a person has set the next window.
- ``load``: the workflow was reset to its configuration.
- ``switch``: a job was switched off or on.
- ``restore``: its state was restored from the archive.
- ``remove``: it was removed.
- ``rename``: it has another name now, or it came from another name.
- ``import``: its state was imported from a document.
- ``hold``: a person has put it on hold.
- ``release``: a person has released the hold. A hold that ends by itself publishes nothing.
- ``note``: a person has put a note on a batch.
- ``ack``: a person has acknowledged the failure of a batch.
"""

IfOpen = Literal["fail", "wait", "take_over"]
"""What an opening does while another run holds the batch open.

- ``fail``: it is refused.
- ``wait``: it is refused too, and its caller asks again when that batch is closed.
- ``take_over``: it ends that batch and takes its window.
"""
IF_OPEN: tuple[IfOpen, ...] = get_args(IfOpen)

Scope = Literal["today", "within", "since_last_run", "any", "due"]
"""Which success counts for a wait.

- ``today``: one that ended on the day of the waiting run, or later.
- ``within``: one that ended within the last so many seconds.
- ``since_last_run``: one that ended after the waiting workflow last succeeded.
- ``any``: any one.
- ``due``: everything is loaded up to the last due time that is not after the due time of the waiting run.
"""
SCOPES: tuple[Scope, ...] = get_args(Scope)

OnFailed = Literal["wait", "fail"]
"""What a wait does when the latest batch has failed.

- ``wait``: it goes on, since somebody may run the batch again.
- ``fail``: it ends as failed.
"""
ON_FAILED: tuple[OnFailed, ...] = get_args(OnFailed)

SubscribedResult = Literal["success", "failed", "closed"]
"""Which closed batches a subscription or a schedule wants.

- ``success``: batches that were closed as success.
- ``failed``: batches that were closed as failed.
- ``closed``: both.
"""
SUBSCRIBED_RESULTS: tuple[SubscribedResult, ...] = get_args(SubscribedResult)

WaitState = Literal["done", "failed", "waiting"]
"""State of a wait.

- ``done``: what it waits for is there.
- ``failed``: it will not come any more, or not in time.
- ``waiting``: not yet.
"""

WaitObstacle = Literal["workflow", "job", "disabled"]
"""Why a wait cannot end unless a person acts; see the `VerdictCode` of each.

- ``workflow``: Redis does not know the workflow.
- ``job``: the workflow has no job of that name.
- ``disabled``: every job that is waited for is switched off.
"""


class SentenceCode(str, Enum):
    """Base of codes that stand beside a sentence; each prints as its value."""

    def __str__(self) -> str:
        return str(self.value)


class Reason(SentenceCode):
    """Why a batch has the window it has: the code beside the sentence in `BatchRecord.reason`."""

    NEXT_WINDOW = "next_window"
    """The next window of each job, up to now."""
    NEXT_SLICE = "next_slice"
    """The first part of it: the shape of the windows allows no more at once."""
    REQUESTED = "requested"
    """A window that was asked for, and the watermark moves with it."""
    ONE_OFF = "one_off"
    """A window that was asked for, for history only."""
    BACKFILL = "backfill"
    """The data interval of a backfill run, for history only."""
    RERUN = "rerun"
    """The window of the run's own earlier batch again."""
    RERUN_HISTORY = "rerun_history"
    """The same, for history only: the live state has moved on, or that batch was history only too."""


class NothingToLoad(SentenceCode):
    """Why an opening finds nothing to load: the code beside the sentence in `NothingToLoadError`."""

    UP_TO_DATE = "up_to_date"
    """Everything is loaded, up to where a window may end now."""
    UPSTREAM_BEHIND = "upstream_behind"
    """Everything that the workflows of ``until`` have loaded is loaded here too."""
    UPSTREAM_UNKNOWN = "upstream_unknown"
    """Nobody can say how far a workflow of ``until`` has loaded its data: it has loaded none, or is not in Redis."""
    ALL_DISABLED = "all_disabled"
    """Every job is switched off."""
    SLICE_OVERTAKEN = "slice_overtaken"
    """Another batch was opened, or a person has changed something, since the batch that started this run."""


class VerdictCode(SentenceCode):
    """What a wait has found: the code beside the sentence in `Verdict.text`."""

    SUCCEEDED = "succeeded"
    """Done: a batch has succeeded within the scope."""
    DAY_LOADED = "day_loaded"
    """Done, in a backfill, or with scope ``due`` where no schedule is known: the data of the day is loaded."""
    DUE_LOADED = "due_loaded"
    """Done, with scope ``due``: everything is loaded up to the last due time."""
    NOT_OPEN = "not_open"
    """Done: the batch that held the workflow is not open any more."""
    NOT_ON_HOLD = "not_on_hold"
    """Done: there is no hold on the workflow any more."""
    BATCHES_CLOSED = "batches_closed"
    """Done: there are closed batches to deliver."""
    FAILED = "failed"
    """Failed: the latest batch failed, and the wait ends at a failure."""
    DAY_OVER = "day_over"
    """Failed: the day is over without a success, and only that day counts."""
    UNKNOWN_WORKFLOW = "unknown_workflow"
    """Waiting: Redis does not know the workflow yet."""
    UNKNOWN_JOB = "unknown_job"
    """Waiting: the workflow has no job of that name."""
    ALL_DISABLED = "all_disabled"
    """Waiting: every job that is waited for is switched off."""
    NEVER_OPENED = "never_opened"
    """Waiting: no batch of the workflow was opened yet."""
    ON_HOLD = "on_hold"
    """Waiting: a person has put the workflow on hold."""
    BATCH_OPEN = "batch_open"
    """Waiting: the latest batch is open."""
    BATCH_FAILED = "batch_failed"
    """Waiting: the latest batch failed, and a later one may succeed."""
    WINDOW_SET = "window_set"
    """Waiting: a person has set the next window, and no batch was opened since."""
    SUCCESS_TOO_OLD = "success_too_old"
    """Waiting: the last success is older than the scope allows."""
    RERUN_OF_EARLIER_DAY = "rerun_of_earlier_day"
    """Waiting: the last success re-ran a run of an earlier day, which does not count for today."""
    SLICES_LEFT = "slices_left"
    """Waiting: the last success was that of a slice, and more slices follow before the run is done."""
    DUE_NOT_LOADED = "due_not_loaded"
    """Waiting, with scope ``due``: the data up to the last due time is not loaded, or only a part of it."""
    DAY_NOT_LOADED = "day_not_loaded"
    """Waiting, in a backfill, or with scope ``due`` where no schedule is known: data of the day is not loaded."""
    JOB_NOT_LOADED = "job_not_loaded"
    """Waiting, where the ledger decides: some of the jobs have not loaded what the wait needs."""
    NOTHING_CLOSED = "nothing_closed"
    """Waiting: there is no closed batch to deliver."""
    REDIS_UNAVAILABLE = "redis_unavailable"
    """Waiting: Redis cannot be used now."""

    @property
    def obstacle(self) -> WaitObstacle | None:
        """Why the wait cannot end unless a person acts; None if it may end by itself."""
        return _OBSTACLES.get(self)


_OBSTACLES: dict[VerdictCode, WaitObstacle] = {
    VerdictCode.UNKNOWN_WORKFLOW: "workflow",
    VerdictCode.UNKNOWN_JOB: "job",
    VerdictCode.ALL_DISABLED: "disabled",
}
