# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a job costs around its script, as far as it can be counted: connections, round trips, lists of processes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from bundle_tasks import FakeTaskInstance
from redis.connection import AbstractConnection

from batchy_provider.bundles import process_session, storage
from batchy_provider.dag_factory.open_batch_check import OpenBatchCheck
from batchy_provider.operators import job_batch
from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.state.session import Session
from batchy_provider.state.store import Store


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    found: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str) -> None:
        really = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            found[what] += 1
            return really(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    count(AbstractConnection, "on_connect_check_health", "connections")
    count(AbstractConnection, "disconnect", "ends")
    count(Session, "ask", "round trips")
    count(process_session._ProcList, "members", "lists of processes")
    count(storage.os, "fsync", "syncs")
    return found


@pytest.fixture
def job() -> BashBundleOperator:
    return BashBundleOperator(task_id="load", workflow="sales", bash_command="true", previous=["extract"])


def _check(ti: FakeTaskInstance, job: BashBundleOperator) -> None:
    ti.task_id = job.task_id
    ti.states["extract"] = "success"
    OpenBatchCheck("sales", "load")({"ti": ti, "task": job})


def test_a_job(run: Any, batch: Any, ti: FakeTaskInstance, job: BashBundleOperator, counted: Counter[str]) -> None:
    _check(ti, job)
    run(job)
    assert counted["connections"] == 1
    # The run's batch with what is switched off; the batch; what earlier jobs left; what this one leaves.
    assert counted["round trips"] <= 4
    # At the end, for what the script may have left; once more if a process of the machine ends in between.
    assert counted["lists of processes"] <= 2
    # The record, and the folders that it is in before and after it is moved. stdout and stderr are empty.
    assert counted["syncs"] == 3


def test_a_job_that_was_switched_off_after_the_opening(
    store: Store, batch: Any, ti: FakeTaskInstance, job: BashBundleOperator, counted: Counter[str]
) -> None:
    store.disable("sales", "load", by="ops")
    with pytest.raises(AirflowSkipException, match="job 'load' is disabled"):
        _check(ti, job)
    assert store.batch("sales", batch.batch_id).left_out == ["load"]
    # Also where it is switched on again: it is no part of this batch any more.
    store.enable("sales", "load", by="ops")
    with pytest.raises(AirflowSkipException):
        _check(ti, job)


def test_its_connection_is_closed(
    run: Any, batch: Any, ti: FakeTaskInstance, job: BashBundleOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check(ti, job)
    checked = job._taken_over
    assert checked is not None
    assert checked.store.backend.client.connection_pool._available_connections
    run(job)
    assert not any(each._sock for each in checked.store.backend.client.connection_pool._available_connections)


def test_a_batch_that_was_read_long_ago_is_read_again(
    run: Any, batch: Any, store: Store, ti: FakeTaskInstance, job: BashBundleOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check(ti, job)
    monkeypatch.setattr(job_batch, "_FRESH_SECONDS", 0.0)
    read: list[str] = []
    really = Store.batch_of_run
    monkeypatch.setattr(Store, "batch_of_run", lambda self, *asked: read.append(asked[0]) or really(self, *asked))
    run(job)
    assert read == ["sales"]


def test_a_job_that_is_not_checked_reads_its_batch(run: Any, batch: Any, job: BashBundleOperator) -> None:
    job.previous = ()
    run(job)
    assert job.batch_id_shown == batch.batch_id
