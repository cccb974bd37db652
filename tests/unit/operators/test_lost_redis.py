# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Tasks on a Redis that came back with nothing: each says so, at once, and none goes on as if all were new."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_runs import Airflow, context, night
from redis import Redis

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.archive.archiver import Archiver
from batchy_provider.core.values import Actor, CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.dag_factory.open_batch_check import OpenBatchCheck
from batchy_provider.exceptions import ArchiveUnavailableError
from batchy_provider.services.archive import ArchiveService
from batchy_provider.state.store import Store

ALL_GOOD = {"open": "success", "extract": "success", "load": "success"}


@pytest.fixture(autouse=True)
def results(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    return tmp_path / "results"


def run(task: str, run_id: str) -> Any:
    airflow = Airflow(tasks=ALL_GOOD)
    dag = night()
    return dag.get_task(task).execute(context(dag, airflow, run_id))


def test_open_fails_at_once_and_no_retry_opens_it_either(redis_client: Redis) -> None:
    run("open", "r1")
    run("close", "r1")
    redis_client.flushall()
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"Redis has lost the workflow, .* `batchy restore wf`"):
            run("open", "r2")
    assert redis_client.keys() == []


def test_close_says_that_its_batch_is_lost(redis_client: Redis) -> None:
    run("open", "r1")
    redis_client.flushall()
    with pytest.raises(AirflowFailException, match=r"Redis has lost the batch since: `batchy restore wf`"):
        run("close", "r1")


def test_a_job_that_was_about_to_start_does_not_run(redis_client: Redis) -> None:
    run("open", "r1")
    redis_client.flushall()
    check = OpenBatchCheck(workflow="wf", job="load")
    with pytest.raises(AirflowFailException, match=r"Redis has lost the batch since: `batchy restore wf`"):
        check.check(SimpleNamespace(task_id="load", dag_id="wf", run_id="r1"))


def test_after_restoring_the_next_run_takes_the_window_that_was_next(redis_client: Redis, results: Path) -> None:
    run("open", "r1")
    first = run("close", "r1")
    redis_client.flushall()
    files = ArchiveFiles(str(results))
    ArchiveService(Store(redis_client), files).restore("wf", actor=Actor("ops"))
    assert run("open", "r2")["from_date"] == first["to_date"]


def test_a_result_store_that_is_away_is_tried_again_where_redis_does_not_know_the_workflow(
    redis_client: Redis, results: Path
) -> None:
    results.write_text("a file where a folder ought to be")
    with pytest.raises(ArchiveUnavailableError):
        run("open", "r1")
    results.unlink()
    run("open", "r1")


def test_a_result_store_that_is_away_stops_no_night(
    redis_client: Redis, results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run("open", "r1")
    run("close", "r1")
    results.rename(results.with_name("away"))
    results.write_text("a file where a folder ought to be")
    run("open", "r2")
    assert run("close", "r2")["status"] == "success"
    assert "the archive cannot be read to see whether Redis has lost something" in caplog.text
    assert "the archive is not complete" in caplog.text
    results.unlink()
    results.with_name("away").rename(results)
    run("open", "r3")
    run("close", "r3")
    assert len(ArchiveFiles(str(results)).batch_ids("wf")) == 3


def test_without_the_option_nothing_is_kept_or_asked(
    redis_client: Redis, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__ARCHIVE", "False")
    run("open", "r1")
    run("close", "r1")
    assert not results.exists()
    redis_client.flushall()
    assert run("open", "r2")["from_date"].startswith("1776")


def test_the_archive_is_kept_on_whatever_airflow_opens(redis_client: Redis, tmp_path: Path) -> None:
    """A store with folders that have to be made, opened by Airflow's own object storage."""
    from airflow.sdk import ObjectStoragePath

    files = ArchiveFiles((tmp_path / "store").as_uri(), ObjectStoragePath)
    warnings: list[str] = []
    store = Store(redis_client, archive=Archiver(lambda: files, warn=warnings.append))
    for _ in range(2):
        batch = store.open("wf", OpenRequest(config=WorkflowConfig(name="wf", jobs={"load": {}})))
        store.close("wf", CloseRequest(result="success", batch_id=batch.batch_id))
    assert (warnings, len(files.batch_ids("wf")), files.workflows()) == ([], 2, ["wf"])
    redis_client.flushall()
    assert ArchiveService(store, files).restore("wf", actor=Actor("ops")).batches == 2
