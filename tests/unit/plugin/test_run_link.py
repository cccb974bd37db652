# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The link of a task to its batch, as Airflow's API server makes it from a stored DAG."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_versions import deserialized, serialized
from redis import Redis

from batchy_provider.core.values import Holder, OpenRequest, WorkflowConfig
from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.plugin.batchy import BatchyPlugin
from batchy_provider.state.store import Store

BASE = "http://airflow.example/plugin/batches#/workflows"


@pytest.fixture
def store(redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example")
    monkeypatch.setenv("AIRFLOW__BATCHY__DEPLOYMENT", "prod")
    from airflow import plugins_manager

    names = [type(link).__name__ for link in plugins_manager.get_operator_extra_links()]
    assert "RunLink" in names
    return Store(redis_client)


def _tasks(workflow: str | None = "sales") -> dict[str, Any]:
    """The tasks of a DAG as the API server has them."""
    with DAG("nightly", schedule=None) as dag:
        BashBundleOperator(task_id="load", workflow=workflow, bash_command="true")
        BashBundleOperator.partial(task_id="part", workflow=workflow, bash_command="true").expand(env=[{"n": "1"}])
        if workflow:
            BatchyOpenOperator(task_id="open", workflow=workflow, jobs={})
            BatchyCloseOperator(task_id="close", workflow=workflow)
    return {task.task_id: task for task in deserialized(serialized(dag)).tasks}


def _link(task: Any, run_id: str = "r1") -> str:
    assert list(task.extra_links) == ["Batch"]
    link = task.operator_extra_link_dict["Batch"]
    key = SimpleNamespace(dag_id="nightly", run_id=run_id, task_id=task.task_id, try_number=1, map_index=-1)
    return str(link.get_link(task, ti_key=key))


def _open(store: Store, workflow: str = "sales", run_id: str = "r1") -> int:
    config = WorkflowConfig(name=workflow, jobs={"load": {}})
    holder = Holder(dag_id="nightly", run_id=run_id, deployment="prod")
    return store.open(workflow, OpenRequest(config=config, holder=holder)).batch_id


def test_it_leads_to_the_batch_of_the_run(store: Store) -> None:
    batch_id = _open(store)
    for task in _tasks().values():
        assert _link(task) == f"{BASE}/sales/batches/{batch_id}"
        assert _link(task, "another") == f"{BASE}/sales"


def test_a_workflow_that_only_a_template_names_is_taken_for_that_of_the_dag(store: Store) -> None:
    batch_id = _open(store, "nightly")
    assert _link(_tasks("{{ dag.dag_id }}")["load"]) == f"{BASE}/nightly/batches/{batch_id}"


def test_a_script_without_a_batch_asks_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "batch_of_run", lambda *_: 1 / 0)
    assert _link(_tasks(None)["load"]) == f"{BASE}/nightly"


def test_without_redis_it_leads_to_the_workflow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", "redis://127.0.0.1:1")
    assert _link(_tasks()["load"]) == f"{BASE}/sales"
    monkeypatch.delenv("AIRFLOW_CONN_REDIS_DEFAULT")
    monkeypatch.setenv("AIRFLOW__BATCHY__REDIS_CONN_ID", "there_is_none")
    assert _link(_tasks()["load"]) == f"{BASE}/sales"


def test_the_plugin_imports_the_operators_only_where_links_are_wanted() -> None:
    (link,) = BatchyPlugin().operator_extra_links
    assert {each.__name__ for each in link.operators} == {
        "BashBundleOperator",
        "BatchyOpenOperator",
        "BatchyCloseOperator",
    }
