# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Remove old batches, and later the records of their runs and days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batchy_provider.core.dates import unix_seconds
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.history_ids import load_listed
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import ledger_commands, read_batches, read_state
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import load_id

_AT_ONCE = 500
"""Batches, or names, in one transaction."""
_DAY_SECONDS = 24 * 3600


def prune(backend: Backend, workflow: str, *, keep: int, keep_days: int | None = None) -> int:
    """Remove the history of all but the newest batches; the latest one and open ones always stay.

    Goes from the oldest batch on, a part in each transaction: where it is interrupted, what is removed is removed as a
    whole, and the next call goes on with the rest. Each batch is looked at once.

    :param keep: how many to keep, at least 1.
    :param keep_days: for how many days after a batch is gone it is still known which run opened it; None for
        ever. A run that is cleared after that gets the next window, not its old one.
    :returns: how many batches were removed.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, not {keep}")
    keys = backend.keys(workflow)
    removed, after = 0, "-inf"
    # The oldest batch that stays. If batches are opened meanwhile, more than `keep` stay.
    (oldest,) = backend.ask(workflow, ("ZREVRANGE", keys.history, keep - 1, keep - 1, "WITHSCORES"))
    while oldest:
        before = f"({load_listed(keys.history, oldest)[0][1]!r}"
        part = ("ZRANGEBYSCORE", keys.history, after, before, "WITHSCORES", "LIMIT", 0, _AT_ONCE)
        (found,) = backend.ask(workflow, part)
        listed = load_listed(keys.history, found)
        ids = [batch_id for batch_id, _ in listed]
        if not ids:
            break
        removed += _prune_some(backend, keys, ids)
        after = f"({listed[-1][1]!r}"
    if keep_days is not None:
        _forget(backend, keys, keep_days)
    return removed


def _prune_some(backend: Backend, keys: Keys, ids: Sequence[int]) -> int:
    def work(session: Session) -> tuple[int, Sequence[Command]]:
        state, _ = read_state(session, keys)
        gone = [i for i in _closed(session, keys, ids) if i != state.live_id]
        if not gone:
            return 0, ()
        revised: list[Command] = []
        if state.revision is not None:
            after = replace(state.revision.without(gone), pruned=max(*gone, state.revision.pruned))
            revised = [("HSET", keys.meta, codec.REVISION, codec.dump(codec.dump_revision(after)))]
        return len(gone), (
            *(ledger_commands(keys, state) if state.ledger_is_new else ()),
            *revised,
            ("DEL", *(keys.batch(i) for i in gone)),
            ("HDEL", keys.meta, *(codec.record_field(i) for i in gone)),
            ("ZREM", keys.history, *gone),
            ("ZREM", keys.closed, *gone),
        )

    return backend.transact(keys, work)


def _closed(session: Session, keys: Keys, ids: Sequence[int]) -> list[int]:
    """Return the batches that are not open. The jobs are read only if the record does not tell."""
    sizes: list[Command] = [("HLEN", keys.batch(i)) for i in ids]  # finds another program's key before it is removed
    *_, records = session.ask(
        ("WATCH", *map(keys.batch, ids)), *sizes, ("HMGET", keys.meta, *map(codec.record_field, ids))
    )
    known = {i: codec.load_record(keys.meta, i, text) for i, text in zip(ids, records, strict=True)}
    closed = {i for i, record in known.items() if record is not None and record.status != "open"}
    unsure = [i for i in ids if i not in closed]
    closed |= {batch.batch_id for batch in read_batches(session, keys, unsure) if not batch.is_open}
    return [i for i in ids if i in closed]


def _forget(backend: Backend, keys: Keys, days: int) -> None:
    """Remove runs of batches that are gone and older; a batch's id is the second in which it was opened."""
    cursor: object = 0
    while True:
        ((cursor, pairs),) = backend.ask(keys.workflow, ("HSCAN", keys.runs, cursor, "COUNT", _AT_ONCE))
        names = list(as_hash(pairs))
        for start in range(0, len(names), _AT_ONCE):
            _forget_some(backend, keys, names[start : start + _AT_ONCE], days)
        if int(str(cursor)) == 0:
            break


def _forget_some(backend: Backend, keys: Keys, names: Sequence[str], days: int) -> None:
    def work(session: Session) -> tuple[None, Sequence[Command]]:
        state, now = read_state(session, keys)
        oldest = unix_seconds(now) - days * _DAY_SECONDS
        _, values = session.ask(("WATCH", keys.runs), ("HMGET", keys.runs, *names))
        batches = {
            name: load_id(keys.runs, value) for name, value in zip(names, values, strict=True) if value is not None
        }
        old = {name: i for name, i in batches.items() if i < oldest and i != state.live_id}
        if not old:
            return None, ()
        (scores,) = session.ask(("ZMSCORE", keys.history, *old.values()))
        gone = [name for name, score in zip(old, scores, strict=True) if score is None]
        return None, [("HDEL", keys.runs, *gone)] if gone else []

    backend.transact(keys, work)
