# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Move from the original server to this package and back, night by night on one Redis, as docs/moving.md says."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

import pytest
from state_worlds import FIRST, WORKFLOW, Clock, Original, PureStore, World, short, window

from batchy_provider.core.dates import format_date
from batchy_provider.core.ledger import windows_loaded

START = datetime(2026, 1, 1, 2, 0, 0, 250000)
NIGHTS = [(system, result) for system in ("ours", "original") for result in ("success", "failed")]


def moment(night: int) -> str:
    return format_date(START + timedelta(days=night))


def loaded(world: World, ids: list[int]) -> list[tuple[str, str]]:
    """Return the windows that successful batches have loaded, in order, from the hashes of the batches."""
    batches = [world.store._stored(batch_id) for batch_id in ids]
    windows = [windows_loaded(batch.jobs, batch.left_out) for batch in batches]
    found = [each["extract"] for each in windows if "extract" in each]
    return sorted((format_date(start), format_date(end)) for start, end in found)


def rule_of_the_page(nights: tuple[tuple[str, str], ...]) -> bool:
    """Tell whether some nights follow the rule of the page: the original never opens after a failure."""
    failed_before = [result == "failed" for _, result in nights]
    return not any(before and after[0] == "original" for before, after in zip(failed_before, nights[1:], strict=False))


def test_in_any_order_of_nights_each_window_is_loaded_once() -> None:
    """All orders of four nights that the page allows, and then a successful night of this package."""
    for nights in filter(rule_of_the_page, itertools.product(NIGHTS, repeat=4)):
        clock = Clock()
        world = World(PureStore(clock), clock)
        original = Original(world)
        original.load({"extract": {}})
        ids = []
        for number, (system, result) in enumerate((*nights, ("ours", "success"))):
            if system == "ours":
                ids.append(world.night(moment(number), result=result).batch_id)
            else:
                ids.append(original.night(moment(number), "failure" if result == "failed" else result))
        spans = loaded(world, ids)
        assert spans[0][0] == FIRST, nights
        assert spans[-1][1] == moment(4), nights
        assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]], f"{nights}: a gap, or twice"


def test_nights_that_the_page_forbids_lose_a_window() -> None:
    """Otherwise nobody would need the rule."""
    clock = Clock()
    world = World(PureStore(clock), clock)
    original = Original(world)
    original.load({"extract": {}})
    ids = [original.night(moment(0)), world.night(moment(1), result="failed").batch_id, original.night(moment(2))]
    ids.append(world.night(moment(3)).batch_id)
    spans = loaded(world, ids)
    assert (moment(1), moment(2)) not in spans
    assert spans[1][0] > spans[0][1], "from the first night's end to the third's start nothing was loaded"


def test_after_weeks_the_original_continues_where_this_package_ended(world: World, original: Original) -> None:
    world.jobs = {"extract": {"reprocess_hours": 1.5, "trunc_start": False}, "load": {}}
    original.load({"extract": {"reprocess_hours": 1.5}, "load": {}})
    original.night(moment(0))
    for night in range(1, 22):
        if night == 7:
            world.store.disable(WORKFLOW, "load", by="anna")
        if night == 9:
            world.store.enable(WORKFLOW, "load", by="anna")
        world.night(moment(night), result="failed" if night in (5, 12, 13) else "success")
    world.night(moment(22))
    world.at(moment(23))
    original.open()
    assert world.live("extract")["from_date"] == (START + timedelta(days=22, hours=-1.5)).isoformat()
    assert world.live("load")["from_date"] == (START + timedelta(days=22)).isoformat()
    world.after(hours=1)
    original.close("success")
    assert window(world.at(moment(24)).open("ours again"), "load") == (moment(23), moment(24))


def test_after_a_failure_the_original_skips_the_failed_window(world: World, original: Original) -> None:
    world.night(moment(0))
    world.night(moment(1), result="failed")
    world.at(moment(2))
    original.open()
    assert world.live()["from_date"] == (START + timedelta(days=2)).isoformat(), "so rerun it first, says the page"


def test_the_original_ignores_a_window_that_a_person_set(world: World, original: Original) -> None:
    world.night(moment(0))
    world.night(moment(1))
    world.store.set_window(WORKFLOW, moment(0), by="anna")
    world.at(moment(2))
    original.open()
    assert world.live()["from_date"] == (START + timedelta(days=2)).isoformat(), "so run it first, says the page"


def test_the_originals_waitsy_ends_for_our_batch_of_the_day(world: World, original: Original) -> None:
    world.night(moment(0))
    assert not original.waits_on()
    world.after(days=1)
    assert original.waits_on(), "yesterday's success"
    world.night(moment(1), result="failed")
    assert original.waits_on()
    world.at(moment(1)).after(hours=2)
    world.open("again")
    assert original.waits_on()
    world.close()
    assert not original.waits_on()


def test_the_originals_waitsy_waits_for_ever_on_a_disabled_job(world: World, original: Original) -> None:
    world.jobs = {"extract": {}, "load": {}}
    world.night(moment(0))
    world.store.disable(WORKFLOW, "load", by="anna")
    world.night(moment(1))
    assert original.waits_on(), "so use waitsy -wf of ours, says the page"


@pytest.mark.parametrize("params", [{"region": "eu", "big": 2**70, "list": [], "no": None}])
def test_params_do_not_change_on_the_way_there_and_back(
    world: World, original: Original, params: dict[str, object]
) -> None:
    original.load({"extract": params})
    original.night(moment(0))
    world.jobs = {"extract": params}
    world.night(moment(1))
    original.night(moment(2))
    assert {key: world.live()[key] for key in params} == params
    assert short(world.live()["batch_start"]) == short((START + timedelta(days=2)).isoformat())
