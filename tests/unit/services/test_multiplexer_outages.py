# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The multiplexer while Redis is away, silent, or not reachable."""

import asyncio
import contextvars
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from multiplexed_waits import (
    PATIENCE,
    first,
    multiplexer_at,
    multiplexer_clients,
    run,
    succeed,
    until,
    waiting,
)
from redis import Redis

from batchy_provider.core.waits import Verdict
from batchy_provider.services import redis_outage
from batchy_provider.services import wait_multiplexer as multiplexer_module
from batchy_provider.services.wait_multiplexer import WaitMultiplexer
from batchy_provider.state.connections import Address, parse_url
from batchy_provider.state.keys import EVENTS_CHANNEL


class TestOutage:
    def test_redis_stopped_and_started_again(self, own_server: Any, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger=redis_outage.log.name)
        # Airflow, imported first by this test, takes pytest's handler off the root logger.
        redis_outage.log.addHandler(caplog.handler)

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
                    assert multiplexer_clients(client) == ["batchy-events", "batchy-waits"]
            assert [v for v in said if v.text.startswith("Redis cannot be used (")]

        try:
            run(test())
        finally:
            redis_outage.log.removeHandler(caplog.handler)
        warnings = {id(r) for r in caplog.records if r.levelno >= logging.WARNING}
        assert 1 <= len(warnings) <= 4
        assert any("Redis answers again, after" in r.message for r in caplog.records)

    def test_a_restart_too_short_to_be_felt_loses_no_event(
        self, redis_url: str, redis_client: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        """redis-py renews a lost subscription by itself. The wait also finds what was published in between."""

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


def test_the_multiplexer_logs_for_itself_and_not_for_the_trigger_that_happened_to_be_first(own_server: Any) -> None:
    """Airflow sends what is logged in a trigger's context to that trigger's log."""
    whose = contextvars.ContextVar("whose", default="nobody")
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(whose.get())

    handler = Handler()
    redis_outage.log.addHandler(handler)
    own_server.stop()

    async def test() -> None:
        whose.set("the first trigger")
        task: Awaitable[Verdict] = asyncio.create_task(first(multiplexer_at(own_server.url), "wf", over=False))
        assert (await task).state == "waiting"

    try:
        run(test())
    finally:
        redis_outage.log.removeHandler(handler)
    assert seen == ["nobody"]
