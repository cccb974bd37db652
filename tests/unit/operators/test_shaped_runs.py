# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Runs of DAGs whose windows have a shape: skipped where there is nothing to load, started again while more is left."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow_runs import Airflow, close_in, night, open_in
from redis import Redis

from batchy_provider.core.window_shape import WindowShape
from batchy_provider.operators import next_slice, opening
from batchy_provider.operators.batch import BatchyOpenOperator
from batchy_provider.operators.next_slice import CONF_SLICE
from batchy_provider.state.store import Store

TODAY = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
SINCE = (TODAY - timedelta(days=3)).replace(tzinfo=None).isoformat()


@pytest.fixture
def store(redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    return Store(redis_client)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The runs that tasks have started: run id → conf."""
    runs: dict[str, Any] = {}

    def start_run(dag_id: str, run_id: str, conf: dict[str, Any]) -> bool:
        assert dag_id == "wf"
        is_new = run_id not in runs
        runs.setdefault(run_id, conf)
        return is_new

    monkeypatch.setattr(next_slice, "start_run", start_run)
    return runs


@pytest.fixture
def skipped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that were skipped with `open`."""
    tasks: list[str] = []
    monkeypatch.setattr(opening, "skip_tasks", tasks.extend)
    return tasks


def sliced(**window: Any) -> Any:
    return night(jobs={"extract": {"initial_date": SINCE}, "load": {"initial_date": SINCE}}, window=window)


def test_a_batch_that_was_cut_starts_the_next_run_and_the_last_one_does_not(
    store: Store, started: dict[str, Any]
) -> None:
    dag, airflow = sliced(max="1d", align="day"), Airflow()
    run: dict[str, Any] = {"conf": {"color": "red"}, "run_after": TODAY}
    ends, run_id = [], "scheduled"
    while True:
        opened = open_in(dag, airflow, run_id, **run)
        ends.append(opened["to_date"])
        before = dict(started)
        close_in(dag, airflow, run_id, **run)
        again = close_in(dag, airflow, run_id, **run)
        assert again["status"] == "success", "a close that is tried again starts no second run"
        if started == before:
            break
        (run_id,) = started.keys() - before.keys()
        assert run_id == f"slice__{opened['to_date'][:19]}__after_{opened['batch_id']}"
        run = {"conf": started[run_id], "run_type": "manual"}
    days = [(TODAY - timedelta(days=back)).strftime("%Y-%m-%dT00:00:00.000000") for back in (2, 1, 0)]
    assert ends == days
    assert run["conf"]["color"] == "red"
    assert run["conf"][CONF_SLICE]["due"] == f"{TODAY:%Y-%m-%dT%H:%M:%S.%f}"


def test_a_slice_that_failed_starts_nothing_and_its_run_goes_on_once_it_is_cleared(
    store: Store, started: dict[str, Any]
) -> None:
    dag, airflow = sliced(max="1d"), Airflow()
    failed = {"open": "success", "extract": "failed", "load": "upstream_failed"}
    open_in(dag, airflow)
    with pytest.raises(AirflowException, match="extract failed"):
        close_in(dag, airflow, states=failed)
    assert started == {}
    open_in(dag, airflow)
    close_in(dag, airflow)
    assert len(started) == 1


def test_a_run_that_cannot_be_started_does_not_make_the_batch_fail(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> bool:
        raise RuntimeError("no such DAG")

    monkeypatch.setattr(next_slice, "start_run", refuse)
    dag, airflow = sliced(max="1d"), Airflow()
    open_in(dag, airflow)
    with caplog.at_level(logging.WARNING):
        assert close_in(dag, airflow)["status"] == "success"
    assert "the run of the next slice could not be started: no such DAG. The next due run goes on" in caplog.text


def test_nothing_to_load_skips_all_tasks_of_the_batch(
    store: Store, skipped: list[str], started: dict[str, Any]
) -> None:
    dag, airflow = sliced(align="day"), Airflow()
    open_in(dag, airflow)
    close_in(dag, airflow)
    assert started == {}, "a window that was not cut starts no run"
    before = store.count("wf")
    with pytest.raises(AirflowSkipException, match=r"nothing to load: its data is loaded up to .* can open from"):
        open_in(dag, airflow, "second")
    assert skipped == ["close", "extract", "load"]
    assert store.count("wf") == before


def test_a_run_for_a_slice_that_another_has_taken_is_skipped(
    store: Store, skipped: list[str], started: dict[str, Any]
) -> None:
    dag, airflow = sliced(max="1d"), Airflow()
    open_in(dag, airflow)
    close_in(dag, airflow)
    (conf,) = started.values()
    open_in(dag, airflow, "due in between")
    close_in(dag, airflow, "due in between")
    with pytest.raises(AirflowSkipException, match="this run was to take the slice after batch"):
        open_in(dag, airflow, "slice", conf=conf)
    assert "load" in skipped


def test_a_missed_run_takes_its_own_interval(store: Store) -> None:
    dag, airflow = night(jobs={"extract": {"initial_date": SINCE}}), Airflow()
    dag.catchup = True
    due = TODAY - timedelta(days=2, hours=-2)  # not the last one, whatever time it is
    opened = open_in(dag, airflow, run_after=due)
    assert opened["to_date"] == f"{due:%Y-%m-%dT%H:%M:%S.%f}"
    close_in(dag, airflow, run_after=due)
    # Nobody has scheduled this one.
    assert open_in(dag, airflow, "by hand", run_after=due, run_type="manual")["to_date"] > opened["to_date"]


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ({"align": "dya"}, r"window\.align: expected hour, day, week or month.*did you mean 'day'"),
        ({"max": "0s", "evry": 1}, r"window\.max: .*; window\.evry: unknown key"),
        ({"until": {"workflow": "crm"}}, r"window\.until\.workflow: unknown key; did you mean 'workflows'"),
    ],
)
def test_a_wrong_shape_is_refused_when_the_dag_is_made(window: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchyOpenOperator(task_id="open", workflow="wf", window=window)


def test_a_shape_may_be_given_as_a_value() -> None:
    shape = WindowShape(align="day", max=timedelta(days=1))
    operators = [
        BatchyOpenOperator(task_id="open", workflow="wf", window=window)
        for window in (shape, {"align": "day", "max": "1d"})
    ]
    assert [each.window for each in operators] == [shape, shape]


def test_only_tasks_that_need_the_batch_are_skipped() -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator

    dag = night()
    after = EmptyOperator(task_id="after", dag=dag)
    dag.get_task("close").set_downstream(after)
    aside = EmptyOperator(task_id="aside", dag=dag)
    dag.get_task("open").set_downstream(aside)
    assert opening.between(dag.get_task("open")) == ["close", "extract", "load"]
