# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A run whose workflow is on hold: it waits without a worker, and loads everything once the hold is over."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow_runs import Airflow, close_in, context, night, open_in

from batchy_provider.core.values import Actor
from batchy_provider.state.store import Store
from batchy_provider.triggers.hold import HoldOverTrigger

pytestmark = pytest.mark.usefixtures("redis_connection")

ANNA = Actor("anna", "cli")


@pytest.fixture
def held(store: Store, airflow: Airflow) -> Any:
    first = open_in(night(), airflow, "r1")
    close_in(night(), airflow, "r1")
    store.hold("wf", by=ANNA, why="migration", until="2999-01-01")
    return first


@pytest.mark.parametrize("if_open", ["fail", "wait", "take_over"])
def test_it_defers_whatever_if_open_says_and_goes_on_after_the_release(
    store: Store, airflow: Airflow, held: Any, if_open: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dag = night(if_open=if_open)
    with pytest.raises(TaskDeferred) as stop:
        open_in(dag, airflow, "r2")
    assert isinstance(stop.value.trigger, HoldOverTrigger)
    assert (stop.value.trigger.workflow, stop.value.method_name, stop.value.timeout) == ("wf", "execute_complete", None)
    assert "wf is on hold since" in capsys.readouterr().out
    task, of = dag.get_task("open"), context(dag, airflow, "r2")
    with pytest.raises(TaskDeferred):
        task.execute_complete(of, {"text": "a new hold came before the task did"})
    store.release("wf", by=ANNA)
    told = task.execute_complete(of, {"text": "wf is not on hold any more"})
    assert told["from_date"] == held["to_date"]


def test_a_cleared_run_waits_too(airflow: Airflow, held: Any) -> None:
    with pytest.raises(TaskDeferred):
        open_in(night(), airflow, "r1")


@pytest.mark.parametrize("conf", [{}, {"from_date": "2026-01-01", "to_date": "2026-01-02"}])
@pytest.mark.parametrize("is_backfill", [False, True])
def test_a_person_may_ask_a_run_to_ignore_it(
    store: Store, airflow: Airflow, held: Any, conf: dict[str, Any], is_backfill: bool
) -> None:
    if is_backfill:
        conf = {"from_date": "2026-01-01", "to_date": "2026-01-02", **conf}
    how: dict[str, Any] = {"run_type": "backfill"} if is_backfill else {}
    with pytest.raises(TaskDeferred):
        open_in(night(), airflow, "r2", conf={**conf, "ignore_hold": "yes"}, **how)
    told = open_in(night(), airflow, "r2", conf={**conf, "ignore_hold": True}, **how)
    assert store.batch("wf", told["batch_id"]).status == "open"
    assert store.status("wf").hold is not None
