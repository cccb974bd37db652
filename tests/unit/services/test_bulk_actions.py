# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Actions on many workflows: a result for each, nothing done twice, an error with one that does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loaded_nights import ANN

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.services.answers import Audit
from batchy_provider.services.bulk_actions import BulkAction, BulkRequest, BulkResult, RefusedError
from batchy_provider.services.composition import Services
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store


class FakeAirflow:
    """DAGs and runs as `DagControl` has them.

    :ivar paused: DAG → whether it is paused; a DAG that is not in it does not exist.
    :ivar active: runs that have not ended.
    :ivar cleared: the runs that were cleared.
    """

    def __init__(self) -> None:
        self.paused: dict[str, bool] = {}
        self.active: set[tuple[str, str]] = set()
        self.cleared: list[tuple[str, str, bool]] = []

    def is_paused(self, dag_id: str) -> bool:
        if dag_id not in self.paused:
            raise RefusedError("unknown_dag", f"there is no DAG {dag_id}")
        return self.paused[dag_id]

    def set_paused(self, dag_id: str, paused: bool) -> None:
        self.paused[dag_id] = paused

    def is_active(self, dag_id: str, run_id: str) -> bool:
        return (dag_id, run_id) in self.active

    def clear(self, dag_id: str, run_id: str, *, only_failed: bool) -> None:
        self.cleared.append((dag_id, run_id, only_failed))
        self.active.add((dag_id, run_id))


@pytest.fixture
def airflow() -> FakeAirflow:
    return FakeAirflow()


@pytest.fixture
def services(redis_url: str, cfg: Path, audits: list[Audit]) -> Iterator[Services]:
    services = Services(store=lambda: Store(open_client(redis_url)), cfg=cfg, audit=audits.append)
    yield services
    services.close()


def batch(services: Services, workflow: str, run: str | None, result: str | None = "failed") -> int:
    """Open a batch as a run, and close it."""
    config = WorkflowConfig(name=workflow, jobs={"extract": {}, "load": {}})
    holder = Holder(by="nightly", dag_id=workflow, run_id=run) if run is not None else Holder(by="ann")
    opened = services.store.open(workflow, OpenRequest(config=config, holder=holder))
    if result is not None:
        services.store.close(workflow, CloseRequest(result=result, batch_id=opened.batch_id, by="nightly"))
    return int(opened.batch_id)


def bulk(
    services: Services,
    airflow: FakeAirflow,
    action: BulkAction,
    *workflows: str,
    batches: dict[str, int] | None = None,
    forbidden: str = "",
) -> dict[str, BulkResult]:
    found = services.bulk.run(
        BulkRequest(action=action, workflows=[*workflows], batches=batches or {}, why="disk is back"),
        actor=ANN,
        control=airflow,
        refusal=lambda name: "you may not" if name == forbidden else None,
        code_of=lambda error: type(error).__name__,
    )
    return {each.workflow: each for each in found}


def results(found: dict[str, BulkResult]) -> dict[str, tuple[str, str]]:
    return {name: (each.result, each.code) for name, each in found.items()}


def test_each_workflow_has_its_own_result(services: Services, airflow: FakeAirflow, audits: list[Audit]) -> None:
    batch(services, "sales", "r1")
    batch(services, "shops", "r2", "success")
    batch(services, "stock", None)
    batch(services, "secret", "r3")
    found = bulk(services, airflow, "run_again", "sales", "shops", "stock", "secret", "nothing", forbidden="secret")
    assert list(found) == ["sales", "shops", "stock", "secret", "nothing"]
    assert results(found) == {
        "sales": ("done", "run_cleared"),
        "shops": ("refused", "batch_not_failed"),
        "stock": ("refused", "no_run"),
        "secret": ("refused", "forbidden"),
        "nothing": ("refused", "UnknownWorkflowError"),
    }
    assert airflow.cleared == [("sales", "r1", True)]
    assert [(each.workflow, each.action, each.why) for each in audits] == [("sales", "run_again", "disk is back")]
    (change,) = services.store.status("sales").changes
    assert (change.by, change.why) == (ANN.by, "disk is back")
    assert "r1" in change.what


def test_the_same_request_once_more_runs_nothing_twice(services: Services, airflow: FakeAirflow) -> None:
    seen = {"sales": batch(services, "sales", "r1")}
    assert bulk(services, airflow, "run_again", "sales", batches=seen)["sales"].result == "done"
    again = bulk(services, airflow, "run_again", "sales", batches=seen)["sales"]
    assert (again.result, again.code) == ("already", "run_active")
    batch(services, "sales", "r1", result=None)  # the run has opened its new batch
    airflow.active.clear()
    again = bulk(services, airflow, "run_again", "sales", batches=seen)["sales"]
    assert (again.result, again.code) == ("already", "run_again_started")
    assert len(airflow.cleared) == 1


def test_a_newer_batch_of_another_run_is_not_run_again_by_mistake(services: Services, airflow: FakeAirflow) -> None:
    seen = {"sales": batch(services, "sales", "r1")}
    batch(services, "sales", "r2")
    found = bulk(services, airflow, "run_again", "sales", batches=seen)["sales"]
    assert (found.result, found.code) == ("refused", "batch_superseded")
    assert not airflow.cleared


def test_pause_and_unpause_say_what_was_so_before(
    services: Services, airflow: FakeAirflow, audits: list[Audit]
) -> None:
    airflow.paused = {"sales": False, "shops": True}
    found = bulk(services, airflow, "pause", "sales", "shops", "nothing")
    assert results(found) == {
        "sales": ("done", "paused"),
        "shops": ("already", "paused"),
        "nothing": ("refused", "unknown_dag"),
    }
    assert airflow.paused == {"sales": True, "shops": True}
    assert [(each.workflow, each.action) for each in audits] == [("sales", "pause")]
    assert results(bulk(services, airflow, "unpause", "sales")) == {"sales": ("done", "unpaused")}


def test_enable_switches_on_all_jobs_but_those_that_the_file_disables(services: Services, airflow: FakeAirflow) -> None:
    for name in ("sales", "shops", "stock"):
        batch(services, name, "r1", "success")
    for job in ("extract", "load"):
        services.store.disable("sales", job, by=ANN)
    config = WorkflowConfig(name="stock", jobs={"extract": {}, "load": {}}, disabled=frozenset({"load"}))
    services.store.load(config, by=ANN)
    found = bulk(services, airflow, "enable", "sales", "shops", "stock")
    assert results(found) == {
        "sales": ("done", "enabled"),
        "shops": ("already", "enabled"),
        "stock": ("refused", "disabled_in_file"),
    }
    assert services.store.status("sales").disabled == frozenset()
    services.store.disable("stock", "extract", by=ANN)
    both = bulk(services, airflow, "enable", "stock")["stock"]
    assert both.result == "done"
    assert "enabled: extract" in both.text
    assert "still off: load" in both.text


def test_restore_needs_an_archive(services: Services, airflow: FakeAirflow) -> None:
    batch(services, "sales", "r1")
    assert results(bulk(services, airflow, "restore", "sales")) == {"sales": ("refused", "archive_off")}


def test_an_outage_is_said_for_each_workflow_and_asked_once(
    services: Services, airflow: FakeAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def status(workflow: str) -> object:
        asked.append(workflow)
        raise RedisUnavailableError("no answer")

    monkeypatch.setattr(services.store, "status", status)
    found = bulk(services, airflow, "run_again", "sales", "shops", "secret", forbidden="secret")
    assert results(found) == {
        "sales": ("failed", "RedisUnavailableError"),
        "shops": ("failed", "RedisUnavailableError"),
        "secret": ("refused", "forbidden"),
    }
    assert asked == ["sales"]


def test_what_airflow_did_is_done_even_if_redis_is_gone_afterwards(
    services: Services, airflow: FakeAirflow, audits: list[Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.paused = {"sales": False}

    def gone(*args: object, **options: object) -> None:
        raise RedisUnavailableError("no answer")

    monkeypatch.setattr(services.store, "status", gone)
    assert bulk(services, airflow, "pause", "sales")["sales"].result == "done"
    assert [each.action for each in audits] == ["pause"]


@pytest.mark.parametrize("name", ["a b", "x" * 201, "../etc"])
def test_an_invalid_name_is_refused(services: Services, airflow: FakeAirflow, name: str) -> None:
    found = bulk(services, airflow, "pause", name)[name]
    assert (found.result, found.code) == ("refused", "InvalidNameError")
