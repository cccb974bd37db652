# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Redis or the scheduler goes in the middle of a night, and comes back. No window is lost."""

from __future__ import annotations

import time
from pathlib import Path

from nights import Nights
from task_processes import script_pid

from batchy_provider.local.rest import wait_for

SLOW = """
    schedule: null
    jobs:
      extract:
        bash: echo "window $BATCHY_FROM_DATE $BATCHY_TO_DATE"
      load:
        retries: {retries}
        retry_delay: 1s
        bash: |
          echo $$ > {folder}/pid
          while test ! -e {folder}/go; do sleep 0.2; done
          touch {folder}/done
"""


def started(airflow: Nights, workflow: str, folder: Path, *, retries: int = 0) -> str:
    """Start a run whose second job waits for the file ``go``; return its id when the job runs."""
    airflow.add(workflow, SLOW.format(folder=folder, retries=retries))
    run_id = airflow.start(workflow)
    script_pid(folder)
    return run_id


def test_redis_stopped_and_started_again_during_a_run_costs_nothing(airflow: Nights, tmp_path: Path) -> None:
    run_id = started(airflow, "redis_gone", tmp_path)
    valkey = airflow.stack.service("valkey")
    valkey.stop()
    (tmp_path / "go").touch()
    wait_for((tmp_path / "done").exists, "the script to end while there is no Redis", timeout=240)
    time.sleep(2)  # the task has something to tell Redis now, and finds it gone
    airflow.stack.restart("valkey")
    assert airflow.client.wait_for_run("redis_gone", run_id, timeout=240) == "success"
    batch = airflow.batch("redis_gone", run_id)
    assert batch.status == "success"
    assert airflow.store.status("redis_gone").batch.batch_id == batch.batch_id


def test_a_scheduler_killed_during_a_run_costs_no_window(airflow: Nights, tmp_path: Path) -> None:
    run_id = started(airflow, "scheduler_gone", tmp_path, retries=2)
    airflow.stack.service("scheduler").kill()
    airflow.stack.restart("scheduler")
    (tmp_path / "go").touch()
    assert airflow.client.wait_for_run("scheduler_gone", run_id, timeout=240) == "success"
    batch = airflow.batch("scheduler_gone", run_id)
    next_run, _ = airflow.run("scheduler_gone")
    assert airflow.batch("scheduler_gone", next_run).from_date == batch.to_date
