# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the archive keeps of a workflow, as plain data: its newest live state, and each closed batch.

Made from a change as it was committed, not read back: what a Redis has acknowledged and then lost is kept all the
same. Where it is written to is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from batchy_provider.batches import snapshot as snap
from batchy_provider.batches.dates import day_of, parse_date
from batchy_provider.batches.mark import MAX_KEPT_TOKENS, Mark, descends
from batchy_provider.batches.model import Fields
from batchy_provider.batches.snapshot import Change, Snapshot, StoredBatch, StoredConfig
from batchy_provider.batches.statuses import overall_status
from batchy_provider.exceptions import ArchiveError, WindowError

VERSION = 1
STATE_FIELDS = (snap.CONFIG, snap.DISABLED, snap.OWNER, snap.LAST_SUCCESS)
"""Fields of ``wf:meta`` that belong to the live state."""

Relation = Literal["unknown", "not archived", "in step", "archive behind", "behind", "lost", "conflict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptState:
    """The newest live state of a workflow: ``latest.json``.

    :param number: see `mark`.
    :param tokens: its line, see `mark`.
    :param at: when the change was made, UTC.
    :param redis: the address of the Redis that it was made in, for people.
    :param live: job → its fields.
    :param meta: the fields of ``wf:meta`` that belong to it, as JSON has them; None for one that is not there.
    :param closed: the batch whose closing made it.
    :param pruned: see `mark.Mark`.
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
    def batch_id(self) -> int | None:
        """Its latest batch."""
        return Snapshot(workflow=self.workflow, jobs=self.live).live_id

    @property
    def watermark(self) -> str | None:
        """How far it is loaded."""
        last = self.meta.get(snap.LAST_SUCCESS)
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

    def after(self, kept: KeptState | None) -> KeptState:
        """Return it with all tokens of the state that it came of, which Redis does not hold that long."""
        if kept is None or not descends(self.tokens, kept.tokens):
            return self
        older = (token for token in kept.tokens if token not in self.tokens)
        return replace(self, tokens=(*self.tokens, *older)[:MAX_KEPT_TOKENS])

    @classmethod
    def read(cls, data: Any, where: str) -> KeptState:
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
class KeptBatch:
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
    def read(cls, data: Any, where: str) -> KeptBatch:
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
    def of(cls, workflow: str, stored: StoredBatch, config: StoredConfig, closed: float | None) -> KeptBatch:
        """Return a closed batch as Redis has it."""
        record = None if stored.record is None else snap.dump_record(stored.record)
        return cls(
            workflow=workflow,
            batch_id=stored.batch_id,
            status=stored.status,
            jobs=stored.jobs,
            record=record,
            closed=closed,
            day=_day(stored, config) if stored.status == "success" else None,
            config=snap.dump_config(config),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What one change leaves to be written into the archive.

    :param state: the new live state; None if it is none that the archive keeps.
    :param batches: the batches that it closed.
    :param pending: those that are to be written in all.
    :param changes: what people changed, newest first, where a person made this change.
    """

    state: KeptState | None = None
    batches: Sequence[KeptBatch] = ()
    pending: Sequence[int] = ()
    changes: list[dict[str, Any]] | None = None


class Files(Protocol):
    """Where the archive is. All of its methods may raise `ArchiveError`."""

    @property
    def url(self) -> str: ...
    def latest(self, workflow: str) -> KeptState | None: ...
    def put_latest(self, state: KeptState) -> None: ...
    def put_batch(self, batch: KeptBatch) -> None: ...
    def put_changes(self, workflow: str, changes: Sequence[Mapping[str, Any]]) -> None: ...


def noted(
    state: Snapshot,
    change: Change,
    *,
    at: str,
    redis: str,
    moves: bool,
    instead_of: KeptState | None = None,
) -> Note:
    """Add to a change what the archive needs to know later, and return what it is to write now.

    :param moves: whether it makes a new state of those that the archive keeps; an opening does not.
    :param instead_of: the archive's state, where this change replaces it on purpose.
    """
    before = state.mark or Mark()
    after = before
    if moves:
        after = before.next() if instead_of is None else before.next(instead_of.number, instead_of.tokens)
    closed = _closed(state, change)
    ended = {*change.closed, *(batch.batch_id for batch in closed)}
    after = after.waiting_for(ended)
    if after != before:
        change.meta[snap.MARK] = after.data()
    return Note(
        state=kept_state(state, change, after, at=at, redis=redis) if moves else None,
        batches=closed,
        pending=after.pending,
        changes=change.meta.get(snap.CHANGES),
    )


def kept_state(state: Snapshot, change: Change, mark: Mark, *, at: str, redis: str) -> KeptState:
    """Return the live state as it is after a change."""
    found: dict[str, Any] = {
        snap.CONFIG: None if state.config == StoredConfig() else snap.dump_config(state.config),
        snap.DISABLED: sorted(state.disabled) or None,
        snap.OWNER: None if state.owner is None else snap.dump_owner(state.owner),
        snap.LAST_SUCCESS: None if state.last_success is None else snap.dump_last_success(state.last_success),
    }
    live = state.jobs if change.live is None else change.live
    return KeptState(
        workflow=state.workflow,
        number=mark.number,
        tokens=mark.line,
        at=at,
        redis=redis,
        live=live,
        meta=found | {name: change.meta[name] for name in STATE_FIELDS if name in change.meta},
        closed=next((i for i, jobs in change.batches.items() if jobs is change.live and i in change.closed), None),
        pruned=mark.pruned,
    )


def _closed(state: Snapshot, change: Change) -> list[KeptBatch]:
    """Return the batches that a change closes, as far as they are in it."""
    found = []
    config = state.config
    for batch_id, jobs in change.batches.items():
        record = change.meta.get(snap.record_field(batch_id))
        status = record["status"] if record is not None else overall_status(jobs, None)
        if status not in ("success", "failed"):
            continue
        found.append(
            KeptBatch(
                workflow=state.workflow,
                batch_id=batch_id,
                status=status,
                jobs=jobs,
                record=record,
                closed=change.closed.get(batch_id),
                day=next((day for day, loaded_by in change.days.items() if loaded_by == batch_id), None),
                config=snap.dump_config(config),
            )
        )
    return found


def ended(jobs: Mapping[str, Fields]) -> str:
    """Return when a batch was closed; empty if it was not."""
    return max((end for job in jobs.values() if isinstance(end := job.get("batch_end"), str)), default="")


def relation(state: Snapshot, kept: KeptState | None) -> Relation:
    """Tell how the state in Redis stands to that in the archive."""
    if kept is None:
        return "not archived" if state.jobs else "unknown"
    if not state.jobs:
        return "lost"
    mark = state.mark
    if mark is None or not mark.tokens:
        return "conflict"
    if mark.tokens[0] == kept.tokens[0]:
        return "in step"
    if descends(mark.line, kept.tokens):
        return "archive behind"
    return "behind" if descends(kept.tokens, mark.tokens) else "conflict"


def add_runs_and_days(batches: Sequence[KeptBatch], runs: dict[str, int], days: dict[str, int]) -> None:
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
    ends = [end for job in stored.jobs.values() if isinstance(end := job.get("batch_start"), str)]
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
