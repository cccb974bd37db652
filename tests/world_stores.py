# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Where a workflow of the tests has its state: plain data, on which the rules run alone, or a real server."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.ledger import Ledger, posted
from batchy_provider.core.snapshot import Change, Snapshot, StoredBatch
from batchy_provider.core.values import Batch
from batchy_provider.state import codec
from batchy_provider.state.holder_codec import load_lease
from batchy_provider.state.store import Store

WORKFLOW = "sales"


class Clock:
    """The server's clock, as the test sets it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 18, 39, 48, 123456)

    def read(self, seconds: int, microseconds: int = 0) -> datetime:
        """Stand in for `dates.from_unix`, which makes a date of the reply to TIME."""
        return self.now


class PureStore(Store):
    """The store's methods on plain data: snapshots are made from it, and what rules decide is put into it."""

    def __init__(self, clock: Clock) -> None:
        self.archive = None
        self.clock = clock
        self.live: dict[str, str] = {}
        self.batches: dict[int, dict[str, str]] = {}
        self.meta: dict[str, str] = {}
        self.runs: dict[str, int] = {}
        self.closed: dict[int, float] = {}
        self.loaded: Ledger = {}
        self.ids: set[int] = set()
        self.events: list[dict[str, Any]] = []

    def snapshot(self, run: str | None = None, batch_id: int | None = None, earlier: str | None = None) -> Snapshot:
        meta = self.meta.get
        config = codec.load_config("meta", meta(codec.CONFIG))
        state = Snapshot(
            workflow=WORKFLOW,
            jobs=codec.load_jobs("live", self.live, config.order),
            config=config,
            disabled=codec.load_disabled("meta", meta(codec.DISABLED)),
            owner=codec.load_owner("meta", meta(codec.OWNER)),
            last_success=codec.load_last_success("meta", meta(codec.LAST_SUCCESS)),
            last_id=max(self.ids, default=0),
            ledger=self.loaded,
            lease=load_lease("meta", meta(codec.LEASE)),
            hold=codec.load_hold("meta", meta(codec.HOLD)),
            free_id=self._free_id(),
        )
        if state.overtaken_id is not None:
            state = replace(state, overtaken=self._stored(state.overtaken_id))
        for each in (earlier, run):
            batch_id = self.runs.get(each, batch_id) if each is not None else batch_id
        return state if batch_id is None else replace(state, own=self._stored(batch_id))

    def _free_id(self) -> int:
        free = int(unix_seconds(self.clock.now)) - 1
        while free in self.ids or free in self.batches:
            free -= 1
        return free

    def _stored(self, batch_id: int) -> StoredBatch:
        record = codec.load_record("meta", batch_id, self.meta.get(codec.record_field(batch_id)))
        return StoredBatch(batch_id, codec.load_jobs("batch", self.batches.get(batch_id, {})), record)

    def _change(
        self, workflow: str, rule: Any, *, run: Any = None, batch_id: Any = None, earlier_run: Any = None, **_: Any
    ) -> Any:
        decision = rule(self.snapshot(run, batch_id, earlier_run), self.clock.now)
        if decision.change is not None:
            self._apply(decision.change)
        return decision.result

    def _apply(self, change: Change) -> None:
        if change.live is not None:
            self.live = {name: codec.dump_job(job) for name, job in change.live.items()}
        for batch_id, jobs in change.batches.items():
            self.batches.setdefault(batch_id, {}).update({name: codec.dump_job(job) for name, job in jobs.items()})
        for name, value in codec.dump_meta(change).items():
            if value is None:
                self.meta.pop(name, None)
            else:
                self.meta[name] = json.dumps(value)
        self.runs |= change.runs
        self.closed |= change.closed
        self.loaded = posted(self.loaded, change.entries)
        self.ids |= set(change.history)
        if change.event is not None:
            self.events.append(change.event)

    def status(self, workflow: str) -> Any:
        from batchy_provider.core.presenters import workflow_state

        return workflow_state(self.snapshot(), self.clock.now)

    def batch(self, workflow: str, batch_id: int) -> Batch:
        from batchy_provider.core.presenters import stored_batch

        return stored_batch(workflow, self._stored(batch_id))

    # -- what the original server sees and writes -----------------------------------------------------------

    def raw_live(self) -> dict[str, str]:
        return dict(self.live)

    def raw_write(self, job: str, text: str, batch_id: int | None) -> None:
        self.live[job] = text
        if batch_id is not None:
            self.batches.setdefault(batch_id, {})[job] = text

    def raw_clear(self) -> None:
        self.live.clear()

    def ledger(self) -> Ledger:
        return self.loaded

    def raw_closed(self) -> dict[int, float]:
        return dict(self.closed)


class RealStore(Store):
    """The store on a real server, with the bare looks at Redis that tests take."""

    def raw_live(self) -> dict[str, str]:
        return _text(self.backend.client.hgetall(self.backend.keys(WORKFLOW).live))

    def raw_write(self, job: str, text: str, batch_id: int | None) -> None:
        self.backend.client.hset(self.backend.keys(WORKFLOW).live, job, text)
        if batch_id is not None:
            self.backend.client.hset(self.backend.keys(WORKFLOW).batch(batch_id), job, text)

    def raw_clear(self) -> None:
        self.backend.client.delete(self.backend.keys(WORKFLOW).live)

    def ledger(self) -> Ledger:
        loaded = self.backend.keys(WORKFLOW).loaded
        return codec.load_ledger(loaded, _text(self.backend.client.hgetall(loaded)))

    def raw_closed(self) -> dict[int, float]:
        found = self.backend.client.zrange(self.backend.keys(WORKFLOW).closed, 0, -1, withscores=True)
        return {int(member): score for member, score in found}


def _text(stored: dict[bytes, bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in stored.items()}
