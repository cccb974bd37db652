# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""SIGTERM to what runs a task, as Kubernetes sends it to a pod that is deleted: nothing is lost or left behind."""

from __future__ import annotations

import inspect
import os
import signal
from pathlib import Path

import pytest
from airflow.sdk.execution_time import supervisor as airflows
from nights import Nights
from task_processes import airflow_processes_above, is_alive

from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.local.rest import wait_for

# Airflow 3.3 alone: with others the supervisor dies, and the pod with all that is in it.
HANDS_ON = "SIGTERM" in inspect.getsource(airflows.ActivitySubprocess.wait)


@pytest.mark.skipif(not HANDS_ON, reason="this Airflow does not hand SIGTERM on to the task")
def test_a_script_has_its_grace_its_output_is_kept_and_the_next_attempt_loads_the_same_window(
    airflow: Nights, tmp_path: Path
) -> None:
    airflow.add(
        "evicted",
        f"""
        schedule: null
        jobs:
          load:
            retries: 1
            retry_delay: 1s
            kill_grace: 20s
            bash: |
              echo "$BATCHY_FROM_DATE $BATCHY_TO_DATE"
              trap 'sleep 1; echo rolled back; exit 3' TERM
              pwd > {tmp_path}/place-$BATCHY_ATTEMPT
              echo $$ > {tmp_path}/pid-$BATCHY_ATTEMPT
              if test $BATCHY_ATTEMPT = 1; then sleep 300 & wait; fi
        """,
    )
    run_id = airflow.start("evicted")
    file = tmp_path / "pid-1"
    wait_for(lambda: file.exists() and file.read_text().strip(), "the script to start", timeout=240)
    script = int(file.read_text())
    task, supervisor = airflow_processes_above(script)
    place = Path((tmp_path / "place-1").read_text().strip())
    assert place.exists()
    os.kill(supervisor, signal.SIGTERM)

    wait_for(lambda: not is_alive(script), "the script to end", timeout=240)
    assert airflow.client.wait_for_run("evicted", run_id, timeout=240) == "success"
    batch = airflow.batch("evicted", run_id)
    store = ResultStore(airflow.stack.environment["AIRFLOW__BATCHY__RESULTS_URL"])
    first, second = store.find("evicted", str(batch.batch_id))
    window = f"{batch.from_date} {batch.to_date}\n"
    with first.open("stdout") as output:
        assert output.read().decode() == f"{window}rolled back\n", "what it wrote in its grace is kept too"
    assert (first.record["state"], first.record["exit_code"], first.record["killed"]) == ("failed", 3, False)
    with second.open("stdout") as output:
        assert output.read().decode() == window
    assert not place.exists()
    assert not is_alive(task)
