# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Airflow renders and stores, with a call of its API, only the fields of a task that may hold a template."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.sensors.waitsy import WaitsySensor


def _opening(**options: Any) -> BatchyOpenOperator:
    return BatchyOpenOperator(**{"task_id": "open", "workflow": "sales", **options})


def _fields(task: Any) -> list[str]:
    before = tuple(task.template_fields)
    found = list(task.prepare_for_execution().template_fields)
    assert tuple(task.template_fields) == before, "the DAG itself stays as it is"
    return found


@pytest.mark.parametrize(
    "task",
    [
        _opening(),
        _opening(jobs={"load": {"n": 1, "names": ["a", None], "on": True}}),
        BatchyCloseOperator(task_id="close", workflow="sales"),
        WaitsySensor(task_id="wait", workflow=["erp", "crm"], jobs=["orders"]),
    ],
)
def test_names_are_not_rendered(task: Any) -> None:
    assert _fields(task) == []


TEMPLATE = "{{ params.which }}"


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        (_opening(workflow=TEMPLATE), ["workflow"]),
        (_opening(redis_conn_id="{% if 1 %}a{% endif %}"), ["redis_conn_id"]),
        (_opening(jobs={"load": {"of": ["x", {"deep": TEMPLATE}]}}), ["jobs"]),
        (_opening(jobs={TEMPLATE: {}}), ["jobs"]),
        (_opening(jobs={"load": {"what": object()}}), ["jobs"]),
        (BatchyCloseOperator(task_id="close", workflow="sales", status=TEMPLATE), ["status"]),
        (WaitsySensor(task_id="wait", workflow=["erp", TEMPLATE]), ["workflow"]),
        (BashBundleOperator(task_id="job", bash_command="true"), list(BashBundleOperator.template_fields)),
    ],
)
def test_what_may_be_a_template_is_rendered(task: Any, fields: list[str]) -> None:
    assert _fields(task) == fields


def test_the_result_of_another_task_is_rendered() -> None:
    with DAG("nightly", schedule=None):
        named = BashBundleOperator(task_id="named", bash_command="true")
        assert _fields(_opening(workflow=named.output)) == ["workflow"]


def test_templates_of_another_syntax_are_rendered() -> None:
    with DAG("nightly", schedule=None, jinja_environment_kwargs={"variable_start_string": "<<"}):
        assert _fields(_opening(workflow="<< params.which >>")) == ["workflow", "jobs", "redis_conn_id"]


def test_files_of_templates_are_read() -> None:
    class FromFile(BatchyOpenOperator):
        template_ext = (".txt",)

    assert _fields(FromFile(task_id="open", workflow="name.txt")) == ["workflow", "jobs", "redis_conn_id"]
