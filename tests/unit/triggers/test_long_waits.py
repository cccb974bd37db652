# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A long wait says why it goes on: a hold, or the root cause, once for each reason, for any number of waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.services import wait_explanations
from batchy_provider.services.composition import Services
from batchy_provider.state.store import Store
from batchy_provider.triggers import long_waits
from batchy_provider.triggers.waitsy import WaitsyTrigger

ANN = Actor("ann", "cli")


@pytest.fixture
def services(redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Services:
    """The workflows `wf`, and `dwh`, which waits for it."""
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", str(tmp_path))
    (tmp_path / "dwh.yaml").write_text("schedule: '* * * * *'\nwait_for: wf\njobs: {a: {bash: 'true'}}\n")
    store = Store(redis_client)
    return Services(store=lambda: store, cfg=tmp_path)


class Log:
    """What triggers have logged, and how often the reasons of waits were looked for."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.looks = 0

    @property
    def reasons(self) -> list[str]:
        return [text for text in self.texts if "root cause" in text]

    async def until(self, condition: Callable[[], Any]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.02)

        await asyncio.wait_for(wait(), timeout=120)

    async def look_again(self, times: int = 3) -> None:
        wanted = self.looks + times
        await self.until(lambda: self.looks >= wanted)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    found = Log()
    real = wait_explanations.explain_waits

    def counted(*arguments: Any) -> Any:
        answer = real(*arguments)
        found.looks += 1
        return answer

    monkeypatch.setattr(wait_explanations, "explain_waits", counted)
    monkeypatch.setattr(WaitsyTrigger, "_write", staticmethod(lambda write, text: found.texts.append(text)))
    monkeypatch.setattr(long_waits, "PAUSE_SECONDS", 0.05)
    return found


def close(services: Services, result: Result, workflow: str = "wf") -> None:
    """Open a batch and close it."""
    config = WorkflowConfig(name=workflow, jobs={"a": {}})
    batch = services.store.open(workflow, OpenRequest(config=config, holder=Holder(by="test"), ignore_hold=True))
    services.store.close(workflow, CloseRequest(result=result, batch_id=batch.batch_id))


async def waiting(*workflows: str, seconds: float = 3600) -> list[Any]:
    """Wait for workflows, since so many seconds already, and return the events at the end."""
    waits = [{"workflow": name, "scope": "any"} for name in workflows]
    trigger = WaitsyTrigger(wait=waits if len(waits) > 1 else waits[0], began=time.time() - seconds)
    return [event async for event in trigger.run()]


def test_each_reason_is_said_once(services: Services, log: Log) -> None:
    close(services, "failed")

    async def night() -> None:
        wait = asyncio.create_task(waiting("wf"))
        await log.until(lambda: log.reasons)
        await log.look_again()
        assert len(log.reasons) == 1, "it is the same reason"
        services.holds.hold("wf", why="storage moves", actor=ANN)
        await log.until(lambda: len(log.reasons) == 2)
        await log.look_again()
        close(services, "success")
        await asyncio.wait_for(wait, 120)

    asyncio.run(night())
    failed, held = log.reasons
    assert failed.startswith("wf has not succeeded yet. The root cause: wf has failed: ")
    assert "on hold" in held
    assert "storage moves" in held


def test_the_root_is_that_of_the_workflow_that_it_waits_for(services: Services, log: Log) -> None:
    close(services, "failed")

    async def night() -> None:
        waits = [asyncio.create_task(waiting("dwh")) for _ in range(20)]
        await log.until(lambda: len(log.reasons) == 20)
        await log.look_again()
        close(services, "success", "dwh")
        await asyncio.wait_for(asyncio.gather(*waits), 120)

    asyncio.run(night())
    assert len(log.reasons) == 20, "each wait has its own log"
    assert len(set(log.reasons)) <= 2, "but for how long ago it was"
    assert "wf has failed" in log.reasons[0]
    assert log.reasons[0].endswith("So dwh waits for wf")
    assert log.looks < 20, "all waits are explained together"


def test_a_short_wait_and_one_for_a_workflow_that_runs_say_nothing_more(services: Services, log: Log) -> None:
    close(services, "failed")
    services.store.open("open", OpenRequest(config=WorkflowConfig(name="open", jobs={"a": {}}), holder=Holder(by="me")))

    async def night() -> None:
        short = asyncio.create_task(waiting("wf", seconds=5))
        long = asyncio.create_task(waiting("open"))
        await log.look_again()
        services.store.close("open", CloseRequest(result="success"))
        close(services, "success")
        await asyncio.wait_for(asyncio.gather(short, long), 120)

    asyncio.run(night())
    assert log.reasons == []


def test_of_several_only_those_that_are_missing(services: Services, log: Log) -> None:
    close(services, "success", "crm")
    close(services, "failed")

    async def night() -> None:
        wait = asyncio.create_task(waiting("crm", "wf"))
        await log.until(lambda: log.reasons)
        await log.look_again()
        close(services, "success")
        await asyncio.wait_for(wait, 120)

    asyncio.run(night())
    assert [text.partition(" ")[0] for text in log.reasons] == ["wf"]
