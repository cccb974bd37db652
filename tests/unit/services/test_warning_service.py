# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Warnings from workflow files and a real Valkey: who hears what, with several evaluators that may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from loaded_nights import ANN
from state_worlds import Clock
from why_nights import write

from batchy_provider.core.deadline_warnings import NotifierCall
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest
from batchy_provider.core.warning_deliveries import LEASE
from batchy_provider.services.composition import Services
from batchy_provider.services.warning_messages import Delivery
from batchy_provider.state.backend import Backend
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

SCOPE = "prod/batchy_warnings"
FIRST_NIGHT = datetime(2026, 11, 20, 2, 0)
DEADLINE = {"closed_by": "06:00", "warn": {"chance": 0.8}, "notify": ["my.Pager", "my.Mail"]}


class Killed(BaseException):
    """The evaluator is killed here."""


class Night:
    """Two workflows that take an hour each, of which one waits for the other, and what notifiers have heard."""

    def __init__(self, redis_url: str, cfg: Path) -> None:
        self.clock = Clock()
        self.clock.now = FIRST_NIGHT
        self.cfg = cfg
        self.url = redis_url
        self.heard: list[tuple[str, str]] = []
        self.contents: list[dict[str, Any]] = []
        self.services = self.evaluator()
        self.write()

    def evaluator(self) -> Services:
        """Return services of an evaluator of its own."""
        return Services(store=lambda: Store(open_client(self.url), clock=self.clock.read), cfg=self.cfg)

    def write(self, **deadline: Any) -> None:
        write(self.cfg, "crm", schedule="0 2 * * *")
        keys = {"deadline": {**DEADLINE, **deadline}} if deadline.get("notify", True) else {}
        write(self.cfg, "sales", schedule="0 2 * * *", wait_for={"workflow": "crm", "scope": "due"}, **keys)

    def open(self, name: str) -> int:
        due = self.clock.now.replace(hour=2, minute=0, second=0, microsecond=0)
        config = self.services.workflows.config(name)
        assert config is not None
        run = Holder(dag_id=name, run_id=f"{due:%Y-%m-%d}")
        return self.services.store.open(
            name, OpenRequest(config=config, holder=run, due=f"{due:%Y-%m-%dT%H:%M:%S}")
        ).batch_id

    def close(self, name: str, batch_id: int, result: str = "success") -> None:
        self.services.store.close(name, CloseRequest(result=result, batch_id=batch_id))

    def past(self, *names: str, nights: int = 6) -> None:
        """Let nights pass in which each workflow takes an hour, one after the other."""
        for number in range(nights):
            self.clock.now = FIRST_NIGHT + timedelta(days=number)
            for name in names:
                batch = self.open(name)
                self.clock.now += timedelta(minutes=58 + number)
                self.close(name, batch)
        self.tonight(2, 1)

    def tonight(self, hour: int, minute: int = 0) -> None:
        self.clock.now = datetime(2026, 11, 26, hour, minute)

    def take(self, services: Services | None = None, by: str = "one", **more: Any) -> list[Delivery]:
        found = (services or self.services).warnings.evaluate(evaluator=by, scope=SCOPE, **more)
        assert not found.errors
        return found.deliveries

    def call(self, notifier: NotifierCall, warning: dict[str, Any]) -> None:
        self.heard.append((notifier.notifier, warning["kind"]))
        self.contents.append(warning)

    def evaluate(self, by: str = "one", **more: Any) -> list[tuple[str, str]]:
        """Evaluate, deliver, and return what was heard."""
        self.heard.clear()
        for delivery in self.take(by=by, **more):
            assert not self.services.warnings.deliver(delivery, by, self.call)
        return list(self.heard)

    def standing(self) -> list[str]:
        return [each.workflow for each in self.services.warnings.standing()]


ALL_DANGER = [("my.Pager", "danger"), ("my.Mail", "danger")]
ALL_OVER = [("my.Pager", "over"), ("my.Mail", "over")]


@pytest.fixture
def night(redis_url: str, cfg: Path) -> Iterator[Night]:
    """Six nights have passed; in the seventh, both are due."""
    made = Night(redis_url, cfg)
    made.past("crm", "sales")
    yield made
    made.services.close()


@pytest.fixture
def late(night: Night) -> Night:
    """The upstream still runs at half past five, so the deadline at six will be missed."""
    night.open("crm")
    night.tonight(5, 30)
    return night


def test_a_slow_upstream_is_a_danger_and_is_named(night: Night) -> None:
    assert night.evaluate() == []
    night.open("crm")
    night.tonight(5, 30)
    assert night.evaluate() == ALL_DANGER
    content = night.contents[0]
    assert content["workflow"] == "sales"
    assert content["deadline"] == "2026-11-26T06:00:00.000000"
    assert content["chance"] >= 0.8
    assert "sales will" in content["text"]
    assert "crm" in content["text"]
    assert [link["workflow"] for link in content["chain"]] == ["sales", "crm"]
    assert content["chain"][-1]["code"] == "running"
    assert content["expected_end"] > content["deadline"]
    (view,) = night.services.warnings.standing()
    assert (view.workflow, view.since, view.text) == ("sales", "2026-11-26T05:30:00.000000", content["text"])
    assert night.services.warnings.standing(["crm"]) == []


def test_it_is_told_once_and_the_miss_is_not_its_end(late: Night) -> None:
    assert late.evaluate() == ALL_DANGER
    late.tonight(5, 35)
    assert late.evaluate("two") == []
    assert late.standing() == ["sales"]
    late.tonight(6, 1)
    assert late.standing() == []
    assert late.evaluate("three") == []
    crm = late.services.store.status("crm").batch
    assert crm is not None
    late.close("crm", crm.batch_id)
    late.close("sales", late.open("sales"))
    assert late.evaluate("four") == [], "it has succeeded too late"


def test_a_success_in_time_is_the_end_also_when_seen_later(late: Night) -> None:
    assert late.evaluate() == ALL_DANGER
    batch = late.services.store.status("crm").batch
    assert batch is not None
    late.close("crm", batch.batch_id)
    late.close("sales", late.open("sales"))
    late.tonight(7)
    assert late.evaluate() == ALL_OVER
    assert late.contents[-1]["over"] == "closed_in_time"
    assert "has succeeded in time" in late.contents[-1]["text"]
    assert late.evaluate() == []


def test_the_chance_falls(late: Night) -> None:
    assert late.evaluate() == ALL_DANGER
    late.write(closed_by="23:00")
    late.tonight(5, 31)
    assert late.evaluate() == ALL_OVER
    assert late.contents[-1]["over"] == "chance_fell"


def test_a_hold_and_its_release(late: Night) -> None:
    late.services.holds.hold("sales", actor=ANN, why="the disk is full")
    assert late.evaluate() == []
    late.services.holds.release("sales", actor=ANN)
    late.tonight(5, 31)
    assert late.evaluate() == ALL_DANGER
    late.services.holds.hold("sales", actor=ANN, why="the disk is full")
    late.tonight(5, 32)
    assert late.evaluate() == ALL_OVER
    assert late.contents[-1]["over"] == "on_hold"


def test_a_paused_dag(late: Night) -> None:
    asked: list[str] = []

    def is_paused(name: str) -> bool:
        asked.append(name)
        return True

    assert late.evaluate(is_paused=is_paused) == []
    assert asked == ["sales"]
    late.tonight(5, 31)
    assert late.evaluate(is_paused=lambda name: None) == ALL_DANGER, "not known is not paused"
    late.tonight(5, 32)
    assert late.evaluate(is_paused=is_paused) == ALL_OVER
    assert late.contents[-1]["over"] == "paused"


@pytest.mark.parametrize("change", ["warn", "deadline", "file", "disabled"])
def test_what_the_file_does_not_ask_for_any_more(late: Night, change: str) -> None:
    assert late.evaluate() == ALL_DANGER
    late.tonight(5, 31)
    if change == "warn":
        late.write(warn=False)
    elif change == "deadline":
        late.write(notify=None)
    elif change == "file":
        (late.cfg / "sales.yaml").unlink()
    else:
        write(late.cfg, "sales", schedule="0 2 * * *", enabled=False, deadline=DEADLINE)
    found = late.services.warnings.evaluate(evaluator="other", scope="test/batchy_warnings")
    assert found.deliveries == [], "another Airflow, which does not have the file, ends nothing"
    assert late.evaluate() == ALL_OVER
    assert late.contents[-1]["over"] == "not_wanted"
    assert late.standing() == []


def test_another_schedule(late: Night) -> None:
    assert late.evaluate() == ALL_DANGER
    write(late.cfg, "sales", schedule="0 22 * * *", deadline={**DEADLINE, "closed_by": "23:30"})
    late.tonight(5, 31)
    assert late.evaluate() == ALL_OVER
    assert late.contents[-1]["over"] == "no_run"


def test_a_faulty_file_and_an_empty_folder_change_nothing(late: Night) -> None:
    assert late.evaluate() == ALL_DANGER
    text = (late.cfg / "sales.yaml").read_text()
    (late.cfg / "sales.yaml").write_text("jobs: {load: {bsh: x}}")
    late.tonight(5, 31)
    assert late.evaluate() == []
    (late.cfg / "sales.yaml").unlink()
    (late.cfg / "crm.yaml").unlink()
    assert late.evaluate() == []
    late.write()
    (late.cfg / "sales.yaml").write_text(text)
    assert late.standing() == ["sales"]


def test_without_history_there_is_no_warning(redis_url: str, cfg: Path) -> None:
    night = Night(redis_url, cfg)
    night.past("crm", "sales", nights=2)
    night.open("crm")
    night.tonight(5, 59)
    assert night.evaluate() == []
    night.services.close()


def test_a_failed_run_stays_in_danger(late: Night) -> None:
    batch = late.services.store.status("crm").batch
    assert batch is not None
    late.close("crm", batch.batch_id)
    sales = late.open("sales")
    assert late.evaluate() == ALL_DANGER
    late.close("sales", sales, "failed")
    late.tonight(5, 40)
    assert late.evaluate() == []
    assert late.standing() == ["sales"]


def test_a_run_by_hand_in_place_of_the_one_that_was_due(late: Night) -> None:
    """Who runs it by hand does what was due: the warning stands until that has ended."""
    assert late.evaluate() == ALL_DANGER
    batch = late.services.batches.open("sales", actor=ANN)
    late.tonight(5, 35)
    assert late.evaluate() == []
    assert late.standing() == ["sales"]
    late.services.batches.close("sales", result="success", actor=ANN, batch_id=batch.batch_id)
    late.tonight(5, 40)
    assert late.evaluate() == ALL_OVER


def test_a_workflow_without_cron_is_warned_about_once_it_runs(night: Night) -> None:
    write(night.cfg, "sales", schedule=None, deadline={"within": "30m", "warn": True, "notify": "my.Pager"})
    assert night.evaluate() == []
    config = night.services.workflows.config("sales")
    batch = night.services.store.open("sales", OpenRequest(config=config))
    assert night.evaluate() == [("my.Pager", "danger")]
    night.close("sales", batch.batch_id, "failed")
    night.tonight(2, 5)
    assert night.evaluate() == []
    assert night.standing() == ["sales"]
    batch = night.services.store.open("sales", OpenRequest(config=config))
    night.close("sales", batch.batch_id)
    night.tonight(2, 10)
    assert night.evaluate() == [("my.Pager", "over")]


def test_only_the_workflows_of_its_connection(late: Night) -> None:
    text = (late.cfg / "sales.yaml").read_text()
    (late.cfg / "sales.yaml").write_text(f"connection: other_redis\n{text}")
    assert late.evaluate() == []
    assert late.evaluate(connection="other_redis") == ALL_DANGER


# -- several evaluators, and their deaths -----------------------------------------------------------------------


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
