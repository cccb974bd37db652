# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Opening while another run holds the batch: wait, fail or take over."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow_runs import Airflow, close_in, context, night, open_in

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest
from batchy_provider.exceptions import BatchHeldError
from batchy_provider.operators.batch import HOLDER_CHECK_SECONDS, BatchyOpenOperator
from batchy_provider.state.store import Store
from batchy_provider.triggers.batch import BatchFreeTrigger

pytestmark = pytest.mark.usefixtures("redis_connection")


class TestHeldByAnother:
    def test_fail_names_the_holder(self, airflow: Airflow) -> None:
        held = open_in(night(), airflow, "r1")
        with pytest.raises(AirflowFailException) as error:
            open_in(night(), airflow, "r2")
        assert f"batch {held['batch_id']} is open since" in str(error.value)
        assert "by run 'r1' of DAG 'wf'" in str(error.value)
        assert isinstance(error.value.__cause__, BatchHeldError)

    @pytest.mark.parametrize("state", ["queued", "running"])
    def test_wait_defers_until_it_is_closed(self, store: Store, airflow: Airflow, state: str) -> None:
        held = open_in(night(), airflow, "r1")
        airflow.runs["wf", "r1"] = state
        dag = night(if_open="wait")
        with pytest.raises(TaskDeferred) as stop:
            open_in(dag, airflow, "r2")
        trigger = stop.value.trigger
        assert isinstance(trigger, BatchFreeTrigger)
        assert (trigger.workflow, trigger.batch_id) == ("wf", held["batch_id"])
        assert trigger.look_again_seconds == HOLDER_CHECK_SECONDS
        assert stop.value.method_name == "execute_complete"
        assert stop.value.timeout is None
        task, of = dag.get_task("open"), context(dag, airflow, "r2")
        with pytest.raises(TaskDeferred):
            task.execute_complete(of, {"text": "still open"})
        store.close("wf", CloseRequest(result="success"))
        told = task.execute_complete(of, {"text": "closed"})
        assert told["from_date"] == held["to_date"]

    def test_take_over_takes_the_same_window(self, store: Store, airflow: Airflow) -> None:
        held = open_in(night(), airflow, "r1")
        told = open_in(night(if_open="take_over"), airflow, "r2")
        assert told["from_date"] == held["from_date"]
        assert store.batch("wf", held["batch_id"]).status == "failed"
        with pytest.raises(AirflowFailException, match=f"{held['batch_id']}.*{told['batch_id']}"):
            close_in(night(), airflow, "r1")
        assert store.batch("wf", told["batch_id"]).status == "open"

    @pytest.mark.parametrize("state", ["failed", "success", None])
    @pytest.mark.parametrize("if_open", ["fail", "wait", "take_over"])
    def test_a_holder_that_is_gone_holds_nothing(
        self, store: Store, airflow: Airflow, if_open: Any, state: str | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Killed, timed out, marked by hand, or deleted: its window is loaded by the next."""
        held = open_in(night(), airflow, "r1")
        if state is None:
            del airflow.runs["wf", "r1"]
        else:
            airflow.runs["wf", "r1"] = state
        told = open_in(night(if_open=if_open), airflow, "r2")
        assert told["from_date"] == held["from_date"]
        assert told["batch_id"] > held["batch_id"]
        assert store.batch("wf", held["batch_id"]).status == "failed"
        assert "by run 'r1' of DAG 'wf', and was never closed" in capsys.readouterr().out

    def test_what_no_run_holds_is_taken_over(self, store: Store, airflow: Airflow) -> None:
        open_in(night(), airflow, "r0")
        store.close("wf", CloseRequest(result="success"))
        held = store.open("wf", OpenRequest(holder=Holder(by="ada, by hand")))
        assert open_in(night(), airflow, "r1")["from_date"] == held.from_date

    def test_if_open_is_checked_when_the_dag_is_parsed(self) -> None:
        with pytest.raises(ValueError, match="if_open is 'push'; expected one of fail, wait, take_over"):
            BatchyOpenOperator(task_id="open", workflow="wf", if_open="push")
