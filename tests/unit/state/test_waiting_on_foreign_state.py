# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Waits on what other programs wrote: the original Batchy server, and damaged or foreign keys."""

from __future__ import annotations

import json
import time

import pytest
from redis import Redis
from waiting_world import KEYS, WF, World

from batchy_provider.core.dates import format_date
from batchy_provider.core.waits import Wait
from batchy_provider.exceptions import StateError
from batchy_provider.state.codec import META_FIELDS
from batchy_provider.state.wait_queries import check


@pytest.fixture
def world(any_redis_client: Redis) -> World:
    return World(any_redis_client)


@pytest.fixture
def at_rest(redis_client: Redis) -> World:
    """The same, for what differs in no kind of server."""
    return World(redis_client)


class TestOriginalServer:
    """What the original Batchy server wrote: other words, naive dates of any length, no index, no event."""

    @pytest.mark.parametrize("end", ["2026-05-01T02:03:04.000005", "2026-05-01T02:03:04", "2026-05-01 02:03:04.5"])
    def test_success(self, world: World, end: str) -> None:
        fields = {"batch_id": 1777600000, "batch_start": end, "from_date": "1776-07-04T23:59:00.000000"}
        world.write(
            a={"status": "success", "batch_end": end, **fields}, b={"status": "success", "batch_end": end, **fields}
        )
        verdict = world.ask(day="2026-05-01")
        assert (verdict.state, verdict.batch_id) == ("done", 1777600000)
        assert world.ask(day="2026-05-02").state == "waiting"

    def test_failure(self, world: World) -> None:
        job = {
            "status": "failure",
            "batch_id": 7,
            "batch_start": "2026-05-01T02:00:00",
            "batch_end": "2026-05-01T03:00:00",
        }
        world.write(a=job)
        assert world.ask(day="2026-05-01").state == "waiting"
        assert world.ask(day="2026-05-01", fail_on_failed=True).state == "failed"

    def test_half_way_through_closing(self, world: World) -> None:
        """It closes job by job."""
        now = format_date(world.now())
        world.write(a={"status": "success", "batch_id": 7, "batch_end": now}, b={"status": "open", "batch_id": 7})
        assert world.ask().state == "waiting"

    def test_ids_as_text(self, at_rest: World) -> None:
        now = format_date(at_rest.now())
        at_rest.write(a={"status": "success", "batch_id": "7", "batch_end": now})
        assert at_rest.ask().state == "done"


class TestForeignState:
    def test_a_key_of_another_type(self, at_rest: World) -> None:
        at_rest.client.set(WF, "mine")
        with pytest.raises(StateError, match="Another program uses this key"):
            at_rest.ask()

    @pytest.mark.parametrize("text", ["", "[]", "nonsense", "3"])
    def test_a_field_that_is_no_job(self, at_rest: World, text: str) -> None:
        at_rest.client.hset(WF, "a", text)
        with pytest.raises(StateError, match="'a'"):
            at_rest.ask()

    def test_a_date_that_is_none(self, at_rest: World) -> None:
        at_rest.write(a={"status": "success", "batch_id": 3, "batch_end": "yesterday"})
        with pytest.raises(StateError, match=r"'wf'.*'yesterday' is not a date"):
            at_rest.ask()

    def test_asking_changes_nothing(self, at_rest: World) -> None:
        at_rest.batch()
        before = at_rest.client.info("stats")["total_error_replies"], at_rest.client.dbsize()
        for backfill in (False, True):
            at_rest.ask(backfill=backfill, day="2026-01-01")
        assert (at_rest.client.info("stats")["total_error_replies"], at_rest.client.dbsize()) == before


def test_a_check_is_one_round_trip_mostly() -> None:
    """Three questions at first, four in a backfill; more only to look behind a batch that is not done."""
    asking = check(KEYS, Wait(workflow=WF, scope="any"))
    assert [command[0] for command in next(asking)] == ["TIME", "HGETALL", "HMGET"]
    job = json.dumps({"status": "success", "batch_id": 3})
    with pytest.raises(StopIteration) as stop:
        asking.send([[int(time.time()), 0], {"a": job}, [None] * len(META_FIELDS)])
    assert stop.value.value.state == "done"
