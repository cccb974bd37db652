# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The DAG that warns about deadlines: when the loader adds it, and how a task of it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchy_provider.compat import serialize_dag
from batchy_provider.config.reader import read_folder
from batchy_provider.dag_factory import build_dags, load_dags, warnings_dag

FILE = """\
schedule: "0 2 * * *"
deadline: {{closed_by: "06:00", notify: {{notifier: {notifier}, args: {{to: a@b.c}}}}{more}}}
jobs: {{load: {{bash: "true"}}}}
"""


@pytest.fixture(autouse=True)
def _no_task_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", raising=False)


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose only file asks for warnings; its notifier can be called on each Airflow."""
    (tmp_path / "callable_people.py").write_text(
        "from airflow.sdk import BaseNotifier\n"
        "class Pager(BaseNotifier):\n"
        "    def __init__(self, to=None): super().__init__()\n"
        "    def notify(self, context): pass\n"
        "    async def async_notify(self, context): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "cfg"
    folder.mkdir()
    write(folder, ", warn: true")
    return folder


def write(folder: Path, more: str) -> None:
    (folder / "sales.yaml").write_text(FILE.format(notifier="callable_people.Pager", more=more))


def test_it_is_added_where_a_file_asks_for_it(cfg: Path) -> None:
    namespace: dict[str, Any] = {}
    assert list(load_dags(cfg, namespace)) == ["sales"]
    dag = namespace["dag_batchy_warnings"]
    assert (dag.dag_id, dag.max_active_runs, dag.catchup) == ("batchy_warnings", 1, False)
    assert dag.is_paused_upon_creation is False
    (task,) = dag.tasks
    assert (task.cfg_folder, task.retries) == (str(cfg), 0)
    assert serialize_dag(dag)


@pytest.mark.parametrize("more", ["", ", warn: false"])
def test_and_nowhere_else(cfg: Path, more: str) -> None:
    write(cfg, more)
    namespace: dict[str, Any] = {}
    load_dags(cfg, namespace)
    assert list(namespace) == ["dag_sales"]


def test_a_file_that_makes_no_dag_asks_for_nothing(cfg: Path) -> None:
    (cfg / "sales.yaml").write_text(f"enabled: false\n{(cfg / 'sales.yaml').read_text()}")
    namespace: dict[str, Any] = {}
    load_dags(cfg, namespace)
    assert namespace == {}


def test_its_task_starts_without_reading_any_workflow(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cfg / "sales.yaml").write_text("jobs: [")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "batchy_warnings")
    namespace: dict[str, Any] = {}
    assert load_dags(cfg, namespace) == {}
    assert list(namespace) == ["dag_batchy_warnings"]


def test_two_folders_of_one_airflow_have_two_of_them(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {}
    load_dags(cfg, namespace, warnings="team_warnings")
    assert namespace["dag_team_warnings"].dag_id == "team_warnings"


def test_its_schedule_is_configured(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "*/5" in str(serialize_dag(warnings_dag(cfg)))
    monkeypatch.setenv("AIRFLOW__BATCHY__WARNINGS_SCHEDULE", "*/2 * * * *")
    assert "*/2" in str(serialize_dag(warnings_dag(cfg)))


def test_no_workflow_has_its_name(cfg: Path) -> None:
    (cfg / "sales.yaml").rename(cfg / "batchy_warnings.yaml")
    found = read_folder(cfg)
    assert [each.code for each in found.diagnostics] == ["reserved_name"]
    assert "rename the file" in found.diagnostics[0].message


def test_a_notifier_of_the_warning_that_cannot_be_made_is_shown_at_its_key(cfg: Path) -> None:
    write(cfg, ", warn: {notify: {notifier: callable_people.Pagerr}}")
    (diagnostic,) = build_dags(cfg)[1]
    assert diagnostic.key == "deadline.warn.notify.notifier"
    assert "did you mean 'Pager'" in diagnostic.message
