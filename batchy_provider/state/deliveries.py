# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""At-least-once delivery of "batch closed" notifications. Normally one subscriber handles each batch.

``wf:told`` holds a cursor for each watch. Who wants to tell of a batch claims it first, and moves the cursor past it
when it has been told. A claim of one that died in between lapses, and another one tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from batchy_provider.core.presenters import stored_batch
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.typed_data import FormError, build, fits, shown
from batchy_provider.core.waits import Verdict
from batchy_provider.exceptions import ConfigError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import load_snapshot, read_batches
from batchy_provider.state.stored_values import load_id, read_field
from batchy_provider.state.transaction import Command, Session, as_hash
from batchy_provider.state.wait_queries import Asking

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch

Closed = Literal["success", "failed", "closed"]
CLOSED: tuple[Closed, ...] = ("success", "failed", "closed")
CLAIM_SECONDS = 60
"""For how long one watcher alone may tell of a batch."""
_AT_ONCE = 100
_FOR_EVER = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Which batches are to be told of.

    :param result: ``success``, ``failed``, or ``closed`` for both.
    :param outside_only: only those that no Airflow run has opened. Backfills are never told of.
    :param name: tells watches of the same batches apart, each of which is to be told.
    """

    workflow: str
    result: Closed = "success"
    outside_only: bool = True
    name: str = "airflow"

    def __post_init__(self) -> None:
        """Refuse a result that there is not."""
        if self.result not in CLOSED:
            raise ConfigError(f"{self.workflow}: a batch is never {self.result!r}; use one of {', '.join(CLOSED)}")

    @property
    def field(self) -> str:
        """Where ``wf:told`` holds its cursor."""
        return f"{self.name}:{self.result}:{'outside' if self.outside_only else 'all'}"

    def wants(self, batch: StoredBatch) -> bool:
        """Tell whether a batch is one of these."""
        record, status = batch.record, batch.status
        is_live = bool(batch.jobs) and (record is None or record.kind == "live")
        fits = status == self.result if self.result != "closed" else status in ("success", "failed")
        return is_live and fits and (not self.outside_only or record is None or record.run is None)


@dataclass(frozen=True, slots=True)
class _CursorForm:
    """JSON form of `_Cursor`."""

    told: int
    claims: dict[str, list[Any]]


@dataclass(slots=True)
class _Cursor:
    """How far a watch has come.

    :param told: the last batch that is done with, and with it all before; None before the first look.
    :param claims: batch id → who tells of it, and until when that is nobody else's business, Unix seconds.
    """

    told: int | None = None
    claims: dict[int, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, keys: Keys, field: str, text: str | None) -> _Cursor:
        if text is None:
            return cls()
        return read_field(keys.told, field, text, cls._read)

    @classmethod
    def _read(cls, data: Any) -> _Cursor:
        found = build(_CursorForm, data)
        claims = {}
        for batch_id, claim in found.claims.items():
            by, until = claim
            if not (batch_id.isdecimal() and fits(str, by) and fits(int, until)):
                raise FormError(f"has a claim {shown(claim)} of batch {shown(batch_id)}; expected who and until when")
            claims[int(batch_id)] = (by, until)
        return cls(found.told, claims)

    def write(self, keys: Keys, watch: Watch) -> Command:
        return ("HSET", keys.told, watch.field, json.dumps({"told": self.told, "claims": self.claims}))

    def is_free(self, batch_id: int, now: int) -> bool:
        claim = self.claims.get(batch_id)
        return (self.told is None or batch_id > self.told) and (claim is None or claim[1] <= now)

    def done(self, batch_ids: Iterable[int]) -> None:
        """Leave batches behind: at once, or as soon as those before them are."""
        self.claims |= dict.fromkeys(batch_ids, ("", _FOR_EVER))
        for batch_id in sorted(self.claims):
            if self.claims[batch_id][1] != _FOR_EVER:
                break
            self.told = max(self.told or 0, batch_id)
            del self.claims[batch_id]


def cursor_position(keys: Keys, field: str, text: str) -> int | None:
    """Return the last batch that a watch is done with.

    :param field: of ``wf:told``.
    :raises StateError: if its cursor cannot be read.
    """
    return _Cursor.read(keys, field, text).told


def check_news(keys: Keys, watch: Watch) -> Asking:
    """Ask whether there may be something to tell; then the verdict is done."""
    (now, _), text, live, meta = yield _questions(keys, watch)
    cursor = _Cursor.read(keys, watch.field, text)
    is_news = cursor.told is None
    if not is_news:
        (ids,) = yield [_since(keys, cursor)]
        state = load_snapshot(keys, as_hash(live), meta, None)
        foreign = _foreign(state)
        still_open = state.live_id if state.is_open else None
        found = {load_id(keys.history, batch_id) for batch_id in ids}
        found |= {foreign.batch_id} if foreign is not None else set()
        is_news = any(batch_id != still_open and cursor.is_free(batch_id, int(now)) for batch_id in found)
    text = f"{keys.workflow}: there are {'' if is_news else 'no '}closed batches to look at"
    return Verdict(state="done" if is_news else "waiting", text=text)


def claim(backend: Backend, watch: Watch, by: str) -> list[Batch]:
    """Return the batches that `by` is to tell of now, oldest first; nobody else is given them meanwhile.

    At the first look there are none: what was closed before is no news.
    """
    keys = backend.keys(watch.workflow)

    def work(session: Session) -> tuple[list[Batch], Sequence[Command]]:
        _, (seconds, _), text, live, meta = session.ask(("WATCH", keys.told), *_questions(keys, watch))
        now, cursor = int(seconds), _Cursor.read(keys, watch.field, text)
        (ids,) = session.ask(_since(keys, cursor))
        state = load_snapshot(keys, as_hash(live), meta, None)
        free = [batch_id for each in ids if cursor.is_free(batch_id := load_id(keys.history, each), now)]
        found = [batch for batch in read_batches(session, keys, free) if not _is_open(batch)]
        foreign = _foreign(state)
        if foreign is not None and len(ids) < _AT_ONCE and cursor.is_free(foreign.batch_id, now):
            found = [*(batch for batch in found if batch.batch_id != foreign.batch_id), foreign]
        if cursor.told is None:
            cursor.told = max((batch.batch_id for batch in found), default=0)
            return [], [cursor.write(keys, watch)]
        if not found:
            return [], []
        wanted = sorted((batch for batch in found if watch.wants(batch)), key=lambda batch: batch.batch_id)
        cursor.claims |= {batch.batch_id: (by, now + CLAIM_SECONDS) for batch in wanted}
        cursor.done(batch.batch_id for batch in found if batch not in wanted)
        return [stored_batch(keys.workflow, batch) for batch in wanted], [cursor.write(keys, watch)]

    return backend.transact(keys, work)


def confirm(backend: Backend, watch: Watch, batch_ids: Sequence[int]) -> None:
    """Note that these batches have been told of."""
    keys = backend.keys(watch.workflow)

    def work(session: Session) -> tuple[None, Sequence[Command]]:
        _, text = session.ask(("WATCH", keys.told), ("HGET", keys.told, watch.field))
        cursor = _Cursor.read(keys, watch.field, text)
        cursor.done(batch_id for batch_id in batch_ids if cursor.told is None or batch_id > cursor.told)
        return None, [cursor.write(keys, watch)]

    backend.transact(keys, work)


def _questions(keys: Keys, watch: Watch) -> list[Command]:
    return [
        ("TIME",),
        ("HGET", keys.told, watch.field),
        ("HGETALL", keys.live),
        ("HMGET", keys.meta, *codec.META_FIELDS),
    ]


def _since(keys: Keys, cursor: _Cursor) -> Command:
    if cursor.told is None:
        return ("ZREVRANGE", keys.closed, 0, 0)
    # Not by their ends: where several are opened in a second, or by another clock, ids run ahead of the time.
    return ("ZRANGEBYSCORE", keys.history, f"({cursor.told}", "+inf", "LIMIT", 0, _AT_ONCE)


def _is_open(batch: StoredBatch) -> bool:
    """Tell whether a batch is still to be closed, and may be news then; one that is history only never is."""
    return batch.is_open and (batch.record is None or batch.record.kind == "live")


def _foreign(state: Snapshot) -> StoredBatch | None:
    """Return what the original server closed last, which is in no index yet."""
    record = state.live_record
    is_ours = record is not None and record.status != "open"
    if state.live_id is None or is_ours or state.status not in ("success", "failed"):
        return None
    return StoredBatch(state.live_id, state.jobs, record)
