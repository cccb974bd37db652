# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Two chains of jobs that do nothing, which `dag.test()` runs: with BashOperator and with scripts of a batch."""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.operators.bundle import BashBundleOperator

JOBS = [f"job{number}" for number in range(6)]

with DAG("plain_chain", schedule=None) as plain_chain:
    chain(*(BashOperator(task_id=name, bash_command="true") for name in JOBS))

with DAG("batchy_chain", schedule=None) as batchy_chain:
    opened = BatchyOpenOperator(task_id="open", workflow="batchy_chain", jobs={name: {} for name in JOBS}).as_setup()
    jobs = [
        BashBundleOperator(task_id=name, workflow="batchy_chain", bash_command="true", previous=JOBS[:number])
        for number, name in enumerate(JOBS)
    ]
    closed = BatchyCloseOperator(task_id="close", workflow="batchy_chain")
    chain(opened, *jobs, closed)
    closed.as_teardown(setups=opened, on_failure_fail_dagrun=True)
