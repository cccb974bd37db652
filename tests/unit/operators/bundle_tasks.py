# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Tasks that run bundles without an Airflow behind them: states and XComs in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class FakeTaskInstance:
    """One run's tasks: states and XComs in memory."""

    dag_id, run_id, map_index, try_number = "sales", "scheduled__1", -1, 1

    def __init__(self) -> None:
        self.xcoms: dict[tuple[str, str], Any] = {}
        self.states: dict[str, str] = {}
        self.task_id = ""

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self.xcoms.get((task_ids, key))

    def get_task_states(self, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, dict[str, str]]:
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        return {self.run_id: {task: self.states[task] for task in task_ids if task in self.states}}


def output(reference: dict[str, Any]) -> str:
    return Path(reference["url"].removeprefix("file://")).read_text()
