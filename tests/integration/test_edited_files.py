# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Editing a configuration: the next parse has it, and a batch that is open keeps its meaning."""

from __future__ import annotations

from pathlib import Path

import pytest
from nights import Nights

from batchy_provider.cli.main import main
from batchy_provider.local.rest import wait_for


def test_a_job_added_while_a_batch_is_open(airflow: Nights, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go = tmp_path / "go"
    airflow.add(
        "edited",
        f"""
        schedule: null
        jobs:
          extract:   # waits for the test
            bash: while ! test -e {go}; do sleep 0.2; done
          load:
            bash: echo loaded
        """,
    )
    run = airflow.start("edited")
    wait_for(lambda: airflow.tasks("edited", run).get("extract") == "running", "extract to run", timeout=240)
    opened = airflow.batch("edited", run)

    adding = ["--cfg", str(airflow.cfg), "add", "edited", "audit", "--after", "extract"]
    assert main([*adding, "--bash", "echo audited", "--set", "params.level=3"]) == 0
    capsys.readouterr()
    assert "extract:   # waits for the test" in (airflow.cfg / "edited.yaml").read_text()

    def is_there() -> bool:
        return "audit" in {task["task_id"] for task in airflow.client.request("GET", "/dags/edited/tasks")["tasks"]}

    airflow.read_until(is_there, "the new job in the DAG")
    go.touch()
    assert airflow.client.wait_for_run("edited", run, timeout=240) == "success"
    closed = airflow.batch("edited", run)
    assert closed.batch_id == opened.batch_id
    assert {job: fields["outcome"] for job, fields in closed.jobs.items()} == {"extract": "success", "load": "success"}
    assert airflow.tasks("edited", run).get("audit") in (None, "skipped"), "it is no part of the batch that was open"

    next_run, state = airflow.run("edited")
    assert state == "success"
    jobs = airflow.batch("edited", next_run).jobs
    assert (jobs["audit"]["outcome"], jobs["audit"]["level"]) == ("success", 3)
