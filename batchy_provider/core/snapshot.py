# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The stored state of one workflow, read once and checked, and the change that a rule makes to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from batchy_provider.core.alike import Grouped, different_items
from batchy_provider.core.holders import Lease
from batchy_provider.core.holds import Hold
from batchy_provider.core.job_state import JobState, by_state
from batchy_provider.core.lazy import calculated_once
from batchy_provider.core.ledger import Entry, Ledger
from batchy_provider.core.revision import Revision
from batchy_provider.core.schedules import NO_SCHEDULE, Schedule
from batchy_provider.core.statuses import overall_status, status_of
from batchy_provider.core.unfinished_rename import Rename
from batchy_provider.core.values import (
    BatchRecord,
    Holder,
    JobDuration,
    PersonalChange,
    WorkflowConfig,
    jobs_left_out,
)
from batchy_provider.core.vocabulary import Status
from batchy_provider.core.window_shape import WindowShape


class Unchanged(Enum):
    """The type of `UNCHANGED`."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
"""A part of the stored state that a change leaves as it is."""


@dataclass(frozen=True, slots=True)
class LastSuccess:
    """The last successful live batch, or where a person moved the watermark since.

    :param batch_id: the batch; 0 when a person moved the watermark.
    :param to_date: the watermark.
    """

    batch_id: int
    to_date: str


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """What ``wf:meta`` remembers of the configuration, for callers that come without it."""

    timezone: str = "UTC"
    order: tuple[str, ...] = ()
    disabled: frozenset[str] = frozenset()
    infa: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = NO_SCHEDULE
    window: WindowShape | None = None

    @classmethod
    def of(cls, config: WorkflowConfig) -> StoredConfig:
        """Return what is to be remembered of a configuration."""
        return cls(
            timezone=config.timezone,
            order=tuple(config.jobs),
            disabled=config.disabled,
            infa=dict(config.infa),
            schedule=config.schedule,
            window=config.window,
        )

    def is_same(self, other: StoredConfig) -> bool:
        """Tell whether both are written in the same way."""
        # 1 and true are equal, and only their text tells them apart.
        return self == other and (not self.infa or repr(self.infa) == repr(other.infa))


@dataclass(frozen=True, slots=True)
class Owner:
    """Who opened the latest live batch that this package knows of, and its record."""

    batch_id: int
    holder: Holder
    record: BatchRecord


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One batch as history holds it."""

    batch_id: int
    jobs: Mapping[str, JobState]
    record: BatchRecord | None

    @property
    def left_out(self) -> Sequence[str]:
        """The jobs that took no part in it."""
        return jobs_left_out(self.record)

    @property
    def is_open(self) -> bool:
        """Tell whether it was never closed nor taken over."""
        return self.status == "open"

    @property
    def status(self) -> Status:
        """What the batch as a whole is."""
        if self.record is not None and self.record.status != "open":
            # As this package closed it; the original may have closed single jobs of it before, otherwise.
            return self.record.status
        return overall_status(self.jobs, self.record)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The stored state of a workflow at one moment, as the rules take it.

    :param jobs: the live hash, in the configuration's order where that is known.
    :param last_id: the highest batch id that history knows; 0 if none.
    :param last_listed: the highest score in the list of batches, see `BatchRecord.listed`.
    :param own: the batch that the asking run opened before, or the requested batch.
    :param owner: who opened the latest live batch of this package; the original server may have opened since.
    :param overtaken: the batch of `owner`, if the original server has opened another one since, and this package did
        not close it.
    :param revision: which revision of the state this is; None if no archive was ever written.
    :param ledger: what each job has loaded.
    :param lease: the lease on the live batch, or on an earlier one; None without one.
    :param free_id: the newest id before the current second that no batch has; None if nobody has asked for it.
    :param ledger_is_new: it was made from history, since an earlier release or the original has written the state; the
        next change stores it.
    :param past_durations: with a ledger that is new: job → its executions in the same history, oldest first.
    :param rename: a rename that was interrupted, of this workflow or to its name.
    :param hold: the hold that a person has set last, which may have ended by itself; None without one.
    """

    workflow: str
    jobs: Mapping[str, JobState] = field(default_factory=dict)
    config: StoredConfig = field(default_factory=StoredConfig)
    disabled: frozenset[str] = frozenset()
    owner: Owner | None = None
    last_success: LastSuccess | None = None
    last_id: int = 0
    last_listed: float = 0.0
    own: StoredBatch | None = None
    overtaken: StoredBatch | None = None
    revision: Revision | None = None
    ledger: Ledger = field(default_factory=dict)
    ledger_is_new: bool = False
    past_durations: Mapping[str, Sequence[JobDuration]] = field(default_factory=dict)
    rename: Rename | None = None
    lease: Lease | None = None
    free_id: int | None = None
    hold: Hold | None = None

    def completed(self, **parts: Any) -> Snapshot:
        """Return it with parts that are read after the rest. They do not change what is known of the live batch.

        :param parts: not ``jobs`` and ``owner``.
        """
        found = object.__new__(Snapshot)
        found.__dict__.update(self.__dict__, **parts)  # unlike `replace`, with all that was calculated before
        return found

    @calculated_once
    def overtaken_id(self) -> int | None:
        """The id of the batch that belongs in `overtaken`."""
        owner = self.owner
        is_so = owner is not None and owner.record.status == "open" and owner.batch_id != self.live_id
        return owner.batch_id if owner is not None and is_so else None

    @calculated_once
    def by_state(self) -> Grouped[JobState]:
        """The jobs, see `job_state.by_state`."""
        return by_state(self.jobs)

    @calculated_once
    def live_id(self) -> int | None:
        """The id of the latest live batch; None before the first one."""
        return max((i for job in self.by_state.different if (i := job.batch_id) is not None), default=None)

    @calculated_once
    def live_record(self) -> BatchRecord | None:
        """The record of the live batch; None if this package did not open it."""
        return self.owner.record if self.owner is not None and self.owner.batch_id == self.live_id else None

    @calculated_once
    def holder(self) -> Holder:
        """Who opened the live batch; an empty holder if the original server did."""
        if self.owner is not None and self.owner.batch_id == self.live_id:
            return self.owner.holder
        return Holder()

    @calculated_once
    def is_open(self) -> bool:
        """Tell whether the live batch is open."""
        if any(status_of(self.workflow, name, job) == "open" for name, job in different_items(self.by_state)):
            return True
        # A batch whose every job is switched off has nothing that says "open" but its record.
        record = self.live_record
        return record is not None and record.status == "open" and self.jobs.keys() <= {*record.left_out}

    @property
    def open_id(self) -> int | None:
        """The id of the live batch if it is open. None also where jobs say ``open``, but none has an id to read.

        Such a batch cannot be closed. So the next opening goes on over it, and no change waits for its end.
        """
        return self.live_id if self.is_open else None

    @calculated_once
    def status(self) -> Status:
        """What the live batch as a whole is."""
        return "open" if self.is_open else overall_status(self.jobs, self.live_record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a rule wants to write. The store commits all of it in one transaction.

    A value: rules return it, and `then` puts two of them one after the other.

    :param live: the new live hash, complete; None leaves it as it is.
    :param batches: batch id → its new hash, complete.
    :param records: batch id → its new record.
    :param owner: who opened the latest live batch; None removes it.
    :param last_success: the last success, which holds the watermark; None removes it.
    :param config: what to remember of the configuration; None removes it.
    :param disabled: the jobs that are switched off at run time.
    :param revision: the revision of the state after this change; None leaves it as it is.
    :param audit: changes that people made, newest first; None leaves them as they are.
    :param runs: run key → batch id.
    :param closed: batch id → ``batch_end`` in Unix seconds.
    :param entries: what the ledger gains and loses, in order.
    :param durations: job → its executions that end with this change, oldest first.
    :param history: batch ids to list.
    :param lease: the lease on the live batch; None removes it.
    :param hold: the hold on the workflow; None removes it.
    :param event: what to publish about the change.
    """

    live: Mapping[str, JobState] | None = None
    batches: Mapping[int, Mapping[str, JobState]] = field(default_factory=dict)
    records: Mapping[int, BatchRecord] = field(default_factory=dict)
    owner: Owner | Unchanged | None = UNCHANGED
    last_success: LastSuccess | Unchanged | None = UNCHANGED
    config: StoredConfig | Unchanged | None = UNCHANGED
    disabled: frozenset[str] | Unchanged = UNCHANGED
    revision: Revision | None = None
    audit: Sequence[PersonalChange] | None = None
    runs: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[int, float] = field(default_factory=dict)
    entries: Sequence[Entry] = ()
    durations: Mapping[str, Sequence[JobDuration]] = field(default_factory=dict)
    history: Sequence[int] = ()
    lease: Lease | Unchanged | None = UNCHANGED
    hold: Hold | Unchanged | None = UNCHANGED
    event: dict[str, Any] | None = None

    def then(self, later: Change) -> Change:
        """Return this change followed by a later one; where both write the same, the later one counts."""
        if self is NOTHING:
            return later
        if later is NOTHING:
            return self
        return Change(
            live=self.live if later.live is None else later.live,
            batches={**self.batches, **later.batches},
            records={**self.records, **later.records},
            owner=self.owner if later.owner is UNCHANGED else later.owner,
            last_success=self.last_success if later.last_success is UNCHANGED else later.last_success,
            config=self.config if later.config is UNCHANGED else later.config,
            disabled=self.disabled if later.disabled is UNCHANGED else later.disabled,
            revision=self.revision if later.revision is None else later.revision,
            audit=self.audit if later.audit is None else later.audit,
            runs={**self.runs, **later.runs},
            closed={**self.closed, **later.closed},
            entries=(*self.entries, *later.entries),
            durations=_both(self.durations, later.durations),
            history=(*self.history, *later.history),
            lease=self.lease if later.lease is UNCHANGED else later.lease,
            hold=self.hold if later.hold is UNCHANGED else later.hold,
            event=self.event if later.event is None else later.event,
        )


NOTHING: Final = Change()
"""A change that writes nothing."""


def _both(
    first: Mapping[str, Sequence[JobDuration]], later: Mapping[str, Sequence[JobDuration]]
) -> Mapping[str, Sequence[JobDuration]]:
    if not first or not later:
        return first or later
    return {name: (*first.get(name, ()), *later.get(name, ())) for name in dict.fromkeys((*first, *later))}


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """What a rule decided: the answer, and the change to commit; no change is a decision too."""

    result: T
    change: Change | None = None
