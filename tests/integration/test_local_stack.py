# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The harness itself: an Airflow that runs a plain DAG, and has the examples."""

from __future__ import annotations

from nights import Nights

from batchy_provider.local.rest import wait_for

PLAIN = """
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def plain():
        @task
        def greet():
            print("good evening")
            return 42

        greet()

    plain()
"""


def test_a_plain_dag_runs(airflow: Nights) -> None:
    airflow.add_dag("plain", PLAIN)
    run_id, state = airflow.run("plain")
    assert state == "success"
    assert airflow.tasks("plain", run_id) == {"greet": "success"}
    assert "good evening" in airflow.log("plain", run_id, "greet")
    assert airflow.client.xcom("plain", run_id, "greet") == 42


def test_the_examples_are_there_without_an_import_error(airflow: Nights) -> None:
    for workflow in ("crm_extract", "invoices", "sales", "stock"):
        airflow.ready(workflow)
    # Another test may have broken a file for a moment.
    wait_for(lambda: not airflow.client.import_errors(), "no import errors", timeout=240)
    assert "wf1" not in airflow.client.dags(), "a file of the original Batchy makes no DAG"
