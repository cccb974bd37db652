# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Adopt the history of the original server: ``batchy adopt``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from state_worlds import WORKFLOW, Original, World, spans, window

from batchy_provider.core.ledger import JobGap
from batchy_provider.core.values import Actor
from batchy_provider.core.waits import Wait
from batchy_provider.exceptions import UnknownWorkflowError
from batchy_provider.original.history import Adoption, OriginalKeys, adopt, find_original_keys
from batchy_provider.state.wait_queries import ask

pytestmark = pytest.mark.parametrize("world", ["server", "cluster"], indirect=True)

NIGHTS = [f"2026-01-0{night}T02:00:00.500000" for night in range(1, 10)]
BY = Actor("anna")


def adopted(world: World, **how: Any) -> Adoption:
    past = find_original_keys(world.store.backend, WORKFLOW).get(WORKFLOW, OriginalKeys())
    return adopt(world.store.backend, WORKFLOW, past, by=BY, **how)


def everything(world: World) -> dict[str, Any]:
    """Return everything in Redis, to compare before with after."""
    client = world.store.backend.client
    kinds = {key: client.type(key) for key in client.scan_iter(count=1000)}
    return {
        str(key): client.hgetall(key) if kind == b"hash" else client.zrange(key, 0, -1, withscores=True)
        for key, kind in kinds.items()
    }


def nights(original: Original, *statuses: str) -> list[int]:
    """Let the original open and close a batch in some nights; return the ids."""
    return [original.night(NIGHTS[night], status) for night, status in enumerate(statuses)]


def listed(world: World) -> dict[int, str]:
    """Return batch id → status of the history, newest first."""
    return {batch.batch_id: batch.status for batch in world.store.history(WORKFLOW, limit=1000)}


def test_batches_of_the_original_get_into_the_history_with_their_days_and_closing_times(
    world: World, original: Original
) -> None:
    original.load({"extract": {}})
    ids = nights(original, "success", "failure", "success")
    assert listed(world) == {}, "it knows no lists"
    assert adopted(world).adopted == ids
    assert listed(world) == {ids[2]: "success", ids[1]: "failed", ids[0]: "success"}
    assert spans(world.store.ledger()) == [("1776-07-04T23:59", "2026-01-01T02:00")]
    assert set(world.store.raw_closed()) == set(ids)
    assert world.store.history(WORKFLOW)[0].from_date == NIGHTS[2], "it opens after a failure at that moment"


def test_a_wait_for_a_day_that_the_original_loaded_ends(world: World, original: Original) -> None:
    original.load({"extract": {}})
    original.night(NIGHTS[0])
    second = original.night(NIGHTS[1])
    wait = Wait(workflow=WORKFLOW, backfill=True, day="2026-01-01")
    assert ask(world.store.backend, wait).state == "waiting"
    adopted(world)
    verdict = ask(world.store.backend, wait)
    assert (verdict.state, verdict.batch_id) == ("done", second), "the day ends within the window of the second night"


def test_a_second_adoption_changes_nothing(world: World, original: Original) -> None:
    original.load({"extract": {}})
    for night in NIGHTS[:3]:
        original.night(night)
    world.at(NIGHTS[3])
    original.open()
    first = adopted(world)
    before = everything(world)
    again = adopted(world)
    assert (len(first.adopted), again.adopted, again.ended) == (4, [], [])
    assert everything(world) == before


def test_a_dry_run_returns_the_same_and_writes_nothing(world: World, original: Original) -> None:
    original.load({"extract": {}})
    nights(original, "success", "failure", "success")
    before = everything(world)
    asked = adopted(world, dry_run=True)
    assert everything(world) == before
    assert asked == adopted(world)


def test_a_batch_that_was_left_open_failed_when_the_next_one_opened(world: World, original: Original) -> None:
    original.load({"extract": {}, "load": {}})
    world.at(NIGHTS[0])
    left = original.open()
    original.night(NIGHTS[1])
    assert adopted(world).ended == [left]
    batch = world.store.batch(WORKFLOW, left)
    assert (batch.status, batch.batch_end) == ("failed", NIGHTS[1])
    assert [job["outcome"] for job in batch.jobs.values()] == ["aborted", "aborted"]


def test_our_batch_failed_when_the_original_opened_the_next_one(world: World, original: Original) -> None:
    ours = world.at(NIGHTS[0]).open("ours")
    later = original.night(NIGHTS[1])
    original.night(NIGHTS[2])
    adopted(world)
    assert list(listed(world).items())[1:] == [(later, "success"), (ours.batch_id, "failed")]


def test_our_batch_that_the_original_closed_gets_its_day(world: World, original: Original) -> None:
    ours = world.at(NIGHTS[0]).open("ours")
    original.close("success")
    original.night(NIGHTS[1])
    adopted(world)
    assert listed(world)[ours.batch_id] == "success"
    assert spans(world.store.ledger())[-1][1] >= NIGHTS[0][:16]


def test_open_batches_that_still_run_do_not_change(world: World, original: Original) -> None:
    original.load({"extract": {}})
    original.night(NIGHTS[0])
    backfill = world.at(NIGHTS[1]).open("backfill", backfill=True, window=(NIGHTS[0], NIGHTS[1]))
    running = original.open()
    assert adopted(world).ended == []
    assert (listed(world)[running], listed(world)[backfill.batch_id]) == ("open", "open")
    original.close("success")
    assert world.store.status(WORKFLOW).batch.status == "success"
    assert window(world.at(NIGHTS[2]).open("ours"))[0] == NIGHTS[1]
    assert spans(world.store.ledger())[-1][1] == NIGHTS[1][:16]


def test_an_adoption_does_not_disturb_an_open_batch(world: World, original: Original) -> None:
    original.load({"extract": {}})
    original.night(NIGHTS[0])
    ours = world.at(NIGHTS[1]).open("ours")
    adopted(world)
    assert world.close("success", ours).status == "success"
    assert window(world.at(NIGHTS[2]).open("next")) == (NIGHTS[1], NIGHTS[2])


class TestGaps:
    def test_a_window_that_the_original_skipped_after_a_failure_is_a_gap(
        self, world: World, original: Original
    ) -> None:
        original.load({"extract": {}, "load": {}})
        nights(original, "success", "failure", "success", "success")
        gaps = adopted(world).gaps
        assert gaps == [JobGap(job, NIGHTS[0], NIGHTS[2]) for job in ("extract", "load")]

    def test_a_gap_can_end_at_the_next_window(self, world: World, original: Original) -> None:
        original.load({"extract": {}})
        nights(original, "success", "failure", "failure")
        assert adopted(world).gaps == [JobGap("extract", NIGHTS[0], NIGHTS[2])]

    def test_a_window_that_was_loaded_later_is_no_gap(self, world: World, original: Original) -> None:
        original.load({"extract": {}})
        nights(original, "success", "failure", "success")
        (gap,) = adopted(world).gaps
        reload = world.open("reload", window=(gap.from_date, gap.to_date))
        world.close("success", reload)
        assert adopted(world).gaps == []

    def test_overlaps_and_disabled_jobs_make_no_gaps(self, world: World, original: Original) -> None:
        world.jobs = {"extract": {"reprocess_hours": 2}, "load": {"trunc_start": True}}
        world.night(NIGHTS[0])
        original.night(NIGHTS[1])
        world.night(NIGHTS[2], result="failed")
        world.store.disable(WORKFLOW, "load", by="anna")
        world.night(NIGHTS[3])
        world.store.enable(WORKFLOW, "load", by="anna")
        world.night(NIGHTS[4])
        original.night(NIGHTS[5])
        assert adopted(world).gaps == []


def test_keys_that_are_not_batches_are_reported_and_not_adopted(world: World, original: Original) -> None:
    original.load({"extract": {}})
    good = original.night(NIGHTS[0])
    original.night(NIGHTS[1])
    keys = world.store.backend.keys(WORKFLOW)
    world.store.backend.client.hset(keys.batch(2025), "total", "17")
    world.store.backend.client.hset(keys.batch(1767000000), "extract", "{broken")
    world.store.backend.client.hset(
        keys.batch(1767000001), "extract", json.dumps({"batch_id": 1767000001, "batch_end": "soon"})
    )
    done = adopted(world)
    assert good in done.adopted
    assert {key.rpartition("-")[2] for key in done.passed_over} == {"2025", "1767000000", "1767000001"}
    assert len(listed(world)) == 2


def test_each_configuration_load_of_the_original_gets_an_audit_entry(world: World, original: Original) -> None:
    original.load({"extract": {}})
    original.night(NIGHTS[0])
    key = world.store.backend.keys(WORKFLOW).batch(1767225600)
    world.store.backend.client.hset(f"{key}-init", "extract", "{}")
    assert adopted(world).loads == ["2026-01-01T00:00:00.000000"]
    assert adopted(world).loads == []
    changes = world.store.status(WORKFLOW).changes
    assert [(change.by, change.what) for change in changes] == [
        ("anna", "adopted the original's batches: 1; ended those left open: 0"),
        ("the original Batchy server", "loaded the configuration"),
    ]


def test_many_batches_are_adopted_in_chunks_and_each_ends_when_the_next_one_opened(
    world: World, original: Original
) -> None:
    original.load({"extract": {}})
    original.night(NIGHTS[0])
    text, pipe = world.store.raw_live()["extract"], world.store.backend.client.pipeline(transaction=False)
    first = 1700000000
    for night in range(450):
        batch_id = first + night * 86400
        start = f"{2026 - 3}-01-01T00:00:00.{night:06}"
        job = json.loads(text) | {"batch_id": batch_id, "status": "open", "batch_start": start, "batch_end": None}
        pipe.hset(world.store.backend.keys(WORKFLOW).batch(batch_id), "extract", json.dumps(job))
    pipe.execute()
    done = adopted(world)
    assert (len(done.adopted), len(done.ended)) == (451, 450)
    ends = [world.store.batch(WORKFLOW, first + night * 86400).batch_end for night in (0, 199, 200, 448)]
    assert [end[-6:] for end in ends if end] == ["000001", "000200", "000201", "000449"]
    assert world.store.prune(WORKFLOW, keep=3) == 448


def test_what_a_person_wants_to_load_again_is_not_counted_when_the_past_is_adopted(
    world: World, original: Original
) -> None:
    original.load({"extract": {}})
    original.night(NIGHTS[0])
    original.night(NIGHTS[1])
    world.at(NIGHTS[2]).store.set_window(WORKFLOW, NIGHTS[0], by="ops")
    adopted(world)
    assert spans(world.store.ledger())[-1][1] == NIGHTS[0][:16]


def test_an_adoption_does_not_move_a_watermark_that_a_person_set(world: World, original: Original) -> None:
    original.load({"extract": {}})
    for night in NIGHTS[:3]:
        original.night(night)
    world.store.set_window(WORKFLOW, NIGHTS[0], by="anna")
    adopted(world)
    assert window(world.at(NIGHTS[3]).open("ours")) == (NIGHTS[0], NIGHTS[3])


def test_a_cleared_run_does_not_move_the_watermark_back_after_an_adoption(world: World, original: Original) -> None:
    world.night(NIGHTS[0], "first", result="failed")
    original.night(NIGHTS[1])
    original.night(NIGHTS[2], "failure")
    adopted(world)
    again = world.at(NIGHTS[3]).open("first")
    assert again.kind == "history"


def test_keys_of_every_workflow_are_found_and_no_other_keys(world: World, original: Original) -> None:
    original.load({"extract": {}})
    batch_id = original.night(NIGHTS[0])
    client = world.store.backend.client
    client.set("sales-1767225600-lock", "x")
    client.hset("not a name-1767225600", "a", "b")
    client.hset(world.store.backend.keys("erp").batch(1767225601), "a", "{}")
    found = find_original_keys(world.store.backend)
    assert {name: past.batches for name, past in found.items()} == {WORKFLOW: {batch_id}, "erp": {1767225601}}
    assert find_original_keys(world.store.backend, WORKFLOW).keys() == {WORKFLOW}


def test_a_mistyped_name_is_an_error(world: World, original: Original) -> None:
    with pytest.raises(UnknownWorkflowError):
        adopted(world)
