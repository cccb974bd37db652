# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Warnings and a real Valkey: who hears a message, with several evaluators that may be killed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from loaded_nights import ANN
from warned_nights import ALL_DANGER, SCOPE, Night

from batchy_provider.core.deadline_warnings import NotifierCall
from batchy_provider.core.warning_deliveries import LEASE
from batchy_provider.state.backend import Backend


class Killed(BaseException):
    """The evaluator is killed here."""


def test_two_evaluators_at_the_same_time_have_one_winner(late: Night) -> None:
    other = late.evaluator()
    first, second = late.take(), late.take(other, "two")
    assert (len(first), len(second)) == (1, 0)
    assert late.services.warnings.deliver(first[0], "one", late.call) == []
    assert late.heard == ALL_DANGER
    other.close()


@pytest.mark.parametrize("dies", ["before the first call", "in the first call", "after the first call", "in the last"])
def test_an_evaluator_that_is_killed_loses_nothing(late: Night, dies: str) -> None:
    (delivery,) = late.take()
    calls = 0

    def call(notifier: NotifierCall, warning: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        if dies == "in the first call" or (calls == 2 and dies == "in the last"):
            raise Killed
        late.call(notifier, warning)
        if dies == "after the first call":
            raise Killed

    if dies != "before the first call":
        with pytest.raises(Killed):
            late.services.warnings.deliver(delivery, "one", call)
    told = list(late.heard)
    late.clock.now += LEASE / 2
    assert late.evaluate("two") == [], "its lease has not ended"
    late.clock.now += LEASE
    told += late.evaluate("three")
    # Killed between the call and its record is the only case in which a notifier hears it twice.
    twice = [ALL_DANGER[0]] if dies == "after the first call" else []
    assert sorted(told) == sorted(ALL_DANGER + twice)
    late.clock.now += timedelta(minutes=1)
    assert late.evaluate("four") == []


def test_a_notifier_that_fails_is_called_again_at_the_next_evaluation(late: Night) -> None:
    (delivery,) = late.take()

    def call(notifier: NotifierCall, warning: dict[str, Any]) -> None:
        if notifier.notifier == "my.Pager":
            raise OSError("no line")
        late.call(notifier, warning)

    assert late.services.warnings.deliver(delivery, "one", call) == ["sales: my.Pager: OSError: no line"]
    assert late.heard == [("my.Mail", "danger")]
    late.tonight(5, 35)
    assert late.evaluate("two") == [("my.Pager", "danger")]


def test_a_message_that_another_one_has_replaced_is_not_delivered(late: Night) -> None:
    (delivery,) = late.take()
    late.write(closed_by="23:00")
    late.tonight(5, 31)
    assert late.evaluate("two") == []
    late.heard.clear()
    late.services.warnings.deliver(delivery, "one", late.call)
    assert late.heard == []


def test_what_a_damaged_field_costs_is_one_workflow(late: Night) -> None:
    keys = late.services.store.backend.keys("sales")
    late.services.store.backend.client.hset(keys.meta, "warnings", '{"x": {"state": "danger"}}')
    found = late.services.warnings.evaluate(evaluator="one", scope=SCOPE)
    assert "warnings" in found.errors["sales"]
    assert late.services.workflows.summaries()[0].workflow == "crm"
    assert late.open("sales")


def test_rename_takes_the_warning_along_and_remove_takes_it_away(late: Night) -> None:
    batch = late.services.store.status("crm").batch
    assert batch is not None
    late.close("crm", batch.batch_id)
    assert late.evaluate() == ALL_DANGER
    (late.cfg / "sales.yaml").rename(late.cfg / "orders.yaml")
    late.services.renaming.rename("sales", "orders", actor=ANN)
    assert late.standing() == ["orders"]
    late.tonight(5, 31)
    assert late.evaluate() == []
    (late.cfg / "orders.yaml").unlink()
    late.services.removal.remove("orders", actor=ANN)
    assert late.standing() == []


def test_a_row_has_its_warning(late: Night) -> None:
    assert late.evaluate() == ALL_DANGER
    rows = {each.workflow: each for each in late.services.workflows.summaries()}
    assert rows["crm"].warning is None
    assert late.services.store.status("sales").warnings.keys() == {"2026-11-26T02:00:00.000000"}


def test_the_backend_sends_an_event_for_the_page(late: Night) -> None:
    backend: Backend = late.services.store.backend
    with backend.client.pubsub() as listener:
        listener.subscribe("batchy:events")
        assert listener.get_message(timeout=10)
        late.evaluate()
        found = listener.get_message(timeout=10)
    assert found is not None
    assert b'"warning"' in found["data"] if isinstance(found["data"], bytes) else '"warning"' in found["data"]
