# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A workflow of the tests: its events in a few words, with a clock that the test sets.

The same events run on plain data (`PureStore`: the rules alone) and on real servers (`Store`).
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from world_stores import WORKFLOW as WORKFLOW
from world_stores import Clock as Clock
from world_stores import PureStore as PureStore
from world_stores import RealStore as RealStore

from batchy_provider.core.dates import from_unix, parse_date, unix_seconds
from batchy_provider.core.job_state import Fields
from batchy_provider.core.ledger import Ledger
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import Batch, CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.core.window_shape import WindowShape

FIRST = "1776-07-04T23:59:00.000000"


def spans(ledger: Ledger, job: str = "extract") -> list[tuple[str, str]]:
    """What a job has loaded, to the minute."""
    return [(f"{each.start:%Y-%m-%dT%H:%M}", f"{each.end:%Y-%m-%dT%H:%M}") for each in ledger.get(job, ())]


class World:
    """One workflow and the people, runs and programs that open and close its batches.

    :param jobs: what its configuration says of each job.
    """

    def __init__(self, store: PureStore | RealStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.jobs: dict[str, Fields] = {"extract": {}}
        self.timezone = "UTC"
        self.off_in_file: frozenset[str] = frozenset()
        self.crons: list[str] = []
        self.shape: WindowShape | None = None

    # -- what happens -----------------------------------------------------------------------------------------

    def at(self, moment: str) -> World:
        """Set the clock."""
        self.clock.now = parse_date(moment)
        return self

    def after(self, **duration: float) -> World:
        """Let time pass; a negative duration is a clock that was set back."""
        self.clock.now += timedelta(**duration)
        return self

    @property
    def config(self) -> WorkflowConfig:
        return WorkflowConfig(
            name=WORKFLOW,
            jobs=self.jobs,
            timezone=self.timezone,
            disabled=self.off_in_file,
            schedule=Schedule(crons=tuple(self.crons), timezone=self.timezone),
            window=self.shape,
        )

    def open(self, run: str | None = "first night", *, known: bool = True, **request: Any) -> Batch:
        """Open as an Airflow run, or (None) as somebody who is no run.

        :param known: bring the configuration; without, what Redis knows is opened.
        :param window: (from_date, to_date) that is asked for.
        """
        holder = Holder(dag_id=WORKFLOW, run_id=run) if run is not None else Holder(by="ops")
        if "window" in request:
            start, end = request["window"]
            request["window"] = Window(from_date=start, to_date=end)
        wish = {"holder": holder, "config": self.config if known else None, **request}
        return self.store.open(WORKFLOW, OpenRequest(**wish))

    def close(self, result: str = "success", batch: Batch | int | None = None, **outcomes: str) -> Batch:
        """Close the open batch, or the one given."""
        batch_id = batch.batch_id if isinstance(batch, Batch) else batch
        request: Any = CloseRequest(result=result, batch_id=batch_id, outcomes=outcomes)
        return self.store.close(WORKFLOW, request)

    def night(self, moment: str, run: str | None = None, result: str = "success", **request: Any) -> Batch:
        """Open at that moment, and close an hour later."""
        self.at(moment)
        batch = self.open(run or moment, **request)
        self.after(hours=1)
        return self.close(result, batch)

    # -- what is there ----------------------------------------------------------------------------------------

    def live(self, job: str = "extract") -> Fields:
        """Return the job's fields as the live hash holds them."""
        fields: Fields = json.loads(self.store.raw_live()[job])
        return fields

    def state(self) -> dict[str, str]:
        """Return the live hash whole, to see that nothing changed it."""
        return self.store.raw_live()


class Original:
    """The original Batchy server, as was observed of it: what it writes, and what it does wrong."""

    def __init__(self, world: World) -> None:
        self.world = world

    def open(self) -> int:
        """Open as it does; returns the batch id."""
        now = self.world.clock.now
        batch_id = int(unix_seconds(now))
        start = now  # a job without a success takes over what was found for the one before it: what failed is lost
        for name, text in self.world.store.raw_live().items():
            job = json.loads(text)
            if job.get("status") == "success":
                start = datetime.strptime(str(job.get("batch_start")), "%Y-%m-%dT%H:%M:%S.%f")
                start -= timedelta(hours=job.get("reprocess_hours", 0))
            if job.get("from_date") is None:
                start = datetime(1776, 7, 4, 23, 59)
            if job.get("trunc_start") is True:
                start = start.replace(hour=0, minute=0, second=0, microsecond=0)
            job["from_date"] = start.isoformat()
            job |= {"batch_id": batch_id, "status": "open", "batch_start": now.isoformat(), "batch_end": None}
            self.world.store.raw_write(name, json.dumps(job), batch_id)
        return batch_id

    def close(self, status: str = "success", only: str | None = None) -> None:
        """Close as it does, one job after another; `only`: it is killed after that one."""
        for name, text in self.world.store.raw_live().items():
            job = json.loads(text) | {"status": status, "batch_end": self.world.clock.now.isoformat()}
            self.world.store.raw_write(name, json.dumps(job), job.get("batch_id"))
            if name == only:
                return

    def load(self, jobs: dict[str, Fields]) -> None:
        """Load a configuration as its ``load_cfg``."""
        self.world.store.raw_clear()
        for name, job in jobs.items():
            self.world.store.raw_write(name, json.dumps(job | {"status": "new"}), None)

    def night(self, moment: str, status: str = "success") -> int:
        """Open at that moment, and close an hour later."""
        self.world.at(moment)
        batch_id = self.open()
        self.world.after(hours=1)
        self.close(status)
        return batch_id

    def waits_on(self) -> bool:
        """Tell whether its ``waitsy.py`` would go on waiting: it compares the first ten characters of ``batch_end``."""
        today = self.world.clock.now.date().isoformat()
        jobs = [json.loads(text) for text in self.world.store.raw_live().values()]
        return any(job.get("status") != "success" or str(job.get("batch_end"))[:10] != today for job in jobs)


def window(batch: Batch, job: str = "extract") -> tuple[str, str]:
    """Return a job's window as it is stored, zeros at the end cut for reading."""
    fields = batch.jobs[job]
    return short(fields["from_date"]), short(fields["to_date"])


def short(date: str) -> str:
    """Return ``2026-01-02T02:00`` for ``2026-01-02T02:00:00.000000``."""
    return date.removesuffix(".000000").removesuffix(":00")


def from_time(reply: tuple[int, int]) -> datetime:
    """Return what the server's TIME says."""
    return from_unix(*reply)
