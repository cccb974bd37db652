# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A server that lives for long, people and programs that change everything beside it, and what both answer."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from loaded_nights import ANN
from state_worlds import Clock
from why_nights import write

from batchy_provider.core.dates import format_date, unix_seconds
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window
from batchy_provider.exceptions import BatchyError
from batchy_provider.services.composition import Services
from batchy_provider.services.transfer import FORMAT, VERSION
from batchy_provider.state.connections import open_client
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.store import Store

NAMES = ("crm", "sales", "erp", "mart", "one", "other")
MORE = ("old_crm", "new_sales")
"""Workflows without a file: those of a rename, and of programs."""
START = datetime(2026, 10, 23, 2, 0, 3)
"""Two nights before the clocks of Europe are set back."""


def write_files(cfg: Path) -> None:
    """Write the files of workflows that wait for each other in all ways, two of them in a circle."""
    write(cfg, "crm", schedule="0 2 * * *", timezone="Europe/Berlin", jobs=_jobs("extract", "load"))
    write(
        cfg,
        "sales",
        schedule="30 2 * * *",
        timezone="America/New_York",
        wait_for={"workflow": "crm", "scope": "due"},
        deadline={"closed_by": "01:00", "notify": "my.Pager"},
        jobs=_jobs("extract", "load", "report"),
    )
    write(cfg, "erp", schedule={"after": ["crm"]})
    write(cfg, "mart", schedule="0 */6 * * *", window={"until": {"workflows": ["crm"]}, "max": "12h"})
    write(cfg, "one", schedule="0 3 * * *", wait_for="other")
    write(cfg, "other", schedule="0 3 * * *", wait_for="one")


def _jobs(*names: str) -> dict[str, Any]:
    return {name: {"bash": "true"} for name in names}


class Site:
    """A server, and all that happens beside it.

    :param told: what has happened, in words.
    """

    def __init__(self, url: str, cfg: Path, seed: int) -> None:
        self.url, self.cfg = url, cfg
        self.random = random.Random(seed)
        self.clock = Clock()
        self.clock.now = START
        write_files(cfg)
        self.admin = redis.Redis.from_url(url)
        self.others = self.services()
        self.server = self.services(is_server=True)
        # No plan is made again only since some seconds have passed: each must follow an event.
        plan, names = self.server.plan._cache, self.server.names
        plan._max_seconds = float("inf")
        take, self.mark = plan._take, ""

        def take_or_mark(event: Any) -> None:
            if not str(event.get("workflow")).startswith("mark_"):
                self.heard += 1
                take(event)
            else:
                self.mark = event["workflow"]

        plan._take = take_or_mark
        add = names.add
        names.add = lambda name: None if name.startswith("mark_") else add(name)  # type: ignore[method-assign]  # a spy
        self.told: list[str] = []
        self.dump: dict[bytes, bytes] = {}
        self.document: Any = None
        self.is_foreign = False
        self.heard = 0

    def services(self, *, is_server: bool = False) -> Services:
        """Return services in a process of their own, so to say."""
        return Services(
            store=lambda: Store(open_client(self.url), clock=self.clock.read), cfg=self.cfg, is_server=is_server
        )

    def close(self) -> None:
        for services in (self.server, self.others):
            services.close()
        self.admin.close()

    # -- what happens ----------------------------------------------------------------------------------------

    def name(self) -> str:
        return self.random.choice((*NAMES, *NAMES, *MORE))

    def step(self) -> None:
        """Let something happen."""
        action = self.random.choice(ACTIONS)
        self.clock.now += timedelta(seconds=self.random.choice((1, 1, 60, 3600)))
        self.is_foreign, self.heard = False, 0
        try:
            found = action(self)
        except BatchyError as error:
            found = f"refused: {str(error)[:80]}"
        self.told.append(f"{self.clock.now:%d %H:%M:%S} {action.__name__} {found}")

    def open_run(self) -> Any:
        name = self.random.choice(NAMES)
        due = self.clock.now.replace(minute=0, second=0) - timedelta(hours=self.random.randrange(3))
        run = f"r{self.random.randrange(12)}" if self.random.random() < 0.3 else f"{due:%d-%H}"
        how: Any = self.random.choice(({}, {}, {}, {"backfill": True}, {"if_open": "take_over"}))
        if how.get("backfill"):
            start = due - timedelta(days=self.random.randrange(1, 6))
            how = {
                **how,
                "window": Window(from_date=format_date(start), to_date=format_date(start + timedelta(days=1))),
            }
        config = self.others.workflows.config(name)
        request = OpenRequest(config=config, holder=Holder(dag_id=name, run_id=run), due=format_date(due), **how)
        return name, self.others.store.open(name, request).batch_id, request

    def open_by_hand(self) -> Any:
        name = self.name()
        start = self.clock.now - timedelta(days=self.random.randrange(1, 9))
        dates = {"from_date": format_date(start), "to_date": format_date(start + timedelta(hours=7))}
        more: Any = self.random.choice(({}, dates, {**dates, "move_watermark": True}, {"lease_seconds": 60.0}))
        return name, self.others.batches.open(name, actor=ANN, **more).batch_id, more

    def close_one(self) -> Any:
        names = [*NAMES, *MORE]
        self.random.shuffle(names)
        for name in names:
            ids = self.others.store.batch_ids(name, limit=30) if self.admin.exists(name) else []
            for batch_id in ids:
                batch = self.others.store.batch(name, batch_id)
                if batch.status == "open":
                    result = self.random.choice(("success", "success", "failed"))
                    outcomes = {job: self.random.choice(("success", "skipped", "failed")) for job in batch.jobs}
                    outcomes = outcomes if result == "failed" else {}
                    request = CloseRequest(result=result, batch_id=batch_id, outcomes=outcomes)
                    self.others.store.close(name, request)
                    return name, batch_id, result
        return "none"

    def night(self) -> Any:
        name = self.name()
        batch = self.others.batches.open(name, actor=ANN)
        self.clock.now += timedelta(minutes=self.random.randrange(1, 90))
        result = self.random.choice(("success", "success", "success", "failed"))
        self.others.batches.close(name, result=result, actor=ANN, batch_id=batch.batch_id)
        return name, batch.batch_id, result

    def nights(self) -> Any:
        name = self.random.choice(NAMES)
        for _ in range(7):
            self.clock.now += timedelta(hours=23)
            batch = self.others.batches.open(name, actor=ANN)
            self.clock.now += timedelta(minutes=self.random.randrange(50, 70))
            self.others.batches.close(name, result="success", actor=ANN, batch_id=batch.batch_id)
        return name

    def hold(self) -> Any:
        name = self.name()
        until = self.random.choice((None, format_date(self.clock.now + timedelta(hours=2))))
        self.others.holds.hold(name, actor=ANN, why="the source is late", until=until)
        return name, until

    def release(self) -> Any:
        name = self.name()
        self.others.holds.release(name, actor=ANN)
        return name

    def annotate(self) -> Any:
        name = self.name()
        ids = self.others.store.batch_ids(name, limit=3)
        batch_id = self.random.choice(ids) if ids else 1
        act = self.random.choice((self.others.holds.note, self.others.holds.acknowledge))
        act(name, batch_id, "known", actor=ANN)
        return name, batch_id

    def switch(self) -> Any:
        name = self.name()
        job = self.random.choice(("extract", "load", "report"))
        enabled = self.random.random() < 0.5
        return name, job, self.others.workflows.switch(name, job, enabled=enabled, actor=ANN)

    def set_window(self) -> Any:
        name = self.name()
        start = format_date(self.clock.now - timedelta(days=self.random.randrange(1, 9)))
        self.others.workflows.set_window(name, start, actor=ANN)
        return name, start

    def load(self) -> Any:
        name = self.random.choice(NAMES)
        self.others.workflows.load(name, actor=ANN)
        return name

    def report(self) -> Any:
        name = self.name()
        state = self.others.store.status(name)
        batch_id = state.batch.batch_id if state.batch else 1
        job = self.random.choice([*state.jobs])
        self.others.store.set_progress(name, job, {"batch_id": batch_id, "progress": self.random.random()})
        self.is_foreign = True  # it publishes nothing
        return name, job

    def skip_job(self) -> Any:
        name = self.name()
        state = self.others.store.status(name)
        if state.batch is None or state.batch.status != "open":
            return "none"
        job = self.random.choice([*state.jobs])
        self.is_foreign = True
        return name, job, self.others.store.skip_job(name, state.batch.batch_id, job)

    def prune(self) -> Any:
        name = self.name()
        keep = self.random.choice((1, 4))
        self.is_foreign = True
        self.server.plan._inputs.expire()  # fewer batches say how often it fails
        return name, keep, self.others.store.prune(name, keep=keep, keep_days=1)

    def rename(self) -> Any:
        old, new = self.random.sample([*NAMES, *MORE], 2)
        self.others.renaming.rename(old, new, actor=ANN)
        return old, new

    def remove(self) -> Any:
        name = self.name()
        self.others.removal.remove(name, actor=ANN, force=True)
        return name

    def export(self) -> Any:
        name = self.name()
        found = self.others.transfer.export(name, actor=ANN, history=True)
        at = format_date(self.clock.now)
        document = {"format": FORMAT, "version": VERSION, "exported_at": at, "workflows": [found]}
        self.document = json.loads(json.dumps(document))
        return name

    def import_(self) -> Any:
        if self.document is None:
            return "none"
        found = self.others.transfer.import_document(self.document, actor=ANN, replace=True)
        return [each.workflow for each in found]

    def original(self) -> Any:
        """The original server opens and closes a batch, one job after another."""
        self.is_foreign = True
        name = self.name()
        live = {job.decode(): json.loads(text) for job, text in self.admin.hgetall(name).items()}
        if not live:
            live = {"extract": {"status": "new"}, "load": {"status": "new"}}
        batch_id = int(unix_seconds(self.clock.now))
        is_open = any(job.get("status") == "open" for job in live.values())
        if is_open:
            batch_id = next(job["batch_id"] for job in live.values() if job.get("status") == "open")
            some = [*live][: self.random.choice((1, 9))]
            status = self.random.choice(("success", "success", "failure"))
            for job in some:
                live[job] |= {"status": status, "batch_end": self.clock.now.isoformat()}
        else:
            for job in live.values():
                start = job.get("batch_start") or "2026-10-01T00:00:00"
                job |= {"from_date": start, "batch_id": batch_id, "status": "open", "batch_end": None}
                job["batch_start"] = self.clock.now.isoformat()
        for job, fields in live.items():
            self.admin.hset(name, job, json.dumps(fields))
            self.admin.hset(f"{name}-{batch_id}", job, json.dumps(fields))
        return name, batch_id, {job: fields["status"] for job, fields in live.items()}

    def keep_a_dump(self) -> Any:
        self.dump = {key: self.admin.dump(key) for key in self.admin.scan_iter()}
        return len(self.dump)

    def restore_the_dump(self) -> Any:
        """Put an older state in the place of this one, as a person who restores a backup."""
        self.is_foreign = True
        if not self.dump:
            return "none"
        pipe = self.admin.pipeline()
        pipe.flushdb()
        for key, value in self.dump.items():
            pipe.restore(key, 0, value)
        pipe.execute()
        return len(self.dump)

    def swap(self) -> Any:
        self.is_foreign = True
        self.admin.swapdb(0, 1)
        return ""

    def flush(self) -> Any:
        self.is_foreign = True
        self.admin.flushdb()
        return ""

    def edit_file(self) -> Any:
        name = self.random.choice(NAMES)
        path = self.cfg / f"{name}.yaml"
        what = self.random.randrange(4)
        if what == 0:
            write(
                self.cfg,
                name,
                schedule="15 */4 * * *",
                deadline={"closed_by": "05:00", "notify": "my.Pager"},
                jobs=_jobs("extract", "new"),
            )
        elif what == 1:
            path.write_text("schedule: [\n")
        elif what == 2:
            path.unlink(missing_ok=True)
        else:
            write_files(self.cfg)
        return name, what

    def wait_long(self) -> Any:
        hours = self.random.choice((3, 9, 24))
        self.clock.now += timedelta(hours=hours)
        return hours

    # -- what is answered ------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Wait until the server has heard all events."""
        mark = f"mark_{len(self.told)}"
        end = time.monotonic() + 10
        while self.mark != mark and time.monotonic() < end:
            self.admin.publish(EVENTS_CHANNEL, json.dumps({"workflow": mark, "event": "note"}))
            time.sleep(0.002)
        assert self.mark == mark

    def settle(self) -> None:
        """Let so much time pass for the server that it learns what no event tells."""
        if self.is_foreign:
            self.server.names.expire()
        self.server.metrics._expected_ends._known = None
        if self.is_foreign or not self.heard:
            self.server.plan._cache._plans.clear()


ACTIONS: tuple[Callable[[Site], Any], ...] = (
    *[Site.open_run] * 5,
    *[Site.close_one] * 6,
    *[Site.night] * 4,
    *[Site.nights] * 2,
    Site.open_by_hand,
    Site.open_by_hand,
    Site.hold,
    Site.release,
    Site.annotate,
    Site.annotate,
    Site.switch,
    Site.set_window,
    Site.load,
    Site.report,
    Site.skip_job,
    Site.prune,
    Site.rename,
    Site.remove,
    Site.export,
    Site.import_,
    *[Site.original] * 3,
    Site.keep_a_dump,
    Site.restore_the_dump,
    Site.swap,
    Site.flush,
    Site.edit_file,
    Site.edit_file,
    *[Site.wait_long] * 2,
)
