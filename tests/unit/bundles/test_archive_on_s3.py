# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive on a server that speaks the S3 protocol, and on one that refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from upath import UPath

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.core.job_state import as_fields
from batchy_provider.core.values import Actor
from batchy_provider.exceptions import ArchiveError, ArchiveUnavailableError, LostStateError

sys.path.append(str(Path(__file__).parents[1] / "batches"))

from archived import WORKFLOW, Site


@pytest.fixture
def worker(s3: Callable[[str], Any], tmp_path: Path) -> Callable[[], ArchiveFiles]:
    """Each call is another worker, with a client of its own."""
    return lambda: ArchiveFiles(f"s3://site/{tmp_path.name}", s3)


@pytest.mark.slow
def test_what_workers_close_is_restored_by_another(
    redis_client: redis.Redis, worker: Callable[[], ArchiveFiles]
) -> None:
    one, two = Site(redis_client, "", files=worker()), Site(redis_client, "", files=worker())
    one.night(run="first")
    two.night(run="second")
    one.night("failed", run="third")
    assert (one.warnings, two.warnings) == ([], [])
    before = one.dump()
    redis_client.flushall()
    with pytest.raises(LostStateError, match="the archive s3://site/"):
        two.opened("fourth")
    third = Site(redis_client, "", files=worker())
    assert third.service.workflows() == [WORKFLOW]
    assert third.service.restore(WORKFLOW, actor=Actor("ops")).batches == 3
    assert third.dump() == before


def test_a_newer_state_is_read_whole_by_one_that_has_listed_the_older(
    redis_client: redis.Redis, worker: Callable[[], ArchiveFiles]
) -> None:
    site, files = Site(redis_client, "", files=worker()), worker()
    site.night()
    assert len(files.batch_ids(WORKFLOW)) == 1
    assert files.latest(WORKFLOW) is not None
    site.jobs["load"]["note"] = "x" * 5000
    batch = site.night()
    found = files.latest(WORKFLOW)
    assert found is not None
    assert as_fields(found.live) == batch.jobs
    assert len(files.batch_ids(WORKFLOW)) == 2


def test_pruned_batches_are_gone_from_the_bucket(redis_client: redis.Redis, worker: Callable[[], ArchiveFiles]) -> None:
    site = Site(redis_client, "", files=worker())
    for _ in range(3):
        site.night()
    site.store.prune(WORKFLOW, keep=1)
    assert site.service.prune(WORKFLOW) == 2
    assert len(worker().batch_ids(WORKFLOW)) == 1


@pytest.mark.slow
def test_a_server_that_refuses_costs_no_closing_and_is_caught_up(
    redis_client: redis.Redis, worker: Callable[[], ArchiveFiles]
) -> None:
    def refused(url: str) -> Any:
        # Nobody listens there, as while the store is away.
        options = {"key": "x", "secret": "x", "endpoint_url": "http://127.0.0.1:9", "skip_instance_cache": True}
        return UPath(url, **options, config_kwargs={"retries": {"max_attempts": 1}, "connect_timeout": 1})

    away = ArchiveFiles("s3://site/away", refused)
    with pytest.raises(ArchiveError, match=r"the archive s3://site/away/.archive cannot be used"):
        away.latest(WORKFLOW)
    site, cut = Site(redis_client, "", files=worker()), Site(redis_client, "", files=away)
    with pytest.raises(ArchiveUnavailableError):
        cut.opened()
    site.night()
    assert cut.night().status == "success"
    assert any("the archive is not complete" in text for text in cut.warnings)
    site.night()
    assert len(site.files.batch_ids(WORKFLOW)) == 3
