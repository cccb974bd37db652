# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The multiplexer: all waits of an event loop on two connections, none lost, none woken for nothing."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from redis import Redis

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.exceptions import BatchyError, StateError
from batchy_provider.state import wait_queries as waiting_module
from batchy_provider.state.connections import Address, parse_url
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.store import Store
from batchy_provider.state.wait_queries import Question, check
from batchy_provider.triggers import wait_multiplexer as multiplexer_module
from batchy_provider.triggers.wait_multiplexer import WaitMultiplexer

PATIENCE = 15.0


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test, timeout=45)

    asyncio.run(bounded())


def multiplexer_at(url: str, **kwargs: Any) -> WaitMultiplexer:
    async def address() -> Address:
        return parse_url(url)

    return WaitMultiplexer(address, **kwargs)


async def first(
    multiplexer: WaitMultiplexer, workflow: str, *, over: bool = True, verdicts: list[Verdict] | None = None
) -> Verdict:
    """Wait for a workflow's success; notes in `verdicts` all that was said on the way."""
    wait = Wait(workflow=workflow, scope="any")
    async with aclosing(multiplexer.watch(workflow, lambda keys: check(keys, wait))) as found:
        async for verdict in found:
            if verdicts is not None:
                verdicts.append(verdict)
            if verdict.is_over or not over:
                return verdict
    raise AssertionError


async def until(condition: Callable[[], Any], what: str = "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what or "it did not come about"
        await asyncio.sleep(0.01)


def open_batch(client: Redis, workflow: str) -> int:
    config = WorkflowConfig(name=workflow, jobs={"a": {}})
    return Store(client).open(workflow, OpenRequest(config=config, holder=Holder(by="test"))).batch_id


def close_batch(client: Redis, workflow: str) -> None:
    Store(client).close(workflow, CloseRequest(result="success"))


def succeed(client: Redis, workflow: str) -> int:
    batch_id = open_batch(client, workflow)
    close_batch(client, workflow)
    return batch_id


def succeed_silently(client: Redis, workflow: str) -> None:
    """As the original server does: the state, and no word."""
    job = {"status": "success", "batch_id": 7, "batch_end": "2026-01-01T00:00:00.5"}
    client.hset(workflow, "a", json.dumps(job))


def hub_clients(client: Redis) -> list[str]:
    return sorted(c["name"] for c in client.client_list() if c["name"].startswith("batchy-"))


def commands(client: Redis, name: str) -> int:
    return client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"]


@asynccontextmanager
async def waiting(multiplexer: WaitMultiplexer, *workflows: str) -> AsyncIterator[list[asyncio.Task[Verdict]]]:
    """Waits that have been looked at once."""
    said: list[list[Verdict]] = [[] for _ in workflows]
    tasks = [asyncio.create_task(first(multiplexer, w, verdicts=v)) for w, v in zip(workflows, said, strict=True)]
    try:
        await until(lambda: all(said), "not all waits were looked at")
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class TestTwoConnections:
    def test_however_many_waits(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            async with waiting(multiplexer, *(f"wf{i}" for i in range(500))):
                assert hub_clients(redis_client) == ["batchy-events", "batchy-waits"]
            succeed(redis_client, "wf1")
            assert (await first(multiplexer, "wf1")).state == "done"
            assert hub_clients(redis_client) == ["batchy-events", "batchy-waits"]

        run(test())

    def test_closed_a_while_after_the_last_wait_and_made_anew_for_the_next(
        self, redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(multiplexer_module, "_IDLE_SECONDS", 0.3)

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url, recheck_seconds=0.5)
            async with waiting(multiplexer, "wf"):
                pass
            assert len(hub_clients(redis_client)) == 2
            await until(lambda: not hub_clients(redis_client), "the connections stay open")
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

    def test_foreign_events_do_not_keep_an_idle_hub_alive(
        self, redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(multiplexer_module, "_IDLE_SECONDS", 0.3)

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url, recheck_seconds=0.3)
            async with waiting(multiplexer, "wf"):
                pass
            deadline = time.monotonic() + PATIENCE
            while hub_clients(redis_client):
                assert time.monotonic() < deadline
                redis_client.publish(EVENTS_CHANNEL, json.dumps({"workflow": "other"}))
                await asyncio.sleep(0.05)

        run(test())

    def test_each_event_loop_has_a_hub_of_its_own(self, redis_url: str, redis_client: Redis) -> None:
        succeed(redis_client, "wf")

        async def address() -> Address:
            return parse_url(redis_url)

        async def test() -> None:
            one = multiplexer_module.multiplexer("conn", address)
            assert multiplexer_module.multiplexer("conn", address) is one
            assert multiplexer_module.multiplexer("other", address) is not one
            seen.append(one)
            assert (await first(one, "wf")).state == "done"

        seen: list[WaitMultiplexer] = []
        run(test())
        run(test())
        assert seen[0] is not seen[1]


class TestEvents:
    def test_an_event_wakes_the_wait_at_once(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), "wf") as (task,):
                batch_id = succeed(redis_client, "wf")
                verdict = await asyncio.wait_for(task, timeout=5)
                assert (verdict.state, verdict.batch_id) == ("done", batch_id)

        run(test())

    def test_only_waits_of_that_workflow_are_looked_at(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), *(f"wf{i}" for i in range(50))) as tasks:
                before = commands(redis_client, "hgetall")
                for _ in range(20):
                    redis_client.publish(EVENTS_CHANNEL, json.dumps({"workflow": "not-waited-for"}))
                redis_client.publish(EVENTS_CHANNEL, json.dumps({"workflow": "wf3"}))
                succeed(redis_client, "wf7")
                await asyncio.wait_for(tasks[7], timeout=5)
                # One a look, and some for opening and closing; all 50 would be 50.
                assert commands(redis_client, "hgetall") - before < 12

        run(test())

    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b"\xff\xfe",
            b"null",
            b"[]",
            b'"wf"',
            b"7",
            b"{}",
            b'{"workflow": null}',
            b'{"workflow": ["wf"]}',
            b'{"workflow": {"a": 1}}',
            b"[" * 100_000,
        ],
        ids=lambda message: repr(message[:20]),
    )
    def test_a_message_that_is_none_of_ours_harms_nobody(
        self, redis_url: str, redis_client: Redis, message: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), "wf") as (task,):
                redis_client.publish(EVENTS_CHANNEL, message)
                succeed(redis_client, "wf")
                assert (await asyncio.wait_for(task, timeout=5)).state == "done"

        run(test())
        assert [record.name for record in caplog.records if "was dropped" not in record.message] == []

    @pytest.mark.slow
    def test_a_burst_of_5000_foreign_events_delays_nobody_for_long(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), *(f"wf{i}" for i in range(100))) as tasks:
                before = commands(redis_client, "hgetall")
                pipe = redis_client.pipeline(transaction=False)
                for i in range(5_000):
                    pipe.publish(EVENTS_CHANNEL, json.dumps({"workflow": f"foreign{i}", "event": "success"}))
                pipe.execute()
                longest = 0.0
                succeed(redis_client, "wf42")
                while not tasks[42].done():
                    since = time.monotonic()
                    await asyncio.sleep(0)
                    longest = max(longest, time.monotonic() - since)
                assert tasks[42].result().state == "done"
                assert commands(redis_client, "hgetall") - before < 12
                print(f"\nlongest pause of the event loop in a burst: {longest * 1000:.1f} ms")

        run(test())

    def test_a_burst_about_one_workflow_is_few_looks(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), "wf") as (task,):
                before = commands(redis_client, "time")
                pipe = redis_client.pipeline(transaction=False)
                for _ in range(5_000):
                    pipe.publish(EVENTS_CHANNEL, json.dumps({"workflow": "wf", "event": "open"}))
                pipe.execute()
                succeed(redis_client, "wf")
                assert (await asyncio.wait_for(task, timeout=10)).state == "done"
                assert commands(redis_client, "time") - before < 5_000

        run(test())

    def test_between_the_look_and_the_sleep(self, redis_url: str, redis_client: Redis) -> None:
        """The batch succeeds after Redis has answered and before the multiplexer has heard the answer."""

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            original, done = multiplexer_module._round, []

            async def late(client: Any, asking: Any) -> Any:
                left = await original(client, asking)
                if not done and not left:
                    done.append(succeed(redis_client, "wf"))
                return left

            multiplexer_module._round = late
            try:
                verdict = await asyncio.wait_for(first(multiplexer, "wf"), timeout=5)
                assert verdict.batch_id == done[0]
            finally:
                multiplexer_module._round = original

        run(test())

    def test_before_the_subscription_stands(self, redis_url: str, redis_client: Redis) -> None:
        """What is published while the connection is being made is gone: the state is read after it."""

        async def test() -> None:
            connecting = asyncio.Event()

            async def slowly() -> Address:
                connecting.set()
                await asyncio.sleep(0.2)
                return parse_url(redis_url)

            multiplexer = WaitMultiplexer(slowly)
            early = asyncio.create_task(first(multiplexer, "wf1"))
            await connecting.wait()
            late = asyncio.create_task(first(multiplexer, "wf2"))
            await asyncio.sleep(0)
            succeed(redis_client, "wf1")
            succeed(redis_client, "wf2")
            for task in (early, late):
                assert (await asyncio.wait_for(task, timeout=5)).state == "done"

        run(test())

    @pytest.mark.slow
    def test_closes_at_random_moments_are_all_seen(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            store = Store(redis_client)

            async def one(i: int) -> None:
                await asyncio.sleep((i * 37 % 100) / 200)
                assert (await first(multiplexer, f"wf{i}")).state == "done"

            async def closer(i: int) -> None:
                await asyncio.sleep((i * 61 % 100) / 200)
                await asyncio.to_thread(succeed, store.backend.client, f"wf{i}")

            await asyncio.wait_for(
                asyncio.gather(*(one(i) for i in range(200)), *(closer(i) for i in range(200))), timeout=20
            )

        run(test())

    @pytest.mark.slow
    def test_1000_waits_are_all_woken(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            names = [f"wf{i}" for i in range(1_000)]
            for name in names:
                open_batch(redis_client, name)
            since = time.monotonic()
            async with waiting(multiplexer_at(redis_url), *names) as tasks:
                ready = time.monotonic() - since
                await asyncio.to_thread(lambda: [close_batch(redis_client, name) for name in names[:-1]])
                since = time.monotonic()
                close_batch(redis_client, names[-1])
                verdicts = await asyncio.wait_for(asyncio.gather(*tasks), timeout=20)
                woken = time.monotonic() - since
                assert {v.state for v in verdicts} == {"done"}
            print(
                f"\n1,000 waits: ready after {ready:.2f} s; done {woken * 1000:.0f} ms after the last of 1,000 closes"
            )

            async with waiting(multiplexer_at(redis_url), *(["one"] * 1_000)) as tasks:
                open_batch(redis_client, "one")
                await asyncio.sleep(0.5)
                since = time.monotonic()
                close_batch(redis_client, "one")
                await asyncio.wait_for(asyncio.gather(*tasks), timeout=20)
                print(
                    f"1,000 waits for one workflow: all done {(time.monotonic() - since) * 1000:.0f} ms after its close"
                )

        run(test())


class TestOneLookForMany:
    def test_waits_that_ask_the_same_are_served_by_one_look(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def counted(keys: Any, wait: Wait) -> Any:
            asked.append(wait.workflow)
            return check(keys, wait)

        monkeypatch.setattr(waiting_module, "check", counted)

        async def one(multiplexer: WaitMultiplexer, workflow: str, jobs: list[str]) -> Verdict:
            wait = Wait(workflow=workflow, scope="any", jobs=jobs)
            async with aclosing(multiplexer.watch(workflow, Question(wait))) as verdicts:
                return await anext(verdicts)

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            asking = [("wf", ["a"])] * 50 + [("wf", ["b"])] * 50 + [("other", ["a"])] * 50
            verdicts = await asyncio.gather(*(one(multiplexer, *asked) for asked in asking))
            assert [v.text.partition(":")[0] for v in verdicts] == ["wf"] * 100 + ["other"] * 50

        run(test())
        assert sorted(asked) == ["other", "wf", "wf"]

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


class TestEnds:
    def test_a_cancelled_wait_leaves_nothing_behind(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            async with waiting(multiplexer, "wf", "wf", "other") as tasks:
                tasks[0].cancel()
                await asyncio.gather(tasks[0], return_exceptions=True)
                assert {name: len(of) for name, of in multiplexer._waiters.items()} == {"wf": 1, "other": 1}
                succeed(redis_client, "wf")
                assert (await asyncio.wait_for(tasks[1], timeout=5)).state == "done"
            assert not multiplexer._waiters
            assert not multiplexer._dirty

        run(test())

    def test_cancelled_before_it_was_looked_at(self, redis_url: str) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            tasks = [asyncio.create_task(first(multiplexer, "wf")) for _ in range(20)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert not multiplexer._waiters
            assert not multiplexer._dirty

        run(test())

    def test_a_key_of_the_wrong_type_ends_its_wait_with_words(self, redis_url: str, redis_client: Redis) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            redis_client.set("wf", "mine")
            with pytest.raises(StateError, match="'wf' does not hold what batchy keeps there"):
                await first(multiplexer, "wf")
            async with waiting(multiplexer, "later", "good") as (later, good):
                redis_client.rpush("later", "mine")
                redis_client.publish(EVENTS_CHANNEL, json.dumps({"workflow": "later"}))
                with pytest.raises(StateError, match="'later'"):
                    await asyncio.wait_for(later, timeout=5)
                succeed(redis_client, "good")
                assert (await asyncio.wait_for(good, timeout=5)).state == "done"

        run(test())

    @pytest.mark.parametrize("stored", ["nonsense", "[]", '{"status": "success", "batch_id": 1, "batch_end": "soon"}'])
    def test_what_cannot_be_read_ends_its_wait_alone(self, redis_url: str, redis_client: Redis, stored: str) -> None:
        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            redis_client.hset("bad", "a", stored)
            wait = Wait(workflow="bad", day="2026-01-01")
            async with waiting(multiplexer, "good") as (good,):
                with pytest.raises(StateError, match="bad"):
                    async for _ in multiplexer.watch("bad", lambda keys: check(keys, wait)):
                        pass
                succeed(redis_client, "good")
                assert (await asyncio.wait_for(good, timeout=5)).state == "done"

        run(test())

    def test_a_bug_in_one_wait_ends_that_one_alone(self, redis_url: str, redis_client: Redis) -> None:
        def broken(keys: Any, *, late: bool) -> Any:
            if late:
                yield [("TIME",)]
            raise ZeroDivisionError

        async def test() -> None:
            multiplexer = multiplexer_at(redis_url)
            async with waiting(multiplexer, "good") as (good,):
                for late in (False, True):
                    with pytest.raises(ZeroDivisionError):
                        async for _ in multiplexer.watch("bad", partial(broken, late=late)):
                            pass
                succeed(redis_client, "good")
                assert (await asyncio.wait_for(good, timeout=5)).state == "done"

        run(test())

    def test_a_login_that_may_not_read_one_workflow(self, redis_url: str, redis_client: Redis) -> None:
        redis_client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~good*", "&*", "+@all")
        url = redis_url.replace("redis://", "redis://reader:pw@")

        async def test() -> None:
            multiplexer = multiplexer_at(url)
            async with waiting(multiplexer, "good") as (good,):
                with pytest.raises(BatchyError, match="ACL"):
                    await asyncio.wait_for(first(multiplexer, "secret"), timeout=5)
                succeed(redis_client, "good")
                assert (await asyncio.wait_for(good, timeout=5)).state == "done"

        try:
            run(test())
        finally:
            redis_client.execute_command("ACL", "DELUSER", "reader")


class TestOutage:
    def test_redis_stopped_and_started_again(self, own_server: Any, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger=multiplexer_module.log.name)
        # Airflow, imported first by this test, takes pytest's handler off the root logger.
        multiplexer_module.log.addHandler(caplog.handler)

        async def test() -> None:
            multiplexer = multiplexer_at(own_server.url)
            said: list[Verdict] = []
            told = asyncio.create_task(first(multiplexer, "told", verdicts=said))
            async with waiting(multiplexer, *(f"wf{i}" for i in range(20))) as tasks:
                for _ in range(2):
                    await asyncio.to_thread(own_server.kill)
                    joined = asyncio.create_task(first(multiplexer, "joined"))
                    await asyncio.sleep(0.3)
                    await asyncio.to_thread(own_server.start)
                with own_server.client() as client:
                    for i in range(20):
                        succeed(client, f"wf{i}")
                    succeed(client, "joined")
                    succeed(client, "told")
                    verdicts = await asyncio.wait_for(asyncio.gather(*tasks, joined, told), timeout=PATIENCE)
                    assert {v.state for v in verdicts} == {"done"}
                    assert hub_clients(client) == ["batchy-events", "batchy-waits"]
            assert [v for v in said if v.text.startswith("Redis cannot be used (")]

        try:
            run(test())
        finally:
            multiplexer_module.log.removeHandler(caplog.handler)
        warnings = {id(r) for r in caplog.records if r.levelno >= logging.WARNING}
        assert 1 <= len(warnings) <= 4
        assert any("Redis answers again, after" in r.message for r in caplog.records)

    def test_a_restart_too_short_to_be_felt_loses_no_event(
        self, redis_url: str, redis_client: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        """redis-py makes a lost subscription anew by itself; what was published in between is found."""

        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), "wf") as (task,):
                subscription = next(c for c in redis_client.client_list() if c["name"] == "batchy-events")
                pipe = redis_client.pipeline(transaction=True)
                pipe.client_kill_filter(_id=subscription["id"])
                pipe.hset("wf", "a", json.dumps({"status": "success", "batch_id": 7}))
                pipe.publish(EVENTS_CHANNEL, json.dumps({"workflow": "wf"}))
                pipe.execute()
                assert (await asyncio.wait_for(task, timeout=8)).batch_id == 7

        run(test())

    def test_not_there_at_first(self, own_server: Any, caplog: pytest.LogCaptureFixture) -> None:
        own_server.stop()

        async def test() -> None:
            task = asyncio.create_task(first(multiplexer_at(own_server.url), "wf"))
            await asyncio.sleep(1.5)
            assert not task.done()
            await asyncio.to_thread(own_server.start)
            with own_server.client() as client:
                succeed(client, "wf")
            assert (await asyncio.wait_for(task, timeout=PATIENCE)).state == "done"

        run(test())
        assert len(caplog.records) == 1, "one outage is one warning"

    def test_accepts_but_never_answers(self, redis_url: str, redis_client: Redis) -> None:
        """First a port that nobody serves, then the connection leads elsewhere: taken up at the next attempt."""
        silent = socket.create_server(("127.0.0.1", 0))
        options = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}
        good = parse_url(redis_url)
        bad = replace(good, hosts=(("127.0.0.1", silent.getsockname()[1]),), options=options)
        addresses = [bad]

        async def address() -> Address:
            return addresses[-1]

        async def test() -> None:
            said: list[Verdict] = []
            task = asyncio.create_task(first(WaitMultiplexer(address), "wf", verdicts=said))
            await until(lambda: said, "the wait was not told")
            assert "Redis cannot be used (" in said[0].text
            addresses.append(good)
            succeed(redis_client, "wf")
            assert (await asyncio.wait_for(task, timeout=PATIENCE)).state == "done"

        with silent:
            run(test())

    def test_falls_silent_with_the_connection_open(
        self, own_server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As behind a firewall that forgot the connection: TCP itself does not notice."""
        monkeypatch.setattr(multiplexer_module, "_SILENCE_SECONDS", 0.4)

        async def test() -> None:
            async with waiting(multiplexer_at(own_server.url), "wf") as (task,):
                with own_server.client() as client:
                    process = client.info("server")["process_id"]
                os.kill(process, signal.SIGSTOP)
                try:
                    await until(lambda: caplog.records, "nobody noticed")
                finally:
                    os.kill(process, signal.SIGCONT)
                assert "does not answer" in caplog.records[0].message
                with own_server.client() as client:
                    succeed(client, "wf")
                assert (await asyncio.wait_for(task, timeout=PATIENCE)).state == "done"

        run(test())

    def test_a_quiet_subscription_is_not_given_up(
        self, redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(multiplexer_module, "_SILENCE_SECONDS", 0.1)

        async def test() -> None:
            async with waiting(multiplexer_at(redis_url), "wf") as (task,):
                ids = {c["id"] for c in redis_client.client_list()}
                await asyncio.sleep(1)
                assert ids == {c["id"] for c in redis_client.client_list()}
                succeed(redis_client, "wf")
                assert (await asyncio.wait_for(task, timeout=5)).state == "done"

        run(test())
        assert not caplog.records

    def test_an_address_that_cannot_be_had(
        self, redis_url: str, redis_client: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        fails = [True, True, True]

        async def address() -> Address:
            if fails:
                fails.pop()
                raise RuntimeError("the secrets backend sleeps")
            return parse_url(redis_url)

        async def test() -> None:
            succeed(redis_client, "wf")
            assert (await first(WaitMultiplexer(address), "wf")).state == "done"

        run(test())
        assert "the secrets backend sleeps" in caplog.text
        assert len(caplog.records) == 1

    def test_waits_that_come_and_go_in_an_outage(self, own_server: Any) -> None:
        own_server.stop()

        async def test() -> None:
            multiplexer = multiplexer_at(own_server.url)
            tasks = [asyncio.create_task(first(multiplexer, "wf")) for _ in range(5)]
            await asyncio.sleep(0.3)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert multiplexer._task is not None
            await until(multiplexer._task.done, "it goes on for nobody")
            await asyncio.to_thread(own_server.start)
            with own_server.client() as client:
                succeed(client, "wf")
            assert (await asyncio.wait_for(first(multiplexer, "wf"), timeout=PATIENCE)).state == "done"

        run(test())


def test_the_hub_logs_for_itself_and_not_for_the_trigger_that_happened_to_be_first(own_server: Any) -> None:
    """Airflow sends what is logged in a trigger's context to that trigger's log."""
    whose = contextvars.ContextVar("whose", default="nobody")
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(whose.get())

    handler = Handler()
    multiplexer_module.log.addHandler(handler)
    own_server.stop()

    async def test() -> None:
        whose.set("the first trigger")
        task: Awaitable[Verdict] = asyncio.create_task(first(multiplexer_at(own_server.url), "wf", over=False))
        assert (await task).state == "waiting"

    try:
        run(test())
    finally:
        multiplexer_module.log.removeHandler(handler)
    assert seen == ["nobody"]


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
