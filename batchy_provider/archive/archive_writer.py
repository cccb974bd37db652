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

from batchy_provider.archive.archive_entry import ArchiveEntry
from batchy_provider.archive.archive_files import ArchiveFiles, first_line
from batchy_provider.archive.archived_batch import ArchivedBatch
from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.archive.bounded_files import BoundedFiles
from batchy_provider.archive.descriptions import describe_archived
from batchy_provider.archive.redis_source import RETRY_SECONDS, read_closed_batches, read_live_state
from batchy_provider.core.dates import format_date
from batchy_provider.core.revision import is_ancestor_of
from batchy_provider.core.snapshot import Change
from batchy_provider.exceptions import ArchiveError, BatchyError
from batchy_provider.state import codec
from batchy_provider.state.archive_port import Committed
from batchy_provider.state.backend import Backend
from batchy_provider.state.layout import read_state
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session

_MAX_CAUGHT_UP = 50
"""How many batches of earlier changes one closing writes."""
_MAX_ROUNDS = 3
"""How often to write again because another process has changed the state meanwhile."""


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
        """Write the entry of a change, and the batches that earlier changes could not write. Raise nothing."""
        workflow = committed.before.workflow
        try:
            self._record(backend, workflow, ArchiveEntry.of(committed), committed.at)
        except Exception as error:  # Redis has the change: an error here must not look as if the change failed
            text = str(error) if isinstance(error, BatchyError) else first_line(error)
            self._warn(
                f"{workflow}: the archive is not complete: {text}. The state in Redis is right. The next closing "
                "writes what is missing; until then only Redis has it"
            )

    def _record(self, backend: Backend, workflow: str, entry: ArchiveEntry, at: str) -> None:
        files = self._files.get()
        entry, gone = _with_pending(backend, workflow, entry)
        state, batches, audit = entry.state, entry.batches, entry.audit
        for _ in range(_MAX_ROUNDS):
            written = _Written()
            failure: BatchyError | None = None
            try:
                # Its thread calls it at once, so with the values of this round.
                self._files.within_time(lambda: _write(files, workflow, state, batches, audit, written))  # noqa: B023
            except ArchiveError as error:
                failure = error
            newer = None
            with suppress(BatchyError):  # batches that stay on the pending list are written again
                newer = self._confirm(backend, workflow, written, gone, at)
            if failure is not None:
                raise failure
            if newer is None:
                return
            # Another process has changed the state meanwhile, and this write may have replaced its state.
            state, batches, audit = newer, (), None

    def _confirm(
        self, backend: Backend, workflow: str, written: _Written, gone: set[int], at: str
    ) -> ArchivedState | None:
        """Remove written batches from the pending list in Redis, and record which state the archive has.

        Unless there is more to write, also record that the writing has ended.

        :param gone: ids of pending batches that are not closed batches in Redis any more: pruned ones above all.
        :param at: when the change was made that is being written.
        :returns: the live state in Redis if it is newer than the written one.
        """
        ids, state_written = {*written.batches, *gone}, written.state
        keys = backend.keys(workflow)

        def work(session: Session) -> tuple[ArchivedState | None, Sequence[Command]]:
            state, now = read_state(session, keys)
            revision = state.revision
            if revision is None or not state.jobs:
                return None, ()
            newer, after = None, revision.without(ids)
            if state_written is not None:
                token = state_written.tokens[0]
                if revision.tokens[:1] != (token,) and is_ancestor_of(state_written.tokens, revision.lineage):
                    newer = ArchivedState.of(state, Change(), revision, at=format_date(now), redis=backend.address)
                if token in revision.tokens:
                    after = replace(after, kept=token)
            if newer is None and revision.writing == at:
                after = replace(after, writing=None)
            if after == revision:
                return newer, ()
            return newer, [("HSET", keys.meta, codec.REVISION, codec.dump(codec.dump_revision(after)))]

        return backend.transact(keys, work, retry_seconds=min(backend.retry_seconds, RETRY_SECONDS))


def _with_pending(backend: Backend, workflow: str, entry: ArchiveEntry) -> tuple[ArchiveEntry, set[int]]:
    """Add the pending batches of earlier changes to an entry.

    :returns: the entry, and the ids of pending batches that are not closed batches in Redis any more.
    """
    in_entry = {batch.batch_id for batch in entry.batches}
    pending = [batch_id for batch_id in entry.pending if batch_id not in in_entry][-_MAX_CAUGHT_UP:]
    if not pending:
        return entry, set()
    try:
        found = read_closed_batches(backend, workflow, pending)
    except BatchyError:  # Redis has failed since: still write what it has acknowledged
        return entry, set()
    state = entry.state
    with suppress(BatchyError):
        # The process that closed the pending batches did not write the state either.
        state = state or read_live_state(backend, workflow)
    gone = set(pending) - {batch.batch_id for batch in found}
    return replace(entry, state=state, batches=[*entry.batches, *found]), gone


def _write(
    files: ArchiveFiles,
    workflow: str,
    state: ArchivedState | None,
    batches: Sequence[ArchivedBatch],
    audit: Sequence[dict[str, Any]] | None,
    written: _Written,
) -> None:
    """Write the state first, because it alone decides the next window. Then write the batches and audit entries.

    :param written: collects what was written, also if a later file fails.
    :raises ArchiveError: if a file cannot be written, or the archived state is not an older state of the same lineage.
    """
    refusal = None
    if state is not None:
        archived = files.latest(workflow)
        if archived is None or (
            is_ancestor_of(archived.tokens, state.tokens) and archived.tokens[0] != state.tokens[0]
        ):
            files.put_latest(state.with_tokens_of(archived))
        elif not is_ancestor_of(state.tokens, archived.tokens):
            refusal = _refusal(workflow, archived, files.url)
        if refusal is None:
            written.state = state
    for batch in batches:
        files.put_batch(batch)
        written.batches.append(batch.batch_id)
    if audit is not None:
        files.put_audit(workflow, audit)
    if refusal is not None:
        raise refusal


def _refusal(workflow: str, archived: ArchivedState, url: str) -> ArchiveError:
    return ArchiveError(
        f"the archive {url} has a state of {workflow} that Redis does not know ({describe_archived(archived)}), of "
        f"{archived.at} UTC from Redis {archived.redis}. It was not overwritten. See `batchy restore {workflow} "
        "--dry-run`"
    )
