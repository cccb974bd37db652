# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A hold: nothing opens while it lasts, everything else goes on, and it ends by itself or by a release."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from state_worlds import WORKFLOW, PureStore, World, window

from batchy_provider.core.holds import MAX_REASON, Hold
from batchy_provider.core.values import Actor
from batchy_provider.exceptions import (
    ConfigError,
    NotOnHoldError,
    UnknownWorkflowError,
    WorkflowOnHoldError,
)

ANNA = Actor("anna", "cli")


def hold(world: World, until: object = None, why: str = "the warehouse is rebuilt") -> Any:
    return world.store.hold(WORKFLOW, by=ANNA, why=why, until=until)


@pytest.fixture
def held(world: World) -> World:
    world.night("2026-01-01T02:00")
    hold(world, "2026-01-05T06:00")
    return world


BACKFILL = {"window": ("2025-12-01", "2025-12-02"), "backfill": True}
ONE_OFF = {"window": ("2025-12-01", "2025-12-02")}
MOVED = {"window": ("2025-12-01", "2025-12-02"), "move_watermark": True}


@pytest.mark.parametrize("run", ["a run", None])
@pytest.mark.parametrize("request_", [{}, BACKFILL, ONE_OFF, MOVED, {"if_open": "take_over"}, {"follows": 1}])
def test_no_batch_opens_of_whatever_kind(held: World, run: str | None, request_: dict[str, Any]) -> None:
    before = held.state()
    with pytest.raises(WorkflowOnHoldError) as refused:
        held.at("2026-01-02T02:00").open(run, **request_)
    error = refused.value
    assert (error.by, error.why, error.until) == ("anna", "the warehouse is rebuilt", "2026-01-05T06:00:00.000000")
    whole = "sales is on hold since 2026-01-01T03:00:00 UTC, until 2026-01-05T06:00:00 UTC, by anna: the warehouse is"
    assert str(error).startswith(whole)
    assert "`batchy release sales`" in str(error)
    assert held.state() == before


def test_a_cleared_run_waits_too(held: World) -> None:
    with pytest.raises(WorkflowOnHoldError):
        held.at("2026-01-02T02:00").open("2026-01-01T02:00")


def test_it_ends_by_itself_at_the_moment_and_no_window_is_lost(held: World) -> None:
    with pytest.raises(WorkflowOnHoldError):
        held.at("2026-01-05T05:59:59.999999").open("run")
    batch = held.at("2026-01-05T06:00").open("run")
    assert window(batch) == ("2026-01-01T02:00", "2026-01-05T06:00")
    assert batch.warning is None
    assert held.at("2026-01-04T02:00").store.status(WORKFLOW).hold is None, "what is over is removed, not only ignored"


def test_a_release_lets_it_open_with_all_that_came_in_meanwhile(held: World) -> None:
    ended = held.at("2026-01-03T12:00").store.release(WORKFLOW, by=Actor("ben"))
    assert (ended.by, ended.why) == ("anna", "the warehouse is rebuilt")
    assert window(held.open("run")) == ("2026-01-01T02:00", "2026-01-03T12:00")


def test_without_an_end_only_a_release_ends_it(world: World) -> None:
    world.night("2026-01-01T02:00")
    hold(world)
    with pytest.raises(WorkflowOnHoldError, match="until it is released"):
        world.at("2036-01-01T02:00").open("run")
    world.store.release(WORKFLOW, by=ANNA)
    world.open("run")


def test_an_open_batch_goes_on_and_is_found_again_by_its_run(world: World) -> None:
    batch = world.at("2026-01-01T02:00").open("run")
    hold(world)
    again = world.after(minutes=5).open("run")
    assert (again.batch_id, again.reused) == (batch.batch_id, True)
    assert world.close("success").status == "success"
    with pytest.raises(WorkflowOnHoldError):
        world.open("next run")


def test_an_open_backfill_is_found_again_by_its_run(world: World) -> None:
    world.night("2026-01-01T02:00")
    batch = world.open("backfill", **BACKFILL)
    hold(world)
    assert world.open("backfill", **BACKFILL).batch_id == batch.batch_id
    assert world.close("success", batch).status == "success"


def test_a_held_workflow_is_not_taken_over(world: World) -> None:
    world.at("2026-01-01T02:00").open("run")
    hold(world)
    with pytest.raises(WorkflowOnHoldError):
        world.open("another run", if_open="take_over")
    assert world.store.status(WORKFLOW).batch.status == "open"


def test_a_person_may_ignore_it_and_the_hold_stays(held: World) -> None:
    batch = held.at("2026-01-02T02:00").open(None, ignore_hold=True)
    assert "is on hold since" in str(batch.warning)
    assert held.store.status(WORKFLOW).hold is not None
    held.close()
    with pytest.raises(WorkflowOnHoldError):
        held.open("run")


def test_the_window_the_jobs_and_the_configuration_can_be_changed(held: World) -> None:
    held.store.set_window(WORKFLOW, "2025-12-24", by=ANNA)
    held.store.disable(WORKFLOW, "extract", by=ANNA)
    held.store.load(held.config, by=ANNA)
    assert held.store.status(WORKFLOW).hold is not None


def test_a_second_hold_replaces_the_first_and_says_so(held: World) -> None:
    made = hold(held.at("2026-01-02T12:00"), "2026-01-03T06:00", "only until the backup is done")
    assert made.replaced is not None
    assert made.replaced.why == "the warehouse is rebuilt"
    assert made.hold.until == "2026-01-03T06:00:00.000000"
    held.at("2026-01-03T06:00").open("run")


def test_a_hold_that_is_over_is_not_replaced(held: World) -> None:
    assert hold(held.at("2026-01-06T02:00")).replaced is None


def test_a_release_without_a_hold_says_so(world: World) -> None:
    world.night("2026-01-01T02:00")
    with pytest.raises(NotOnHoldError, match=r"^sales is not on hold, so there is nothing to release$"):
        world.store.release(WORKFLOW, by=ANNA)


def test_a_release_after_the_end_says_when_it_ended(held: World) -> None:
    with pytest.raises(NotOnHoldError, match=r"the hold of anna ended by itself at 2026-01-05T06:00:00.000000 UTC"):
        held.at("2026-01-05T06:00").store.release(WORKFLOW, by=ANNA)


@pytest.mark.parametrize("until", ["2026-01-01T02:00", "2025-01-01", "2026-01-01T03:00+01:00"])
def test_an_end_that_has_passed_is_refused(world: World, until: str) -> None:
    world.night("2026-01-01T01:00")
    with pytest.raises(ConfigError, match="lies in the past"):
        hold(world.at("2026-01-01T02:00"), until)
    assert world.store.status(WORKFLOW).hold is None


@pytest.mark.parametrize("until", ["Monday", "", "2026-13-01", 12, "0001-01-01T00:00+09:00"])
def test_an_end_that_is_no_date_is_refused(world: World, until: object) -> None:
    world.night("2026-01-01T02:00")
    with pytest.raises(ConfigError, match=r"^until"):
        hold(world, until)


def test_an_end_may_have_an_offset_or_be_a_date(world: World) -> None:
    world.night("2026-01-01T02:00")
    assert hold(world, "2026-01-05T06:00+01:00").hold.until == "2026-01-05T05:00:00.000000"
    assert hold(world, datetime(2026, 1, 6)).hold.until == "2026-01-06T00:00:00.000000"


@pytest.mark.parametrize("why", ["", "  \n", "x" * (MAX_REASON + 1), "a\x00b", "half \ud800"])
def test_a_reason_that_cannot_be_used_is_refused(world: World, why: str) -> None:
    world.night("2026-01-01T02:00")
    with pytest.raises(ConfigError, match="reason"):
        hold(world, why=why)


def test_a_workflow_that_nobody_knows_cannot_be_held_or_released(world: World) -> None:
    with pytest.raises(UnknownWorkflowError):
        hold(world)
    with pytest.raises(UnknownWorkflowError):
        world.store.release(WORKFLOW, by=ANNA)


def test_a_workflow_that_has_only_a_file_can_be_held_before_its_first_run(world: World) -> None:
    world.jobs = {"extract": {"initial_date": "2026-01-01"}}
    world.at("2026-01-02T02:00").store.hold(WORKFLOW, by=ANNA, why="not before Monday", config=world.config)
    with pytest.raises(WorkflowOnHoldError):
        world.open("first run")
    world.store.release(WORKFLOW, by=ANNA)
    assert window(world.open("first run")) == ("2026-01-01T00:00", "2026-01-02T02:00")


def test_each_hold_and_release_is_published(held: World) -> None:
    held.store.release(WORKFLOW, by=ANNA)
    if isinstance(held.store, PureStore):
        assert [each["event"] for each in held.store.events][-2:] == ["hold", "release"]


def test_a_hold_reads_well() -> None:
    given = {"by": "anna", "why": "why", "since": "2026-01-01T02:00:00.000000"}
    assert str(Hold(**given)) == "on hold since 2026-01-01T02:00:00 UTC, until it is released, by anna: why"
