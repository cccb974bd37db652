# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A DAG whose job does what a test has put down for it, such as losing the Redis that the run's batch is open in."""

from __future__ import annotations

from airflow.sdk import DAG, task
from deployed import DURING

from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator

with DAG("failed_over", schedule="0 2 * * *") as failed_over:
    opened = BatchyOpenOperator(task_id="open", workflow="failed_over", jobs={"load": {}}, retries=0).as_setup()

    @task
    def load(dag_run):
        DURING[dag_run.conf["during"]]()

    closed = BatchyCloseOperator(task_id="close", workflow="failed_over", retries=0)
    opened >> load() >> closed
    closed.as_teardown(setups=opened, on_failure_fail_dagrun=True)
