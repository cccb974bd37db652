# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A store with an archive in a folder, and what is in Redis, to compare before with after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.archive.archiver import Archiver
from batchy_provider.core.job_state import Fields
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.services.archive import ArchiveService
from batchy_provider.state.store import Store

WORKFLOW = "sales"


class Site:
    """One Redis and one result store, and the nights of one workflow.

    :param told: what people were told.
    """

    def __init__(self, client: redis.Redis, results: Path | str, *, files: ArchiveFiles | None = None) -> None:
        self.told: list[str] = []
        self.files = files or ArchiveFiles(str(results))
        self.client = client
        self.store = Store(client, archive=Archiver(lambda: self.files, tell=self.told.append, seconds=120))
        self.service = ArchiveService(self.store, self.files)
        self.jobs: dict[str, Fields] = {"extract": {"region": "eu"}, "load": {"reprocess_hours": 2}}

    def opened(self, run: str | None = None, **request: Any) -> Any:
        holder = Holder(dag_id=WORKFLOW, run_id=run) if run else Holder(by="ops")
        config = WorkflowConfig(name=WORKFLOW, jobs=self.jobs, timezone="Europe/Paris")
        return self.store.open(WORKFLOW, OpenRequest(holder=holder, config=config, **request))

    def closed(self, batch: Any, result: Result = "success") -> Any:
        return self.store.close(WORKFLOW, CloseRequest(result=result, batch_id=batch.batch_id))

    def night(self, result: Result = "success", run: str | None = None, **request: Any) -> Any:
        return self.closed(self.opened(run, **request), result)

    def dump(self) -> dict[str, Any]:
        return everything(self.client)


def everything(client: redis.Redis) -> dict[str, Any]:
    """All that is in Redis and that counts: not what people changed, nor what was asked for once."""
    found: dict[str, Any] = {}
    for raw in sorted(client.keys()):
        key = raw.decode()
        if key.endswith((":history", ":closed")):
            found[key] = client.zrange(raw, 0, -1, withscores=True)
            continue
        stored = {name.decode(): value.decode() for name, value in client.hgetall(raw).items()}
        if key.endswith(":meta"):
            stored.pop("changes", None)
        if key.endswith(":runs"):
            stored = {run: batch for run, batch in stored.items() if not run.startswith("request:")}
        if stored:
            found[key] = stored
    return found
