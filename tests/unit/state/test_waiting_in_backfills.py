# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When a wait of a backfill is over, on a real server: by the days that are loaded."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from waiting_world import KEYS, WF, World

from batchy_provider.core.dates import day_of
from batchy_provider.core.values import Window
from batchy_provider.core.vocabulary import Result, VerdictCode
from batchy_provider.exceptions import StateError


@pytest.fixture
def world(any_redis_client: Redis) -> World:
    return World(any_redis_client)


@pytest.fixture
def at_rest(redis_client: Redis) -> World:
    """The same, for what differs in no kind of server."""
    return World(redis_client)


class TestBackfill:
    def backfilled(self, world: World, day: str, result: Result = "success", **kwargs: Any) -> int:
        start = datetime.fromisoformat(day) + timedelta(hours=2)
        window = Window(from_date=start - timedelta(days=1), to_date=start)
        batch_id = world.open(backfill=True, window=window, **kwargs)
        world.close(batch_id, result)
        return batch_id

    def test_waits_for_the_data_of_the_day(self, world: World) -> None:
        self.backfilled(world, "2026-01-04")
        verdict = world.ask(day="2026-01-05", backfill=True, jobs=["a"])
        assert (verdict.state, verdict.code) == ("waiting", VerdictCode.DAY_NOT_LOADED)
        assert verdict.text == (
            "wf: waits for 2026-01-05 00:00 to 2026-01-06 00:00 UTC, the data of 2026-01-05; "
            "job a: nothing loaded, 1d missing"
        )
        self.backfilled(world, "2026-01-05", "failed")
        assert world.ask(day="2026-01-05", backfill=True).state == "waiting"
        batch_id = self.backfilled(world, "2026-01-05")
        verdict = world.ask(day="2026-01-05", backfill=True)
        assert (verdict.state, verdict.code, verdict.batch_id) == ("done", VerdictCode.DAY_LOADED, batch_id)

    def test_of_a_workflow_that_has_no_live_batch(self, world: World) -> None:
        batch_id = self.backfilled(world, "2026-01-05")
        assert world.ask(day="2026-01-05", backfill=True).batch_id == batch_id

    def test_a_live_batch_of_that_day_will_do(self, world: World) -> None:
        batch_id = world.batch()
        assert world.ask(day=day_of(world.now(), "UTC"), backfill=True).batch_id == batch_id

    def test_what_the_original_closed_on_that_day_will_do(self, world: World) -> None:
        world.write(
            a={
                "status": "success",
                "batch_id": 5,
                "from_date": "2026-01-04T23:10",
                "batch_start": "2026-01-05T23:10:00.1",
            }
        )
        assert world.ask(day="2026-01-05", backfill=True).batch_id == 5
        assert world.ask(day="2026-01-04", backfill=True).state == "waiting"

    def test_pruned_it_is_still_known(self, world: World) -> None:
        for day in range(5, 9):
            self.backfilled(world, f"2026-01-0{day}")
        world.store.prune(WF, keep=1)
        for jobs in ((), ("a",)):
            verdict = world.ask(day="2026-01-05", backfill=True, jobs=jobs)
            assert (verdict.state, verdict.batch_id) == ("done", None)
            assert verdict.text == (
                "wf: a batch that was pruned has loaded the data of 2026-01-05, "
                "2026-01-05 00:00 to 2026-01-06 00:00 UTC"
            )

    def test_with_a_job_that_was_left_out_of_it(self, world: World) -> None:
        batch_id = self.backfilled(world, "2026-01-05", disabled=("b",))
        assert world.ask(day="2026-01-05", backfill=True, jobs=["a"]).batch_id == batch_id
        verdict = world.ask(day="2026-01-05", backfill=True, jobs=["a", "b"])
        assert (verdict.state, verdict.code) == ("waiting", VerdictCode.JOB_NOT_LOADED)
        assert "job b: nothing loaded" in verdict.text
        assert "job a" not in verdict.text

    def test_where_any_success_will_do_it_does_in_a_backfill_too(self, world: World) -> None:
        batch_id = world.batch()
        assert world.ask(scope="any", day="2020-01-01", backfill=True).batch_id == batch_id

    def test_a_batch_that_is_no_number(self, at_rest: World) -> None:
        at_rest.client.hset(KEYS.days, "2026-01-05", "soon")
        with pytest.raises(StateError, match="'wf:days' names a batch 'soon'"):
            at_rest.ask(day="2026-01-05", backfill=True)
