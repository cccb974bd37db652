# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Archive entries as plain data: the newest live state of a workflow, and each closed batch.

Made from a change as it was committed, not read back: what a Redis has acknowledged and then lost is kept all the
same. Where it is written to is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from batchy_provider.core.archiving import ended_batches
from batchy_provider.core.dates import day_of, parse_date
from batchy_provider.core.job_state import Fields, as_fields, job_states
from batchy_provider.core.revision import MAX_KEPT_TOKENS, Revision, is_ancestor_of
from batchy_provider.core.snapshot import Change, Snapshot, StoredBatch, StoredConfig
from batchy_provider.exceptions import ArchiveError, WindowError
from batchy_provider.state import codec
from batchy_provider.state.archive_port import Committed

VERSION = 1
STATE_FIELDS = (codec.CONFIG, codec.DISABLED, codec.OWNER, codec.LAST_SUCCESS)
"""Fields of ``wf:meta`` that belong to the live state."""

Relation = Literal["unknown", "not archived", "in step", "archive behind", "behind", "lost", "conflict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedState:
    """The newest live state of a workflow: ``latest.json``.

    :param number: see `core.revision`.
    :param tokens: its lineage, see `core.revision`.
    :param at: when the change was made, UTC.
    :param redis: the address of the Redis that it was made in, for people.
    :param live: job → its fields.
    :param meta: the fields of ``wf:meta`` that belong to it, as JSON has them; None for one that is not there.
    :param closed: the batch whose closing made it.
    :param pruned: see `core.revision.Revision`.
    """

    workflow: str
    number: int
    tokens: tuple[str, ...]
    at: str
    redis: str
    live: dict[str, Fields]
    meta: dict[str, Any]
    closed: int | None = None
    pruned: int = 0

    @property
    def revision(self) -> Revision:
        """Its revision, as far as the archive knows it."""
        return Revision(number=self.number, tokens=self.tokens, pruned=self.pruned)

    @property
    def batch_id(self) -> int | None:
        """Its latest batch."""
        return Snapshot(workflow=self.workflow, jobs=job_states(self.live)).live_id

    @property
    def watermark(self) -> str | None:
        """How far it is loaded."""
        last = self.meta.get(codec.LAST_SUCCESS)
        return None if last is None else str(last["to_date"])

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "version": VERSION,
            "workflow": self.workflow,
            "number": self.number,
            "tokens": list(self.tokens),
            "at": self.at,
            "redis": self.redis,
            "closed": self.closed,
            "pruned": self.pruned,
            "meta": self.meta,
            "live": self.live,
        }

    def after(self, kept: ArchivedState | None) -> ArchivedState:
        """Return it with all tokens of the state that it came of, which Redis does not hold that long."""
        if kept is None or not is_ancestor_of(kept.tokens, self.tokens):
            return self
        older = (token for token in kept.tokens if token not in self.tokens)
        return replace(self, tokens=(*self.tokens, *older)[:MAX_KEPT_TOKENS])

    @classmethod
    def read(cls, data: Any, where: str) -> ArchivedState:
        """Read what `data` wrote.

        :param where: for the error.
        :raises ArchiveError: it is something else.
        """
        _check_version(data, where)
        try:
            return cls(
                workflow=data["workflow"],
                number=int(data["number"]),
                tokens=tuple(data["tokens"]),
                at=data["at"],
                redis=data["redis"],
                live=dict(data["live"]),
                meta={name: data["meta"].get(name) for name in STATE_FIELDS},
                closed=data["closed"],
                pruned=int(data["pruned"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(where) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedBatch:
    """A closed batch.

    :param record: what ``wf:meta`` holds of it, as JSON has it; None for one that the original server opened.
    :param closed: its score in ``wf:closed``, Unix seconds; None for one that is history only.
    :param day: the day that it loaded; None unless it succeeded.
    :param config: timezone, order of jobs, what the file disables, Informatica's names: as they were.
    """

    workflow: str
    batch_id: int
    status: str
    jobs: dict[str, Fields]
    record: dict[str, Any] | None
    closed: float | None = None
    day: str | None = None
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> str | None:
        """The run that opened it, as ``wf:runs`` names it."""
        return None if self.record is None else self.record.get("run")

    @property
    def ended(self) -> str:
        """When it was closed."""
        return ended(self.jobs)

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "version": VERSION,
            "workflow": self.workflow,
            "batch_id": self.batch_id,
            "status": self.status,
            "kind": "live" if self.record is None else self.record["kind"],
            "run": self.run,
            "day": self.day,
            "closed": self.closed,
            "record": self.record,
            "config": self.config,
            "jobs": self.jobs,
        }

    @classmethod
    def read(cls, data: Any, where: str) -> ArchivedBatch:
        """Read what `data` wrote.

        :raises ArchiveError: it is something else.
        """
        _check_version(data, where)
        try:
            return cls(
                workflow=data["workflow"],
                batch_id=int(data["batch_id"]),
                status=data["status"],
                jobs=dict(data["jobs"]),
                record=data["record"],
                closed=data["closed"],
                day=data["day"],
                config=dict(data["config"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(where) from error

    @classmethod
    def of(cls, workflow: str, stored: StoredBatch, config: StoredConfig, closed: float | None) -> ArchivedBatch:
        """Return a closed batch as Redis has it."""
        record = None if stored.record is None else codec.dump_record(stored.record)
        return cls(
            workflow=workflow,
            batch_id=stored.batch_id,
            status=stored.status,
            jobs=as_fields(stored.jobs),
            record=record,
            closed=closed,
            day=_day(stored, config) if stored.status == "success" else None,
            config=codec.dump_config(config),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the archive is to write of one change.

    :param state: the new live state; None if it is none that the archive keeps.
    :param batches: the batches that it closed.
    :param pending: those that are to be written in all.
    :param changes: what people changed, newest first, where a person made this change.
    """

    state: ArchivedState | None = None
    batches: Sequence[ArchivedBatch] = ()
    pending: Sequence[int] = ()
    changes: list[dict[str, Any]] | None = None


class Files(Protocol):
    """Where the archive is. All of its methods may raise `ArchiveError`."""

    @property
    def url(self) -> str: ...
    def latest(self, workflow: str) -> ArchivedState | None: ...
    def put_latest(self, state: ArchivedState) -> None: ...
    def put_batch(self, batch: ArchivedBatch) -> None: ...
    def put_changes(self, workflow: str, changes: Sequence[Mapping[str, Any]]) -> None: ...


def entry(committed: Committed) -> Entry:
    """Return what the archive is to write of a change."""
    state, change = committed.before, committed.change
    new_state = None
    if committed.moves:
        new_state = archived_state(state, change, committed.revision, at=committed.at, redis=committed.redis)
    return Entry(
        state=new_state,
        batches=_closed(state, change),
        pending=committed.revision.pending,
        changes=None if change.audit is None else codec.dump_changes(change.audit),
    )


def archived_state(state: Snapshot, change: Change, revision: Revision, *, at: str, redis: str) -> ArchivedState:
    """Return the live state as it is after a change."""
    found: dict[str, Any] = {
        codec.CONFIG: None if state.config == StoredConfig() else codec.dump_config(state.config),
        codec.DISABLED: sorted(state.disabled) or None,
        codec.OWNER: None if state.owner is None else codec.dump_owner(state.owner),
        codec.LAST_SUCCESS: None if state.last_success is None else codec.dump_last_success(state.last_success),
    }
    written = codec.dump_meta(change)
    live = state.jobs if change.live is None else change.live
    return ArchivedState(
        workflow=state.workflow,
        number=revision.number,
        tokens=revision.lineage,
        at=at,
        redis=redis,
        live=as_fields(live),
        meta=found | {name: written[name] for name in STATE_FIELDS if name in written},
        closed=next((i for i, jobs in change.batches.items() if jobs is change.live and i in change.closed), None),
        pruned=revision.pruned,
    )


def _closed(state: Snapshot, change: Change) -> list[ArchivedBatch]:
    """Return the batches that a change closes, as far as they are in it."""
    found = []
    config = state.config
    for batch_id, status in ended_batches(change).items():
        record = change.records.get(batch_id)
        found.append(
            ArchivedBatch(
                workflow=state.workflow,
                batch_id=batch_id,
                status=status,
                jobs=as_fields(change.batches[batch_id]),
                record=None if record is None else codec.dump_record(record),
                closed=change.closed.get(batch_id),
                day=next((day for day, loaded_by in change.days.items() if loaded_by == batch_id), None),
                config=codec.dump_config(config),
            )
        )
    return found


def ended(jobs: Mapping[str, Fields]) -> str:
    """Return when a batch was closed; empty if it was not."""
    return max((end for job in jobs.values() if isinstance(end := job.get("batch_end"), str)), default="")


def relation(state: Snapshot, kept: ArchivedState | None) -> Relation:
    """Tell how the state in Redis stands to that in the archive."""
    if kept is None:
        return "not archived" if state.jobs else "unknown"
    if not state.jobs:
        return "lost"
    revision = state.revision
    if revision is None or not revision.tokens:
        return "conflict"
    if revision.tokens[0] == kept.tokens[0]:
        return "in step"
    if is_ancestor_of(kept.tokens, revision.lineage):
        return "archive behind"
    return "behind" if is_ancestor_of(revision.tokens, kept.tokens) else "conflict"


def add_runs_and_days(batches: Sequence[ArchivedBatch], runs: dict[str, int], days: dict[str, int]) -> None:
    """Add which run opened which of these batches, and which day was loaded by which: the last one counts."""
    for batch in batches:
        if batch.run is not None:
            runs[batch.run] = max(batch.batch_id, runs.get(batch.run, 0))
    for batch in sorted(batches, key=lambda batch: batch.ended):
        if batch.day is not None:
            days[batch.day] = batch.batch_id


def _day(stored: StoredBatch, config: StoredConfig) -> str | None:
    if stored.record is not None:
        return stored.record.day
    ends = [end for job in stored.jobs.values() if (end := job.batch_start) is not None]
    try:
        return day_of(parse_date(max(ends)), config.timezone) if ends else None
    except WindowError:
        return None


def _check_version(data: Any, where: str) -> None:
    version = data.get("version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise _damaged(where)
    if version > VERSION:
        raise ArchiveError(
            f"{where} was written by a newer batchy_provider (its version {version}, known here is {VERSION}): upgrade"
        )


def _damaged(where: str) -> ArchiveError:
    return ArchiveError(
        f"{where} is not what batchy writes there. Restore it from a backup, or remove it: `batchy archive` writes it "
        "anew from what Redis has"
    )
