# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive beside Redis: asked before each opening, written after each closing.

Redis is what counts; the archive is for the night on which Redis has lost something. So writing it never fails a
closing and delays it by so many seconds at most: what could not be written stays on a list in ``wf:meta``, and the
next closing writes it. Asking it can stop an opening: one that would load everything again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from batchy_provider.archive.entries import ArchivedBatch, ArchivedState, Entry, Files, archived_state, entry, relation
from batchy_provider.core.dates import format_date
from batchy_provider.core.revision import Revision, is_ancestor_of
from batchy_provider.core.snapshot import Change, Snapshot
from batchy_provider.exceptions import ArchiveError, ArchiveUnavailableError, BatchyError, LostStateError
from batchy_provider.state import codec
from batchy_provider.state.archive_port import Committed
from batchy_provider.state.backend import Backend
from batchy_provider.state.layout import read_batches, read_state
from batchy_provider.state.transaction import Command, Session

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS = 30.0
"""For how long one question to the archive, or one round of writing, may hold up a task."""
_RETRY_SECONDS = 2.0
_CAUGHT_UP_AT_ONCE = 50
_ROUNDS = 3


@dataclass(slots=True)
class _Written:
    """What has been written so far; by a thread that may still be at it when nobody waits for it any more."""

    batches: list[int] = field(default_factory=list)
    state: ArchivedState | None = None


class Archiver:
    """Asks and writes the archive for a backend.

    :param files: returns where it is; called when it is first needed.
    :param tell: told what a person should know; by default it is logged as a warning.
    :param seconds: see `SECONDS`.
    """

    def __init__(
        self, files: Callable[[], Files], *, tell: Callable[[str], None] | None = None, seconds: float = SECONDS
    ) -> None:
        self._make = files
        self._made: Files | None = None
        self._tell = tell or (lambda text: log.warning("%s", text))
        self._seconds = seconds

    # -- before an opening -------------------------------------------------------------------------------------

    def guard(self, workflow: str, redis: str) -> Callable[[Snapshot], None]:
        """Ask the archive, and return what refuses an opening by its answer.

        What it returns raises `LostStateError` if Redis holds an older state than the archive, or none, and
        `ArchiveUnavailableError` if Redis holds none and the archive cannot be asked.
        """
        kept, trouble = self.ask(workflow)
        said: list[str] = []

        def check(state: Snapshot) -> None:
            if trouble is None:
                _check(state, kept, self._url(), redis)
            elif not state.jobs:
                raise ArchiveUnavailableError(
                    f"{workflow}: Redis ({redis}) does not know this workflow, and the archive cannot be "
                    f"asked whether it ought to: {trouble}. Opened now, all might be loaded again. Make the result "
                    f"store reachable; if the workflow is new, or is to begin anew: `batchy load {workflow}`"
                )
            elif not said:
                said.append(trouble)
                self._tell(
                    f"{workflow}: the archive cannot be asked whether Redis has lost something: {trouble}. Opened by "
                    "what Redis has"
                )

        return check

    def ask(self, workflow: str) -> tuple[ArchivedState | None, str | None]:
        """Return the archive's newest state of a workflow, and what went wrong, if something did."""
        try:
            files = self._files()
            return self._bounded(lambda: files.latest(workflow)), None
        except ArchiveError as error:
            return None, str(error)

    def superseded(self, workflow: str) -> Revision | None:
        """Return the revision of the archive's state, for a change that replaces it on purpose."""
        kept, trouble = self.ask(workflow)
        if trouble is not None:
            self._tell(f"{workflow}: the archive cannot be asked: {trouble}. If it holds another state, say so again")
        return None if kept is None else kept.revision

    # -- after a change ----------------------------------------------------------------------------------------

    def record(self, backend: Backend, committed: Committed) -> None:
        """Write what a change left, and what earlier ones could not; raises nothing."""
        workflow = committed.before.workflow
        try:
            self._record(backend, workflow, entry(committed))
        except Exception as error:  # the change is made: nothing that is wrong here may look as if it were not
            text = str(error) if isinstance(error, BatchyError) else _text(error)
            self._tell(
                f"{workflow}: not all is in the archive: {text}. The state in Redis is right, and the next closing "
                "tries again; until then Redis alone has it"
            )

    def _record(self, backend: Backend, workflow: str, note: Entry) -> None:
        files = self._files()
        known = {batch.batch_id for batch in note.batches}
        left = [batch_id for batch_id in note.pending if batch_id not in known][-_CAUGHT_UP_AT_ONCE:]
        batches, gone = [*note.batches], set[int]()
        state, changes = note.state, note.changes
        if left:
            # A Redis that is gone since must not keep us from writing what it has acknowledged.
            with suppress(BatchyError):
                found = read_kept(backend, workflow, left)
                batches += found
                gone = set(left) - {batch.batch_id for batch in found}
                # The one that closed them did not come to writing the state either.
                state = state or read_state_kept(backend, workflow)
        for _ in range(_ROUNDS):
            done = _Written()
            trouble: BatchyError | None = None
            try:
                self._bounded(lambda: _write(files, workflow, state, batches, changes, done))  # noqa: B023
            except ArchiveError as error:
                trouble = error
            newer = None
            with suppress(BatchyError):  # what stays on the list is written once more
                newer = self._confirm(backend, workflow, done, gone)
            if trouble is not None:
                raise trouble
            if newer is None:
                return
            # Another one has gone on meanwhile, and we may have written over what it wrote.
            state, batches, changes = newer, [], None

    def _confirm(self, backend: Backend, workflow: str, done: _Written, gone: set[int]) -> ArchivedState | None:
        """Take off the list what has been written; returns the state, if it is a newer one than was written."""
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

        return backend.transact(keys, work, retry_seconds=min(backend.retry_seconds, _RETRY_SECONDS))

    # -- how it is done ----------------------------------------------------------------------------------------

    def _files(self) -> Files:
        if self._made is None:
            try:
                self._made = self._make()
            except ArchiveError:
                raise
            except Exception as error:  # whatever a store's own library finds wrong with a URL or a connection
                raise ArchiveError(f"the result store cannot be opened: {_text(error)}") from error
        return self._made

    def _url(self) -> str:
        return self._files().url

    def _bounded(self, work: Callable[[], T]) -> T:
        """Do it, but wait for no longer than that: a store may hang as long as its own timeouts and retries say.

        :raises ArchiveError: if it fails, or does not end.
        """
        ended: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                ended.append(work())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, name="batchy-archive", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if ended:
            return ended[0]
        url = self._url()
        if not failed:
            raise ArchiveError(f"{url} has not answered for {self._seconds:g} seconds")
        if isinstance(failed[0], ArchiveError):
            raise failed[0]
        raise ArchiveError(f"{url}: {_text(failed[0])}") from failed[0]


def read_kept(backend: Backend, workflow: str, ids: Sequence[int]) -> list[ArchivedBatch]:
    """Return those of some batches that Redis has and that are closed, as the archive is to keep them."""
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

    return backend.transact(keys, work, retry_seconds=min(backend.retry_seconds, _RETRY_SECONDS))


def read_state_kept(backend: Backend, workflow: str) -> ArchivedState | None:
    """Return the live state that Redis has, as the archive is to keep it; None if it has none that is to be kept."""
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[ArchivedState | None, Sequence[Command]]:
        state, now = read_state(session, keys, watch=False)
        if not state.jobs or state.revision is None or not state.revision.tokens:
            return None, ()
        return archived_state(state, Change(), state.revision, at=format_date(now), redis=backend.address), ()

    return backend.transact(keys, work, retry_seconds=min(backend.retry_seconds, _RETRY_SECONDS))


def marked(
    backend: Backend, workflow: str, superseded: Revision | None, *, written: Sequence[int]
) -> tuple[ArchivedState | None, list[dict[str, Any]]]:
    """Note in Redis what is in the archive now, and return the state and people's changes that are to go there too.

    A state that was never kept gets its first number.

    :param superseded: the revision of the archive's state, if the state in Redis is to replace it.
    :param written: closed batches that have been written.
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


def _write(
    files: Files,
    workflow: str,
    state: ArchivedState | None,
    batches: Sequence[ArchivedBatch],
    changes: Sequence[dict[str, Any]] | None,
    done: _Written,
) -> None:
    """Write the state first: the next window hangs on it alone."""
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


def _check(state: Snapshot, kept: ArchivedState | None, url: str, redis: str) -> None:
    found = relation(state, kept)
    if kept is None or found in ("in step", "archive behind"):
        return
    name = state.workflow
    archive = f"the archive {url} has its state of {kept.at} UTC: {what_kept(kept)}"
    if found == "lost":
        fault = f"does not know this workflow, but {archive}. Redis has lost it: opened now, all would be loaded again"
    elif found == "behind":
        fault = (
            f"has an older state of this workflow ({what_redis_has(state)}) than there was: {archive}. Redis has lost "
            "what came between: opened now, it would be loaded again"
        )
    else:
        fault = (
            f"has a state of this workflow ({what_redis_has(state)}) that did not come of the archived one: {archive}. "
            "Redis has lost that, and somebody went on without it"
        )
    other = "" if redis == kept.redis else f" The archive was written from another Redis, {kept.redis}."
    raise LostStateError(
        f"{name}: Redis ({redis}) {fault}. Nothing was opened. Get it back: `batchy restore {name}`; to begin anew on "
        f"purpose: `batchy load {name}`.{other} Two Redis databases need two result stores ([batchy] results_url)"
    )


def what_kept(kept: ArchivedState) -> str:
    """Say for people what the archive has."""
    return _what(Snapshot(workflow=kept.workflow, jobs=kept.live), kept.watermark)


def what_redis_has(state: Snapshot) -> str:
    """Say for people what Redis has."""
    return _what(state, None if state.last_success is None else state.last_success.to_date)


def _what(state: Snapshot, watermark: str | None) -> str:
    batch = "no batch" if state.live_id is None else f"batch {state.live_id}, {state.status}"
    return batch if watermark is None else f"{batch}, loaded up to {watermark}"


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
