# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive writer: the archive fails, hangs or is written by two processes, and a closing still succeeds."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
from archived import WORKFLOW, Site, fail_with, windows

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.archive.archiver import Archiver
from batchy_provider.core.values import Actor
from batchy_provider.exceptions import (
    LostStateError,
)

OPS = Actor("ops", "cli")


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), PermissionError(13, "Access Denied")])
def test_a_closing_succeeds_without_the_archive_and_the_next_one_catches_up(
    failing: Site, fault: Exception, tmp_path: Path
) -> None:
    first = failing.night()
    batch = failing.opened()
    fail_with(failing, fault)
    assert failing.closed(batch).status == "success"
    assert len(failing.warnings) == 1
    assert f"sales: the archive is not complete: the archive {(tmp_path / 'results').as_uri()}" in failing.warnings[0]
    assert str(fault) in failing.warnings[0]
    assert failing.store.status(WORKFLOW).batch.status == "success"
    fail_with(failing, None)
    assert failing.service.compare(WORKFLOW).relation == "archive behind"
    last = failing.night()
    assert failing.files.batch_ids(WORKFLOW) == [first.batch_id, batch.batch_id, last.batch_id]
    assert "pending" not in json.loads(failing.client.hget("sales:meta", "archive"))
    assert len(failing.warnings) == 1


def test_a_repeated_closing_writes_what_the_first_one_could_not(failing: Site) -> None:
    batch = failing.opened()
    fail_with(failing, OSError("gone"))
    failing.closed(batch)
    fail_with(failing, None)
    failing.closed(batch)
    assert failing.files.batch_ids(WORKFLOW) == [batch.batch_id]
    assert failing.service.compare(WORKFLOW).relation == "in step"


def test_a_store_that_hangs_delays_a_closing_by_at_most_the_time_limit(
    redis_client: redis.Redis, tmp_path: Path
) -> None:
    hanging = threading.Event()

    class Hanging(ArchiveFiles):
        def _write(self, workflow: str, name: str, data: Any) -> None:
            hanging.wait()
            super()._write(workflow, name, data)

    site = Site(redis_client, tmp_path)
    site.store.archive = Archiver(lambda: Hanging(str(tmp_path)), warn=site.warnings.append, seconds=0.2)
    try:
        assert site.night().status == "success"
        assert "has not answered for 0.2 seconds" in site.warnings[0]
    finally:
        hanging.set()


def test_a_slow_writer_does_not_leave_an_older_state(site: Site) -> None:
    """Two changes at the same time: the slower writer writes last, sees it, and writes the newer state again."""
    site.night()
    other = Site(site.client, "", files=site.files)

    class Slow:
        url = site.files.url
        is_first = True

        def __getattr__(self, name: str) -> Any:
            return getattr(site.files, name)

        def put_latest(self, state: Any) -> None:
            if self.is_first:
                self.is_first = False
                other.store.set_window(WORKFLOW, "2026-02-02", by="ops")
            site.files.put_latest(state)

    site.store.archive = Archiver(Slow, warn=site.warnings.append)
    site.store.set_window(WORKFLOW, "2026-01-01", by="ops")
    kept = site.files.latest(WORKFLOW)
    assert kept is not None
    assert kept.watermark == "2026-02-02T00:00:00.000000"
    assert site.service.compare(WORKFLOW).relation == "in step"


def test_a_writer_does_not_replace_a_newer_state_of_the_same_lineage(site: Site) -> None:
    site.night()
    other = Site(site.client, "", files=site.files)

    class Slow:
        url = site.files.url
        is_first = True

        def __getattr__(self, name: str) -> Any:
            return getattr(site.files, name)

        def latest(self, workflow: str) -> Any:
            if self.is_first:
                self.is_first = False
                other.store.set_window(WORKFLOW, "2026-02-02", by="ops")
            return site.files.latest(workflow)

    site.store.archive = Archiver(Slow, warn=site.warnings.append)
    site.store.set_window(WORKFLOW, "2026-01-01", jobs=["load"], by="ops")
    kept = site.files.latest(WORKFLOW)
    assert kept is not None
    assert kept.watermark == "2026-02-02T00:00:00.000000"
    assert site.warnings == []


def test_a_closing_that_redis_acknowledged_and_lost_is_in_the_archive(own_server: Any, tmp_path: Path) -> None:
    with own_server.client() as client:
        site = Site(client, tmp_path)

        class Dying:
            url = site.files.url

            def __getattr__(self, name: str) -> Any:
                return getattr(site.files, name)

            def latest(self, workflow: str) -> Any:
                own_server.kill()
                return site.files.latest(workflow)

        site.night()
        batch = site.opened()
        site.store.archive = Archiver(Dying, warn=site.warnings.append)
        assert site.closed(batch).status == "success"
        own_server.start()
        with pytest.raises(LostStateError, match=f"batch {batch.batch_id}, success"):
            Site(client, tmp_path).opened("next")
        assert site.service.restore(WORKFLOW, actor=OPS).batches == 2
        assert windows(Site(client, tmp_path).opened("next"))["extract"][0] == batch.record.to_date


def test_pruned_batches_leave_the_pending_list(failing: Site) -> None:
    failing.night()
    fail_with(failing, OSError("gone"))
    for _ in range(3):
        failing.night()
    failing.store.prune(WORKFLOW, keep=1)
    fail_with(failing, None)
    failing.night()
    assert len(failing.files.batch_ids(WORKFLOW)) == 3
    assert failing.service.compare(WORKFLOW).missing == ()
