# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A real HTTP server that answers as Airflow's REST API does, late, wrongly or not at all as a test wants it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from batchy_provider.local.rest import AirflowClient


class FakeAirflow:
    """As much of Airflow's REST API as is asked for, with the DAGs and runs that a test gives it."""

    def __init__(self) -> None:
        self.dags: dict[str, list[dict[str, Any]]] = {}
        self.starts_as = "running"
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
            runs.append({"dag_run_id": body["dag_run_id"], "state": self.starts_as, "run_type": "manual"})
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


@contextmanager
def serving(airflow: FakeAirflow) -> Iterator[AirflowClient]:
    """Yield a client of it."""

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
        client = AirflowClient(f"http://127.0.0.1:{server.server_port}", "admin", "x")
        yield client
        client.close()
        server.shutdown()
