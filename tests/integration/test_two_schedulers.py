# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Two schedulers on one database, one of them killed: each run opens one batch, and the windows follow each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest
from nights import Nights

from batchy_provider.local.process import Guard, Service
from batchy_provider.local.rest import wait_for


@pytest.fixture
def second(airflow: Nights) -> Iterator[Service]:
    """A second scheduler, with workers of its own; the first one runs again afterwards."""
    guard = Guard()
    stack = airflow.stack
    service = Service(
        "Airflow's second scheduler",
        [sys.executable, "-m", "airflow", "scheduler", "--skip-serve-logs"],
        log=stack.folder / "logs" / "scheduler-2.log",
        env=stack.environment,
        watch=lambda pid: guard.watch(1, pid),
    )
    service.start()

    def both() -> bool:
        asked = {"job_type": "SchedulerJob", "is_alive": True}
        return bool(stack.client.request("GET", "/jobs", params=asked)["total_entries"] >= 2)

    try:
        wait_for(both, "two schedulers to be alive", timeout=240)
        yield service
    finally:
        if not stack.service("scheduler").alive():
            stack.restart("scheduler")
        service.stop()
        guard.dismiss()


def test_each_run_opens_one_batch_whichever_scheduler_is_killed(airflow: Nights, second: Service) -> None:
    airflow.add(
        "shared",
        """
        schedule: null
        defaults: {retries: 5, retry_delay: 1s}
        jobs:
          load: {bash: "sleep 0.5"}
        """,
    )
    runs = [airflow.start("shared") for _ in range(3)]
    wait_for(lambda: airflow.tasks("shared", runs[0]).get("open") == "success", "a batch to be open", timeout=240)
    airflow.stack.service("scheduler").kill()
    assert airflow.client.wait_for_run("shared", runs[0], timeout=240) == "success"
    airflow.stack.restart("scheduler")
    second.kill()
    for run in runs[1:]:
        assert airflow.client.wait_for_run("shared", run, timeout=240) == "success"
    batches = sorted(airflow.store.history("shared"), key=lambda batch: batch.batch_id)
    assert [batch.record.run for batch in batches if batch.record] == runs, "one batch for each run, in order"
    assert {batch.status for batch in batches} == {"success"}
    for before, after in pairwise(batches):
        assert after.from_date == before.to_date
