# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What integration tests do with a whole Airflow, in the words of a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
from airflow_database import AirflowDatabase
from airflow_host import SharedStack
from night_client import NightClient, new_token

from batchy_provider.core.holders import run_key
from batchy_provider.core.values import Batch
from batchy_provider.local.process import StackError
from batchy_provider.local.rest import wait_for
from batchy_provider.local.settings import DEPLOYMENT
from batchy_provider.local.stack import LocalStack
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

LOADER = "batchy_dags.py"
QUICK = {
    # A worker that was killed is to be missed within seconds, not after five minutes. On a busy machine a living one is
    # silent for ten.
    "scheduler.task_instance_heartbeat_sec": "2",
    "scheduler.task_instance_heartbeat_timeout": "20",
    "scheduler.task_instance_heartbeat_timeout_detection_interval": "3",
    "scheduler.job_heartbeat_sec": "2",
    # And a scheduler that was killed, when the next one looks whose tasks it may take over.
    "scheduler.scheduler_health_check_threshold": "20",
    "scheduler.orphaned_tasks_check_interval": "5",
    # And a triggerer that was killed, when the next one looks whose waits it may take over.
    "triggerer.triggerer_health_check_threshold": "10",
    # Pauses between two looks, of which each run has a dozen.
    "scheduler.scheduler_idle_sleep_time": "0.3",
    "scheduler.trigger_timeout_check_interval": "5",
    # A workflow whose file is gone or broken is to be gone within seconds, not after two minutes.
    "scheduler.parsing_cleanup_interval": "5",
    "dag_processor.stale_dag_threshold": "5",
    "dag_processor.min_file_process_interval": "60",
    # A new DAG file is to be seen within seconds, too.
    "dag_processor.refresh_interval": "3",
    "batchy.kill_grace_seconds": "2",
    "batchy.recheck_seconds": "5",
    "batchy.allow_upload": "True",
}
"""Options of an Airflow that notices at once what is gone."""


class Nights:
    """
    The Airflow under test, its workflows and their state.

    :param stack: running.
    """

    def __init__(self, stack: LocalStack | SharedStack) -> None:
        self.stack = stack
        self.store = Store(open_client(stack.redis_url))
        self._client: NightClient | None = None
        self._loaded = ""

    @property
    def client(self) -> NightClient:
        """Airflow's REST API."""
        if self._client is None or self._client.url != self.stack.url:
            stack = self.stack
            database = AirflowDatabase(stack.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
            self._client = NightClient(stack.url, stack.user, stack.password, database=database)
        return self._client

    def rest(self) -> httpx.Client:
        """Return a client with a token, as any program would get it, for this package's REST API."""
        token = new_token(self.stack.url, self.stack.user, self.stack.password)
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.stack.url, headers=headers, timeout=60, trust_env=False)

    @property
    def cfg(self) -> Path:
        """Folder of the workflow files."""
        return self.stack.cfg

    @property
    def plugins(self) -> Path:
        """Folder of modules that each of Airflow's programs can import; the triggerer does not look into `dags`."""
        return self.stack.folder / "plugins"

    # preparing

    def add(self, workflow: str, text: str, *, scripts: dict[str, str] | None = None) -> str:
        """
        Write a workflow's file and wait until Airflow has its DAG, not paused.

        :param text: YAML; indentation that all lines share is taken off.
        :param scripts: name of a bundle → its script.
        :returns: the workflow's name.
        """
        for bundle, script in (scripts or {}).items():
            (self.cfg / "bundles" / bundle).mkdir(parents=True, exist_ok=True)
            (self.cfg / "bundles" / bundle / "script.sh").write_text(dedent(script))
        self.add_all({workflow: text})
        return workflow

    def add_all(self, workflows: Mapping[str, str]) -> None:
        """
        Write several workflows' files and wait until Airflow has their DAGs, not paused: it reads all at once.

        :param workflows: name → YAML; indentation that all lines share is taken off.
        """
        for workflow, text in workflows.items():
            (self.cfg / f"{workflow}.yaml").write_text(dedent(text))
        for workflow in workflows:
            self.ready(workflow)

    def add_dag(self, dag_id: str, text: str) -> str:
        """Write a DAG file and wait until Airflow has it, not paused."""
        (self.stack.dags / f"{dag_id}.py").write_text(dedent(text))
        wait_for(lambda: self.client.has_dag(dag_id), f"DAG {dag_id}", timeout=240)
        self.client.unpause(dag_id)
        return dag_id

    def ready(self, workflow: str) -> str:
        """Wait until Airflow has the DAG of a workflow; it is not paused then."""
        self.stack.deploy()
        if not self.client.has_dag(workflow):
            self.read_until(lambda: self.client.has_dag(workflow), f"DAG {workflow}")
        self.client.unpause(workflow)
        return workflow

    def read_until(self, condition: Callable[[], Any], what: str, *, timeout: float = 240) -> None:
        """
        Have Airflow read the workflow files until a condition is true.

        It reads them at once, and again if it has missed the request because it was reading them just then.

        :param timeout: seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.client.reparse(wait_for(self._any_workflow, "any workflow", timeout=240))
            try:
                wait_for(condition, what, timeout=8)
            except StackError as error:
                if time.monotonic() > deadline:
                    raise StackError(f"{error} Import errors: {self.client.import_errors()}") from None
            else:
                return

    def _any_workflow(self) -> str | None:
        """Return a DAG of the file that loads all workflows, if Airflow has one."""
        if not (self._loaded and self.client.has_dag(self._loaded)):
            dags = self.client.dags().items()
            self._loaded = next((name for name, dag in dags if str(dag["fileloc"]).endswith(LOADER)), "")
        return self._loaded or None

    # running

    def start(self, dag_id: str, **body: Any) -> str:
        """Start a run; returns its id."""
        return self.client.trigger(dag_id, **body)

    def run(self, dag_id: str, *, timeout: float = 240, **body: Any) -> tuple[str, str]:
        """Start a run and wait for its end; returns its id and state."""
        run_id = self.start(dag_id, **body)
        return run_id, self.client.wait_for_run(dag_id, run_id, timeout=timeout)

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """States of the tasks of a run."""
        return self.client.task_states(dag_id, run_id)

    def log(self, dag_id: str, run_id: str, task_id: str, **options: Any) -> str:
        """Log of a task."""
        return self.client.task_log(dag_id, run_id, task_id, **options)

    # state

    def wait_for_watcher(self, workflow: str) -> None:
        """Wait until the triggerer has had a first look at a workflow's batches, for workflows that start after it."""
        key = self.store.backend.keys(workflow).offsets
        wait_for(lambda: self.store.backend.client.hlen(key), f"a watcher of {workflow}", timeout=240)

    def batch(self, workflow: str, run_id: str) -> Batch:
        """The batch that a run opened last."""
        found = self.store.batch_of_run(workflow, run_key(workflow, workflow, run_id, DEPLOYMENT))
        assert found is not None, f"run {run_id} of {workflow} opened no batch"
        return found

    def watermark(self, workflow: str) -> dict[str, str | None]:
        """Job → where its next window starts, from the live state."""
        return {job: fields.get("batch_start") for job, fields in self.store.status(workflow).jobs.items()}


def moment(text: str) -> datetime:
    """A date of the state (naive UTC, ISO 8601)."""
    return datetime.fromisoformat(text)
