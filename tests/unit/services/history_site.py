# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Many workflows on one Redis, whose batches open and close at times of a night, for the tests of the history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.services.batch_history import HistoryAnswer, HistoryQuery
from batchy_provider.services.composition import Services
from batchy_provider.state.store import Store

NIGHT = datetime(2026, 11, 29)
JOBS: dict[str, Any] = {"extract": {}, "load": {}}


class Site:
    """Many workflows on one Redis, whose clock the test sets."""

    def __init__(self, client: redis.Redis, cfg: Path) -> None:
        self.now = NIGHT
        self.store = Store(client, clock=lambda seconds, micros: self.now)
        self.cfg = cfg
        self.archive: Callable[[], ArchiveFiles] | None = None

    @property
    def services(self) -> Services:
        return Services(store=lambda: self.store, cfg=self.cfg, archive=self.archive)

    def batch(
        self,
        workflow: str,
        opened: str,
        closed: str | None,
        *,
        failed: tuple[str, ...] = (),
        window: tuple[str, str] | None = None,
        run: str | None = None,
    ) -> int:
        """Open a batch at a time of the night, and close it at another one; None leaves it open."""
        self.now = at(opened)
        request = OpenRequest(
            holder=Holder(dag_id=workflow, run_id=run) if run else Holder(by="ann"),
            config=WorkflowConfig(name=workflow, jobs=JOBS),
            window=None if window is None else Window(from_date=window[0], to_date=window[1]),
            if_open="take_over",
        )
        batch_id = self.store.open(workflow, request).batch_id
        if closed is not None:
            self.close(workflow, batch_id, closed, failed=failed)
        return batch_id

    def close(self, workflow: str, batch_id: int, closed: str, *, failed: tuple[str, ...] = ()) -> None:
        self.now = at(closed)
        outcomes: dict[str, Any] = {job: "failed" if job in failed else "success" for job in JOBS}
        self.store.close(
            workflow,
            CloseRequest(result="failed" if failed else "success", batch_id=batch_id, outcomes=outcomes),
        )

    def find(
        self, limit: int = 50, below: str | None = None, only: set[str] | None = None, **given: Any
    ) -> HistoryAnswer:
        return self.services.history.find(HistoryQuery(**given), limit=limit, below=below, only=only)

    def ids(self, **given: Any) -> list[tuple[str, int]]:
        return [(each.workflow, each.batch_id) for each in self.find(**given).batches]


def at(text: str) -> datetime:
    """Return a time of the night, ``HH:MM`` or ``day HH:MM`` of November 2026."""
    day, _, time = text.rpartition(" ")
    hour, minute = map(int, time.split(":"))
    return NIGHT.replace(day=int(day) if day else 29) + timedelta(hours=hour, minutes=minute)
