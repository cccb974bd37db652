# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow says of how long the tasks of a run took."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from batchy_provider.operators.task_durations import seconds_of


def test_the_longest_instance_of_each_job_that_succeeded() -> None:
    rows: list[dict[str, Any]] = [
        {"task_id": "load", "map_index": -1, "state": "success", "duration": 4.5},
        {"task_id": "part", "map_index": 0, "state": "success", "duration": 1},
        {"task_id": "part", "map_index": 1, "state": "success", "duration": 3.0},
        {"task_id": "part", "map_index": 2, "state": "failed", "duration": 9.0},
        {"task_id": "skipped", "map_index": -1, "state": "skipped", "duration": None},
        {"task_id": "open", "map_index": -1, "state": "success", "duration": 1.0},
    ]
    ti = SimpleNamespace(get_task_breadcrumbs=lambda dag_id, run_id: rows if (dag_id, run_id) == ("wf", "r1") else [])
    assert seconds_of(ti, "wf", "r1", ["load", "part", "skipped"]) == {"load": 4.5, "part": 3.0}


def test_an_airflow_that_does_not_answer_says_nothing() -> None:
    assert seconds_of(SimpleNamespace(), "wf", "r1", ["load"]) is None


def test_tasks_that_are_no_jobs_say_nothing() -> None:
    ti = SimpleNamespace(get_task_breadcrumbs=lambda dag_id, run_id: [{"task_id": "open", "state": "success"}])
    assert seconds_of(ti, "wf", "r1", ["load"]) is None
