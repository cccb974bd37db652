# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Redis is restarted, fails over, loses a node, while waits are open and closes go on: each ends once, and right."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent
from redis.asyncio.client import Pipeline
from redis_cluster import started_cluster
from redis_sentinel import Watched, started_sentinel

from batchy_provider.core.dates import format_date, from_unix
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.core.waits import Wait
from batchy_provider.services import wait_multiplexer
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store
from batchy_provider.triggers.waitsy import WaitsyTrigger


class Night:
    """Workflows that have succeeded before, which does not count, then fail, then succeed, which does.

    :param url: of Redis.
    """

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        hosts, *service = url.partition("://")[2].split("/")
        extra = {"db": 0} if "+" not in url else {"cluster": True, "startup_nodes": hosts}
        if "+sentinel" in url:
            extra = {"sentinels": hosts, "sentinel_service": service[0]}
        host, _, port = hosts.partition(",")[0].partition(":")
        connection = {"conn_type": "redis", "host": host, "port": int(port), "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__BATCHY__RECHECK_SECONDS", "1000")
        self._url = url
        self.right: dict[str, int] = {}
        """Workflow → the batch that its wait has to end with."""

    def store(self) -> Store:
        return Store(open_client(self._url), retry_seconds=60)

    def before(self, workflows: list[str]) -> str:
        """Let all succeed once; returns since when a success counts."""
        store = self.store()
        for workflow in workflows:
            self._batch(store, workflow, "before", "success")
        seconds, micros = store.backend.client.time()
        return format_date(from_unix(seconds, micros))

    def load(self, workflow: str, store: Store) -> None:
        self._batch(store, workflow, "failing", "failed")
        self.right[workflow] = self._batch(store, workflow, "good", "success")

    @staticmethod
    def _batch(store: Store, workflow: str, run: str, result: Result) -> int:
        config = WorkflowConfig(name=workflow, jobs={"extract": {}, "load": {}})
        holder = Holder(dag_id=workflow, run_id=run)
        batch = store.open(workflow, OpenRequest(config=config, holder=holder))
        store.close(workflow, CloseRequest(result=result, batch_id=batch.batch_id))
        return batch.batch_id


async def fired(workflow: str, since: str, later: float = 0) -> list[TriggerEvent]:
    """Return all that a trigger says, which begins a while later."""
    await asyncio.sleep(later)
    trigger = WaitsyTrigger(wait=asdict(Wait(workflow=workflow, scope="since_last_run", since=since)))
    return [event async for event in trigger.run()]


def all_end_right(events: dict[str, list[TriggerEvent]], night: Night) -> None:
    assert all(isinstance(event, TaskSuccessEvent) for of in events.values() for event in of)
    ended = {workflow: [event.xcoms["return_value"] for event in of] for workflow, of in events.items()}
    assert ended == {workflow: [batch_id] for workflow, batch_id in night.right.items()}


@pytest.mark.slow
def test_250_waits_while_redis_is_restarted_10_times_and_closes_go_on(
    lasting_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarts, chance = 10, random.Random(5)
    workflows = [f"wf{number}" for number in range(250)]
    night = Night(lasting_server.url, monkeypatch)
    since = night.before(workflows)
    left = chance.sample(workflows, len(workflows))
    up_again = threading.Semaphore(0)
    faults: list[BaseException] = []

    def close() -> None:
        """Close some of them after each restart, so that closes meet each, until all are."""
        store = night.store()
        try:
            for _ in range(restarts):
                up_again.acquire()
                for _ in range(len(workflows) // restarts):
                    night.load(left.pop(), store)
                    time.sleep(chance.uniform(0, 0.02))
        except BaseException as error:
            faults.append(error)

    def restart() -> None:
        for number in range(restarts):
            up_again.release()
            time.sleep(chance.uniform(0.05, 0.4))
            (lasting_server.kill if number % 2 else lasting_server.stop)()
            time.sleep(chance.uniform(0, 0.2))
            lasting_server.start()

    async def test() -> None:
        threads = [threading.Thread(target=work) for work in (close, restart)]
        waits = {
            workflow: asyncio.create_task(fired(workflow, since, chance.choice([0, chance.uniform(0, 4)])))
            for workflow in workflows
        }
        await asyncio.sleep(0.3)
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert not faults, faults
        await asyncio.wait_for(asyncio.gather(*waits.values()), timeout=20)
        all_end_right({workflow: wait.result() for workflow, wait in waits.items()}, night)

    asyncio.run(asyncio.wait_for(test(), timeout=90))


def lose_and_close(night: Night, lose: Callable[[], Any], taken_over: Callable[[], Any]) -> None:
    """Close workflows as soon as a server is lost, and again when another has taken over, with waits open all the time.

    :param lose: returns at once. Nothing is closed meanwhile: what a replica has not got yet is lost by design.
    """
    workflows = [f"wf{number}" for number in range(40)]
    since = night.before(workflows)

    async def test() -> None:
        store = night.store()
        waits = {workflow: asyncio.create_task(fired(workflow, since)) for workflow in workflows[:-5]}
        await asyncio.sleep(1)
        await asyncio.to_thread(lose)
        # Some come while there is nothing to connect to.
        waits |= {workflow: asyncio.create_task(fired(workflow, since)) for workflow in workflows[-5:]}
        for workflow in workflows[::2]:
            await asyncio.to_thread(night.load, workflow, store)
        await asyncio.to_thread(until, taken_over)
        for workflow in workflows[1::2]:
            await asyncio.to_thread(night.load, workflow, store)
        await asyncio.wait_for(asyncio.gather(*waits.values()), timeout=25)
        all_end_right({workflow: wait.result() for workflow, wait in waits.items()}, night)

    asyncio.run(asyncio.wait_for(test(), timeout=90))


class TestSentinel:
    @pytest.fixture
    def watched(self, tmp_path: Path) -> Iterator[Watched]:
        with started_sentinel(tmp_path) as watched:
            yield watched

    @pytest.mark.slow
    def test_a_master_that_is_killed(self, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
        night = Night(watched.url, monkeypatch)

        def lose() -> None:
            assert watched.master_port() == watched.ports[0]
            assert watched.replica_has_all()
            watched.master.kill()

        lose_and_close(night, lose, lambda: watched.master_port() == watched.ports[1])

    def test_a_master_that_is_made_a_replica(self, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
        """The old master lives on, and passes on what is published at the new one."""
        night = Night(watched.url, monkeypatch)
        lose_and_close(night, watched.fail_over, lambda: watched.master_port() == watched.ports[1])


@pytest.mark.slow
def test_a_cluster_whose_replica_takes_over_from_a_lost_master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started_cluster(tmp_path, replicas=1, timeout_ms=1_000) as cluster:
        night = Night(cluster.url, monkeypatch)
        left = cluster.nodes[1:]

        def lose() -> None:
            assert cluster.nodes[0].execute_command("WAIT", 1, 5_000) == 1
            cluster.processes[0].kill()

        def taken_over() -> bool:
            lost = [node for node in left[0].cluster("nodes").values() if "fail" in node["flags"].split(",")]
            return bool(lost) and all(node.cluster("info")["cluster_state"] == "ok" for node in left)

        lose_and_close(night, lose, taken_over)


def test_a_client_that_never_gets_rid_of_its_connection(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen of redis-py, after a timeout in a triggerer that was starting 10,000 triggers."""
    night = Night(redis_url, monkeypatch)
    since = night.before(["wf0"])
    monkeypatch.setattr(wait_multiplexer, "_STUCK_SECONDS", 0.5)
    rightly, stuck = Pipeline.reset, asyncio.Event()

    async def reset(pipe: Any) -> None:
        if not stuck.is_set():
            stuck.set()
            await asyncio.Event().wait()
        await rightly(pipe)

    monkeypatch.setattr(Pipeline, "reset", reset)

    async def test() -> None:
        wait = asyncio.create_task(fired("wf0", since))
        await stuck.wait()
        await asyncio.to_thread(night.load, "wf0", night.store())
        await asyncio.wait_for(wait, timeout=15)
        all_end_right({"wf0": wait.result()}, night)

    asyncio.run(test())


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while True:
        with suppress(Exception):
            if condition():
                return
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
