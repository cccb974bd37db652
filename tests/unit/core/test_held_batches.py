# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Who may open while another run holds the batch open."""

from __future__ import annotations

import pytest
from state_worlds import FIRST, WORKFLOW, World, short, window

from batchy_provider.exceptions import BatchHeldError


def test_a_batch_that_another_run_holds_is_not_opened_and_the_holder_is_named(world: World) -> None:
    held = world.at("2026-01-01T02:00").open("first night")
    before = world.state()
    with pytest.raises(BatchHeldError) as raised:
        world.after(hours=1).open("second night")
    text = str(raised.value)
    assert str(held.batch_id) in text
    assert "open since 2026-01-01T02:00:00.000000 UTC, by run 'first night' of DAG 'sales'" in text
    assert "take_over" in text
    assert raised.value.holder.run_id == "first night"
    assert raised.value.batch_id == held.batch_id
    assert world.state() == before


def test_take_over_ends_the_other_batch_and_takes_its_window_up_to_now(world: World) -> None:
    world.night("2026-01-01T02:00")
    held = world.at("2026-01-02T02:00").open("second night")
    batch = world.at("2026-01-03T02:00").open("third night", if_open="take_over")
    assert window(batch) == ("2026-01-01T02:00", "2026-01-03T02:00")
    assert batch.warning is not None
    assert f"batch {held.batch_id} is open since 2026-01-02T02:00:00.000000 UTC, by run 'second night'" in batch.warning
    ended = world.store.batch(WORKFLOW, held.batch_id)
    assert ended.status == "failed"
    assert ended.jobs["extract"]["outcome"] == "aborted"
    assert ended.record is not None
    assert ended.record.status == "failed"
    assert held.batch_id in world.store.raw_closed()


def test_a_holder_that_is_gone_is_taken_over_with_a_warning(world: World) -> None:
    held = world.at("2026-01-01T02:00").open("killed")
    batch = world.at("2026-01-02T02:00").open("second night", gone=held.batch_id)
    assert window(batch) == (short(FIRST), "2026-01-02T02:00")
    assert batch.warning is not None
    assert "'killed'" in batch.warning


def test_to_know_one_holder_gone_is_not_to_know_the_next_one_gone(world: World) -> None:
    held = world.at("2026-01-01T02:00").open("killed")
    world.after(hours=1).open("faster", gone=held.batch_id)
    with pytest.raises(BatchHeldError, match="'faster'"):
        world.after(hours=1).open("slower", gone=held.batch_id)


def test_a_batch_that_no_run_holds_is_taken_over(world: World) -> None:
    world.at("2026-01-01T02:00").open(None)
    batch = world.at("2026-01-02T02:00").open("second night")
    assert window(batch) == (short(FIRST), "2026-01-02T02:00")
    assert batch.warning is not None
    assert "ops" in batch.warning


def test_a_run_that_lost_its_batch_to_another_is_held_off(world: World) -> None:
    world.at("2026-01-01T02:00").open("slow")
    world.after(hours=1).open("fast", if_open="take_over")
    with pytest.raises(BatchHeldError, match="'fast'"):
        world.after(hours=1).open("slow")
