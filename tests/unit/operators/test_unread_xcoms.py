# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""XComs that nobody can read are not written: each is a call of Airflow's API."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk import DAG
from bundle_tasks import FakeTaskInstance

from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.operators.script_request import is_exit_code_read
from batchy_provider.operators.script_xcoms import EarlierTasks


def _job(name: str, script: str = "true", **options: Any) -> BashBundleOperator:
    return BashBundleOperator(task_id=name, bash_command=script, **options)


def _dag(*more: Any, **options: Any) -> DAG:
    with DAG("sales", schedule=None, **options) as dag:
        BatchyOpenOperator(task_id="open", workflow="sales", jobs={}) >> _job("first") >> _job("second")
        BatchyCloseOperator(task_id="close", workflow="sales")
        for make in more:
            make()
    return dag


def _other_operator() -> None:
    from airflow.providers.standard.operators.python import PythonOperator

    PythonOperator(task_id="other", python_callable=print)


def _mapped_other_operator() -> None:
    from airflow.providers.standard.operators.bash import BashOperator

    BashOperator.partial(task_id="other").expand(bash_command=["true", "false"])


def _own_subclass() -> None:
    class Own(BashBundleOperator):
        pass

    Own(task_id="other", bash_command="true")


TEMPLATE = "{{ ti.xcom_pull('first', key='exit_code') }}"
READERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "an operator of another package": (_other_operator, {}),
    "a mapped operator of another package": (_mapped_other_operator, {}),
    "an own subclass": (_own_subclass, {}),
    "a template": (lambda: _job("other", f"exit {TEMPLATE}"), {}),
    "a template in a variable": (lambda: _job("other", env={"CODE": TEMPLATE}), {}),
    "a template of a mapped task": (
        lambda: BashBundleOperator.partial(task_id="other", bash_command=TEMPLATE).expand(env=[{"n": "1"}]),
        {},
    ),
    "an entry of a mapped task": (
        lambda: BashBundleOperator.partial(task_id="other", bash_command="true").expand(env=[{"n": TEMPLATE}]),
        {},
    ),
    "a callback of a task": (lambda: _job("other", on_success_callback=print), {}),
    "a callback of the DAG": (lambda: None, {"on_failure_callback": print}),
}


@pytest.mark.parametrize("reader", READERS)
def test_whatever_may_read_an_exit_code_is_found(reader: str) -> None:
    make, options = READERS[reader]
    assert is_exit_code_read(_dag(make, **options))


def test_tasks_of_this_package_do_not_read_it() -> None:
    mapped = BashBundleOperator.partial(task_id="mapped", bash_command="true").expand
    assert not is_exit_code_read(_dag(lambda: mapped(env=[{"n": "1"}]), lambda: _job("third", previous=["first"])))
    assert is_exit_code_read(None)


def test_the_exit_code_of_a_success_is_not_pushed_and_later_jobs_know_it(run: Any, ti: FakeTaskInstance) -> None:
    run(_dag().get_task("first"))
    assert ("first", "exit_code") not in ti.xcoms
    assert EarlierTasks(ti, ["first"]).previous()["first"]["exit_code"] == 0
    run(_dag(_other_operator).get_task("second"))
    assert ti.xcoms["second", "exit_code"] == 0


def test_other_exit_codes_are_pushed(run: Any, ti: FakeTaskInstance) -> None:
    dag = _dag(lambda: _job("bad", "exit 3"))
    with pytest.raises(AirflowException):
        run(dag.get_task("bad"))
    assert ti.xcoms["bad", "exit_code"] == 3


def test_only_subclasses_store_a_link() -> None:
    class Own(BashBundleOperator):
        pass

    class OwnOpen(BatchyOpenOperator):
        pass

    assert [link.name for link in Own.operator_extra_links] == ["Batch"]
    assert [link.name for link in OwnOpen.operator_extra_links] == ["Batch"]
    for operator in (BashBundleOperator, BatchyOpenOperator, BatchyCloseOperator):
        assert tuple(operator.operator_extra_links) == ()
