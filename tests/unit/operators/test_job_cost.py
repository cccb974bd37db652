# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a job costs around its script, as far as it can be counted: connections, round trips, lists of processes."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from bundle_tasks import FakeTaskInstance, output
from redis.connection import AbstractConnection

from batchy_provider.bundles import process_session, storage
from batchy_provider.core.values import CloseRequest
from batchy_provider.dag_factory.open_batch_check import OpenBatchCheck
from batchy_provider.operators import job_batch, states_ahead
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
    monkeypatch.setattr(job_batch, "FRESH_SECONDS", 0.0)
    read: list[str] = []
    really = Store.batch_of_run
    monkeypatch.setattr(Store, "batch_of_run", lambda self, *asked: read.append(asked[0]) or really(self, *asked))
    run(job)
    assert read == ["sales"]


def test_a_job_that_is_not_checked_reads_its_batch(run: Any, batch: Any, job: BashBundleOperator) -> None:
    job.previous = ()
    run(job)
    assert job.batch_id_shown == batch.batch_id


@pytest.fixture
def asked(ti: FakeTaskInstance, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The tasks whose states Airflow was asked for, by call."""
    calls: list[list[str]] = []
    really = ti.get_task_states

    def get_task_states(dag_id: str, task_ids: list[str], run_ids: list[str]) -> Any:
        calls.append(task_ids)
        return really(dag_id, task_ids, run_ids)

    monkeypatch.setattr(ti, "get_task_states", get_task_states)
    return calls


def _previous(run: Any, job: BashBundleOperator) -> Any:
    job.bash_command = 'cp "$BATCHY_PARAMS" "$BATCHY_OUTPUT"'
    return {name: facts["state"] for name, facts in json.loads(output(run(job)))["previous"].items()}


def test_the_states_of_earlier_tasks_are_asked_for_while_redis_is(
    run: Any, batch: Any, ti: FakeTaskInstance, job: BashBundleOperator, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_answers = threading.Event()
    really, count = Store.batch_and_disabled, ti.get_task_states

    def after_airflow(self: Store, *names: str) -> Any:
        assert airflow_answers.wait(30), "Airflow is asked only after Redis"
        return really(self, *names)

    def answered(**names: Any) -> Any:
        airflow_answers.set()
        return count(**names)

    monkeypatch.setattr(Store, "batch_and_disabled", after_airflow)
    monkeypatch.setattr(ti, "get_task_states", answered)
    _check(ti, job)
    assert _previous(run, job) == {"extract": "success"}
    assert asked == [["extract"]]


def test_states_that_were_read_long_ago_are_read_again(
    run: Any, batch: Any, ti: FakeTaskInstance, job: BashBundleOperator, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check(ti, job)
    monkeypatch.setattr(states_ahead, "FRESH_SECONDS", 0.0)
    ti.states["extract"] = "failed"
    assert _previous(run, job) == {"extract": "failed"}
    assert len(asked) == 2


def test_states_of_other_tasks_are_no_answer(
    run: Any, batch: Any, ti: FakeTaskInstance, job: BashBundleOperator, asked: Any
) -> None:
    _check(ti, job)
    job.previous, ti.states["clean"] = ("extract", "clean"), "skipped"  # as a `pre_execute` of a user may do
    assert _previous(run, job) == {"extract": "success", "clean": "skipped"}
    assert asked == [["extract"], ["clean", "extract"]]


def test_airflow_may_fail_to_answer_ahead(
    run: Any, batch: Any, ti: FakeTaskInstance, job: BashBundleOperator, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ti, "get_task_states", lambda **_: 1 / 0)
        _check(ti, job)
    assert _previous(run, job) == {"extract": "success"}


def test_what_the_check_finds_wrong_counts_before_all_else(
    store: Store, batch: Any, ti: FakeTaskInstance, job: BashBundleOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close("sales", CloseRequest(result="failed"))
    monkeypatch.setattr(ti, "get_task_states", lambda **_: 1 / 0)
    with pytest.raises(AirflowFailException, match="closed its batch"):
        _check(ti, job)


def test_a_job_without_earlier_tasks_asks_for_none(
    run: Any, batch: Any, ti: FakeTaskInstance, job: BashBundleOperator, asked: Any
) -> None:
    job.previous = ()
    _check(ti, job)
    assert _previous(run, job) == {}
    assert asked == []
