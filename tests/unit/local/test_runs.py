# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the demo makes of an Airflow that is slow, forgets a DAG, or never ends a run: a real server that answers so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_airflow import FakeAirflow, serving

from batchy_provider.local.rest import AirflowClient
from batchy_provider.local.runs import DAG_TIMEOUT, STALL_SECONDS, Runs


@pytest.fixture
def airflow() -> FakeAirflow:
    return FakeAirflow()


@pytest.fixture
def client(airflow: FakeAirflow) -> Iterator[AirflowClient]:
    with serving(airflow) as client:
        yield client


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Demo:
    def __init__(self, client: AirflowClient, *dag_ids: str) -> None:
        self.said: list[str] = []
        self.clock = Clock()
        self.runs = Runs(client, dag_ids, note=self.said.append, clock=self.clock)


def test_what_was_not_asked_for_is_neither_unpaused_nor_triggered(airflow: FakeAirflow, client: AirflowClient) -> None:
    airflow.dags = {"sales": [], "mine": [{"dag_run_id": "old", "state": "running", "run_type": "manual"}]}
    demo = Demo(client, "sales")
    demo.runs.poll()
    assert airflow.changes == ["unpause sales", "trigger sales"]
    airflow.dags["sales"][0]["state"] = "success"
    demo.runs.poll()
    assert (demo.runs.states, demo.runs.ended, demo.runs.succeeded) == ({"sales": "success"}, True, True)


@pytest.mark.parametrize("code", [500, 503, 502, 404, 409, 429])
def test_an_answer_that_fails_is_asked_for_again_and_said_once(
    airflow: FakeAirflow, client: AirflowClient, code: int
) -> None:
    airflow.dags = {"sales": [], "stock": []}
    demo = Demo(client, "sales", "stock")
    airflow.failing = lambda method, path: code if "sales" in path else 0
    for _ in range(3):
        demo.runs.poll()
    assert "trigger stock" in airflow.changes, "one that fails keeps no other away"
    assert len([line for line in demo.said if "asking again" in line]) == 1
    assert not demo.runs.ended
    airflow.failing = lambda method, path: 0
    demo.runs.poll()
    assert airflow.changes[-2:] == ["unpause sales", "trigger sales"]


def test_a_trigger_whose_answer_is_lost_starts_one_run(airflow: FakeAirflow, client: AirflowClient) -> None:
    airflow.dags = {"sales": []}
    airflow.loses_answers = True
    demo = Demo(client, "sales")
    demo.runs.poll()
    demo.runs.poll()
    assert len(airflow.dags["sales"]) == 1
    assert demo.runs.states == {"sales": "running"}


def test_a_server_that_is_away_ends_nothing(client: AirflowClient) -> None:
    gone = AirflowClient("http://127.0.0.1:9", "admin", "x")
    demo = Demo(gone, "sales")
    demo.runs.poll()
    demo.runs.poll()
    assert len(demo.said) == 1
    assert demo.runs.states == {"sales": "not started"}
    gone.close()


def test_a_dag_that_comes_late_is_run_then(airflow: FakeAirflow, client: AirflowClient) -> None:
    airflow.dags = {"sales": []}
    demo = Demo(client, "sales", "stock")
    demo.runs.poll()
    demo.clock.now = DAG_TIMEOUT + 1
    airflow.import_errors = [{"stack_trace": "no such file"}]
    demo.runs.poll()
    demo.runs.poll()
    assert demo.said.count("Airflow does not show stock. Its import errors:\nno such file") == 1
    assert demo.runs.states == {"sales": "running", "stock": "missing"}
    airflow.dags["sales"][0]["state"] = "success"
    demo.runs.poll()
    assert (demo.runs.ended, demo.runs.succeeded) == (True, False)
    airflow.dags["stock"] = []
    demo.runs.poll()
    assert demo.runs.states == {"sales": "success", "stock": "running"}


def test_a_dag_that_disappears_while_it_runs_is_named_and_fails(airflow: FakeAirflow, client: AirflowClient) -> None:
    airflow.dags = {"sales": [], "stock": []}
    demo = Demo(client, "sales", "stock")
    demo.runs.poll()
    del airflow.dags["stock"]
    airflow.dags["sales"][0]["state"] = "success"
    demo.runs.poll()
    assert demo.said == ["stock has disappeared from Airflow; it is no longer followed"]
    assert demo.runs.states == {"sales": "success", "stock": "disappeared"}
    assert (demo.runs.ended, demo.runs.succeeded) == (True, False)


def test_a_run_that_does_not_end_is_named_with_what_it_waits_for(airflow: FakeAirflow, client: AirflowClient) -> None:
    airflow.dags = {"sales": []}
    airflow.tasks = {"wait_for_crm_extract": "deferred", "open": None}
    demo = Demo(client, "sales")
    demo.runs.poll()
    demo.clock.now = STALL_SECONDS - 1
    demo.runs.poll()
    assert demo.said == []
    demo.clock.now = STALL_SECONDS + 1
    demo.runs.poll()
    demo.runs.poll()
    assert demo.said == [
        "Not ended yet: sales is running: wait_for_crm_extract is deferred: "
        "waits for crm_extract, which has not succeeded today"
    ]
    assert not demo.runs.ended


@pytest.mark.parametrize(
    ("state", "tasks", "expected"),
    [
        ("queued", {}, "sales is queued: it waits for run earlier (running)"),
        ("running", {"open": "queued"}, "sales is running: it waits for run earlier (running)"),
        ("running", {"load": "up_for_retry"}, "sales is running: load is up_for_retry: waits for crm_extract"),
    ],
)
def test_each_reason_for_not_ending(
    airflow: FakeAirflow, client: AirflowClient, state: str, tasks: dict[str, str | None], expected: str
) -> None:
    airflow.dags = {"sales": [{"dag_run_id": "earlier", "state": "running", "run_type": "manual"}]}
    airflow.tasks, airflow.log = tasks, "waits for crm_extract"
    demo = Demo(client, "sales")
    demo.runs.poll()
    airflow.dags["sales"][-1]["state"] = state
    demo.runs.poll()
    assert list(demo.runs.unfinished()) == [expected]
