# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A state in Redis and an archived state of which neither came from the other, and how a person ends the conflict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from archived import WORKFLOW, Site, fail_with, fall_back_to, pass_id_of, snapshot, windows

from batchy_provider.core.revision import MAX_TOKENS
from batchy_provider.core.values import Actor, CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import (
    LostStateError,
    NotOpenError,
)
from batchy_provider.state.store import Store

OPS = Actor("ops", "cli")


def test_two_databases_are_in_conflict_after_any_number_of_changes(
    redis_client: redis.Redis, tmp_path: Path, own_server: Any
) -> None:
    far = Site(redis_client, tmp_path / "a")
    far.night()
    for number in range(MAX_TOKENS + 1):
        far.store.set_window(WORKFLOW, f"2026-01-01T00:{number:02}", by="ops")
    with own_server.client() as client:
        near = Site(client, tmp_path / "b")
        near.night()
        assert Site(client, "", files=far.files).service.compare(WORKFLOW).relation == "conflict"
        assert Site(redis_client, "", files=near.files).service.compare(WORKFLOW).relation == "conflict"


def test_a_second_database_on_the_same_result_store_opens_no_batch(
    redis_client: redis.Redis, tmp_path: Path, own_server: Any
) -> None:
    Site(redis_client, tmp_path).night()
    with own_server.client() as client:
        other = Site(client, tmp_path)
        with pytest.raises(LostStateError) as refused:
            other.opened()
        assert "was written from another Redis" in str(refused.value)
        assert "Two Redis databases need two result stores" in str(refused.value)


def test_a_conflict_overwrites_neither_side(site: Site) -> None:
    site.night()
    site.client.flushall()
    plain = Store(site.client)
    config = WorkflowConfig(name=WORKFLOW, jobs=site.jobs)
    batch = plain.open(WORKFLOW, OpenRequest(config=config))
    kept = site.files.latest(WORKFLOW)
    with pytest.raises(LostStateError, match="continued without it"):
        site.opened("next", if_open="take_over")
    site.closed(batch)
    assert "It was not overwritten" in site.warnings[-1]
    assert site.files.latest(WORKFLOW) == kept
    before = site.dump()
    refused = site.service.restore(WORKFLOW, actor=OPS).refused
    assert refused is not None
    assert "--overwrite" in refused
    assert site.dump() == before
    assert site.service.write(WORKFLOW).refused is not None
    assert site.files.latest(WORKFLOW) == kept


def test_a_conflict_ends_by_restoring_the_archived_state(site: Site) -> None:
    first = site.night()
    site.client.flushall()
    pass_id_of(first)
    batch = Store(site.client).open(WORKFLOW, OpenRequest(config=WorkflowConfig(name=WORKFLOW, jobs=site.jobs)))
    done = site.service.restore(WORKFLOW, actor=OPS, overwrite=True)
    assert (done.state, done.batches, done.was) == (True, 1, "conflict")
    with pytest.raises(NotOpenError):
        site.closed(batch)
    assert windows(site.night())["extract"][0] == first.record.to_date
    assert batch.batch_id in site.files.batch_ids(WORKFLOW)


def test_a_conflict_ends_by_archiving_the_state_in_redis(site: Site) -> None:
    site.night()
    site.client.flushall()
    plain = Store(site.client)
    batch = plain.open(WORKFLOW, OpenRequest(config=WorkflowConfig(name=WORKFLOW, jobs=site.jobs)))
    plain.close(WORKFLOW, CloseRequest(result="success", batch_id=batch.batch_id))
    assert site.service.write(WORKFLOW, overwrite=True).state
    assert site.service.compare(WORKFLOW).relation == "in step"
    assert windows(site.opened())["extract"][0] == batch.record.to_date


def test_an_open_batch_on_an_older_state_refuses_the_restore(failing: Site) -> None:
    failing.night()
    saved = snapshot(failing)
    pass_id_of(failing.night())
    fall_back_to(failing, saved)
    fail_with(failing, OSError("gone"))
    running = failing.opened("running")
    assert "cannot be read to see whether Redis has lost something" in failing.warnings[-1]
    fail_with(failing, None)
    refused = failing.service.restore(WORKFLOW, actor=OPS).refused
    assert refused is not None
    assert f"batch {running.batch_id} is open, by run 'running'" in refused
    failing.service.restore(WORKFLOW, actor=OPS, overwrite=True)
    assert failing.service.compare(WORKFLOW).relation == "in step"
    assert failing.store.batch(WORKFLOW, running.batch_id).status == "failed"
