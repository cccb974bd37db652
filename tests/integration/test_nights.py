# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Night after night on a real scheduler: a failure, the next window, independent jobs, handlers, waits."""

from __future__ import annotations

from pathlib import Path

import pytest
from nights import Nights

from batchy_provider.local.rest import wait_for

FLAKY = """
    schedule: null
    jobs:
      extract:
        bash: echo "window $BATCHY_FROM_DATE $BATCHY_TO_DATE"
      load:
        retries: 0
        bash: test ! -e {flag}
      publish:
        bash: echo published
      report:
        independent: true
        bash: echo "reported whatever became of the load"
      page:
        after: [load]
        when: failed
        bash: echo "load of $BATCHY_BATCH_ID failed"
"""


@pytest.mark.night
def test_a_failed_window_is_taken_again_and_the_next_one_starts_where_it_ended(airflow: Nights, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    airflow.add("flaky", FLAKY.format(flag=broken))

    broken.touch()
    first_run, state = airflow.run("flaky")
    failed = airflow.batch("flaky", first_run)
    assert (state, failed.status) == ("failed", "failed")
    assert airflow.tasks("flaky", first_run) == {
        "open": "success",
        "extract": "success",
        "load": "failed",
        "publish": "upstream_failed",
        "report": "success",
        "page": "success",
        "close": "failed",
    }, "an independent job and the handler run; the last job's success does not hide the failure"
    assert {job: f["outcome"] for job, f in failed.jobs.items()} == {
        "extract": "success",
        "load": "failed",
        "publish": "aborted",
        "report": "success",
    }
    assert f"load of {failed.batch_id} failed" in airflow.log("flaky", first_run, "page")
    assert "load failed" in airflow.log("flaky", first_run, "close")

    broken.unlink()
    second_run, state = airflow.run("flaky")
    again = airflow.batch("flaky", second_run)
    assert (state, again.status) == ("success", "success")
    assert again.from_date == failed.from_date, "the same window again"
    assert again.to_date > failed.to_date, "and what has come since"
    assert f"window {again.from_date} {again.to_date}" in airflow.log("flaky", second_run, "extract")

    third_run, _ = airflow.run("flaky")
    assert airflow.batch("flaky", third_run).from_date == again.to_date, "no gap and no overlap"


WORKFLOWS = {
    "upstream": "{schedule: null, jobs: {load: {bash: 'true'}}}",
    "downstream": "{schedule: null, wait_for: [upstream], jobs: {use: {bash: 'true'}}}",
    "successor": "{schedule: {after: [leader]}, jobs: {use: {bash: 'true'}}}",
    "leader": "{schedule: null, jobs: {load: {bash: 'true'}}}",
    "breaks": "{schedule: null, jobs: {a: {bash: 'exit 1'}}}",
    "mends": "{schedule: {after: breaks, result: failed}, jobs: {a: {bash: 'true'}}}",
    "switched": "{schedule: null, jobs: {a: {bash: 'true'}, b: {bash: 'true', after: []}}}",
    "reloaded": "{schedule: null, jobs: {load: {bash: 'true'}}}",
    "asked_badly": "{schedule: null, jobs: {load: {bash: 'true'}}}",
}


@pytest.fixture(scope="module")
def first(airflow: Nights) -> dict[str, str]:
    """The first run of each workflow that starts one, all at the same time; workflow → run id."""
    airflow.add_all(WORKFLOWS)
    airflow.wait_for_watcher("breaks")
    runs = {
        workflow: airflow.start(workflow) for workflow in ("downstream", "leader", "breaks", "switched", "reloaded")
    }
    runs["asked_badly"] = airflow.start("asked_badly", conf={"from_date": "tomorrow-ish"})
    return runs


def test_a_wait_spans_two_dags_without_a_worker_and_ends_when_the_batch_is_closed(
    airflow: Nights, first: dict[str, str]
) -> None:
    waiting = first["downstream"]
    airflow.client.wait_for_task("downstream", waiting, "wait_for_upstream", ["deferred"])
    assert airflow.tasks("downstream", waiting)["open"] is None, "no batch is opened before the wait is over"

    loaded, _ = airflow.run("upstream")
    assert airflow.client.wait_for_run("downstream", waiting) == "success"
    batch_id = airflow.batch("upstream", loaded).batch_id
    assert airflow.client.xcom("downstream", waiting, "wait_for_upstream") == str(batch_id)
    assert f"batch {batch_id} succeeded" in airflow.log("downstream", waiting, "wait_for_upstream")


def test_a_dag_is_started_by_another_workflows_success(airflow: Nights, first: dict[str, str]) -> None:
    assert airflow.client.wait_for_run("leader", first["leader"]) == "success"

    def followed() -> bool:
        return [run["state"] for run in airflow.client.runs("successor")] == ["success"]

    wait_for(followed, "one run of successor", timeout=240)


def test_a_failure_starts_the_workflow_that_waits_for_failures(airflow: Nights, first: dict[str, str]) -> None:
    assert airflow.client.wait_for_run("breaks", first["breaks"]) == "failed"
    (run,) = wait_for(lambda: airflow.client.runs("mends"), "a run after the failure", timeout=240)
    assert airflow.client.wait_for_run("mends", run["dag_run_id"]) == "success"


def test_a_job_disabled_at_run_time_is_skipped_and_caught_up_when_it_is_enabled(
    airflow: Nights, first: dict[str, str]
) -> None:
    assert airflow.client.wait_for_run("switched", first["switched"]) == "success"
    loaded_to = airflow.batch("switched", first["switched"]).to_date

    airflow.store.disable("switched", "b", by="a test")
    without, state = airflow.run("switched")
    assert (state, airflow.tasks("switched", without)["b"]) == ("success", "skipped")

    airflow.store.enable("switched", "b", by="a test")
    caught_up, _ = airflow.run("switched")
    jobs = airflow.batch("switched", caught_up).jobs
    assert jobs["a"]["from_date"] == airflow.batch("switched", without).to_date
    assert jobs["b"]["from_date"] == loaded_to, "the window of a job that was off has not moved"


def test_a_run_that_asks_for_a_window_gets_it_and_leaves_the_watermark(airflow: Nights, first: dict[str, str]) -> None:
    assert airflow.client.wait_for_run("reloaded", first["reloaded"]) == "success"
    before = airflow.watermark("reloaded")
    window = {"from_date": "2026-03-01", "to_date": "2026-03-02T12:00:00Z"}
    run_id, state = airflow.run("reloaded", conf=window)
    batch = airflow.batch("reloaded", run_id)
    assert (state, batch.kind, batch.status) == ("success", "history", "success")
    assert (batch.from_date, batch.to_date) == ("2026-03-01T00:00:00.000000", "2026-03-02T12:00:00.000000")
    assert airflow.watermark("reloaded") == before


def test_a_bad_window_fails_at_once_with_the_reason(airflow: Nights, first: dict[str, str]) -> None:
    run_id = first["asked_badly"]
    assert airflow.client.wait_for_run("asked_badly", run_id) == "failed"
    assert airflow.tasks("asked_badly", run_id) == {
        "open": "failed",
        "load": "upstream_failed",
        "close": "upstream_failed",
    }
    assert "'tomorrow-ish' is not a date" in airflow.log("asked_badly", run_id, "open")
