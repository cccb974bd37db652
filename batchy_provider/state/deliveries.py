# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""At-least-once delivery of "batch closed" notifications. Normally one subscriber handles each batch.

``wf:told`` holds the offset of each subscription, and its leases. A subscriber leases a batch, delivers it, and
acknowledges it; that moves the offset. If the subscriber dies before, the lease expires, and another subscriber
delivers the batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchy_provider.core.presenters import stored_batch
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.typed_data import FormError, build, fits, shown
from batchy_provider.core.vocabulary import SUBSCRIBED_RESULTS, SubscribedResult, VerdictCode
from batchy_provider.core.waits import Verdict
from batchy_provider.exceptions import ConfigError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import load_snapshot, read_batches
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import load_id, read_field
from batchy_provider.state.wait_queries import Asking

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch

LEASE_SECONDS = 60
"""For how long only one subscriber may deliver a batch."""
_AT_ONCE = 100
_ACKNOWLEDGED = 2**53
"""Expiry of a lease whose batch is acknowledged, while an older batch is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Which closed batches of a workflow are delivered.

    :param result: ``success``, ``failed``, or ``closed`` for both.
    :param outside_only: only batches that no Airflow run has opened. Backfills are never delivered.
    :param name: distinguishes subscriptions to the same batches; each subscription gets every batch.
    """

    workflow: str
    result: SubscribedResult = "success"
    outside_only: bool = True
    name: str = "airflow"

    def __post_init__(self) -> None:
        """Refuse a result that a batch cannot have."""
        if self.result not in SUBSCRIBED_RESULTS:
            expected = ", ".join(SUBSCRIBED_RESULTS)
            raise ConfigError(f"{self.workflow}: a batch is never {self.result!r}; use one of {expected}")

    @property
    def field(self) -> str:
        """The field of ``wf:told`` that holds its offset."""
        return f"{self.name}:{self.result}:{'outside' if self.outside_only else 'all'}"

    def wants(self, batch: StoredBatch) -> bool:
        """Tell whether a batch is delivered to this subscription."""
        record, status = batch.record, batch.status
        is_live = bool(batch.jobs) and (record is None or record.kind == "live")
        fits = status == self.result if self.result != "closed" else status in ("success", "failed")
        return is_live and fits and (not self.outside_only or record is None or record.run is None)


@dataclass(frozen=True, slots=True)
class _StoredOffset:
    """JSON form of `_Offset`."""

    told: int
    claims: dict[str, list[Any]]


@dataclass(slots=True)
class _Offset:
    """How far a subscription has come.

    :param batch_id: this batch and all batches before it are acknowledged; None before the first look.
    :param leases: batch id → who delivers it, and when the lease expires, Unix seconds.
    """

    batch_id: int | None = None
    leases: dict[int, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, keys: Keys, field: str, text: str | None) -> _Offset:
        if text is None:
            return cls()
        return read_field(keys.offsets, field, text, cls._read)

    @classmethod
    def _read(cls, data: Any) -> _Offset:
        found = build(_StoredOffset, data)
        leases = {}
        for batch_id, lease in found.claims.items():
            by, until = lease
            if not (batch_id.isdecimal() and fits(str, by) and fits(int, until)):
                raise FormError(f"has a claim {shown(lease)} of batch {shown(batch_id)}; expected who and until when")
            leases[int(batch_id)] = (by, until)
        return cls(found.told, leases)

    def write(self, keys: Keys, field: str) -> Command:
        return ("HSET", keys.offsets, field, json.dumps({"told": self.batch_id, "claims": self.leases}))

    def is_free(self, batch_id: int, now: int) -> bool:
        lease = self.leases.get(batch_id)
        return (self.batch_id is None or batch_id > self.batch_id) and (lease is None or lease[1] <= now)

    def acknowledge(self, batch_ids: Iterable[int]) -> None:
        """Move the offset past batches: at once, or as soon as all batches before them are acknowledged."""
        self.leases |= dict.fromkeys(batch_ids, ("", _ACKNOWLEDGED))
        for batch_id in sorted(self.leases):
            if self.leases[batch_id][1] != _ACKNOWLEDGED:
                break
            self.batch_id = max(self.batch_id or 0, batch_id)
            del self.leases[batch_id]


def read_offset(keys: Keys, field: str, text: str) -> int | None:
    """Return the last batch that a subscription has acknowledged.

    :param field: of ``wf:told``.
    :raises StateError: if the offset cannot be read.
    """
    return _Offset.read(keys, field, text).batch_id


def offset_command(keys: Keys, field: str, batch_id: int) -> Command:
    """Return the command that moves a subscription to a batch, without leases.

    :param field: of ``wf:told``.
    """
    return _Offset(batch_id).write(keys, field)


def check_deliveries(keys: Keys, subscription: Subscription) -> Asking:
    """Ask whether there may be a batch to deliver; if so, the verdict is done."""
    (now, _), text, live, meta = yield _questions(keys, subscription)
    offset = _Offset.read(keys, subscription.field, text)
    may_deliver = offset.batch_id is None
    if not may_deliver:
        (ids,) = yield [_since(keys, offset)]
        state = load_snapshot(keys, as_hash(live), meta, None)
        foreign = _foreign(state)
        still_open = state.open_id
        found = {load_id(keys.history, batch_id) for batch_id in ids}
        found |= {foreign.batch_id} if foreign is not None else set()
        may_deliver = any(batch_id != still_open and offset.is_free(batch_id, int(now)) for batch_id in found)
    text = f"{keys.workflow}: there are {'' if may_deliver else 'no '}closed batches to look at"
    if may_deliver:
        return Verdict(state="done", code=VerdictCode.BATCHES_CLOSED, text=text)
    return Verdict(state="waiting", code=VerdictCode.NOTHING_CLOSED, text=text)


def lease(backend: Backend, subscription: Subscription, subscriber: str) -> list[Batch]:
    """Return the batches that a subscriber must deliver now, oldest first. No other subscriber gets them meanwhile.

    The first look of a subscription returns none: batches that were closed before are not delivered.

    :param subscriber: a name that no other subscriber uses.
    """
    keys = backend.keys(subscription.workflow)

    def work(session: Session) -> tuple[list[Batch], Sequence[Command]]:
        _, (seconds, _), text, live, meta = session.ask(("WATCH", keys.offsets), *_questions(keys, subscription))
        now, offset = int(seconds), _Offset.read(keys, subscription.field, text)
        (ids,) = session.ask(_since(keys, offset))
        state = load_snapshot(keys, as_hash(live), meta, None)
        free = [batch_id for each in ids if offset.is_free(batch_id := load_id(keys.history, each), now)]
        found = [batch for batch in read_batches(session, keys, free) if not _is_open(batch)]
        foreign = _foreign(state)
        if foreign is not None and len(ids) < _AT_ONCE and offset.is_free(foreign.batch_id, now):
            found = [*(batch for batch in found if batch.batch_id != foreign.batch_id), foreign]
        if offset.batch_id is None:
            offset.batch_id = max((batch.batch_id for batch in found), default=0)
            return [], [offset.write(keys, subscription.field)]
        if not found:
            return [], []
        wanted = sorted((batch for batch in found if subscription.wants(batch)), key=lambda batch: batch.batch_id)
        offset.leases |= {batch.batch_id: (subscriber, now + LEASE_SECONDS) for batch in wanted}
        offset.acknowledge(batch.batch_id for batch in found if batch not in wanted)
        batches = [stored_batch(keys.workflow, batch) for batch in wanted]
        return batches, [offset.write(keys, subscription.field)]

    return backend.transact(keys, work)


def acknowledge(backend: Backend, subscription: Subscription, batch_ids: Sequence[int]) -> None:
    """Record that batches were delivered, so that no subscriber delivers them again."""
    keys = backend.keys(subscription.workflow)

    def work(session: Session) -> tuple[None, Sequence[Command]]:
        _, text = session.ask(("WATCH", keys.offsets), ("HGET", keys.offsets, subscription.field))
        offset = _Offset.read(keys, subscription.field, text)
        offset.acknowledge(batch_id for batch_id in batch_ids if offset.batch_id is None or batch_id > offset.batch_id)
        return None, [offset.write(keys, subscription.field)]

    backend.transact(keys, work)


def _questions(keys: Keys, subscription: Subscription) -> list[Command]:
    return [
        ("TIME",),
        ("HGET", keys.offsets, subscription.field),
        ("HGETALL", keys.live),
        ("HMGET", keys.meta, *codec.META_FIELDS),
    ]


def _since(keys: Keys, offset: _Offset) -> Command:
    if offset.batch_id is None:
        return ("ZREVRANGE", keys.closed, 0, 0)
    # By id, not by time of closing: if several batches open in one second, or under another clock, ids run ahead.
    return ("ZRANGEBYSCORE", keys.history, f"({offset.batch_id}", "+inf", "LIMIT", 0, _AT_ONCE)


def _is_open(batch: StoredBatch) -> bool:
    """Tell whether a live batch may still close and be delivered then; a history batch never is."""
    return batch.is_open and (batch.record is None or batch.record.kind == "live")


def _foreign(state: Snapshot) -> StoredBatch | None:
    """Return the batch that the original server closed last; no index has it yet."""
    record = state.live_record
    is_ours = record is not None and record.status != "open"
    if state.live_id is None or is_ours or state.status not in ("success", "failed"):
        return None
    return StoredBatch(state.live_id, state.jobs, record)
