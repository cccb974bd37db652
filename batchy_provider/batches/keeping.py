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
from typing import TYPE_CHECKING, Any, TypeVar

from batchy_provider.batches import snapshot as snap
from batchy_provider.batches.archive import Files, KeptBatch, KeptState, Note, kept_state, relation
from batchy_provider.batches.dates import format_date
from batchy_provider.batches.layout import read_batches, read_state
from batchy_provider.batches.mark import Mark, descends
from batchy_provider.batches.snapshot import Change, Snapshot
from batchy_provider.batches.transaction import Command, Session, address_of
from batchy_provider.exceptions import ArchiveError, ArchiveUnavailableError, BatchyError, LostStateError

if TYPE_CHECKING:
    from batchy_provider.batches.store import BatchStore

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS = 30.0
"""For how long one question to the archive, or one round of writing, may hold up a task."""
_PATIENCE_SECONDS = 2.0
_CAUGHT_UP_AT_ONCE = 50
_ROUNDS = 3


@dataclass(slots=True)
class _Written:
    """What has been written so far; by a thread that may still be at it when nobody waits for it any more."""

    batches: list[int] = field(default_factory=list)
    state: KeptState | None = None


class Keeper:
    """Asks and writes the archive for a store.

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

    def guard(self, workflow: str, client: Any) -> Callable[[Snapshot], None]:
        """Ask the archive, and return what refuses an opening by its answer.

        What it returns raises `LostStateError` if Redis holds an older state than the archive, or none, and
        `ArchiveUnavailableError` if Redis holds none and the archive cannot be asked.
        """
        kept, trouble = self.ask(workflow)
        said: list[str] = []

        def check(state: Snapshot) -> None:
            if trouble is None:
                _check(state, kept, self._url(), address_of(client))
            elif not state.jobs:
                raise ArchiveUnavailableError(
                    f"{workflow}: Redis ({address_of(client)}) does not know this workflow, and the archive cannot be "
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

    def ask(self, workflow: str) -> tuple[KeptState | None, str | None]:
        """Return the archive's newest state of a workflow, and what went wrong, if something did."""
        try:
            files = self._files()
            return self._bounded(lambda: files.latest(workflow)), None
        except ArchiveError as error:
            return None, str(error)

    def instead_of(self, workflow: str) -> KeptState | None:
        """Return the archive's state, for a change that replaces it on purpose."""
        kept, trouble = self.ask(workflow)
        if trouble is not None:
            self._tell(f"{workflow}: the archive cannot be asked: {trouble}. If it holds another state, say so again")
        return kept

    # -- after a change ----------------------------------------------------------------------------------------

    def keep(self, store: BatchStore, workflow: str, note: Note) -> None:
        """Write what a change left, and what earlier ones could not; raises nothing."""
        try:
            self._keep(store, workflow, note)
        except Exception as error:  # the change is made: nothing that is wrong here may look as if it were not
            text = str(error) if isinstance(error, BatchyError) else _text(error)
            self._tell(
                f"{workflow}: not all is in the archive: {text}. The state in Redis is right, and the next closing "
                "tries again; until then Redis alone has it"
            )

    def _keep(self, store: BatchStore, workflow: str, note: Note) -> None:
        files = self._files()
        known = {batch.batch_id for batch in note.batches}
        left = [batch_id for batch_id in note.pending if batch_id not in known][-_CAUGHT_UP_AT_ONCE:]
        batches, gone = [*note.batches], set[int]()
        state, changes = note.state, note.changes
        if left:
            # A Redis that is gone since must not keep us from writing what it has acknowledged.
            with suppress(BatchyError):
                found = read_kept(store, workflow, left)
                batches += found
                gone = set(left) - {batch.batch_id for batch in found}
                # The one that closed them did not come to writing the state either.
                state = state or read_state_kept(store, workflow)
        for _ in range(_ROUNDS):
            done = _Written()
            trouble: BatchyError | None = None
            try:
                self._bounded(lambda: _write(files, workflow, state, batches, changes, done))  # noqa: B023
            except ArchiveError as error:
                trouble = error
            newer = None
            with suppress(BatchyError):  # what stays on the list is written once more
                newer = self._confirm(store, workflow, done, gone)
            if trouble is not None:
                raise trouble
            if newer is None:
                return
            # Another one has gone on meanwhile, and we may have written over what it wrote.
            state, batches, changes = newer, [], None

    def _confirm(self, store: BatchStore, workflow: str, done: _Written, gone: set[int]) -> KeptState | None:
        """Take off the list what has been written; returns the state, if it is a newer one than was written."""
        ids = {*done.batches, *gone}
        if not ids and done.state is None:
            return None
        keys = store.keys(workflow)

        def work(session: Session) -> tuple[KeptState | None, Sequence[Command]]:
            state, now = read_state(session, keys)
            mark = state.mark
            if mark is None or not state.jobs:
                return None, ()
            newer = None
            written = done.state
            if written is not None and mark.tokens[:1] != written.tokens[:1] and descends(mark.line, written.tokens):
                newer = kept_state(state, Change(), mark, at=format_date(now), redis=address_of(store.client))
            after = mark.without(ids)
            if written is not None and written.tokens[0] in mark.tokens:
                after = replace(after, kept=written.tokens[0])
            if after == mark:
                return newer, ()
            return newer, [("HSET", keys.meta, snap.MARK, snap.dump(after.data()))]

        return store.transact(keys, work, patience=min(store.patience, _PATIENCE_SECONDS))

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


def read_kept(store: BatchStore, workflow: str, ids: Sequence[int]) -> list[KeptBatch]:
    """Return those of some batches that Redis has and that are closed, as the archive is to keep them."""
    keys = store.keys(workflow)

    def work(session: Session) -> tuple[list[KeptBatch], Sequence[Command]]:
        found = read_batches(session, keys, ids)
        config, *scores = session.ask(
            ("HGET", keys.meta, snap.CONFIG), *(("ZSCORE", keys.closed, batch_id) for batch_id in ids)
        )
        known = snap.load_config(keys.meta, config)
        return [
            KeptBatch.of(workflow, stored, known, None if score is None else float(score))
            for stored, score in zip(found, scores, strict=True)
            if stored.jobs and stored.status in ("success", "failed")
        ], ()

    return store.transact(keys, work, patience=min(store.patience, _PATIENCE_SECONDS))


def read_state_kept(store: BatchStore, workflow: str) -> KeptState | None:
    """Return the live state that Redis has, as the archive is to keep it; None if it has none that is to be kept."""
    keys = store.keys(workflow)

    def work(session: Session) -> tuple[KeptState | None, Sequence[Command]]:
        state, now = read_state(session, keys, watch=False)
        if not state.jobs or state.mark is None or not state.mark.tokens:
            return None, ()
        return kept_state(state, Change(), state.mark, at=format_date(now), redis=address_of(store.client)), ()

    return store.transact(keys, work, patience=min(store.patience, _PATIENCE_SECONDS))


def marked(
    store: BatchStore, workflow: str, instead_of: KeptState | None, *, written: Sequence[int]
) -> tuple[KeptState | None, list[dict[str, Any]]]:
    """Note in Redis what is in the archive now, and return the state and people's changes that are to go there too.

    A state that was never kept gets its first number.

    :param instead_of: the archive's state, where that of Redis is to replace it.
    :param written: closed batches that have been written.
    """
    keys = store.keys(workflow)

    def work(session: Session) -> tuple[tuple[KeptState | None, list[dict[str, Any]]], Sequence[Command]]:
        state, now = read_state(session, keys)
        (text,) = session.ask(("HGET", keys.meta, snap.CHANGES))
        changes = snap.dump_changes(snap.load_changes(keys.meta, text))
        if not state.jobs:
            return (None, changes), ()
        mark = (state.mark or Mark()).without(written)
        if instead_of is not None:
            mark = mark.next(instead_of.number, instead_of.tokens)
        elif not mark.tokens:
            mark = mark.next()
        kept = kept_state(state, Change(), mark, at=format_date(now), redis=address_of(store.client))
        return (kept, changes), [("HSET", keys.meta, snap.MARK, snap.dump(mark.data()))]

    return store.transact(keys, work)


def _write(
    files: Files,
    workflow: str,
    state: KeptState | None,
    batches: Sequence[KeptBatch],
    changes: Sequence[dict[str, Any]] | None,
    done: _Written,
) -> None:
    """Write the state first: the next window hangs on it alone."""
    refusal = None
    if state is not None:
        kept = files.latest(workflow)
        if kept is None or (descends(state.tokens, kept.tokens) and kept.tokens[0] != state.tokens[0]):
            files.put_latest(state.after(kept))
        elif not descends(kept.tokens, state.tokens):
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


def _refusal(workflow: str, kept: KeptState, url: str) -> ArchiveError:
    return ArchiveError(
        f"the archive {url} holds a state of {workflow} that Redis knows nothing of, of {kept.at} UTC from Redis "
        f"{kept.redis} ({what_kept(kept)}); it is not written over. See `batchy restore {workflow} --dry-run`"
    )


def _check(state: Snapshot, kept: KeptState | None, url: str, redis: str) -> None:
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


def what_kept(kept: KeptState) -> str:
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
