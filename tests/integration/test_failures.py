# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Things break in the middle of a night: a worker is killed, Redis goes, a person steps in. No window is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from nights import Nights

from batchy_provider.local.rest import wait_for

SLOW = """
    schedule: null
    jobs:
      extract:
        bash: echo "window $BATCHY_FROM_DATE $BATCHY_TO_DATE"
      load:
        retries: {retries}
        retry_delay: 1s
        {timeout}
        bash: |
          echo $$ > {folder}/pid
          while test ! -e {folder}/go; do sleep 0.2; done
"""


def started(airflow: Nights, workflow: str, folder: Path, *, retries: int = 0, timeout: str = "") -> tuple[str, int]:
    """Start a run whose second job waits for the file ``go``; return its id and the script's process id."""
    airflow.add(workflow, SLOW.format(folder=folder, retries=retries, timeout=timeout))
    run_id = airflow.start(workflow)
    return run_id, script_pid(folder)


def script_pid(folder: Path) -> int:
    def pid() -> int | None:
        text = (folder / "pid").read_text() if (folder / "pid").exists() else ""
        return int(text) if text.strip() else None

    found = int(wait_for(pid, "the script to start", timeout=60))
    (folder / "pid").unlink()
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def airflow_processes_above(pid: int) -> list[int]:
    """Return the task's process and its supervisor: the nearest ancestors of a script that are Airflow's."""
    found: list[int] = []
    while (pid := parent(pid)) > 1 and len(found) < 2:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"airflow" in command:
            found.append(pid)
    return found


def then_the_window_is_taken_again(airflow: Nights, workflow: str, run_id: str, folder: Path) -> None:
    lost = airflow.batch(workflow, run_id)
    (folder / "go").touch()
    next_run, state = airflow.run(workflow)
    batch = airflow.batch(workflow, next_run)
    assert (state, batch.status) == ("success", "success")
    assert batch.from_date == lost.from_date


def test_a_worker_killed_between_open_and_close_costs_no_window_and_leaves_no_script(
    airflow: Nights, tmp_path: Path
) -> None:
    run_id, script = started(airflow, "killed", tmp_path)
    for pid in airflow_processes_above(script):
        os.kill(pid, signal.SIGKILL)
    assert airflow.client.wait_for_run("killed", run_id, timeout=120) == "failed"
    assert airflow.tasks("killed", run_id)["load"] == "failed"
    assert airflow.batch("killed", run_id).status == "failed", "close has run and told what became of the batch"
    wait_for(lambda: not is_alive(script), "the script of a killed worker to end", timeout=30)
    then_the_window_is_taken_again(airflow, "killed", run_id, tmp_path)


def test_a_killed_worker_is_retried_within_the_same_batch(airflow: Nights, tmp_path: Path) -> None:
    run_id, script = started(airflow, "killed_once", tmp_path, retries=2)
    before = airflow.batch("killed_once", run_id).batch_id
    for pid in airflow_processes_above(script):
        os.kill(pid, signal.SIGKILL)
    script_pid(tmp_path)
    (tmp_path / "go").touch()
    assert airflow.client.wait_for_run("killed_once", run_id, timeout=120) == "success"
    assert airflow.batch("killed_once", run_id).batch_id == before


def test_redis_stopped_and_started_again_during_a_run_costs_nothing(airflow: Nights, tmp_path: Path) -> None:
    run_id, _ = started(airflow, "redis_gone", tmp_path)
    valkey = airflow.stack.service("valkey")
    valkey.stop()
    (tmp_path / "go").touch()
    time.sleep(4)
    airflow.stack.restart("valkey")
    assert airflow.client.wait_for_run("redis_gone", run_id, timeout=180) == "success"
    batch = airflow.batch("redis_gone", run_id)
    assert batch.status == "success"
    assert airflow.store.status("redis_gone").batch.batch_id == batch.batch_id


def test_a_run_marked_as_failed_by_hand_keeps_its_window_for_the_next_one(airflow: Nights, tmp_path: Path) -> None:
    run_id, script = started(airflow, "given_up", tmp_path)
    airflow.client.set_run_state("given_up", run_id, "failed")
    wait_for(lambda: not is_alive(script), "the script to be ended", timeout=60)
    then_the_window_is_taken_again(airflow, "given_up", run_id, tmp_path)


def test_a_job_past_its_timeout_is_ended_and_fails_the_batch(airflow: Nights, tmp_path: Path) -> None:
    run_id, script = started(airflow, "too_slow", tmp_path, timeout="timeout: 3s")
    assert airflow.client.wait_for_run("too_slow", run_id) == "failed"
    assert airflow.batch("too_slow", run_id).status == "failed"
    wait_for(lambda: not is_alive(script), "the script to be ended", timeout=30)
    then_the_window_is_taken_again(airflow, "too_slow", run_id, tmp_path)


def test_a_scheduler_killed_during_a_run_costs_no_window(airflow: Nights, tmp_path: Path) -> None:
    run_id, _ = started(airflow, "scheduler_gone", tmp_path, retries=2)
    airflow.stack.service("scheduler").kill()
    airflow.stack.restart("scheduler")
    (tmp_path / "go").touch()
    assert airflow.client.wait_for_run("scheduler_gone", run_id, timeout=180) == "success"
    batch = airflow.batch("scheduler_gone", run_id)
    next_run, _ = airflow.run("scheduler_gone")
    assert airflow.batch("scheduler_gone", next_run).from_date == batch.to_date
