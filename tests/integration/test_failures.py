# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Things break in the middle of a night: a worker is killed, a job takes too long, a person steps in."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from nights import Nights
from task_processes import airflow_processes_above, is_alive, script_pid

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


@dataclass
class Struck:
    """A run whose second job waits for the file ``go``, and to which something has happened meanwhile.

    :param batch_id: of the batch that it had opened before.
    :param script: process id of the job's script.
    """

    run_id: str
    batch_id: int
    script: int
    folder: Path


@pytest.fixture(scope="module")
def nights(airflow: Nights, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Struck]:
    """One run of each of four workflows at the same time, struck in four ways."""
    ways = {"killed": 0, "killed_once": 2, "given_up": 0, "too_slow": 0}
    folders = {name: tmp_path_factory.mktemp(name) for name in ways}
    texts = {}
    for name, retries in ways.items():
        timeout = "timeout: 3s" if name == "too_slow" else ""
        texts[name] = SLOW.format(folder=folders[name], retries=retries, timeout=timeout)
    airflow.add_all(texts)
    runs = {name: airflow.start(name) for name in ways}
    found = {}
    for name, run in runs.items():
        script = script_pid(folders[name])
        found[name] = Struck(run, airflow.batch(name, run).batch_id, script, folders[name])
    for name in ("killed", "killed_once"):
        for pid in airflow_processes_above(found[name].script):
            os.kill(pid, signal.SIGKILL)
    airflow.client.set_run_state("given_up", runs["given_up"], "failed")
    return found


def then_the_window_is_taken_again(airflow: Nights, workflow: str, night: Struck) -> None:
    lost = airflow.batch(workflow, night.run_id)
    (night.folder / "go").touch()
    next_run, state = airflow.run(workflow)
    batch = airflow.batch(workflow, next_run)
    assert (state, batch.status) == ("success", "success")
    assert batch.from_date == lost.from_date


def test_a_killed_worker_is_retried_within_the_same_batch(airflow: Nights, nights: dict[str, Struck]) -> None:
    night = nights["killed_once"]
    script_pid(night.folder)
    (night.folder / "go").touch()
    assert airflow.client.wait_for_run("killed_once", night.run_id, timeout=240) == "success"
    assert airflow.batch("killed_once", night.run_id).batch_id == night.batch_id


def test_a_worker_killed_between_open_and_close_costs_no_window_and_leaves_no_script(
    airflow: Nights, nights: dict[str, Struck]
) -> None:
    night = nights["killed"]
    assert airflow.client.wait_for_run("killed", night.run_id, timeout=240) == "failed"
    assert airflow.tasks("killed", night.run_id)["load"] == "failed"
    assert airflow.batch("killed", night.run_id).status == "failed", "close has run and recorded the failure"
    wait_for(lambda: not is_alive(night.script), "the script of a killed worker to end", timeout=240)
    then_the_window_is_taken_again(airflow, "killed", night)


def test_a_run_marked_as_failed_by_hand_keeps_its_window_for_the_next_one(
    airflow: Nights, nights: dict[str, Struck]
) -> None:
    night = nights["given_up"]
    wait_for(lambda: not is_alive(night.script), "the script to be ended", timeout=240)
    then_the_window_is_taken_again(airflow, "given_up", night)


def test_a_job_past_its_timeout_is_ended_and_fails_the_batch(airflow: Nights, nights: dict[str, Struck]) -> None:
    night = nights["too_slow"]
    assert airflow.client.wait_for_run("too_slow", night.run_id) == "failed"
    assert airflow.batch("too_slow", night.run_id).status == "failed"
    wait_for(lambda: not is_alive(night.script), "the script to be ended", timeout=240)
    then_the_window_is_taken_again(airflow, "too_slow", night)
