# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``schedule: {after: …}``: which assets of which workflows start a run, and which run loads anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow_versions import deserialized, serialized
from redis import Redis

from batchy_provider.config.graph import as_text
from batchy_provider.config.reader import read_folder
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.dag_factory import build_dags
from batchy_provider.state.store import Store

JOB = "jobs: {a: {operator: airflow.providers.standard.operators.empty.EmptyOperator}}"


@pytest.fixture
def build(tmp_path: Path) -> Any:
    def build(text: str, name: str = "sales") -> DAG:
        (tmp_path / f"{name}.yaml").write_text(f"{text}\n{JOB}")
        dags, diagnostics = build_dags(tmp_path)
        assert diagnostics == []
        return dags[name]

    return build


def shape(condition: Any) -> Any:
    """Write a condition as ("All", [uri, ("Any", […])])."""
    if hasattr(condition, "uri"):
        return plain(condition.uri)
    return type(condition).__name__.removeprefix("Asset"), [shape(each) for each in condition.objects]


def plain(uri: str) -> str:
    """Take off the slash that some versions of Airflow add to the host."""
    return uri.replace("/?", "?").rstrip("/")


def assets_of(dag: DAG) -> dict[str, Asset]:
    def leaves(condition: Any) -> list[Asset]:
        return [condition] if isinstance(condition, Asset) else [a for each in condition.objects for a in leaves(each)]

    return {plain(asset.uri): asset for asset in leaves(dag.timetable.asset_condition)}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("{after: crm}", ("All", ["batchy://crm"])),
        ("{after: [crm, erp]}", ("All", ["batchy://crm", "batchy://erp"])),
        ("{after: [crm, erp], any: true}", ("Any", ["batchy://crm", "batchy://erp"])),
        ("{after: [crm, erp], same_day: true}", ("All", ["batchy://crm", "batchy://erp"])),
        ("{after: crm, result: failed}", ("All", ["batchy://crm?result=failed"])),
        (
            "{after: [crm, erp], result: closed}",
            (
                "All",
                [
                    ("Any", ["batchy://crm", "batchy://crm?result=failed"]),
                    ("Any", ["batchy://erp", "batchy://erp?result=failed"]),
                ],
            ),
        ),
        ("{after: crm, result: closed, any: true}", ("Any", ["batchy://crm", "batchy://crm?result=failed"])),
        ("{after: crm, outside: true}", ("All", [("Any", ["batchy://crm", "batchy://crm?by=outside"])])),
    ],
)
def test_what_starts_a_run(build: Any, after: str, expected: Any) -> None:
    assert shape(build(f"schedule: {after}").timetable.asset_condition) == expected


def test_failures_are_told_by_a_watcher_of_all_batches(build: Any) -> None:
    assets = assets_of(build("connection: other\nschedule: {after: crm, result: closed}"))
    assert assets["batchy://crm"].watchers == []
    (watcher,) = assets["batchy://crm?result=failed"].watchers
    trigger: Any = watcher.trigger
    assert (trigger.workflow, trigger.result, trigger.outside_only) == ("crm", "failed", False)
    assert trigger.redis_conn_id == "other"


def test_what_was_closed_outside_is_told_by_a_watcher_of_just_these(build: Any) -> None:
    (watcher,) = assets_of(build("schedule: {after: crm, outside: true}"))["batchy://crm?by=outside"].watchers
    trigger: Any = watcher.trigger
    assert (trigger.workflow, trigger.result, trigger.outside_only) == ("crm", "success", True)


def test_a_workflow_named_like_anothers_failure_has_an_asset_of_its_own(build: Any) -> None:
    build("schedule: {after: [crm], result: failed}", "one")
    other = assets_of(build("schedule: {after: [crm_failed, crm.failed, crm-failed]}", "other"))
    failed = assets_of(build("schedule: {after: [crm], result: failed}", "one"))
    names = [asset.name for asset in (*other.values(), *failed.values())]
    assert len(set(names)) == len(names) == 4


def test_a_dag_with_watchers_survives_serialization(build: Any) -> None:
    dag = build("schedule: {after: crm, result: closed, outside: true}")
    stored = serialized(dag)
    again = deserialized(stored)
    uris = {plain(asset.uri) for _, asset in again.timetable.asset_condition.iter_assets()}
    assert uris == {"batchy://crm", "batchy://crm?by=outside", "batchy://crm?result=failed"}
    assert "BatchClosedTrigger" in str(stored)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "schedule: {after: [crm], same_day: true, any: true}",
            "any starts a run after one workflow, same_day waits for all",
        ),
        ("schedule: {after: [crm], same_day: true, result: closed}", "same_day waits for successes only"),
        ("schedule: {after: [crm], outside: true, result: failed}", "failures outside Airflow always count"),
        ("schedule: {after: [crm], same_day: true}\nwait_for: crm", "'crm' is also in wait_for"),
        ("schedule: {after: [crm], result: aborted}", "expected success, failed or closed"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "sales.yaml").write_text(f"{text}\n{JOB}")
    dags, (diagnostic,) = build_dags(tmp_path)
    assert dags == {}
    assert message in str(diagnostic)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("{after: [crm, erp], same_day: true}", "after crm and erp on the same day"),
        ("{after: [crm, erp], any: true, result: failed}", "after the failure of crm or erp"),
        ("{after: crm, result: closed}", "after the end of crm"),
    ],
)
def test_it_is_said_in_words(tmp_path: Path, after: str, said: str) -> None:
    (tmp_path / "sales.yaml").write_text(f"schedule: {after}\n{JOB}")
    assert as_text(read_folder(tmp_path).workflows["sales"]).startswith(f"sales ({said})\n")


class TestOnTheSameDay:
    @pytest.fixture
    def store(self, redis_client: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
        return Store(redis_client)

    def load(self, store: Store, workflow: str) -> None:
        config = WorkflowConfig(name=workflow, jobs={"a": {}})
        store.open(workflow, OpenRequest(config=config, holder=Holder(by="test")))
        store.close(workflow, CloseRequest(result="success"))

    def test_each_is_waited_for_on_the_day_of_the_run(self, build: Any) -> None:
        dag = build("timezone: Europe/Paris\nschedule: {after: [crm, erp], same_day: true}\nwait_for: hr")
        assert sorted(dag.get_task("open").upstream_task_ids) == ["wait_for_crm", "wait_for_erp", "wait_for_hr"]
        for workflow in ("crm", "erp"):
            wait = dag.get_task(f"wait_for_{workflow}")
            assert (wait.workflow, wait.same_day, wait.soft_fail, wait.timezone) == (
                workflow,
                True,
                True,
                "Europe/Paris",
            )
        assert not dag.get_task("wait_for_hr").same_day

    @pytest.fixture
    def loader(self, tmp_path: Path) -> Iterator[str]:
        """A file in Airflow's DAGs folder that loads those of the test, in a metadata database of the tests' own."""
        from airflow.utils.db import initdb

        folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
        folder.mkdir(exist_ok=True)
        file = folder / "schedules_by_batches.py"
        file.write_text(
            "from batchy_provider.dag_factory import load_dags  # Airflow reads files with its name in them\n"
            f"for dag in load_dags({str(tmp_path)!r}, globals()).values():\n"
            "    dag.fileloc = __file__\n"
        )
        initdb()
        yield str(file)
        file.unlink()

    def run(self, dag: DAG, loader: str, run_after: datetime) -> dict[str, str]:
        dag.fileloc = loader
        run = dag.test(run_after=run_after, logical_date=None)
        return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}

    @pytest.mark.slow
    def test_a_run_of_a_day_on_which_not_all_succeeded_opens_nothing(
        self, build: Any, loader: str, store: Store
    ) -> None:
        self.load(store, "crm")
        self.load(store, "erp")
        dag = build("schedule: {after: [crm, erp], same_day: true}")
        states = self.run(dag, loader, datetime.now(timezone.utc) - timedelta(days=1))
        assert set(states.values()) == {"skipped"}, states
        assert store.workflows() == ["crm", "erp"]

    @pytest.mark.slow
    def test_a_run_of_a_day_on_which_all_succeeded_loads(self, build: Any, loader: str, store: Store) -> None:
        self.load(store, "crm")
        self.load(store, "erp")
        dag = build("schedule: {after: [crm, erp], same_day: true}")
        states = self.run(dag, loader, datetime.now(timezone.utc))
        assert set(states.values()) == {"success"}, states
        batch = store.status("sales").batch
        assert batch is not None
        assert batch.status == "success"


def test_a_workflow_outside_needs_no_file(tmp_path: Path) -> None:
    from batchy_provider.config.cross_file_checks import check_across_files

    (tmp_path / "sales.yaml").write_text(f"schedule: {{after: crm, outside: true}}\n{JOB}")
    (tmp_path / "hr.yaml").write_text(f"schedule: {{after: crm}}\n{JOB}")
    workflows = read_folder(tmp_path).workflows
    assert [path.name for path, _ in check_across_files(workflows, list(workflows))] == ["hr.yaml"]


def test_what_runs_after_a_failure_closes_no_cycle(tmp_path: Path) -> None:
    from batchy_provider.config.cross_file_checks import check_across_files

    (tmp_path / "repair.yaml").write_text(f"schedule: {{after: load, result: failed}}\n{JOB}")
    (tmp_path / "load.yaml").write_text(f"schedule: {{after: repair}}\n{JOB}")
    workflows = read_folder(tmp_path).workflows
    assert list(check_across_files(workflows, list(workflows))) == []
