# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Waits for today on a workflow that catches up in slices: it has not succeeded before its last slice has."""

from __future__ import annotations

from datetime import timedelta

import pytest
from redis import Redis
from waiting_world import WF, World

from batchy_provider.core.dates import format_date
from batchy_provider.core.values import Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.window_shape import WindowShape


@pytest.fixture
def world(any_redis_client: Redis) -> World:
    return World(any_redis_client)


def slice_of(world: World, hours: int) -> int:
    """Open and close a slice of three days, of a workflow whose data begins `hours` ago."""
    begin = format_date(world.now() - timedelta(hours=hours))
    jobs = {job: {"initial_date": begin} for job in ("a", "b")}
    config = WorkflowConfig(name=WF, jobs=jobs, window=WindowShape(max=timedelta(hours=24)))
    batch_id = world.store.open(WF, OpenRequest(holder=Holder(by="test"), config=config)).batch_id
    world.close(batch_id)
    return batch_id


def test_a_slice_after_which_more_follow_does_not_count(world: World) -> None:
    slice_of(world, 60)
    verdict = world.ask()
    assert (verdict.state, verdict.code) == ("waiting", VerdictCode.SLICES_LEFT)
    assert "more slices follow" in verdict.text
    slice_of(world, 60)
    assert world.ask().state == "waiting"
    last = slice_of(world, 60)
    verdict = world.ask()
    assert (verdict.state, verdict.batch_id) == ("done", last)


def test_nor_does_it_count_while_the_next_one_runs_or_after_that_has_failed(world: World) -> None:
    slice_of(world, 40)
    batch_id = world.store.open(WF, OpenRequest(holder=Holder(by="test"))).batch_id
    assert world.ask().code is VerdictCode.BATCH_OPEN
    world.close(batch_id, "failed")
    assert world.ask().code is VerdictCode.BATCH_FAILED


@pytest.mark.parametrize("scope", [{"scope": "any"}, {"scope": "within", "within_seconds": 3600}])
def test_scopes_that_ask_for_any_success_take_a_slice(world: World, scope: dict[str, object]) -> None:
    slice_of(world, 60)
    assert world.ask(**scope).state == "done"
