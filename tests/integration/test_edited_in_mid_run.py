# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A workflow's file is edited, broken or deleted, or its bundle changed, while a batch is open: no window is lost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest
from nights import Nights

from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.local.rest import wait_for

WORKFLOW = """
    schedule: null
    defaults: {{retries: 20, retry_delay: 2s}}
    jobs:
      extract:
        bash: while ! test -e {go}; do sleep 0.2; done
      load:
        bash: echo "$BATCHY_FROM_DATE $BATCHY_TO_DATE" >> {loaded}
"""
Edit = Callable[[Nights, str, Path], Callable[[], bool]]
"""Edits the file of a workflow; returns what tells that Airflow has seen it."""


def tasks_are(airflow: Nights, workflow: str, *names: str) -> bool:
    found = airflow.client.request("GET", f"/dags/{workflow}/tasks")["tasks"]
    return {task["task_id"] for task in found} == {"open", "close", *names}


def removed(airflow: Nights, workflow: str, file: Path) -> Callable[[], bool]:
    file.write_text(file.read_text().partition("  load:")[0])
    return lambda: tasks_are(airflow, workflow, "extract")


def renamed(airflow: Nights, workflow: str, file: Path) -> Callable[[], bool]:
    """The schedule is changed too."""
    file.write_text(file.read_text().replace("  load:", "  store:").replace("schedule: null", "schedule: '0 5 1 1 *'"))
    return lambda: tasks_are(airflow, workflow, "extract", "store")


def broken(airflow: Nights, workflow: str, file: Path) -> Callable[[], bool]:
    file.write_text(file.read_text() + "  load: twice\n")
    return lambda: not airflow.client.has_dag(workflow)


def deleted(airflow: Nights, workflow: str, file: Path) -> Callable[[], bool]:
    file.unlink()
    return lambda: not airflow.client.has_dag(workflow)


LONG = pytest.mark.long
"""Airflow takes minutes to see what is renamed or gone."""


@pytest.mark.parametrize(
    "edit", [removed, broken, pytest.param(renamed, marks=LONG), pytest.param(deleted, marks=LONG)]
)
def test_an_edit_in_mid_run_loses_no_window(airflow: Nights, tmp_path: Path, edit: Edit) -> None:
    workflow, go, loaded = f"edited_{edit.__name__}", tmp_path / "go", tmp_path / "loaded"
    airflow.add(workflow, WORKFLOW.format(go=go, loaded=loaded))
    file = airflow.cfg / f"{workflow}.yaml"
    run = airflow.start(workflow)
    wait_for(lambda: airflow.tasks(workflow, run).get("extract") == "running", "extract to run", timeout=240)
    opened = airflow.batch(workflow, run)
    original = file.read_text()

    is_seen = edit(airflow, workflow, file)
    airflow.read_until(is_seen, "Airflow to see the edit")
    go.touch()
    if not file.exists() or edit is broken:
        # Until somebody mends it the run stands still, or its tasks fail and are tried again.
        wait_for(lambda: airflow.tasks(workflow, run).get("extract") != "running", "extract to end", timeout=240)
        file.write_text(original)
        airflow.read_until(lambda: airflow.client.has_dag(workflow), "the workflow")
    airflow.client.wait_for_run(workflow, run, timeout=240)
    first = airflow.batch(workflow, run)
    assert first.batch_id == opened.batch_id

    file.write_text(original)
    airflow.read_until(lambda: tasks_are(airflow, workflow, "extract", "load"), "the old file")
    next_run, state = airflow.run(workflow, timeout=240)
    batch = airflow.batch(workflow, next_run)
    assert state == "success"
    assert first.status in ("success", "failed"), "the batch was closed"
    windows = [line.split() for line in loaded.read_text().splitlines()]
    assert windows[0][0] == opened.from_date
    assert windows[-1][1] == batch.to_date
    for before, after in pairwise(windows):
        assert before[1] == after[0], "what the job has loaded has no gap, also where it missed a run"


def test_a_bundle_changed_between_two_tries_is_run_as_it_is_now_on_the_same_window(airflow: Nights) -> None:
    airflow.add(
        "rebundled",
        """
        schedule: null
        jobs:
          load: {bundle: rebundled, retries: 1, retry_delay: 10s}
        """,
        scripts={"rebundled": "echo first; exit 1"},
    )
    run = airflow.start("rebundled")
    wait_for(
        lambda: airflow.tasks("rebundled", run).get("load") == "up_for_retry", "the first try to fail", timeout=240
    )
    script = airflow.cfg / "bundles" / "rebundled" / "script.sh"
    script.write_text(dedent("echo second from $BATCHY_FROM_DATE"))
    assert airflow.client.wait_for_run("rebundled", run, timeout=240) == "success"
    batch = airflow.batch("rebundled", run)
    tries = ResultStore(str(airflow.stack.folder / "results")).find("rebundled", str(batch.batch_id), "load")
    said = []
    for execution in tries:
        with execution.open("stdout") as output:
            said.append(output.read().decode().strip())
    assert said == ["first", f"second from {batch.from_date}"]
    assert len({execution.record["bundle"]["sha256"] for execution in tries}) == 2, "the record tells which it was"
