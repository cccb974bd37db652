# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Two scripts of one job never load one window at the same time, whatever part of Airflow is killed or overruled."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from nights import Nights
from task_processes import airflow_processes_above, script_pid

# The lock is held until the last process of the script is gone.
ALONE = """
    schedule: null
    jobs:
      load:
        retries: 3
        retry_delay: 1s
        bash: |
          exec 9>>{folder}/lock
          flock --nonblock 9 || touch {folder}/beside_another
          echo $$ > {folder}/pid
          while test ! -e {folder}/go; do sleep 0.2; done
"""


KILLED = {"task": [0], "supervisor": [1], "task_and_supervisor": [0, 1]}
"""What is killed → which of `airflow_processes_above`."""


@pytest.fixture(scope="module")
def tries(airflow: Nights, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path]]:
    """Runs of three workflows at the same time, each struck in its own way: run id and folder, by what was killed."""
    folders = {killed: tmp_path_factory.mktemp(killed) for killed in KILLED}
    airflow.add_all({f"fenced_{killed}": ALONE.format(folder=folder) for killed, folder in folders.items()})
    runs = {killed: airflow.start(f"fenced_{killed}") for killed in KILLED}
    for killed, folder in folders.items():
        above = airflow_processes_above(script_pid(folder))
        for number in KILLED[killed]:
            os.kill(above[number], signal.SIGKILL)
    return {killed: (run, folders[killed]) for killed, run in runs.items()}


@pytest.mark.parametrize("killed", KILLED)
def test_the_next_try_of_a_job_begins_when_the_script_of_the_killed_one_has_ended(
    airflow: Nights, tries: dict[str, tuple[str, Path]], killed: str
) -> None:
    run_id, folder = tries[killed]
    script_pid(folder, timeout=240)
    (folder / "go").touch()
    assert airflow.client.wait_for_run(f"fenced_{killed}", run_id, timeout=240) == "success"
    assert not (folder / "beside_another").exists()
