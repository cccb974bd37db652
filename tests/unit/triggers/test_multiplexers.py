# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One multiplexer per event loop and Airflow connection."""

from __future__ import annotations

import asyncio

import pytest

from batchy_provider.services.wait_multiplexer import WaitMultiplexer
from batchy_provider.triggers.multiplexers import multiplexer


def test_each_event_loop_and_each_connection_has_its_own(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)

    async def test() -> None:
        one = multiplexer(None)
        assert multiplexer("redis_default") is one
        assert multiplexer("other") is not one
        seen.append(one)

    seen: list[WaitMultiplexer] = []
    asyncio.run(test())
    asyncio.run(test())
    assert seen[0] is not seen[1]


def test_the_time_between_two_rechecks_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__RECHECK_SECONDS", "7")
        one = multiplexer(None)
        assert one.recheck_seconds == 7
        monkeypatch.setenv("AIRFLOW__BATCHY__RECHECK_SECONDS", "8")
        assert multiplexer(None) is one
        assert one.recheck_seconds == 8

    asyncio.run(test())
