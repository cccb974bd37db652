# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A server in which batches are closed at chosen times, for the tests of waits."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from redis import Redis

from batchy_provider.core.dates import day_of, format_date
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.state.keys import Keys
from batchy_provider.state.store import Store
from batchy_provider.state.wait_queries import ask

WF = "wf"
KEYS = Keys(WF)


class World:
    """A server, in which batches are closed at chosen times."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.store = Store(client)

    def open(
        self,
        *jobs: str,
        workflow: str = WF,
        disabled: tuple[str, ...] = (),
        crons: tuple[str, ...] = (),
        timezone: str = "UTC",
        **request: Any,
    ) -> int:
        config = WorkflowConfig(
            name=workflow,
            jobs={job: {} for job in jobs or ("a", "b")},
            disabled=frozenset(disabled),
            schedule=Schedule(crons=crons, timezone=timezone),
            timezone=timezone,
        )
        request = {"holder": Holder(by="test"), "config": config, **request}
        return self.store.open(workflow, OpenRequest(**request)).batch_id

    def close(self, batch_id: int | None = None, result: Result = "success", **outcomes: Any) -> None:
        self.store.close(WF, CloseRequest(result=result, batch_id=batch_id, outcomes=outcomes))

    def batch(self, *jobs: str, result: Result = "success", ended: datetime | None = None, **kwargs: Any) -> int:
        """Open and close a batch, and say that it ended at `ended` (naive UTC)."""
        batch_id = self.open(*jobs, **kwargs)
        self.close(batch_id, result)
        if ended is not None:
            self.ended(batch_id, ended)
        return batch_id

    def schedule(self, *crons: str, timezone: str = "UTC", **settings: Any) -> None:
        """Make the workflow known, with its schedule, as `batchy load` does."""
        jobs: dict[str, Any] = {job: dict(settings) for job in ("a", "b")}
        schedule = Schedule(crons=crons, timezone=timezone)
        self.store.load(WorkflowConfig(name=WF, jobs=jobs, schedule=schedule, timezone=timezone), by="test")

    def loads(self, start: str, end: str, *jobs: str, result: Result = "success") -> int:
        """Load an interval as a backfill does, with all jobs or some."""
        known = tuple(self.store.status(WF).jobs) if self.client.exists(KEYS.live) else ("a", "b")
        off = [job for job in known if jobs and job not in jobs]
        for job in off:
            self.store.disable(WF, job, by="test")
        window = Window(from_date=start, to_date=end)
        request = OpenRequest(holder=Holder(by="test"), window=window, backfill=True)
        if not self.client.exists(KEYS.live):
            request = replace(request, config=WorkflowConfig(name=WF, jobs={job: {} for job in known}))
        batch_id = self.store.open(WF, request).batch_id
        self.close(batch_id, result)
        for job in off:
            self.store.enable(WF, job, by="test")
        return batch_id

    def due(self, due: str, **wait: Any) -> Verdict:
        """Ask with scope ``due`` for a run that was due at a moment (UTC)."""
        return self.ask(scope="due", due=due, **wait)

    def ended(self, batch_id: int, at: datetime) -> None:
        for key in (KEYS.live, KEYS.batch(batch_id)):
            for name, text in self.client.hgetall(key).items():
                job = json.loads(text)
                if job.get("batch_id") == batch_id and job.get("status") in ("success", "failed"):
                    self.client.hset(key, name, json.dumps(job | {"batch_end": format_date(at)}))
        self.client.zadd(KEYS.closed, {str(batch_id): at.replace(tzinfo=timezone.utc).timestamp()}, xx=True)

    def write(self, **jobs: dict[str, Any]) -> None:
        """Write as another program."""
        self.client.hset(WF, mapping={name: json.dumps(job) for name, job in jobs.items()})

    def now(self) -> datetime:
        seconds, micros = self.client.time()
        return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None, microsecond=micros)

    def ask(self, **wait: Any) -> Verdict:
        wait = {"workflow": WF, **wait}
        if wait.get("scope", "today") == "today":
            wait.setdefault("day", day_of(self.now(), wait.get("timezone", "UTC")))
        return ask(self.store.backend, Wait(**wait))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text)
