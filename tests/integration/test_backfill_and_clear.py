# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Days loaded afterwards and runs done again, on a real scheduler: the live watermark stays where it is."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from airflow_versions import CLEARS_SETUPS
from nights import Nights

from batchy_provider.local.rest import wait_for

NIGHTLY = """
    schedule: "0 2 * * *"
    timezone: Europe/Paris
    start_date: 2026-03-01
    max_active_runs: 4
    jobs:
      load:
        reprocess_hours: 2
        bash: echo "window $BATCHY_FROM_DATE $BATCHY_TO_DATE"
"""
# Clocks went forward on 29 March: two in the morning does not exist in Paris, and the night is short.
FIRES = [
    "2026-03-27T01:00:00.000000",
    "2026-03-28T01:00:00.000000",
    "2026-03-29T01:00:00.000000",
    "2026-03-30T00:00:00.000000",
]


WORKFLOWS = ("forwards", "backwards")


@pytest.fixture(scope="module")
def watermarks(airflow: Nights) -> dict[str, dict[str, str | None]]:
    """Two workflows with their first night; a backfill of each has ended. Workflow → its watermark before that."""
    airflow.add_all(dict.fromkeys(WORKFLOWS, NIGHTLY))
    runs = {workflow: airflow.start(workflow) for workflow in WORKFLOWS}
    for workflow, run in runs.items():
        airflow.client.wait_for_run(workflow, run)
    found = {workflow: airflow.watermark(workflow) for workflow in WORKFLOWS}
    days = ("2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z")
    backfills = [
        airflow.client.backfill(workflow, *days, max_active_runs=2, run_backwards=workflow == "backwards")
        for workflow in WORKFLOWS
    ]
    for backfill in backfills:
        wait_for(lambda each=backfill: airflow.client.backfill_done(each), "the backfill", timeout=240)
    return found


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_backfill_of_three_days_two_at_a_time_takes_each_days_own_window(
    airflow: Nights, watermarks: dict[str, dict[str, str | None]], workflow: str
) -> None:
    batches = [batch for batch in airflow.store.history(workflow) if batch.kind == "history"]
    windows = sorted((batch.from_date, batch.to_date) for batch in batches)
    assert windows == list(pairwise(FIRES)), "from one fire to the next: no gap, no overlap"
    assert {batch.status for batch in batches} == {"success"}
    assert airflow.watermark(workflow) == watermarks[workflow], "the live state was not touched"
    ((start, end),) = json.loads(airflow.store.backend.client.hget(f"{workflow}:loaded", "load") or "[]")
    assert start <= FIRES[0] < FIRES[-1] <= end


def test_a_backfill_waits_for_the_day_whose_data_it_loads(airflow: Nights) -> None:
    later = NIGHTLY.replace("reprocess_hours: 2", "initial_date: 2026-04-01")
    airflow.add_all({"source": later, "sink": NIGHTLY.replace("jobs:", "wait_for: [source]\n    jobs:")})
    airflow.run("source")

    sink = airflow.client.backfill("sink", "2026-03-27T00:00:00Z", "2026-03-27T12:00:00Z")
    (run,) = wait_for(lambda: airflow.client.runs("sink", run_type="backfill"), "the backfill's run", timeout=240)
    airflow.client.wait_for_task("sink", run["dag_run_id"], "wait_for_source", ["deferred"])

    source = airflow.client.backfill("source", "2026-03-27T00:00:00Z", "2026-03-27T12:00:00Z")
    wait_for(lambda: airflow.client.backfill_done(source), "the backfill of the source", timeout=240)
    wait_for(lambda: airflow.client.backfill_done(sink), "the backfill of the sink", timeout=240)
    assert airflow.client.run("sink", run["dag_run_id"])["state"] == "success"


def test_a_cleared_old_run_takes_its_own_window_again_for_history_only(airflow: Nights) -> None:
    airflow.add("cleared", "{schedule: null, jobs: {extract: {bash: 'true'}, load: {bash: 'true'}}}")
    old_run, _ = airflow.run("cleared")
    old = airflow.batch("cleared", old_run)
    airflow.run("cleared")
    before = airflow.watermark("cleared")

    cleared = airflow.client.clear("cleared", old_run, ["load"] if CLEARS_SETUPS else ["open", "load", "close"])
    assert set(cleared) >= {"open", "load", "close"}, "setup and teardown are cleared with a job"
    assert airflow.client.wait_for_run("cleared", old_run) == "success"

    again = airflow.batch("cleared", old_run)
    assert again.batch_id > old.batch_id
    assert (again.kind, again.status) == ("history", "success")
    assert (again.from_date, again.to_date) == (old.from_date, old.to_date)
    assert airflow.watermark("cleared") == before
    assert "a later batch has succeeded since" in airflow.log("cleared", old_run, "open")


def test_the_latest_run_cleared_moves_the_live_batch_and_the_next_window_leaves_no_gap(airflow: Nights) -> None:
    airflow.add("redone", "{schedule: null, jobs: {load: {bash: 'true'}}}")
    run_id, _ = airflow.run("redone")
    first = airflow.batch("redone", run_id)
    airflow.client.clear("redone", run_id)
    assert airflow.client.wait_for_run("redone", run_id) == "success"
    again = airflow.batch("redone", run_id)
    assert (again.kind, again.from_date, again.to_date) == ("live", first.from_date, first.to_date)
    next_run, _ = airflow.run("redone")
    assert airflow.batch("redone", next_run).from_date == first.to_date
