# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Two scripts of one job never load one window at the same time, whatever part of Airflow is killed or overruled."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from nights import Nights
from test_failures import airflow_processes_above, script_pid

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


@pytest.mark.parametrize("killed", ["task", "supervisor", "task and supervisor"])
def test_the_next_try_of_a_job_begins_when_the_script_of_the_killed_one_has_ended(
    airflow: Nights, tmp_path: Path, killed: str
) -> None:
    name = f"fenced_{killed.replace(' ', '_')}"
    airflow.add(name, ALONE.format(folder=tmp_path))
    run_id = airflow.start(name)
    task, supervisor = airflow_processes_above(script_pid(tmp_path))
    for pid in {"task": [task], "supervisor": [supervisor]}.get(killed, [task, supervisor]):
        os.kill(pid, signal.SIGKILL)
    script_pid(tmp_path)
    (tmp_path / "go").touch()
    assert airflow.client.wait_for_run(name, run_id, timeout=120) == "success"
    assert not (tmp_path / "beside_another").exists()
