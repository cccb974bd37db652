# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The multiplexer: many waits on two connections, one question for equal waits, and rechecks."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from multiplexed_waits import (
    PATIENCE,
    close_batch,
    commands,
    first,
    multiplexer_at,
    multiplexer_clients,
    open_batch,
    run,
    succeed,
    succeed_silently,
    until,
    waiting,
)
from redis import Redis

from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.exceptions import BatchyError, StateError
from batchy_provider.services import wait_multiplexer as multiplexer_module
from batchy_provider.services.wait_multiplexer import WaitMultiplexer
from batchy_provider.state import wait_queries as waiting_module
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.wait_queries import Question, check


class TestTwoConnections:
    def test_however_many_waits(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            async with waiting(multiplexer, *(f"wf{i}" for i in range(500))):
                assert multiplexer_clients(redis_client) == ["batchy-events", "batchy-waits"]
            succeed(redis_client, "wf1")
            assert (await first(multiplexer, "wf1")).state == "done"
            assert multiplexer_clients(redis_client) == ["batchy-events", "batchy-waits"]

        run(test())

    def test_closed_a_while_after_the_last_wait_and_made_anew_for_the_next(
        self, redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(multiplexer_module, "_IDLE_SECONDS", 0.3)

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url, recheck_seconds=0.5)
            async with waiting(multiplexer, "wf"):
                pass
            assert len(multiplexer_clients(redis_client)) == 2
            await until(lambda: not multiplexer_clients(redis_client), "the connections stay open")
            assert multiplexer._task is not None
            await until(multiplexer._task.done)
            succeed(redis_client, "wf")
            assert (await first(multiplexer, "wf")).state == "done"

        run(test())

    @pytest.mark.slow
    def test_a_wait_that_comes_while_the_last_connection_closes(
        self, redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(multiplexer_module, "_IDLE_SECONDS", 0.01)

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url, recheck_seconds=0.1)
            batch_id = succeed(redis_client, "wf")
            for i in range(60):
                verdict = await asyncio.wait_for(first(multiplexer, "wf"), timeout=5)
                assert verdict.batch_id == batch_id
                await asyncio.sleep(i * 0.0007)

        run(test())

    def test_foreign_events_do_not_keep_an_idle_multiplexer_alive(
        self, redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(multiplexer_module, "_IDLE_SECONDS", 0.3)

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url, recheck_seconds=0.3)
            async with waiting(multiplexer, "wf"):
                pass
            deadline = time.monotonic() + PATIENCE
            while multiplexer_clients(redis_client):
                assert time.monotonic() < deadline
                redis_client.publish(EVENTS_CHANNEL, json.dumps({"workflow": "other"}))
                await asyncio.sleep(0.05)

        run(test())


class TestOneLookForMany:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The workflow of each question that Redis gets."""
        asked: list[str] = []

        def counted(keys: Any, wait: Wait) -> Any:
            asked.append(wait.workflow)
            return check(keys, wait)

        monkeypatch.setattr(waiting_module, "check", counted)
        return asked

    def test_waits_that_ask_the_same_are_served_by_one_look(self, redis_url: str, asked: list[str]) -> None:
        async def one(multiplexer: WaitMultiplexer, workflow: str, jobs: list[str]) -> Verdict:
            wait = Wait(workflow=workflow, scope="any", jobs=jobs)
            async with aclosing(multiplexer.watch(workflow, Question(wait))) as verdicts:
                return await anext(verdicts)

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            asking = [("wf", ["a"])] * 50 + [("wf", ["b"])] * 50 + [("other", ["a"])] * 50
            verdicts = await asyncio.gather(*(one(multiplexer, *each) for each in asking))
            assert [v.text.partition(":")[0] for v in verdicts] == ["wf"] * 100 + ["other"] * 50

        run(test())
        assert sorted(asked) == ["other", "wf", "wf"]

    def test_a_close_is_one_look_however_many_wait_for_it(
        self, redis_url: str, redis_client: Redis, asked: list[str]
    ) -> None:
        batch_id = open_batch(redis_client, "wf")
        verdicts: list[Verdict] = []

        async def one(multiplexer: WaitMultiplexer) -> Verdict:
            async with aclosing(multiplexer.watch_wait(Wait(workflow="wf", scope="any"))) as found:
                async for verdict in found:
                    if verdict.is_over:
                        return verdict
                    verdicts.append(verdict)
            raise AssertionError

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url, recheck_seconds=3600)
            tasks = [asyncio.create_task(one(multiplexer)) for _ in range(2_500)]
            await until(lambda: len(verdicts) == len(tasks), "not all waits were looked at")
            # One more has its answer, and wakes no other.
            asked.clear()
            tasks.append(asyncio.create_task(one(multiplexer)))
            await until(lambda: len(verdicts) == len(tasks), "the last wait was not looked at")
            assert asked == ["wf"]
            asked.clear()
            await asyncio.to_thread(close_batch, redis_client, "wf")
            ends = await asyncio.gather(*tasks)
            assert {(end.state, end.batch_id) for end in ends} == {("done", batch_id)}
            assert asked == ["wf"]
            assert not multiplexer._questions

        run(test())

    def test_a_fault_ends_all_who_asked_for_it_and_no_others(self, redis_url: str, redis_client: Redis) -> None:
        redis_client.hset("bad", "a", "nonsense")

        async def one(multiplexer: WaitMultiplexer) -> None:
            async with aclosing(multiplexer.watch("bad", Question(Wait(workflow="bad", scope="any")))) as verdicts:
                await anext(verdicts)

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            async with waiting(multiplexer, "good") as (good,):
                ends = await asyncio.gather(*(one(multiplexer) for _ in range(20)), return_exceptions=True)
                assert [type(end) for end in ends] == [StateError] * 20
                succeed(redis_client, "good")
                assert (await asyncio.wait_for(good, timeout=5)).state == "done"

        run(test())


class TestRecheck:
    def test_finds_what_the_original_server_closed_and_told_nobody(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url, recheck_seconds=0.3), "wf") as (task,):
                succeed_silently(redis_client, "wf")
                assert (await asyncio.wait_for(task, timeout=5)).batch_id == 7

        run(test())

    def test_comes_in_time_although_another_workflow_never_rests(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url, recheck_seconds=0.5), "busy", "quiet") as (_, quiet):
                succeed_silently(redis_client, "quiet")
                deadline = time.monotonic() + 5
                while not quiet.done():
                    assert time.monotonic() < deadline, "the busy workflow keeps the other from its recheck"
                    redis_client.publish(EVENTS_CHANNEL, json.dumps({"workflow": "busy"}))
                    await asyncio.sleep(0.05)

        run(test())

    def test_is_all_that_happens_while_nothing_happens(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url, recheck_seconds=0.4), "a", "a", "b", "c"):
                before = commands(redis_client, "hgetall"), commands(redis_client, "time")
                await asyncio.sleep(1.0)
                rechecks = commands(redis_client, "time") - before[1]
                assert rechecks in (2, 3)
                assert commands(redis_client, "hgetall") - before[0] == 3 * rechecks

        run(test())


def test_a_look_that_finds_nothing_new_wakes_nobody(redis_url: str, redis_client: Redis) -> None:
    async def test() -> None:
        multiplexer, said = multiplexer_at(redis_url, recheck_seconds=0.1), list[Verdict]()
        open_batch(redis_client, "wf")
        wait = asyncio.create_task(first(multiplexer, "wf", verdicts=said))
        await until(lambda: said)
        looked = commands(redis_client, "hgetall")
        await until(lambda: commands(redis_client, "hgetall") >= looked + 5)
        close_batch(redis_client, "wf")
        await wait
        assert [verdict.state for verdict in said] == ["waiting", "done"]

    run(test())


def test_what_is_reported_are_waits_and_how_long_they_take(redis_url: str, redis_client: Redis) -> None:
    """The metrics of the triggerer: no watch for closed batches or for an open one is a wait."""
    reports: list[Mapping[str, Sequence[float]]] = []

    async def test() -> None:
        batch_id = open_batch(redis_client, "wf")
        multiplexer = multiplexer_at(redis_url, recheck_seconds=0.1, on_waits=reports.append)
        began = time.monotonic()
        async with (
            aclosing(multiplexer.watch_wait(Wait(workflow="wf", scope="any"))) as waits,
            aclosing(multiplexer.watch_open_batch("other", batch_id)) as others,
        ):
            await anext(waits)
            await anext(others)
            reported = len(reports)
            await until(lambda: len(reports) > reported)
        assert list(reports[-1]) == ["wf"]
        (since,) = reports[-1]["wf"]
        assert began <= since <= time.monotonic()

    run(test())


def test_no_name_of_a_workflow_is_an_error(redis_url: str) -> None:
    async def test() -> None:
        with pytest.raises(BatchyError, match="name"):
            await first(multiplexer_at(redis_url), "no/name")

    run(test())
