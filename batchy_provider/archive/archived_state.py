# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archived state: the newest live state of a workflow, stored as ``latest.json``.

It decides the next window after a restore, and the archive guard compares it with Redis before each opening.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from batchy_provider.archive.file_version import VERSION, checked
from batchy_provider.core.job_state import JobState, as_fields, job_states
from batchy_provider.core.ledger import Ledger, posted
from batchy_provider.core.revision import MAX_KEPT_TOKENS, Revision, is_ancestor_of
from batchy_provider.core.snapshot import Change, LastSuccess, Snapshot, StoredConfig
from batchy_provider.state import codec

STATE_FIELDS = (codec.CONFIG, codec.DISABLED, codec.OWNER, codec.LAST_SUCCESS, codec.HOLD)
"""Fields of ``wf:meta`` that belong to the live state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedState:
    """The newest live state of a workflow in the archive.

    :param number: see `core.revision`.
    :param tokens: the lineage of the state, newest first, see `core.revision`.
    :param at: when the change was made, ISO 8601 UTC.
    :param redis: address of the Redis that acknowledged the change, for people.
    :param live: job → its live state.
    :param meta: fields of ``wf:meta`` that belong to the state, as in JSON; None for a field that Redis lacks.
    :param closed: id of the batch whose closing made this state; None if another change made it.
    :param pruned: see `core.revision.Revision`.
    :param ledger: what each job has loaded; None in what earlier releases wrote.
    :param renamed_to: the new name of the workflow, while its archive is being moved there.
    """

    workflow: str
    number: int
    tokens: tuple[str, ...]
    at: str
    redis: str
    live: Mapping[str, JobState]
    meta: dict[str, Any]
    closed: int | None = None
    pruned: int = 0
    ledger: Ledger | None = None
    renamed_to: str | None = None

    @property
    def revision(self) -> Revision:
        """The revision of the state."""
        return Revision(number=self.number, tokens=self.tokens, pruned=self.pruned)

    @property
    def batch_id(self) -> int | None:
        """The id of the latest live batch."""
        return Snapshot(workflow=self.workflow, jobs=self.live).live_id

    @property
    def snapshot(self) -> Snapshot:
        """The live state as the rules take it, as far as the archive has it."""
        last = self.meta.get(codec.LAST_SUCCESS)
        config = self.meta.get(codec.CONFIG)
        return Snapshot(
            workflow=self.workflow,
            jobs=self.live,
            config=StoredConfig() if config is None else StoredConfig(timezone=config["timezone"]),
            last_success=None if last is None else LastSuccess(last["batch_id"], last["to_date"]),
        )

    @property
    def watermark(self) -> str | None:
        """Where the next live window starts, ISO 8601 UTC; None if no batch has succeeded."""
        last = self.meta.get(codec.LAST_SUCCESS)
        return None if last is None else str(last["to_date"])

    @classmethod
    def of(cls, state: Snapshot, change: Change, revision: Revision, *, at: str, redis: str) -> ArchivedState:
        """Return the live state as it is after a change.

        :param state: the state before the change.
        :param revision: the revision after the change.
        :param at: when the change was made, ISO 8601 UTC.
        :param redis: address of the Redis, for people.
        """
        before: dict[str, Any] = {
            codec.CONFIG: None if state.config == StoredConfig() else codec.dump_config(state.config),
            codec.DISABLED: sorted(state.disabled) or None,
            codec.OWNER: None if state.owner is None else codec.dump_owner(state.owner),
            codec.LAST_SUCCESS: None if state.last_success is None else codec.dump_last_success(state.last_success),
            codec.HOLD: None if state.hold is None else codec.dump_hold(state.hold),
        }
        changed = codec.dump_meta(change)
        closed = (i for i, jobs in change.batches.items() if jobs is change.live and i in change.closed)
        return cls(
            workflow=state.workflow,
            number=revision.number,
            tokens=revision.lineage,
            at=at,
            redis=redis,
            live=state.jobs if change.live is None else change.live,
            meta=before | {name: changed[name] for name in STATE_FIELDS if name in changed},
            closed=next(closed, None),
            pruned=revision.pruned,
            ledger=posted(state.ledger, change.entries),
        )

    def with_tokens_of(self, older: ArchivedState | None) -> ArchivedState:
        """Return this state with the older tokens of the archived state that it replaces.

        The archive remembers more tokens than Redis, so that it also recognizes an old backup of Redis.

        :param older: the state in the archive; ignored if this state did not come from it.
        """
        if older is None or not is_ancestor_of(older.tokens, self.tokens):
            return self
        more = (token for token in older.tokens if token not in self.tokens)
        return replace(self, tokens=(*self.tokens, *more)[:MAX_KEPT_TOKENS])

    def data(self) -> dict[str, Any]:
        """Return the state as ``latest.json`` holds it."""
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
            "live": as_fields(self.live),
            "loaded": None
            if self.ledger is None
            else {job: codec.dump_intervals(found) for job, found in self.ledger.items()},
            **({} if self.renamed_to is None else {"renamed_to": self.renamed_to}),
        }

    @classmethod
    def read(cls, data: Any, url: str) -> ArchivedState:
        """Return the state that `data` holds.

        :param data: what the method `data` returned.
        :param url: address of the file, for the message.
        :raises ArchiveError: if the file is damaged, or written by a newer package.
        """
        with checked(data, url):
            return cls(
                workflow=data["workflow"],
                number=int(data["number"]),
                tokens=tuple(data["tokens"]),
                at=data["at"],
                redis=data["redis"],
                live=job_states(data["live"]),
                meta={name: data["meta"].get(name) for name in STATE_FIELDS},
                closed=data["closed"],
                pruned=int(data["pruned"]),
                ledger=_ledger(data.get("loaded")),
                renamed_to=data.get("renamed_to"),
            )


def _ledger(data: Mapping[str, Any] | None) -> Ledger | None:
    return None if data is None else {job: codec.read_intervals(pairs) for job, pairs in data.items()}
