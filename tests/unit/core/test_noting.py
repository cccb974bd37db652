# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Notes on batches: kept with the record through all that happens to the batch; only failures are acknowledged."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from state_worlds import WORKFLOW, Original, World

from batchy_provider.core.batch_notes import MAX_NOTES, MAX_TEXT, BatchNote
from batchy_provider.core.values import Actor
from batchy_provider.exceptions import (
    ConfigError,
    NotFailedError,
    NotRecordedError,
    UnknownBatchError,
    UnknownWorkflowError,
)

ANNA, BEN = Actor("anna", "cli"), Actor("ben", "web")


def notes(world: World, batch_id: int) -> Sequence[BatchNote]:
    record = world.store.batch(WORKFLOW, batch_id).record
    assert record is not None
    return record.notes


def latest_notes(world: World) -> Sequence[BatchNote]:
    batch = world.store.status(WORKFLOW).batch
    assert batch.record is not None
    found: Sequence[BatchNote] = batch.record.notes
    return found


def test_notes_are_added_in_order_with_who_and_when(world: World) -> None:
    batch = world.night("2026-01-01T02:00")
    world.at("2026-01-01T08:00").store.note(WORKFLOW, batch.batch_id, " slow disk\n", by=ANNA)
    found = world.at("2026-01-01T09:00").store.note(WORKFLOW, batch.batch_id, "fixed", by=BEN)
    assert list(found) == [
        BatchNote(at="2026-01-01T08:00:00.000000", by="anna", text="slow disk"),
        BatchNote(at="2026-01-01T09:00:00.000000", by="ben", text="fixed"),
    ]
    assert list(notes(world, batch.batch_id)) == list(latest_notes(world)) == list(found)


def test_a_failure_is_acknowledged_with_or_without_a_text(world: World) -> None:
    first = world.night("2026-01-01T02:00", result="failed")
    second = world.night("2026-01-02T02:00", result="failed")
    world.store.note(WORKFLOW, first.batch_id, None, by=ANNA, ack=True)
    world.store.note(WORKFLOW, second.batch_id, "known, ticket 12", by=ANNA, ack=True)
    (bare,), (told,) = notes(world, first.batch_id), notes(world, second.batch_id)
    assert (bare.text, bare.ack) == (None, True)
    assert (told.text, told.ack) == ("known, ticket 12", True)
    assert str(bare) == "acknowledged by anna"
    assert str(told) == "acknowledged by anna: known, ticket 12"


def test_a_second_acknowledgement_without_a_text_changes_nothing(world: World) -> None:
    batch = world.night("2026-01-01T02:00", result="failed")
    world.store.note(WORKFLOW, batch.batch_id, None, by=ANNA, ack=True)
    assert len(world.store.note(WORKFLOW, batch.batch_id, None, by=BEN, ack=True)) == 1
    assert len(world.store.note(WORKFLOW, batch.batch_id, "I look at it", by=BEN, ack=True)) == 2


@pytest.mark.parametrize("status", ["success", "open"])
def test_what_has_not_failed_cannot_be_acknowledged(world: World, status: str) -> None:
    batch = world.at("2026-01-01T02:00").open("run")
    if status == "success":
        world.close(status)
    with pytest.raises(NotFailedError, match=f"batch {batch.batch_id} has not failed: it is {status}"):
        world.store.note(WORKFLOW, batch.batch_id, "oops", by=ANNA, ack=True)
    assert not notes(world, batch.batch_id)


@pytest.mark.parametrize("result", ["success", "failed"])
def test_a_note_on_an_open_batch_stays_when_it_closes(world: World, result: str) -> None:
    batch = world.at("2026-01-01T02:00").open("run")
    world.store.note(WORKFLOW, batch.batch_id, "I watch it", by=ANNA)
    world.close(result)
    assert [each.text for each in notes(world, batch.batch_id)] == ["I watch it"]
    assert [each.text for each in latest_notes(world)] == ["I watch it"]


def test_a_note_on_a_batch_that_is_taken_over_stays(world: World) -> None:
    batch = world.at("2026-01-01T02:00").open("run")
    world.store.note(WORKFLOW, batch.batch_id, "hangs", by=ANNA)
    later = world.after(hours=1).open("another run", if_open="take_over")
    assert [each.text for each in notes(world, batch.batch_id)] == ["hangs"]
    assert not notes(world, later.batch_id)
    world.store.note(WORKFLOW, batch.batch_id, None, by=ANNA, ack=True)  # it counts as failed
    assert not latest_notes(world)


def test_a_note_on_a_backfill_stays_when_it_closes(world: World) -> None:
    world.night("2026-01-01T02:00")
    batch = world.open("backfill", window=("2025-12-01", "2025-12-02"), backfill=True)
    world.store.note(WORKFLOW, batch.batch_id, "by hand", by=ANNA)
    world.close("failed", batch)
    world.store.note(WORKFLOW, batch.batch_id, None, by=ANNA, ack=True)
    assert [each.text for each in notes(world, batch.batch_id)] == ["by hand", None]


def test_a_note_does_not_change_what_the_next_batch_loads(world: World) -> None:
    batch = world.night("2026-01-01T02:00", result="failed")
    before = world.state()
    world.store.note(WORKFLOW, batch.batch_id, "known", by=ANNA, ack=True)
    assert world.state() == before
    assert world.at("2026-01-02T02:00").open("next").from_date == batch.from_date


@pytest.mark.parametrize("text", ["", "  ", None, "x" * (MAX_TEXT + 1), "a\x1b[31mred", "half \udc00"])
def test_a_text_that_cannot_be_used_is_refused(world: World, text: str | None) -> None:
    batch = world.night("2026-01-01T02:00")
    with pytest.raises(ConfigError, match="note"):
        world.store.note(WORKFLOW, batch.batch_id, text, by=ANNA)


def test_a_batch_has_a_limited_number_of_notes(world: World) -> None:
    batch = world.night("2026-01-01T02:00")
    for number in range(MAX_NOTES):
        world.store.note(WORKFLOW, batch.batch_id, f"{number}", by=ANNA)
    with pytest.raises(ConfigError, match=f"has {MAX_NOTES} notes already"):
        world.store.note(WORKFLOW, batch.batch_id, "one more", by=ANNA)


def test_a_batch_or_workflow_that_is_not_there(world: World) -> None:
    with pytest.raises(UnknownWorkflowError):
        world.store.note(WORKFLOW, 1, "x", by=ANNA)
    world.night("2026-01-01T02:00")
    with pytest.raises(UnknownBatchError, match="there is no batch 1"):
        world.store.note(WORKFLOW, 1, "x", by=ANNA)


def test_a_batch_of_the_original_server_has_no_record_for_notes(world: World) -> None:
    world.night("2026-01-01T02:00")
    batch_id = Original(world).night("2026-01-02T02:00", "failed")
    with pytest.raises(NotRecordedError, match="another program has opened batch"):
        world.store.note(WORKFLOW, batch_id, None, by=ANNA, ack=True)
