# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The shipped examples, as a newcomer runs them: all at once, one waiting for another."""

from __future__ import annotations

from itertools import pairwise

import pytest
from nights import Nights

from batchy_provider.core.boundaries import boundary_at
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.local.rest import wait_for

pytestmark = pytest.mark.night
EXAMPLES = ("sales", "stock", "crm_extract", "invoices")


@pytest.fixture(scope="module")
def night(airflow: Nights) -> dict[str, str]:
    """One run of each example, started side by side, the one that waits first; workflow → run id."""
    for workflow in EXAMPLES:
        airflow.ready(workflow)
    runs = {workflow: airflow.start(workflow) for workflow in EXAMPLES}
    for workflow, run_id in runs.items():
        assert airflow.client.wait_for_run(workflow, run_id, timeout=240) == "success", workflow
    return runs


def test_each_run_leaves_a_closed_batch_with_its_window(airflow: Nights, night: dict[str, str]) -> None:
    for workflow in ("sales", "stock", "crm_extract"):
        batch = airflow.batch(workflow, night[workflow])
        assert (batch.status, batch.kind) == ("success", "live")
        assert batch.from_date is not None
        assert batch.to_date is not None
        assert batch.from_date < batch.to_date


def test_the_outcome_of_each_job_is_recorded(airflow: Nights, night: dict[str, str]) -> None:
    def outcomes(workflow: str) -> dict[str, str]:
        return {job: f["outcome"] for job, f in airflow.batch(workflow, night[workflow]).jobs.items()}

    assert outcomes("sales") == dict.fromkeys(("extract", "load", "report", "reconcile"), "success")
    assert outcomes("stock")["archive"] == "skipped", "a disabled job is no part of the batch"


def test_a_handler_of_failures_is_skipped_in_a_good_run(airflow: Nights, night: dict[str, str]) -> None:
    assert airflow.tasks("sales", night["sales"])["page_on_call"] == "skipped"


def test_a_wait_returns_the_batch_that_ended_it(airflow: Nights, night: dict[str, str]) -> None:
    seen = airflow.client.xcom("sales", night["sales"], "wait_for_crm_extract")
    # A DAG that is unpaused may also run for the night before: whichever succeeded first ended the wait.
    waited_for = airflow.store.batch("crm_extract", int(seen))
    assert waited_for.status == "success"
    started = airflow.batch("sales", night["sales"]).record
    assert started is not None
    assert str(waited_for.batch_end) <= started.started


def test_one_jobs_output_is_the_next_ones_input(airflow: Nights, night: dict[str, str]) -> None:
    assert "customers changed between" in airflow.log("crm_extract", night["crm_extract"], "check")


def test_templates_of_any_operator_know_the_batch(airflow: Nights, night: dict[str, str]) -> None:
    batch = airflow.batch("sales", night["sales"])
    log = airflow.log("sales", night["sales"], "reconcile")
    assert f"reconciling batch {batch.batch_id} from {batch.jobs['reconcile']['from_date']}" in log


@pytest.mark.usefixtures("night")
def test_a_long_time_is_loaded_in_slices_of_whole_months(airflow: Nights) -> None:
    # The run of the schedule and its slices may load all before the run of this test asks. Then this one is skipped.
    last = airflow.store.history("invoices", limit=1)[0]
    this_month = boundary_at("month", "Europe/Paris", parse_date(str(last.started)))

    def loaded() -> list[tuple[str, str]]:
        batches = airflow.store.history("invoices", limit=100)
        return sorted((str(b.from_date), str(b.to_date)) for b in batches if b.status == "success")

    wait_for(lambda: loaded() and loaded()[-1][1] >= format_date(this_month), "the last slice", timeout=400)
    assert len(loaded()) > 1
    assert all(before[1] == after[0] for before, after in pairwise(loaded())), "windows touch"
    ends = [parse_date(end) for _, end in loaded()]
    assert ends == [boundary_at("month", "Europe/Paris", end) for end in ends], "each ends with a month"
