# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the demo makes of an Airflow that is slow, forgets a DAG, or never ends a run: a real server that answers so."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from batchy_provider.local.rest import AirflowClient
from batchy_provider.local.runs import DAG_TIMEOUT, STALL_SECONDS, Runs


class FakeAirflow:
    """As much of Airflow's REST API as is asked for, with the DAGs and runs that a test gives it."""

    def __init__(self) -> None:
        self.dags: dict[str, list[dict[str, Any]]] = {}
        self.tasks: dict[str, str | None] = {"wait": "running"}
        self.log = "waits for crm_extract, which has not succeeded today"
        self.import_errors: list[dict[str, Any]] = []
        self.failing: Callable[[str, str], int] = lambda method, path: 0
        self.loses_answers = False
        self.changes: list[str] = []

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/auth/token":
            return 201, {"access_token": "x"}
        path = path.removeprefix("/api/v2")
        if code := self.failing(method, path):
            return code, {"detail": "busy"}
        if path == "/dags":
            return 200, {"dags": [{"dag_id": dag_id} for dag_id in self.dags]}
        if path == "/importErrors":
            return 200, {"import_errors": self.import_errors}
        _, dag_id, *rest = path.strip("/").split("/")
        if dag_id not in self.dags:
            return 404, {"detail": f"no DAG {dag_id}"}
        runs = self.dags[dag_id]
        if method == "PATCH":
            self.changes.append(f"unpause {dag_id}")
        elif method == "POST":
            if any(run["dag_run_id"] == body["dag_run_id"] for run in runs):
                return 409, {"detail": "exists"}
            self.changes.append(f"trigger {dag_id}")
            runs.append({"dag_run_id": body["dag_run_id"], "state": "running", "run_type": "manual"})
            if self.loses_answers:
                self.loses_answers = False
                return 503, {"detail": "lost"}
        elif rest[-1] == "dagRuns":
            return 200, {"dag_runs": runs}
        elif rest[-1] == "taskInstances":
            found = [{"task_id": task, "state": state, "try_number": 1} for task, state in self.tasks.items()]
            return 200, {"task_instances": found}
        elif "logs" in rest:
            return 200, {"content": [{"event": "::group::x"}, {"event": self.log}]}
        return 200, {"dag_run_id": body.get("dag_run_id")}


@pytest.fixture
def airflow() -> FakeAirflow:
    return FakeAirflow()


@pytest.fixture
def client(airflow: FakeAirflow) -> Iterator[AirflowClient]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            code, answer = airflow.answer(self.command, re.sub(r"\?.*", "", self.path), body)
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

        def do_PATCH(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = AirflowClient(f"http://127.0.0.1:{server.server_port}", "admin", "x")
        yield found
        found.close()
        server.shutdown()


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
