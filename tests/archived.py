# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A store with an archive in a folder, ways to lose its Redis or its archive, and what is in Redis to compare."""

from __future__ import annotations

import time
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


class FailingFiles(ArchiveFiles):
    """An archive that a test can make fail, as a full disk or a withdrawn key would."""

    error: Exception | None = None

    def _path(self, workflow: str, name: str) -> Any:
        if self.error is not None:
            raise self.error
        return super()._path(workflow, name)


class Site:
    """One Redis and one result store, and the nights of one workflow.

    :param warnings: the warnings that people got.
    """

    def __init__(self, client: redis.Redis, results: Path | str, *, files: ArchiveFiles | None = None) -> None:
        self.warnings: list[str] = []
        self.files = files or ArchiveFiles(str(results))
        self.client = client
        self.store = Store(client, archive=Archiver(lambda: self.files, warn=self.warnings.append, seconds=120))
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
    """Return what is in Redis, without audit entries and request ids, which a restore does not bring back."""
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


def fail_with(site: Site, error: Exception | None) -> None:
    """Let every use of the archive's files fail; None ends that."""
    assert isinstance(site.files, FailingFiles)
    site.files.error = error


def snapshot(site: Site) -> dict[bytes, bytes]:
    """Return the keys of Redis, for `fall_back_to`."""
    return {key: site.client.dump(key) for key in site.client.scan_iter()}


def fall_back_to(site: Site, saved: dict[bytes, bytes]) -> None:
    """Let Redis come back with what `snapshot` returned, as a replica that lagged does."""
    site.client.flushall()
    for key, value in saved.items():
        site.client.restore(key, 0, value)


def windows(batch: Any) -> dict[str, tuple[str, str]]:
    """Return job → window of a batch."""
    return {name: (job["from_date"], job["batch_start"]) for name, job in batch.jobs.items()}


def pass_id_of(batch: Any) -> None:
    """Wait until the next batch cannot get the id of this batch, also if Redis does not know it any more."""
    while time.time() < batch.batch_id + 1:
        time.sleep(0.05)
