# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The task that warns: it calls the notifiers of the file, and fails if one of them fails."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import warned_people
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk.bases.operator import ExecutorSafeguard

from batchy_provider.config.reader import Reader
from batchy_provider.core.values import CloseRequest, OpenRequest
from batchy_provider.operators.warnings import DeadlineWarningsOperator
from batchy_provider.state.store import Store

pytestmark = pytest.mark.usefixtures("redis_connection")

TEXT = "{{ warning.kind }}: {{ warning.workflow }} of {{ ti.dag_id }}"


class Airflow:
    """One run of the DAG after the other."""

    def __init__(self, cfg: Path, store: Store) -> None:
        self.cfg = cfg
        self.store = store
        self.paused = False

    def write(self, *notifiers: str, within: str = "30m") -> None:
        """Write a file whose runs take an hour each."""
        called = ", ".join(f"{{notifier: warned_people.{name}, args: {{text: '{TEXT}'}}}}" for name in notifiers)
        deadline = f"deadline: {{within: {within}, warn: true, notify: [{called}]}}\n"
        (self.cfg / "sales.yaml").write_text(f'schedule: "0 * * * *"\n{deadline}jobs: {{load: {{bash: "true"}}}}\n')

    def past(self) -> None:
        found, diagnostics = Reader(self.cfg).read(self.cfg / "sales.yaml")
        assert found is not None, diagnostics
        for seconds in (3500.0, 3600.0, 3700.0, 3650.0):
            batch = self.store.open("sales", OpenRequest(config=found.config()))
            done = CloseRequest(result="success", batch_id=batch.batch_id, seconds={"load": seconds})
            self.store.close("sales", done)

    def run(self) -> list[tuple[str, str]]:
        warned_people.HEARD.clear()
        ti = SimpleNamespace(dag_id="batchy_warnings", run_id="r", get_dag=self.get_dag)
        task = DeadlineWarningsOperator(task_id="evaluate", cfg_folder=str(self.cfg))
        task.execute({"ti": ti})
        return list(warned_people.HEARD)

    def get_dag(self, dag_id: str) -> Any:
        assert dag_id == "sales"
        return SimpleNamespace(is_paused=self.paused)


@pytest.fixture
def airflow_runs_it(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Airflow:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    cfg = tmp_path / "cfg"
    cfg.mkdir()
    return Airflow(cfg, store)


def test_both_kinds_of_notifiers_get_their_rendered_text_once(airflow_runs_it: Airflow) -> None:
    airflow_runs_it.write("Pager", "OnlyAsync")
    airflow_runs_it.past()
    text = "danger: sales of batchy_warnings"
    assert airflow_runs_it.run() == [("Pager", text), ("OnlyAsync", text)]
    assert airflow_runs_it.run() == []
    airflow_runs_it.write("Pager", "OnlyAsync", within="20h")
    assert [name for name, _ in airflow_runs_it.run()] == ["Pager", "OnlyAsync"]


def test_a_notifier_that_fails_fails_the_task_after_the_others_and_is_called_again(airflow_runs_it: Airflow) -> None:
    airflow_runs_it.write("Broken", "Pager")
    airflow_runs_it.past()
    for heard in ([("Pager", "danger: sales of batchy_warnings")], []):
        with pytest.raises(AirflowException, match=r"sales: warned_people\.Broken: OSError: no line"):
            airflow_runs_it.run()
        assert heard == warned_people.HEARD


def test_a_paused_dag_is_not_warned_about(airflow_runs_it: Airflow) -> None:
    airflow_runs_it.write("Pager")
    airflow_runs_it.past()
    airflow_runs_it.paused = True
    assert airflow_runs_it.run() == []
    airflow_runs_it.paused = False
    assert len(airflow_runs_it.run()) == 1


def test_an_empty_folder(airflow_runs_it: Airflow) -> None:
    assert airflow_runs_it.run() == []
