# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read from Redis what the archive must hold: closed batches and the live state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchy_provider.archive.entries import ArchivedBatch, ArchivedState, archived_state
from batchy_provider.core.dates import format_date
from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import Change
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.layout import read_batches, read_state
from batchy_provider.state.transaction import Command, Session

RETRY_SECONDS = 2.0
"""How long to retry after a lost connection: writing the archive must not delay a task for long."""


def read_kept(backend: Backend, workflow: str, ids: Sequence[int]) -> list[ArchivedBatch]:
    """Return the closed batches among some ids, as archive entries. Leave out ids that Redis does not know."""
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[list[ArchivedBatch], Sequence[Command]]:
        found = read_batches(session, keys, ids)
        config, *scores = session.ask(
            ("HGET", keys.meta, codec.CONFIG), *(("ZSCORE", keys.closed, batch_id) for batch_id in ids)
        )
        known = codec.load_config(keys.meta, config)
        return [
            ArchivedBatch.of(workflow, stored, known, None if score is None else float(score))
            for stored, score in zip(found, scores, strict=True)
            if stored.jobs and stored.status in ("success", "failed")
        ], ()

    return backend.transact(keys, work, retry_seconds=min(backend.retry_seconds, RETRY_SECONDS))


def read_state_kept(backend: Backend, workflow: str) -> ArchivedState | None:
    """Return the live state in Redis as an archive entry; None if Redis has no state with a revision."""
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[ArchivedState | None, Sequence[Command]]:
        state, now = read_state(session, keys, watch=False)
        if not state.jobs or state.revision is None or not state.revision.tokens:
            return None, ()
        return archived_state(state, Change(), state.revision, at=format_date(now), redis=backend.address), ()

    return backend.transact(keys, work, retry_seconds=min(backend.retry_seconds, RETRY_SECONDS))


def marked(
    backend: Backend, workflow: str, superseded: Revision | None, *, written: Sequence[int]
) -> tuple[ArchivedState | None, list[dict[str, Any]]]:
    """Record in Redis which batches the archive holds, and return the live state and the audit entries to write next.

    A state without a revision gets its first one.

    :param superseded: revision of the archived state that the state in Redis replaces; None if it replaces none.
    :param written: ids of closed batches that the archive holds now.
    """
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[tuple[ArchivedState | None, list[dict[str, Any]]], Sequence[Command]]:
        state, now = read_state(session, keys)
        (text,) = session.ask(("HGET", keys.meta, codec.CHANGES))
        changes = codec.dump_changes(codec.load_changes(keys.meta, text))
        if not state.jobs:
            return (None, changes), ()
        revision = (state.revision or Revision()).without(written)
        if superseded is not None:
            revision = revision.next(superseded.number, superseded.tokens)
        elif not revision.tokens:
            revision = revision.next()
        kept = archived_state(state, Change(), revision, at=format_date(now), redis=backend.address)
        return (kept, changes), [("HSET", keys.meta, codec.REVISION, codec.dump(codec.dump_revision(revision)))]

    return backend.transact(keys, work)
