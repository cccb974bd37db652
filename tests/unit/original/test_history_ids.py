# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ids of history batches: free, of the past, and never one that the original server may take next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from state_worlds import WORKFLOW, Clock, Original, PureStore, World

from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.values import CloseRequest

WEEK = ("2026-01-01", "2026-01-08")


def load_history(world: World, count: int) -> list[int]:
    return [world.open(f"day {i}", window=WEEK, backfill=True).batch_id for i in range(count)]


def test_twenty_history_batches_in_one_second_and_then_the_original_opens(world: World, original: Original) -> None:
    world.night("2026-01-10T02:00")
    world.at("2026-01-11T02:00")
    ids = load_history(world, 20)
    assert len(set(ids)) == 20
    assert max(ids) < unix_seconds(world.clock.now), "the original takes the current second"
    opened = original.open()
    assert opened not in ids
    for batch_id in ids:
        world.store.close(WORKFLOW, CloseRequest(result="success", batch_id=batch_id))
    assert world.live()["status"] == "open", "closing ours does not close the original's live batch"
    assert world.live()["batch_id"] == opened
    original.close("success")
    assert world.live()["status"] == "success"


def test_a_history_batch_does_not_take_the_id_of_a_batch_that_only_the_original_knows(
    world: World, original: Original
) -> None:
    world.night("2026-01-10T02:00")
    world.at("2026-01-11T02:00")
    first = original.open()
    world.after(seconds=1)
    second = original.open()
    world.after(seconds=1)
    (batch_id,) = load_history(world, 1)
    assert batch_id not in (first, second)
    assert batch_id <= unix_seconds(world.clock.now)


def test_a_live_batch_after_history_batches_takes_the_current_second(world: World) -> None:
    world.night("2026-01-10T02:00")
    world.at("2026-01-11T02:00")
    load_history(world, 20)
    assert world.open("live").batch_id == int(unix_seconds(world.clock.now))


def test_more_history_batches_than_are_looked_at_at_once(world: World) -> None:
    world.night("2026-01-10T02:00")
    world.at("2026-01-11T02:00")
    ids = load_history(world, 90)
    assert len(set(ids)) == 90
    assert max(ids) < unix_seconds(world.clock.now)


@given(st.lists(st.tuples(st.sampled_from(["live", "history", "original"]), st.sampled_from([0, 0.4, 1, 3600, -5]))))
def test_ids_are_unique_and_those_of_live_batches_increase(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    world = World(PureStore(clock), clock)
    world.open("first")
    seen, live, seconds = {world.live()["batch_id"]}, [world.live()["batch_id"]], {int(unix_seconds(clock.now))}
    for number, (what, pause) in enumerate(steps):
        world.after(seconds=pause)
        now = int(unix_seconds(clock.now))
        if what == "original":
            if now in seen or now in seconds or now <= max(live):
                continue  # it would collide with itself, or with a live batch whose id a burst took ahead of the clock
            opened = Original(world).open()
            live.append(opened)
        elif what == "live":
            opened = world.open(f"run {number}", if_open="take_over").batch_id
            live.append(opened)
        else:
            opened = world.open(f"run {number}", window=WEEK, backfill=True).batch_id
            assert opened < now
        seconds.add(now)
        assert opened not in seen
        seen.add(opened)
        assert live == sorted(set(live))
