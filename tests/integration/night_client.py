# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the tests ask of Airflow's REST API beyond what `batchy demo` asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import httpx
from airflow_database import AirflowDatabase

from batchy_provider.local.process import StackError
from batchy_provider.local.rest import FINISHED, AirflowClient, wait_for

_PAUSE = 0.1
"""Seconds between two questions to the database."""


def new_token(url: str, user: str, password: str) -> str:
    """Log in to Airflow, and return the token that it gives to a program."""
    login = {"username": user, "password": password}
    answer = httpx.post(f"{url}/auth/token", json=login, timeout=60, trust_env=False)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


class NightClient(AirflowClient):
    """
    Airflow's public API, as an admin. What tests wait for is read from the metadata database.

    :param database: of the same Airflow.
    """

    def __init__(self, url: str, user: str, password: str, *, database: AirflowDatabase) -> None:
        super().__init__(url, user, password)
        self._database = database

    def has_dag(self, dag_id: str) -> bool:
        """Whether a DAG can be run: it is not stale, and Airflow has stored all of it, which comes a moment later."""
        return self._database.has_dag(dag_id)

    def run_states(self, dag_id: str) -> dict[str, str]:
        """State of each run of a DAG, by run id, oldest first."""
        return self._database.run_states(dag_id)

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """State of each task of a run, by task id; of a mapped task, that of its last instance."""
        return self._database.task_states(dag_id, run_id)

    def reparse(self, dag_id: str) -> None:
        """Have the file of a DAG read again now."""
        token = self.request("GET", f"/dags/{dag_id}")["file_token"]
        try:
            self.request("PUT", f"/parseDagFile/{token}")
        except StackError as error:
            if "answered 409" not in str(error):  # another test has just asked for it
                raise

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        return cast("dict[str, Any]", self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run, as a person does in the UI."""
        self.request("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": state})

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task has returned, or left under a key."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.request("GET", path)["value"]

    def clear(self, dag_id: str, run_id: str, task_ids: Iterable[str] | None = None, **body: Any) -> list[str]:
        """
        Clear tasks of a run so that they run again.

        :param task_ids: all unless given.
        :param body: further options, ``include_downstream`` say.
        :returns: ids of the tasks that were cleared.
        """
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True, **body}
        if task_ids is not None:
            body["task_ids"] = list(task_ids)
        answer = self.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)
        return [ti["task_id"] for ti in answer["task_instances"]]

    def backfill(self, dag_id: str, from_date: str, to_date: str, *, max_active_runs: int = 1, **body: Any) -> int:
        """
        Create a backfill.

        :param from_date: ISO dates; both ends are included.
        :param body: ``run_backwards``, ``reprocess_behavior``, ``dag_run_conf``…
        :returns: its id.
        """
        body = {
            "dag_id": dag_id,
            "from_date": from_date,
            "to_date": to_date,
            "max_active_runs": max_active_runs,
            **body,
        }
        return int(self.request("POST", "/backfills", json=body)["id"])

    def backfill_done(self, backfill_id: int) -> bool:
        """Whether all runs of a backfill have ended."""
        return self.request("GET", f"/backfills/{backfill_id}")["completed_at"] is not None

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = 240, states: Iterable[str] = FINISHED) -> str:
        """
        Wait until a run has one of some states.

        :param timeout: seconds.
        :returns: the state.
        :raises StackError: it has not in time; the text gives the states of its tasks.
        """
        wanted = frozenset(states)

        def state() -> str | None:
            runs = self.run_states(dag_id)
            assert run_id in runs, f"{dag_id} has no run {run_id}, only {list(runs)}"
            return runs[run_id] if runs[run_id] in wanted else None

        try:
            return str(wait_for(state, f"run {run_id} of {dag_id}", timeout=timeout, interval=_PAUSE))
        except StackError as error:
            raise StackError(f"{error} Its tasks: {self.task_states(dag_id, run_id)}") from None

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, states: Iterable[str], *, timeout: float = 240
    ) -> str:
        """
        Wait until a task has one of some states.

        :param timeout: seconds.
        :returns: the state.
        :raises StackError: it has not in time.
        """
        wanted = frozenset(states)

        def state() -> str | None:
            now = self.task_states(dag_id, run_id).get(task_id)
            return now if now in wanted else None

        what = f"task {task_id} of {dag_id} to be {' or '.join(wanted)}"
        return str(wait_for(state, what, timeout=timeout, interval=_PAUSE))
