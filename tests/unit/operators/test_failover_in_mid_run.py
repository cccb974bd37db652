# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""DAG runs and waits over failovers of Sentinel, through an Airflow connection with TLS and users of the least rights.

The servers are those of ``deploy/redis-sentinel.sh``. Each run opens before the failover and closes after it.
"""

from __future__ import annotations

import asyncio
import os
import runpy
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent
from deployed import DURING, Deployed, deployed
from failovers import graceful, killed_and_not_waited_for

from batchy_provider.core.dates import format_date, from_unix
from batchy_provider.core.waits import Wait
from batchy_provider.state.connections import client, parse_url, store
from batchy_provider.state.store import Store
from batchy_provider.triggers.waitsy import WaitsyTrigger

SOURCE = Path(__file__).parent / "failed_over_dag.py"


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed("redis-sentinel.sh", tmp_path_factory.mktemp("sentinel") / "deployed", 6) as found:
        yield found


@pytest.fixture(scope="module")
def dag() -> Iterator[Any]:
    """The DAG, in a metadata database of the tests' own."""
    from airflow.utils.db import initdb

    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    file = folder / SOURCE.name
    shutil.copy(SOURCE, file)
    initdb()
    yield runpy.run_path(str(file))["failed_over"]
    file.unlink()


@contextmanager
def opened(sentinel: Deployed) -> Iterator[Store]:
    """The state, asked of who is the master now: a connection from before may lead to the old one for a while."""
    address = parse_url(sentinel.url)
    with closing(client(address)) as connected:
        yield store(address, connected, retry_seconds=60)


def last(sentinel: Deployed) -> tuple[Any, str]:
    """The latest batch, and what time it is by the server's clock."""
    with opened(sentinel) as batches:
        return batches.status("failed_over").batch, format_date(from_unix(*batches.backend.client.time()))


async def waited(since: str) -> list[TriggerEvent]:
    trigger = WaitsyTrigger(wait=asdict(Wait(workflow="failed_over", scope="since_last_run", since=since)))
    return [event async for event in trigger.run()]


def collect(since: str, into: list[TriggerEvent]) -> None:
    into.extend(asyncio.run(waited(since)))


@pytest.mark.slow
def test_runs_that_open_before_a_failover_and_close_after_it(
    sentinel: Deployed, dag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other on the same servers: planned, then killed without waiting for the next master."""
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", sentinel.connection)
    monkeypatch.setenv("AIRFLOW__BATCHY__RECHECK_SECONDS", "1000")
    windows: list[tuple[str, str]] = []
    DURING["nothing"] = lambda: None
    assert dag.test(run_conf={"during": "nothing"}).state == "success"
    batch, now = last(sentinel)
    windows.append((batch.from_date, batch.to_date))
    fail: Callable[[Deployed], None]
    for fail in (graceful, killed_and_not_waited_for):
        DURING[fail.__name__] = lambda fail=fail: fail(sentinel)
        ended: list[TriggerEvent] = []
        thread = threading.Thread(target=collect, args=(now, ended))
        thread.start()
        assert dag.test(run_conf={"during": fail.__name__}).state == "success", fail.__name__
        batch, now = last(sentinel)
        windows.append((batch.from_date, batch.to_date))
        thread.join(60)
        assert [type(event) for event in ended] == [TaskSuccessEvent], "the wait over the failover has ended, once"
        assert ended[0].xcoms["return_value"] == batch.batch_id
    starts, ends = zip(*windows, strict=True)
    assert list(starts[1:]) == list(ends[:-1]), "each window begins where the one before has ended"
    with opened(sentinel) as batches:
        assert [b.status for b in batches.history("failed_over")] == ["success"] * 3, "no batch was opened twice"
