# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Scan a workflow in Redis: read everything that a comparison with the archive or a restore needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from batchy_provider.core.snapshot import Snapshot
from batchy_provider.state import codec
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import read_state
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import load_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisScan:
    """Everything that Redis holds of a workflow, without the hashes of its batches.

    :param now: time of the Redis server, naive UTC.
    :param history: ids of all batches in ``wf:history``.
    :param open: ids of the batches that are open.
    :param runs: run key → batch id.
    :param offsets: name of a subscription → its offset, as JSON text.
    :param audit: audit entries, as JSON text; None if there are none.
    """

    state: Snapshot
    now: datetime
    history: frozenset[int]
    open: frozenset[int]
    runs: dict[str, int]
    offsets: dict[str, str]
    audit: str | None


def scan_redis(session: Session, keys: Keys, *, watch: bool) -> RedisScan:
    """Read a workflow from Redis.

    :param watch: also watch the keys, so that a transaction on the scan fails if one of them changes.
    """
    state, now = read_state(session, keys, watch=watch)
    commands: list[Command] = [("WATCH", keys.offsets)] if watch else []
    commands += [("HGETALL", key) for key in (keys.meta, keys.runs, keys.offsets)]
    commands.append(("ZREVRANGE", keys.history, 0, -1))
    *hashes, ids = session.ask(*commands)[watch:]
    meta, runs, offsets = (as_hash(each) for each in hashes)
    open_ids = set()
    for name, text in meta.items():
        prefix, _, number = name.partition(":")
        if prefix != "batch":
            continue
        batch_id = load_id(keys.meta, number)
        record = codec.load_record(keys.meta, batch_id, text)
        if record is not None and record.status == "open":
            open_ids.add(batch_id)
    if state.open_id is not None:
        open_ids.add(state.open_id)
    return RedisScan(
        state=state,
        now=now,
        history=frozenset(load_id(keys.history, i) for i in ids),
        open=frozenset(open_ids),
        runs={run: load_id(keys.runs, i) for run, i in runs.items()},
        offsets=offsets,
        audit=meta.get(codec.CHANGES),
    )
