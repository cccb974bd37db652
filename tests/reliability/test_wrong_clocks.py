# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Clocks that are set wrong, hours ahead and behind, and that jump: windows come from Redis, and only go forward."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from fake_time import Clock, needs_faketime
from redis_server import Server

from batchy_provider.core.values import Batch, CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.local.rest import wait_for
from batchy_provider.local.servers import valkey_binary
from batchy_provider.state.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    needs_faketime()
    return Clock(tmp_path / "clock")


class Nights:
    """Batches of one workflow on a Redis whose clock may be set."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self._clock = clock
        self.count = 0

    def set_clock(self, hours: float) -> None:
        """Set Redis' clock, and wait until it has seen it."""
        self._clock.set(hours)

        def seen() -> bool:
            seconds, _ = self.store.backend.client.time()
            return bool(abs(seconds - time.time() - hours * 3600) < 600)

        wait_for(seen, "Redis to see its clock set", timeout=20)

    def night(self, result: Result = "success", **config: float) -> Batch:
        self.count += 1
        request = OpenRequest(
            holder=Holder(dag_id="wf", run_id=f"night_{self.count}"),
            config=WorkflowConfig(name="wf", jobs={"load": {**config}}),
        )
        opened = self.store.open("wf", request)
        return self.store.close("wf", CloseRequest(result=result, batch_id=opened.batch_id))


@pytest.fixture
def nights(clock: Clock, tmp_path: Path) -> Iterator[Nights]:
    # Debian's redis-server, with its jemalloc, does not start under libfaketime.
    server = Server(valkey_binary(), tmp_path, environment=clock.environment)
    server.start()
    with server.client() as client:
        yield Nights(Store(client), clock)
    server.stop()


def window(batch: Batch) -> tuple[datetime, datetime]:
    assert batch.from_date
    assert batch.to_date
    return datetime.fromisoformat(batch.from_date), datetime.fromisoformat(batch.to_date)


def test_redis_own_clock_may_jump_and_windows_go_on_where_they_ended(nights: Nights) -> None:
    hours_and_results: list[tuple[float, Result]] = [
        (0, "success"),
        (-3, "success"),
        (-3, "failed"),
        (-26, "success"),
        (5, "failed"),
        (-1, "failed"),
        (-1, "success"),
        (0, "success"),
        (6, "success"),
    ]
    batches = []
    for hours, result in hours_and_results:
        nights.set_clock(hours)
        batches.append(nights.night(result))
    ids = [batch.batch_id for batch in batches]
    assert ids == sorted(set(ids)), "unique and increasing"
    loaded = window(batches[0])[0]
    for batch in batches:
        start, end = window(batch)
        assert start == loaded, "no gap and no overlap, also after a failure"
        assert end >= start, "never negative"
        if batch.status == "success":
            loaded = end
    right = datetime.now(timezone.utc).replace(tzinfo=None)
    assert loaded - right > timedelta(hours=5), "a clock that is ahead takes the watermark with it"


def test_an_overlap_reaches_back_from_the_watermark_and_not_from_a_clock_that_was_set_back(
    nights: Nights,
) -> None:
    _, loaded = window(nights.night(reprocess_hours=1))
    nights.set_clock(-10)
    start, end = window(nights.night(reprocess_hours=1))
    assert start == loaded - timedelta(hours=1)
    assert end == loaded, "nothing new yet, by its clock: only the overlap is loaded again"


PROGRAM = Path(__file__).parent / "wrongly_timed_nights.py"


def test_a_workers_clock_that_is_wrong_and_jumps_in_mid_run_is_in_no_window(
    clock: Clock, redis_url: str, tmp_path: Path
) -> None:
    before = datetime.now(timezone.utc).replace(tzinfo=None)
    home = tmp_path / "home"
    (home / "dags").mkdir(parents=True)
    environment = {
        **os.environ,
        **clock.environment,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW_CONN_REDIS_DEFAULT": redis_url,
        "CLOCK": str(tmp_path / "clock"),
        "TOLD": str(tmp_path / "told"),
    }
    done = subprocess.run([sys.executable, PROGRAM], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    after = datetime.now(timezone.utc).replace(tzinfo=None)
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    # The worker's clock has really been wrong, and by what the test has set.
    off = [(datetime.fromisoformat(night["clock"]) - before).total_seconds() / 3600 for night in told]
    assert [round(hours) for hours in off] == [7, -7, -2]
    loaded = None
    for night in told:
        start, end = datetime.fromisoformat(night["from"]), datetime.fromisoformat(night["to"])
        assert loaded is None or start == loaded
        assert before <= end <= after
        loaded = end
