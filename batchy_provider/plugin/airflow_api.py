# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask the REST API of this Airflow in the name of a caller, within this process.

Airflow checks the caller's permissions, does what its own UI would do, and writes its own audit log. So a change of a
DAG or a run is the same here as there, in each version of Airflow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import anyio
from anyio.lowlevel import RunVar
from fastapi import Depends, Request

from batchy_provider.plugin.airflow_dags import dag_states
from batchy_provider.plugin.request_scope import AIRFLOW_APP
from batchy_provider.services.bulk_actions import RefusedError

T = TypeVar("T")

_CREDENTIALS = ("authorization", "cookie")
_FAILED = ("failed", "upstream_failed")
_ACTIVE = ("queued", "running")
_OPENING_AND_CLOSING = ("BatchyOpenOperator", "BatchyCloseOperator")
_AT_ONCE = 100
_TIMEOUT_SECONDS = 60.0
_CODES = {401: "unauthenticated", 403: "forbidden", 404: "unknown_dag"}

_MAX_THREADS = 8

Method = Literal["GET", "POST", "PATCH"]


class AirflowApi:
    """Change DAGs and runs of this Airflow with the permissions of a caller.

    Its methods may be called in the threads of `in_own_thread`.

    :param app: Airflow's application; None if it is not known.
    :param headers: those that authenticate the caller.
    """

    def __init__(self, app: Any, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    def is_paused(self, dag_id: str) -> bool:
        """Tell whether a DAG is paused."""
        found = dag_states([dag_id]).get(dag_id)
        if found is None:
            raise RefusedError("unknown_dag", f"Airflow has no DAG {dag_id!r}")
        return found.paused

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG."""
        self._ask("PATCH", _dag(dag_id), json={"is_paused": paused})

    def is_active(self, dag_id: str, run_id: str) -> bool:
        """Tell whether a run has not ended."""
        return self._ask("GET", _run(dag_id, run_id), unknown="unknown_run")["state"] in _ACTIVE

    def clear(self, dag_id: str, run_id: str, *, only_failed: bool) -> None:
        """Clear a run, or only what failed in it; see `tasks_to_clear`."""
        body: dict[str, Any] = {"dry_run": False, "dag_run_id": run_id, "only_failed": False}
        if only_failed:
            tasks = self._ask("GET", f"{_dag(dag_id)}/tasks")["tasks"]
            body["task_ids"] = tasks_to_clear(self._task_instances(dag_id, run_id), tasks)
            if not body["task_ids"]:
                raise RefusedError("no_failed_task", f"no task of run {run_id} failed in Airflow: run all tasks again")
        self._ask("POST", f"{_dag(dag_id)}/clearTaskInstances", json=body, unknown="unknown_run")

    def _task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            path = f"{_run(dag_id, run_id)}/taskInstances?limit={_AT_ONCE}&offset={len(found)}"
            page = self._ask("GET", path, unknown="unknown_run")
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def _ask(self, method: Method, path: str, *, json: Any = None, unknown: str = "unknown_dag") -> Any:
        """Return the body of an answer.

        :param unknown: the code if Airflow knows no such thing.
        :raises RefusedError: Airflow refuses it, or cannot answer.
        """
        if self._app is None:
            raise RefusedError("airflow_unavailable", "Airflow's REST API is not part of this server", is_outage=True)
        try:
            status, body = anyio.from_thread.run(self._send, method, path, json)
        except Exception as error:
            text = f"Airflow's REST API failed: {type(error).__name__}: {error}"
            raise RefusedError("airflow_unavailable", text, is_outage=True) from error
        if status < 400:
            return body
        detail = body.get("detail") if isinstance(body, dict) else None
        text = f"Airflow refuses it ({status}): {detail if isinstance(detail, str) else detail or 'no reason given'}"
        if status >= 500:
            raise RefusedError("airflow_unavailable", text, is_outage=True)
        code = unknown if status == 404 else _CODES.get(status, "airflow_refused")
        raise RefusedError(code, text)

    async def _send(self, method: Method, path: str, json: Any) -> tuple[int, Any]:
        import httpx

        transport = httpx.ASGITransport(app=self._app)
        client = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=self._headers)
        with anyio.fail_after(_TIMEOUT_SECONDS):
            async with client:
                answer = await client.request(method, f"/api/v2/{path}", json=json)
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None


def tasks_to_clear(
    instances: Collection[Mapping[str, Any]], tasks: Collection[Mapping[str, Any]]
) -> list[str | tuple[str, int]]:
    """Return what to clear of a run, so that only what failed in it runs again.

    These are the failed tasks, those after them, and those that open and close the batch: without an open batch no job
    may run. Airflow's own "only failed" leaves the latter out. Its "downstream" would include all tasks after `open`.

    :param instances: the task instances of the run, as Airflow's API answers them.
    :param tasks: the tasks of the DAG, in the same way.
    :returns: ids of tasks, or id and index of a mapped one; empty if none has failed.
    """
    failed = [each for each in instances if each["state"] in _FAILED]
    if not failed:
        return []
    following = {each["task_id"]: each["downstream_task_ids"] for each in tasks}
    chosen = {each["task_id"]: None for each in tasks if each["operator_name"] in _OPENING_AND_CLOSING}
    queue = [each["task_id"] for each in failed]
    for task_id in queue:
        new = [each for each in following.get(task_id, ()) if each not in chosen]
        chosen |= dict.fromkeys(new)
        queue += new
    mapped = {
        each["task_id"] if each["map_index"] < 0 else (each["task_id"], each["map_index"])
        for each in failed
        if each["task_id"] not in chosen
    }
    return [*chosen, *sorted(mapped, key=str)]


def _dag(dag_id: str) -> str:
    return f"dags/{quote(dag_id, safe='')}"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_dag(dag_id)}/dagRuns/{quote(run_id, safe='')}"


_limiter: RunVar[anyio.CapacityLimiter] = RunVar("batchy_callers_of_airflow")


async def in_own_thread(call: Callable[[], T]) -> T:
    """Run a function that asks Airflow's API, in a thread, and return what it returns.

    The threads are not those of other routes. Airflow's routes need those: if functions that wait for Airflow had them
    all, they would wait forever.
    """
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(_MAX_THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(call, limiter=limiter)


def get_airflow_api(request: Request) -> AirflowApi:
    """Return Airflow's API with the credentials of a request."""
    headers = {name: value for name in _CREDENTIALS if (value := request.headers.get(name)) is not None}
    return AirflowApi(request.scope.get(AIRFLOW_APP), headers)


AirflowApiDep = Annotated[AirflowApi, Depends(get_airflow_api)]
