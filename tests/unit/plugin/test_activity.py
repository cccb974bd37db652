# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a run does before it has opened its batch, by the states of its tasks."""

from __future__ import annotations

import pytest

from batchy_provider.plugin.activity import ActiveRun, TaskState, activity_of, states_by_task


def opening(state: str | None) -> TaskState:
    return TaskState("open", "BatchyOpenOperator", state)


def wait(workflow: str, state: str | None) -> TaskState:
    return TaskState(f"wait_for_{workflow}", "WaitsySensor", state)


def running(*tasks: TaskState, run_id: str = "run") -> ActiveRun:
    return ActiveRun("sales", run_id, "running", "2026-11-29T01:00:00.000000", tasks)


QUEUED = ActiveRun("sales", "queued", "queued", "2026-11-29T01:05:00.000000")


@pytest.mark.parametrize(
    ("run", "doing", "waits_for"),
    [
        (QUEUED, "queued", []),
        (running(opening(None)), "starting", []),
        (running(opening("queued")), "starting", []),
        (running(opening("up_for_retry")), "starting", []),
        (running(opening("deferred")), "held", []),
        (running(opening(None), wait("crm", "deferred"), wait("erp", "success")), "waiting", ["crm"]),
        (running(opening(None), wait("crm", "up_for_reschedule"), wait("erp", "running")), "waiting", ["crm", "erp"]),
        (running(opening(None), wait("crm", None)), "starting", []),
        (running(opening("deferred"), wait("crm", "success")), "held", []),
        (running(opening("success"), wait("crm", "success")), "running", []),
        (running(opening("failed")), "running", []),
        (running(), "running", []),
    ],
)
def test_the_states_of_the_tasks_decide_what_a_run_does(run: ActiveRun, doing: str, waits_for: list[str]) -> None:
    found = activity_of([run], None)
    assert found is not None
    assert (found.doing, found.waits_for, found.run_id, found.since) == (doing, waits_for, run.run_id, run.since)


def test_the_run_that_holds_the_open_batch_is_left_out_and_the_next_run_is_shown() -> None:
    holder = running(opening("success"), run_id="holder")
    assert activity_of([holder], "holder") is None
    assert activity_of([], None) is None
    found = activity_of([holder, QUEUED], "holder")
    assert found is not None
    assert (found.doing, found.run_id, found.runs) == ("queued", "queued", 2)


def test_a_run_that_has_started_comes_before_one_in_the_queue() -> None:
    found = activity_of([QUEUED, running(opening("deferred"))], None)
    assert found is not None
    assert found.doing == "held"


def test_a_mapped_task_has_its_most_important_state_and_an_unscheduled_one_waits() -> None:
    tasks = [TaskState("load", "", state, index) for index, state in enumerate(("success", "running", None))]
    tasks += [TaskState("report", "", None), TaskState("odd", "", "unheard_of")]
    assert states_by_task(tasks) == {"load": "running", "report": "waiting", "odd": "unheard_of"}
    assert states_by_task(tasks[2:3] + tasks[:1]) == {"load": "waiting"}
    assert states_by_task([TaskState("a", "", "success"), TaskState("a", "", "failed")]) == {"a": "failed"}
