# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""DAGs that `dag.test()` runs; what their jobs do is said in the run's conf."""

from __future__ import annotations

from airflow.sdk import DAG, task

from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.sensors.waitsy import WaitsySensor


@task
def extract(dag_run):
    if "extract" in dag_run.conf.get("fail", ()):
        raise RuntimeError("extract was told to fail")


@task(trigger_rule="none_failed")
def load(dag_run):
    if "load" in dag_run.conf.get("fail", ()):
        raise RuntimeError("load was told to fail")


@task
def part(number, dag_run):
    if number in dag_run.conf.get("fail", ()):
        raise RuntimeError(f"part {number} was told to fail")


@task(trigger_rule="all_done")
def report(ti):
    return ti.xcom_pull(task_ids="open")


with DAG("nightly", schedule="0 2 * * *") as nightly:
    opened = BatchyOpenOperator(
        task_id="open", workflow="nightly", jobs={"extract": {}, "load": {}, "report": {}}, retries=0
    ).as_setup()
    closed = BatchyCloseOperator(task_id="close", workflow="nightly", retries=0)
    opened >> extract() >> load() >> report() >> closed
    closed.as_teardown(setups=opened, on_failure_fail_dagrun=True)

with DAG("shaped", schedule=None) as shaped:
    opened = BatchyOpenOperator(
        task_id="open",
        workflow="shaped",
        jobs={"extract": {}, "load": {}, "report": {}},
        window={"align": "0 0 1 1 *"},
        retries=0,
    ).as_setup()
    closed = BatchyCloseOperator(task_id="close", workflow="shaped", retries=0)
    opened >> extract() >> load() >> report() >> closed
    closed.as_teardown(setups=opened, on_failure_fail_dagrun=True)

with DAG("mapped", schedule=None) as mapped:
    opened = BatchyOpenOperator(task_id="open", workflow="mapped", jobs={"part": {}}, retries=0).as_setup()
    closed = BatchyCloseOperator(task_id="close", workflow="mapped", retries=0)
    opened >> part.expand(number=[1, 2, 3]) >> closed
    closed.as_teardown(setups=opened, on_failure_fail_dagrun=True)

with DAG("collision", schedule=None) as collision:
    # Airflow names the instances of `part` part_0, part_1, part_2.
    opened = BatchyOpenOperator(
        task_id="open", workflow="collision", jobs={"part": {}, "part_1": {}}, retries=0
    ).as_setup()
    closed = BatchyCloseOperator(task_id="close", workflow="collision", retries=0)
    opened >> [part.expand(number=[0, 1, 2]), part.override(task_id="part_1")(100)] >> closed
    closed.as_teardown(setups=opened, on_failure_fail_dagrun=True)

with DAG("later", schedule=None) as later:
    (
        WaitsySensor(task_id="wait", workflow="nightly", on_failed="fail", timeout=20)
        >> WaitsySensor(task_id="again", workflow="nightly", scope="since_last_run", timeout=20)
        >> WaitsySensor(task_id="poke", workflow="nightly", deferrable=False, poke_interval=0.5, timeout=20)
    )
