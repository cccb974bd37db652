# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a task meets at run time: the check before it, and ``{{ batch }}`` in its templates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.sdk import DAG, BaseOperator

from batchy_provider.core.values import Batch, BatchRecord
from batchy_provider.dag_factory import build_dags
from batchy_provider.dag_factory.open_batch_check import OpenBatchCheck
from batchy_provider.hooks import batchy

TEXT = """
connection: other
jobs:
  load: {bash: x, params: {region: eu, tables: [a, b]}}
  tidy: {bash: x}
  page: {bash: x, when: failed, params: {who: ann}}
"""


class Store:
    """What tasks ask before they run."""

    def __init__(self) -> None:
        self.batch: Batch | None = Batch(
            workflow="sales",
            batch_id=1467149783,
            status="open",
            kind="live",
            jobs={
                "load": {
                    "region": "eu",
                    "tables": ["a", "b"],
                    "status": "open",
                    "reprocess_hours": 2,
                    "from_date": "2026-11-20T00:00:00.000000",
                    "to_date": "2026-11-22T00:00:00.000000",
                },
                "tidy": {"from_date": "2026-11-21T00:00:00.000000", "to_date": "2026-11-22T00:00:00.000000"},
            },
        )
        self.disabled = {"tidy"}
        self.asked: list[tuple[Any, ...]] = []

    def batch_of_run(self, workflow: str, run: str) -> Batch | None:
        self.asked.append((workflow, run))
        return self.batch

    def batch_and_disabled(self, workflow: str, run: str) -> tuple[Batch | None, set[str]]:
        return self.batch_of_run(workflow, run), self.disabled

    def skip_job(self, workflow: str, batch_id: int, job: str) -> bool:
        self.asked.append((workflow, batch_id, job))
        return job in self.disabled


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()

    @contextmanager
    def hook(redis_conn_id: str | None) -> Iterator[Store]:
        assert redis_conn_id == "other"
        yield store

    monkeypatch.setattr(batchy, "BatchyHook", hook)
    return store


@pytest.fixture
def dag(tmp_path: Path) -> DAG:
    (tmp_path / "sales.yaml").write_text(TEXT)
    return build_dags(tmp_path)[0]["sales"]


def instance(task: str) -> Any:
    return SimpleNamespace(dag_id="sales", run_id="scheduled__1", task_id=task)


class TestGate:
    def pass_through(self, dag: DAG, name: str) -> None:
        task = dag.get_task(name)
        task.pre_execute({"ti": instance(name), "task": task})

    def test_lets_a_job_of_an_open_batch_go(self, dag: DAG, store: Store):
        self.pass_through(dag, "load")
        assert store.asked == [("sales", "scheduled__1")]

    def test_skips_a_disabled_job(self, dag: DAG, store: Store):
        with pytest.raises(AirflowSkipException, match="job 'tidy' is disabled"):
            self.pass_through(dag, "tidy")

    def test_skips_a_job_that_was_disabled_after_the_batch_was_opened(self, dag: DAG, store: Store):
        store.disabled = {"load"}
        with pytest.raises(AirflowSkipException, match="job 'load' is disabled"):
            self.pass_through(dag, "load")
        assert store.asked == [("sales", "scheduled__1"), ("sales", 1467149783, "load")]

    def test_says_of_a_job_that_is_ahead_why_it_takes_no_part(self, dag: DAG, store: Store):
        assert store.batch is not None
        end = "2026-11-22T00:00:00.000000"
        record = BatchRecord(kind="live", started=end, to_date=end, day="2026-11-22", reason="", left_out=["tidy"])
        store.batch = replace(store.batch, record=record)
        with pytest.raises(AirflowSkipException, match="'tidy' has loaded its data beyond the window of this batch"):
            self.pass_through(dag, "tidy")

    def test_nothing_runs_where_there_was_nothing_to_load(self, store: Store):
        store.batch = None
        ti = instance("load")
        ti.get_task_states = lambda **_: {"scheduled__1": {"open": "skipped"}}
        with pytest.raises(AirflowSkipException, match="there is nothing to load, so no batch was opened"):
            OpenBatchCheck("sales", "load", "other").check(ti)

    def test_skips_a_job_that_came_to_the_file_since(self, store: Store):
        check = OpenBatchCheck("sales", "new", "other")
        with pytest.raises(AirflowSkipException, match="added to the file after batch 1467149783 was opened"):
            check.check(instance("new"))
        assert store.asked == [("sales", "scheduled__1")]

    def test_handlers_hold_no_state(self, dag: DAG, store: Store):
        self.pass_through(dag, "page")
        assert store.asked == [("sales", "scheduled__1")]

    def test_a_disabled_handler_is_skipped(self, store: Store):
        check = OpenBatchCheck("sales", None, "other", enabled=False)
        with pytest.raises(AirflowSkipException, match="enabled: false"):
            check.check(instance("page"))

    @pytest.mark.parametrize("name", ["load", "page"])
    def test_refuses_a_run_without_a_batch(self, dag: DAG, store: Store, name: str):
        store.batch = None
        with pytest.raises(AirflowFailException, match="run 'scheduled__1' of workflow 'sales' has opened no batch"):
            self.pass_through(dag, name)

    def test_refuses_a_batch_that_is_closed(self, dag: DAG, store: Store):
        assert store.batch is not None
        object.__setattr__(store.batch, "status", "success")
        with pytest.raises(AirflowFailException, match="closed its batch, 1467149783"):
            self.pass_through(dag, "load")

    def test_the_operators_own_pre_execute_follows(self, store: Store):
        seen = []

        class Own(BaseOperator):
            def pre_execute(self, context: Any) -> None:
                seen.append(self)

        task = Own(task_id="load")
        OpenBatchCheck("sales", "load", "other")({"ti": instance("load"), "task": task})
        assert seen == [task]


def test_the_script_of_a_handler_is_given_its_params_from_the_file(dag: DAG):
    assert dag.get_task("page").job_params == {"who": "ann"}
    assert dag.get_task("load").job_params is None


class TestTemplates:
    def render(self, dag: DAG, task: str, text: str) -> Any:
        context: Any = {"ti": instance(task), "dag": dag, "task": dag.get_task(task)}
        return dag.get_task(task).render_template(text, context, dag.get_template_env())

    def test_a_job_sees_its_own_window_and_params(self, dag: DAG, store: Store):
        text = "{{ batch.from_date }} {{ batch.to_date }} {{ batch.batch_id }} {{ batch.params.region }}"
        assert self.render(dag, "load", text) == ("2026-11-20T00:00:00.000000 2026-11-22T00:00:00.000000 1467149783 eu")

    def test_params_are_the_users_only(self, dag: DAG, store: Store):
        assert self.render(dag, "load", "{{ batch.params }}") == "{'region': 'eu', 'tables': ['a', 'b']}"

    def test_a_handler_sees_the_whole_window_and_params_of_the_file(self, dag: DAG, store: Store):
        text = "{{ batch.from_date }} {{ batch.params.who }}"
        assert self.render(dag, "page", text) == "2026-11-20T00:00:00.000000 ann"

    def test_in_loops_macros_and_filters(self, dag: DAG, store: Store):
        text = (
            "{% macro say() %}{{ batch.batch_id }}{% endmacro %}"
            "{% for t in batch.params.tables %}{{ t | upper }}{{ say() }} {% endfor %}{% do [].append(1) %}"
        )
        assert self.render(dag, "load", text) == "A1467149783 B1467149783 "

    def test_redis_is_asked_once_for_all_templates_and_only_if_needed(self, dag: DAG, store: Store):
        env = dag.get_template_env()
        task = dag.get_task("load")
        context: Any = {"ti": instance("load"), "dag": dag, "task": task}
        assert task.render_template("echo {{ ti.task_id }} # batch", context, env) == "echo load # batch"
        assert store.asked == []
        for _ in range(3):
            task.render_template("{{ batch.batch_id }}", context, env)
        assert store.asked == [("sales", "scheduled__1")]

    def test_a_name_of_ones_own_goes_first(self, dag: DAG, store: Store):
        assert self.render(dag, "load", "{% set batch = 'mine' %}{{ batch }}") == "mine"
        assert store.asked == []

    def test_files_are_looked_for_beside_the_workflow(self, dag: DAG, store: Store, tmp_path: Path):
        (tmp_path / "check.sql").write_text("select {{ batch.batch_id }}")
        assert self.render(dag, "load", "{% include 'check.sql' %}") == "select 1467149783"

    def test_an_unknown_attribute_is_an_error(self, dag: DAG, store: Store):
        with pytest.raises(jinja2.UndefinedError, match="nothing"):
            self.render(dag, "load", "{{ batch.nothing }}")

    def test_before_open_there_is_no_batch(self, dag: DAG, store: Store):
        store.batch = None
        with pytest.raises(jinja2.UndefinedError, match="has not opened a batch yet; only tasks after open have one"):
            self.render(dag, "open", "{{ batch.from_date }}")


def test_the_example_bundle_is_what_its_folder_makes():
    import example_zip

    assert example_zip.zip_bytes(example_zip.FOLDER) == example_zip.ZIP.read_bytes()
    digest = hashlib.sha256(example_zip.ZIP.read_bytes()).hexdigest()
    assert digest in (example_zip.FOLDER.parents[1] / "sales.yaml").read_text()
