# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Archive writer: write the entries of a change after Redis has acknowledged it.

A failed write never fails a closing. It delays the closing for a limited time. What was not written stays on the
pending list in ``wf:meta``, and the next closing writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from batchy_provider.archive.bounded_files import BoundedFiles, first_line
from batchy_provider.archive.descriptions import what_kept
from batchy_provider.archive.entries import ArchivedBatch, ArchivedState, Entry, Files, archived_state, entry
from batchy_provider.archive.redis_source import RETRY_SECONDS, read_kept, read_state_kept
from batchy_provider.core.dates import format_date
from batchy_provider.core.revision import is_ancestor_of
from batchy_provider.core.snapshot import Change
from batchy_provider.exceptions import ArchiveError, BatchyError
from batchy_provider.state import codec
from batchy_provider.state.archive_port import Committed
from batchy_provider.state.backend import Backend
from batchy_provider.state.layout import read_state
from batchy_provider.state.transaction import Command, Session

_CAUGHT_UP_AT_ONCE = 50
_ROUNDS = 3


@dataclass(slots=True)
class _Written:
    """What one round has written so far. Its thread may still be running after the time limit."""

    batches: list[int] = field(default_factory=list)
    state: ArchivedState | None = None


class ArchiveWriter:
    """Write archive entries, and confirm them in Redis.

    :param warn: called with each warning for people.
    """

    def __init__(self, files: BoundedFiles, *, warn: Callable[[str], None]) -> None:
        self._files = files
        self._warn = warn

    def record(self, backend: Backend, committed: Committed) -> None:
        """Write the entry of a change, and entries that earlier changes could not write. Raise nothing."""
        workflow = committed.before.workflow
        try:
            self._record(backend, workflow, entry(committed))
        except Exception as error:  # Redis has the change: an error here must not look as if the change failed
            text = str(error) if isinstance(error, BatchyError) else first_line(error)
            self._warn(
                f"{workflow}: not all is in the archive: {text}. The state in Redis is right, and the next closing "
                "tries again; until then Redis alone has it"
            )

    def _record(self, backend: Backend, workflow: str, note: Entry) -> None:
        files = self._files.get()
        known = {batch.batch_id for batch in note.batches}
        left = [batch_id for batch_id in note.pending if batch_id not in known][-_CAUGHT_UP_AT_ONCE:]
        batches, gone = [*note.batches], set[int]()
        state, changes = note.state, note.changes
        if left:
            # If Redis has failed since, still write what it has acknowledged.
            with suppress(BatchyError):
                found = read_kept(backend, workflow, left)
                batches += found
                gone = set(left) - {batch.batch_id for batch in found}
                # The process that closed them did not write the state either.
                state = state or read_state_kept(backend, workflow)
        for _ in range(_ROUNDS):
            done = _Written()
            trouble: BatchyError | None = None
            try:
                self._files.within_time(lambda: _write(files, workflow, state, batches, changes, done))  # noqa: B023
            except ArchiveError as error:
                trouble = error
            newer = None
            with suppress(BatchyError):  # what stays on the list is written again
                newer = self._confirm(backend, workflow, done, gone)
            if trouble is not None:
                raise trouble
            if newer is None:
                return
            # Another process has changed the state meanwhile, and this write may have replaced its entry.
            state, batches, changes = newer, [], None

    def _confirm(self, backend: Backend, workflow: str, done: _Written, gone: set[int]) -> ArchivedState | None:
        """Remove written batches from the pending list.

        :returns: the live state in Redis if it is newer than the written one.
        """
        ids = {*done.batches, *gone}
        if not ids and done.state is None:
            return None
        keys = backend.keys(workflow)

        def work(session: Session) -> tuple[ArchivedState | None, Sequence[Command]]:
            state, now = read_state(session, keys)
            revision = state.revision
            if revision is None or not state.jobs:
                return None, ()
            newer = None
            written = done.state
            if (
                written is not None
                and revision.tokens[:1] != written.tokens[:1]
                and is_ancestor_of(written.tokens, revision.lineage)
            ):
                newer = archived_state(state, Change(), revision, at=format_date(now), redis=backend.address)
            after = revision.without(ids)
            if written is not None and written.tokens[0] in revision.tokens:
                after = replace(after, kept=written.tokens[0])
            if after == revision:
                return newer, ()
            return newer, [("HSET", keys.meta, codec.REVISION, codec.dump(codec.dump_revision(after)))]

        return backend.transact(keys, work, retry_seconds=min(backend.retry_seconds, RETRY_SECONDS))


def _write(
    files: Files,
    workflow: str,
    state: ArchivedState | None,
    batches: Sequence[ArchivedBatch],
    changes: Sequence[dict[str, Any]] | None,
    done: _Written,
) -> None:
    """Write the state first: it alone decides the next window."""
    refusal = None
    if state is not None:
        kept = files.latest(workflow)
        if kept is None or (is_ancestor_of(kept.tokens, state.tokens) and kept.tokens[0] != state.tokens[0]):
            files.put_latest(state.after(kept))
        elif not is_ancestor_of(state.tokens, kept.tokens):
            refusal = _refusal(workflow, kept, files.url)
        if refusal is None:
            done.state = state
    for batch in batches:
        files.put_batch(batch)
        done.batches.append(batch.batch_id)
    if changes is not None:
        files.put_changes(workflow, changes)
    if refusal is not None:
        raise refusal


def _refusal(workflow: str, kept: ArchivedState, url: str) -> ArchiveError:
    return ArchiveError(
        f"the archive {url} holds a state of {workflow} that Redis knows nothing of, of {kept.at} UTC from Redis "
        f"{kept.redis} ({what_kept(kept)}); it is not written over. See `batchy restore {workflow} --dry-run`"
    )
