# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Call Airflow's REST API, as far as the demo needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from batchy_provider.local.process import StackError

FINISHED = frozenset({"success", "failed"})
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.25, 0.75
"""Seconds between two questions of `wait_for`."""


class AirflowClient:
    """Client of Airflow's public API on this machine, as one user.

    :param url: of the API server, without a slash at its end.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        import httpx

        self.url = url
        self._login = {"username": user, "password": password}
        # trust_env: do not use the user's proxy for 127.0.0.1.
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send one request.

        :param path: below ``/api/v2``.
        :param options: ``json``, ``params``… as httpx takes them.
        :returns: the JSON of the answer; None if it has no body.
        :raises StackError: the API server is unreachable or did not answer with success.
        """
        import httpx

        try:
            if "Authorization" not in self._http.headers:
                answer = self._http.post("/auth/token", json=self._login)
                answer.raise_for_status()
                self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            answer = self._http.request(method, f"/api/v2{path}", **options)
            if answer.status_code == 401:  # a token lasts a day; the next call logs in again
                del self._http.headers["Authorization"]
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise StackError(f"{method} {path} answered {error.response.status_code}: {error.response.text}") from None
        except httpx.HTTPError as error:
            raise StackError(f"{method} {self.url}{path}: {type(error).__name__} {error}") from error
        return answer.json() if answer.content else None

    def health(self) -> dict[str, str | None]:
        """Return the status of each component: ``healthy``, ``unhealthy`` or None.

        :raises OSError: the API server does not answer.
        """
        import httpx

        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=10)
            answer.raise_for_status()
            return {name: part["status"] for name, part in answer.json().items()}
        except httpx.HTTPError as error:
            raise OSError(str(error)) from error
        except (
            ValueError,
            AttributeError,
            TypeError,
            KeyError,
        ) as error:  # not an answer of Airflow, or only half of one
            raise OSError(f"no health in the answer: {error}") from error

    def dags(self) -> dict[str, dict[str, Any]]:
        """Return all DAGs that are not stale, by id."""
        found = self.request("GET", "/dags", params={"limit": 1000, "exclude_stale": True})["dags"]
        return {dag["dag_id"]: dag for dag in found}

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the import errors of all DAG files."""
        return cast("list[dict[str, Any]]", self.request("GET", "/importErrors")["import_errors"])

    def unpause(self, dag_id: str, *, paused: bool = False) -> None:
        """Unpause a DAG, or pause it."""
        self.request("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def trigger(self, dag_id: str, **body: Any) -> str:
        """Start a run.

        :param body: ``conf``, ``logical_date``, ``dag_run_id``…
        :returns: its run id.
        """
        answer = self.request("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, **body})
        return str(answer["dag_run_id"])

    def runs(self, dag_id: str, **params: Any) -> list[dict[str, Any]]:
        """Return the runs of a DAG, oldest first."""
        params = {"order_by": "id", "limit": 1000, **params}
        return cast("list[dict[str, Any]]", self.request("GET", f"/dags/{dag_id}/dagRuns", params=params)["dag_runs"])

    def task_instances(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a run, by task id."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return {ti["task_id"]: ti for ti in self.request("GET", path, params={"limit": 1000})["task_instances"]}

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, attempt: int | None = None) -> str:
        """Return the log of a task as text.

        :param attempt: default: the latest.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        if attempt is None:
            attempt = max(1, self.request("GET", path)["try_number"])
        content = self.request("GET", f"{path}/logs/{attempt}", params={"full_content": True})["content"]
        return "\n".join(_line(line) for line in content)


def _line(line: Any) -> str:
    """Format a line of a log for people: its event and the attached errors."""
    if not isinstance(line, dict):
        return str(line)
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or ()]
    return "\n".join([str(line.get("event", line)), *errors])


def wait_for(condition: Callable[[], Any], what: str, *, timeout: float, interval: float | None = None) -> Any:
    """Call a function repeatedly until its answer is true.

    :param timeout: seconds.
    :param interval: seconds between two calls; default: a quarter of a second, which grows while the wait lasts, since
        each question costs Airflow's API server processor time.
    :returns: the answer.
    :raises StackError: the time is over.
    """
    deadline = time.monotonic() + timeout
    pause = _SHORTEST_PAUSE if interval is None else interval
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise StackError(f"Waited {timeout:g} seconds for {what}; it did not happen.")
        time.sleep(pause)
        if interval is None:
            pause = min(_LONGEST_PAUSE, pause * 1.1)
    return answer
