# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Fixtures of the operators' tests: Redis as Airflow's connection, and bundles that run as tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow_runs import Airflow
from bundle_tasks import FakeTaskInstance
from redis import Redis

from batchy_provider.core.values import Holder, OpenRequest, WorkflowConfig
from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.state.store import Store


@pytest.fixture
def redis_connection(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)


@pytest.fixture
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


@pytest.fixture
def ti() -> FakeTaskInstance:
    return FakeTaskInstance()


@pytest.fixture
def run(ti: FakeTaskInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[BashBundleOperator], Any]:
    """Execute as a task: the result becomes its XCom, an exception its state."""
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    monkeypatch.setenv("AIRFLOW__BATCHY__BUNDLE_CACHE", str(tmp_path / "cache"))

    def execute(operator: BashBundleOperator) -> Any:
        ti.task_id = operator.task_id
        try:
            result = operator.execute({"ti": ti, "params": {"p": 1}})
        except AirflowSkipException:
            ti.states[operator.task_id] = "skipped"
            raise
        except BaseException:
            ti.states[operator.task_id] = "failed"
            raise
        ti.states[operator.task_id] = "success"
        ti.xcom_push("return_value", result)
        return result

    return execute


@pytest.fixture
def batch(redis_url: str, redis_client: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    config = WorkflowConfig(name="sales", jobs={"extract": {"region": "eu", "reprocess_hours": 2}, "load": {}})
    holder = Holder(dag_id="sales", run_id="scheduled__1")
    return Store(redis_client).open("sales", OpenRequest(holder=holder, config=config))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that the operator logs, record by record."""
    records: list[str] = []

    class Log:
        def info(self, text: str, *values: Any) -> None:
            records.append(text % values)

        warning = error = info

    monkeypatch.setattr(BashBundleOperator, "log", Log())
    return records
