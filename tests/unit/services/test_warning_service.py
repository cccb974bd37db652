# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Warnings from workflow files and a real Valkey: when a deadline is in danger, and when that is over."""

from __future__ import annotations

from pathlib import Path

import pytest
from loaded_nights import ANN
from warned_nights import ALL_DANGER, ALL_OVER, DEADLINE, Night
from why_nights import write

from batchy_provider.core.values import OpenRequest


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
