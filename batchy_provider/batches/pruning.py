# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Forgetting: old batches, and after them which run opened them and which day they loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from batchy_provider.batches import snapshot as snap
from batchy_provider.batches.dates import unix_seconds
from batchy_provider.batches.layout import read_batches, read_state
from batchy_provider.batches.names import Keys
from batchy_provider.batches.transaction import as_hash

if TYPE_CHECKING:
    from batchy_provider.batches.store import BatchStore
    from batchy_provider.batches.transaction import Command, Session

_AT_ONCE = 500
_DAY_SECONDS = 24 * 3600


def prune(store: BatchStore, workflow: str, *, keep: int, keep_days: int | None = None) -> int:
    """Remove the history of all but the newest batches; the latest one and open ones always stay.

    :param keep: how many to keep, at least 1.
    :param keep_days: for how many days after a batch that is gone it is still known which run opened it, and that
        it loaded its day; None for ever. A run that is cleared after that gets the next window, not its old one.
    :returns: how many batches were removed.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, not {keep}")
    keys = store.keys(workflow)
    removed = 0
    while True:
        older = ("ZREVRANGE", keys.history, keep, keep + _AT_ONCE + removed)
        (ids,) = store.ask(workflow, older)
        gone = _prune_some(store, keys, [int(i) for i in ids])
        removed += gone
        if gone < _AT_ONCE:
            break
    if keep_days is not None:
        _forget(store, keys, keep_days)
    return removed


def _prune_some(store: BatchStore, keys: Keys, ids: Sequence[int]) -> int:
    def work(session: Session) -> tuple[int, Sequence[Command]]:
        state, _ = read_state(session, keys)
        found = read_batches(session, keys, ids)
        gone = [b for b in found if b.batch_id != state.live_id and not b.is_open][:_AT_ONCE]
        if not gone:
            return 0, ()
        numbers = [b.batch_id for b in gone]
        mark: list[Command] = []
        if state.mark is not None:
            after = replace(state.mark.without(numbers), pruned=max(*numbers, state.mark.pruned))
            mark = [("HSET", keys.meta, snap.MARK, snap.dump(after.data()))]
        return len(gone), (
            *mark,
            ("DEL", *(keys.batch(i) for i in numbers)),
            ("HDEL", keys.meta, *(snap.record_field(i) for i in numbers)),
            ("ZREM", keys.history, *numbers),
            ("ZREM", keys.closed, *numbers),
        )

    return store.transact((keys.live,), work)


def _forget(store: BatchStore, keys: Keys, days: int) -> None:
    """Forget runs and days of batches that are gone and older; a batch's id is the second in which it was opened."""

    def work(session: Session) -> tuple[None, Sequence[Command]]:
        state, now = read_state(session, keys)
        oldest = unix_seconds(now) - days * _DAY_SECONDS
        # All of it is read, once a night: the newest entries stand among the oldest.
        known, runs, loaded = session.ask(
            ("ZREVRANGE", keys.history, 0, -1), ("HGETALL", keys.runs), ("HGETALL", keys.days)
        )
        kept = {str(state.live_id), *known}
        commands: list[Command] = []
        for key, stored in ((keys.runs, as_hash(runs)), (keys.days, as_hash(loaded))):
            gone = [name for name, batch_id in stored.items() if batch_id not in kept and int(batch_id) < oldest]
            commands += [("HDEL", key, *some) for some in _chunks(gone)]
        return None, commands

    store.transact((keys.live,), work)


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]
