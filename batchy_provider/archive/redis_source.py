# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read from Redis what the archive must hold, and record in Redis what the archive holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchy_provider.archive.archived_batch import ArchivedBatch
from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.core.dates import format_date
from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import Change
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.duration_lists import stored_durations
from batchy_provider.state.layout import read_batches, read_state
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session
from batchy_provider.state.tokens import revision_token

RETRY_SECONDS = 2.0
"""How long to retry after a lost connection: writing the archive must not delay a task for long."""


def read_closed_batches(backend: Backend, workflow: str, ids: Sequence[int]) -> list[ArchivedBatch]:
    """Return the closed batches among some ids. Leave out ids that Redis does not know."""
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[list[ArchivedBatch], Sequence[Command]]:
        found = read_batches(session, keys, ids)
        config, *scores = session.ask(
            ("HGET", keys.meta, codec.CONFIG), *(("ZSCORE", keys.closed, batch_id) for batch_id in ids)
        )
        known = codec.load_config(keys.meta, config)
        durations = stored_durations(session, keys)
        return [
            ArchivedBatch.of(workflow, stored, known, None if score is None else float(score), durations)
            for stored, score in zip(found, scores, strict=True)
            if stored.jobs and stored.status in ("success", "failed")
        ], ()

    return backend.transact(keys, work, retry_seconds=min(backend.retry_seconds, RETRY_SECONDS))


def read_live_state(backend: Backend, workflow: str) -> ArchivedState | None:
    """Return the live state in Redis; None if Redis has no state with a revision."""
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[ArchivedState | None, Sequence[Command]]:
        state, now = read_state(session, keys, watch=False)
        if not state.jobs or state.revision is None or not state.revision.tokens:
            return None, ()
        return ArchivedState.of(state, Change(), state.revision, at=format_date(now), redis=backend.address), ()

    return backend.transact(keys, work, retry_seconds=min(backend.retry_seconds, RETRY_SECONDS))


def record_archived(
    backend: Backend, workflow: str, superseded: Revision | None, *, written: Sequence[int]
) -> tuple[ArchivedState | None, list[dict[str, Any]]]:
    """Record in Redis which batches the archive holds. A state without a revision gets its first one.

    :param superseded: revision of the archived state that the state in Redis replaces; None if it replaces none.
    :param written: ids of closed batches that the archive holds now.
    :returns: what to write into the archive next: the live state, None if Redis has none, and the audit entries.
    """
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[tuple[ArchivedState | None, list[dict[str, Any]]], Sequence[Command]]:
        state, now = read_state(session, keys)
        (text,) = session.ask(("HGET", keys.meta, codec.CHANGES))
        audit = codec.dump_changes(codec.load_changes(keys.meta, text))
        if not state.jobs:
            return (None, audit), ()
        revision = (state.revision or Revision()).without(written)
        if superseded is not None:
            revision = revision.next(revision_token(), superseded.number, superseded.tokens)
        elif not revision.tokens:
            revision = revision.next(revision_token())
        archived = ArchivedState.of(state, Change(), revision, at=format_date(now), redis=backend.address)
        return (archived, audit), [("HSET", keys.meta, codec.REVISION, codec.dump(codec.dump_revision(revision)))]

    return backend.transact(keys, work)
