# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Windows that are not the next one: of a backfill, or of a request."""

from __future__ import annotations

from typing import Any

import pytest
from state_worlds import FIRST, WORKFLOW, World, spans, window

from batchy_provider.exceptions import BatchHeldError, WindowError

# -- a backfill ------------------------------------------------------------------------------------------------------


def test_a_backfill_takes_exactly_its_interval_and_never_touches_the_live_state(world: World) -> None:
    world.jobs = {"extract": {"reprocess_hours": 5, "trunc_start": True}}
    world.night("2026-01-10T02:00")
    before = world.state()
    batch = world.open("backfill__2", backfill=True, window=("2026-01-02T02:00", "2026-01-03T02:00"))
    assert (batch.kind, window(batch)) == ("history", ("2026-01-02T02:00", "2026-01-03T02:00"))
    world.close("success", batch)
    assert world.state() == before
    assert world.store.batch(WORKFLOW, batch.batch_id).status == "success"


def test_many_backfills_run_at_once_beside_an_open_batch(world: World) -> None:
    live = world.at("2026-01-10T02:00").open("tonight")
    batches = [
        world.open(f"backfill__{d}", backfill=True, window=(f"2026-01-0{d}", f"2026-01-0{d + 1}")) for d in range(1, 6)
    ]
    assert len({live.batch_id, *(b.batch_id for b in batches)}) == 6
    for batch in reversed(batches):
        world.close("success", batch)
    world.close("success", live)
    assert spans(world.store.ledger()) == [(FIRST[:16], "2026-01-10T02:00")]


def test_a_backfill_of_a_workflow_that_never_ran_leaves_the_live_state_empty(world: World) -> None:
    batch = world.open("backfill__1", backfill=True, window=("2026-01-01", "2026-01-02"))
    world.close("success", batch)
    assert world.state() == {}
    assert world.open("first").jobs["extract"]["from_date"] == FIRST


def test_a_backfill_that_is_cleared_takes_the_same_interval_again(world: World) -> None:
    wish: dict[str, Any] = {"backfill": True, "window": ("2026-01-01", "2026-01-02")}
    first = world.open("backfill__1", **wish)
    world.close("success", first)
    again = world.after(days=1).open("backfill__1", **wish)
    assert again.batch_id != first.batch_id
    assert (again.kind, window(again)) == ("history", window(first))


# -- a window that is asked for --------------------------------------------------------------------------------------


def test_a_window_asked_for_is_loaded_once_and_moves_nothing(world: World) -> None:
    world.night("2026-01-10T02:00")
    before = world.state()
    batch = world.open("reload", window=("2025-12-01", "2025-12-05"))
    assert (batch.kind, window(batch)) == ("history", ("2025-12-01T00:00", "2025-12-05T00:00"))
    world.close("success", batch)
    assert world.state() == before


def test_a_window_asked_for_may_end_now_or_start_where_the_next_one_would(world: World) -> None:
    world.night("2026-01-10T02:00")
    world.at("2026-01-11T02:00")
    assert window(world.open("a", window=("2026-01-01", None))) == ("2026-01-01T00:00", "2026-01-11T02:00")
    assert window(world.open("b", window=(None, "2026-01-11"))) == ("2026-01-10T02:00", "2026-01-11T00:00")


def test_with_move_watermark_the_window_asked_for_is_live(world: World) -> None:
    world.night("2026-01-10T02:00")
    batch = world.at("2026-01-11T02:00").open("again", window=("2026-01-01", "2026-01-05"), move_watermark=True)
    assert (batch.kind, window(batch)) == ("live", ("2026-01-01T00:00", "2026-01-05T00:00"))
    world.close("success", batch)
    assert window(world.open("next")) == ("2026-01-05T00:00", "2026-01-11T02:00")


def test_with_move_watermark_a_failed_window_is_taken_again(world: World) -> None:
    world.night("2026-01-10T02:00")
    batch = world.at("2026-01-11T02:00").open("again", window=("2026-01-01", "2026-01-05"), move_watermark=True)
    world.close("failed", batch)
    assert window(world.at("2026-01-12T02:00").open("next")) == ("2026-01-01T00:00", "2026-01-12T02:00")


def test_with_move_watermark_the_batch_of_another_run_is_not_taken(world: World) -> None:
    world.open("tonight")
    with pytest.raises(BatchHeldError):
        world.open("again", window=("2026-01-01", "2026-01-05"), move_watermark=True)


@pytest.mark.parametrize(
    ("asked", "moving", "message"),
    [
        (("2026-01-05", "2026-01-01"), False, "give from_date and to_date .* in order"),
        (("2026-01-05", "2026-01-01"), True, "give from_date and to_date .* in order"),
        (("2026-01-01", "2027-01-01"), True, "lies in the future .* a watermark there would skip"),
        (("2026-01-01", "2027-01-01"), False, "lies in the future .* would count as loaded. Without to_date"),
        (("2026-12-01", "2027-01-01"), False, "lies in the future"),
        (("2026-01-11", "2026-01-11T02:00:01"), False, "lies in the future"),
        (("yesterday", None), False, "'yesterday' is not a date"),
        ((17, None), False, "17 is not a date"),
        ((None, "2026-01-01"), False, "in order"),
        (("now", None), False, "'now' is not a date"),
        (("0001-01-01T00:00:00+14:00", None), False, "is not a date"),
    ],
)
def test_a_window_that_cannot_be_opens_nothing(world: World, asked: Any, moving: bool, message: str) -> None:
    world.night("2026-01-10T02:00")
    before = world.state()
    with pytest.raises(WindowError, match=message):
        world.at("2026-01-11T02:00").open("wrong", window=asked, move_watermark=moving)
    assert world.state() == before


def test_one_job_whose_window_would_be_backwards_is_named(world: World) -> None:
    world.night("2026-01-10T02:00")
    with pytest.raises(WindowError, match="sales, job 'extract': the window would start at 2026-01-10T02"):
        world.open("wrong", window=(None, "2026-01-09"))
