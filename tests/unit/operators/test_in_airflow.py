# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The same in a real Airflow, its API and task runner in this process: `dag.test()`."""

from __future__ import annotations

import os
import runpy
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.state.store import Store

SOURCE = Path(__file__).parent / "nightly_dags.py"


@pytest.fixture(scope="module")
def dags() -> Iterator[dict[str, Any]]:
    """The DAGs of `nightly_dags`, in a metadata database of the tests' own."""
    from airflow.utils.db import initdb

    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    file = folder / SOURCE.name
    shutil.copy(SOURCE, file)
    initdb()
    yield runpy.run_path(str(file))
    file.unlink()


@pytest.fixture
def store(redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    return Store(redis_client)


def run(dag: Any, **conf: Any) -> tuple[str, dict[str, str], Any]:
    """Return the run's state, its tasks' states, and the run."""
    done = dag.test(run_conf=conf)
    states = {
        f"{ti.task_id}{f'[{ti.map_index}]' if ti.map_index >= 0 else ''}": ti.state for ti in done.get_task_instances()
    }
    return done.state, states, done


def outcomes(store: Store, workflow: str) -> dict[str, str]:
    batch = store.status(workflow).batch
    assert batch is not None
    return {"batch": batch.status, **{name: job.get("outcome") for name, job in batch.jobs.items()}}


def test_nothing_to_load_skips_everything_and_the_run_ends_well(dags: dict[str, Any], store: Store) -> None:
    assert run(dags["shaped"])[0] == "success"
    state, states, _ = run(dags["shaped"])
    assert state == "success"
    # `report` would run after all tasks, whatever became of them.
    assert states == dict.fromkeys(("open", "extract", "load", "report", "close"), "skipped")
    assert store.count("shaped") == 1


class TestNight:
    def test_good(self, dags: dict[str, Any], store: Store) -> None:
        state, tasks, done = run(dags["nightly"])
        assert state == "success"
        assert set(tasks.values()) == {"success"}
        assert outcomes(store, "nightly") == dict.fromkeys(("batch", "extract", "load", "report"), "success")
        batch = store.batch_of_run("nightly", done.run_id)
        assert batch is not None
        (told,) = (ti.xcom_pull(task_ids="report") for ti in done.get_task_instances() if ti.task_id == "close")
        assert (told["batch_id"], told["from_date"]) == (batch.batch_id, batch.from_date)

    @pytest.mark.parametrize(("failed", "job"), [(1, "part"), (100, "part_1")])
    def test_an_instance_and_a_job_of_one_name_hide_nothing_of_each_other(
        self, dags: dict[str, Any], store: Store, failed: int, job: str
    ) -> None:
        state, _, _ = run(dags["collision"], fail=[failed])
        assert state == "failed"
        expected = {"batch": "failed", "part": "success", "part_1": "success", job: "failed"}
        assert outcomes(store, "collision") == expected

    def test_a_failed_job_fails_batch_and_run_though_the_last_job_succeeds(
        self, dags: dict[str, Any], store: Store
    ) -> None:
        state, tasks, _ = run(dags["nightly"], fail=["extract"])
        assert state == "failed"
        assert tasks == {
            "open": "success",
            "extract": "failed",
            "load": "upstream_failed",
            "report": "success",
            "close": "failed",
        }
        expected = {"batch": "failed", "extract": "failed", "load": "aborted", "report": "success"}
        assert outcomes(store, "nightly") == expected

    def test_the_next_run_takes_the_failed_window(self, dags: dict[str, Any], store: Store) -> None:
        run(dags["nightly"])
        first = store.status("nightly").batch
        run(dags["nightly"], fail=["load"])
        run(dags["nightly"])
        third = store.status("nightly").batch
        assert first is not None
        assert third is not None
        assert (third.status, third.from_date) == ("success", first.to_date)

    def test_nothing_of_a_batch_that_did_not_open_runs(self, dags: dict[str, Any], store: Store) -> None:
        store.backend.client.set("nightly", "mine")
        state, tasks, _ = run(dags["nightly"])
        assert state == "failed"
        others = {task: state for task, state in tasks.items() if task != "open"}
        assert tasks["open"] == "failed"
        assert set(others.values()) == {"upstream_failed"}

    def test_one_held_by_a_run_that_airflow_does_not_know(self, dags: dict[str, Any], store: Store) -> None:
        config = WorkflowConfig(name="nightly", jobs={"extract": {}, "load": {}, "report": {}})
        holder = Holder(dag_id="nightly", run_id="killed long ago")
        held = store.open("nightly", OpenRequest(config=config, holder=holder))
        assert run(dags["nightly"])[0] == "success"
        assert store.batch("nightly", held.batch_id).status == "failed"

    def test_a_window_of_the_conf(self, dags: dict[str, Any], store: Store) -> None:
        state, _, done = run(dags["nightly"], from_date="2026-01-01", to_date="2026-01-02")
        assert state == "success"
        batch = store.batch_of_run("nightly", done.run_id)
        assert batch is not None
        assert (batch.kind, batch.from_date, batch.status) == ("history", "2026-01-01T00:00:00.000000", "success")


class TestMapped:
    def test_good(self, dags: dict[str, Any], store: Store) -> None:
        state, tasks, _ = run(dags["mapped"])
        assert state == "success"
        assert [tasks[f"part[{i}]"] for i in range(3)] == ["success"] * 3
        assert outcomes(store, "mapped") == {"batch": "success", "part": "success"}

    def test_one_instance_fails(self, dags: dict[str, Any], store: Store) -> None:
        state, tasks, _ = run(dags["mapped"], fail=[2])
        assert state == "failed"
        assert [tasks[f"part[{i}]"] for i in range(3)] == ["success", "failed", "success"]
        assert outcomes(store, "mapped") == {"batch": "failed", "part": "failed"}


class TestWait:
    def opened(self, store: Store) -> None:
        config = WorkflowConfig(name="nightly", jobs={"extract": {}})
        store.open("nightly", OpenRequest(config=config, holder=Holder(by="test")))

    def succeed(self, store: Store) -> None:
        self.opened(store)
        store.close("nightly", CloseRequest(result="success"))

    def test_done_already(self, dags: dict[str, Any], store: Store) -> None:
        self.succeed(store)
        state, tasks, _ = run(dags["later"])
        assert (state, set(tasks.values())) == ("success", {"success"})

    def test_woken_by_the_close(self, dags: dict[str, Any], store: Store) -> None:
        """Here the triggers run inside dag.test(), on the multiplexer."""
        closing = threading.Timer(4, self.succeed, [store])
        closing.start()
        try:
            state, tasks, done = run(dags["later"])
        finally:
            closing.join()
        assert (state, set(tasks.values())) == ("success", {"success"})
        batch = store.status("nightly").batch
        assert batch is not None
        for ti in done.get_task_instances():
            assert str(ti.xcom_pull(task_ids=ti.task_id)) == str(batch.batch_id), ti.task_id

    def test_a_failed_batch_ends_it(self, dags: dict[str, Any], store: Store) -> None:
        self.opened(store)
        closing = threading.Timer(2, store.close, ["nightly", CloseRequest(result="failed")])
        closing.start()
        try:
            state, tasks, _ = run(dags["later"])
        finally:
            closing.join()
        assert (state, tasks["wait"]) == ("failed", "failed")

    def test_since_the_last_run(self, dags: dict[str, Any], store: Store) -> None:
        """The run before has succeeded after this success, so one wait goes on, until a newer one."""
        self.succeed(store)
        run(dags["later"])
        closing = threading.Timer(3, self.succeed, [store])
        since = datetime.now(timezone.utc)
        closing.start()
        try:
            state, _, _ = run(dags["later"])
        finally:
            closing.join()
        assert state == "success"
        assert datetime.now(timezone.utc) - since > timedelta(seconds=2)
