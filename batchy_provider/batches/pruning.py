# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Old history taken out of Redis, some hundred batches in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from batchy_provider.batches import snapshot as snap
from batchy_provider.batches.layout import read_batches, read_state
from batchy_provider.batches.names import Keys
from batchy_provider.batches.transaction import Command, Session, transact

if TYPE_CHECKING:
    from batchy_provider.batches.transaction import Client

_AT_ONCE = 500


def prune(client: Client, keys: Keys, keep: int, *, patience: float) -> int:
    """Remove all but the newest batches, the latest one and open ones; returns how many were removed."""
    removed = 0
    while True:
        gone = transact(client, (keys.live,), partial(_some, keys, keep, removed), patience=patience)
        removed += gone
        if gone < _AT_ONCE:
            return removed


def _some(keys: Keys, keep: int, removed: int, session: Session) -> tuple[int, Sequence[Command]]:
    state, _ = read_state(session, keys)
    (ids,) = session.ask(("ZREVRANGE", keys.history, keep, keep + _AT_ONCE + removed))
    found = read_batches(session, keys, [int(i) for i in ids])
    gone = [batch for batch in found if batch.batch_id != state.live_id and not batch.is_open][:_AT_ONCE]
    if not gone:
        return 0, ()
    numbers = [batch.batch_id for batch in gone]
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
