# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Windows with a shape: where they end, what is taken again, what is skipped."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from state_worlds import FIRST, Clock, PureStore, World, short, spans, window

from batchy_provider.core.dates import format_date
from batchy_provider.core.vocabulary import NothingToLoad, Reason
from batchy_provider.core.window_shape import WindowShape
from batchy_provider.core.windows import loaded_until, position
from batchy_provider.exceptions import NothingToLoadError

DAY = timedelta(days=1)
SINCE = "2026-11-01T00:00:00.000000"


@pytest.fixture
def sales(world: World) -> World:
    """A workflow with one job, whose data begins on 1 November."""
    world.jobs = {"extract": {"initial_date": SINCE}}
    return world


def shaped(world: World, **shape: Any) -> World:
    world.shape = WindowShape(**shape)
    return world


def nothing(world: World, *arguments: Any, **request: Any) -> NothingToLoadError:
    """Open, and find nothing to load and nothing changed."""
    before = world.state()
    with pytest.raises(NothingToLoadError) as caught:
        world.open(*arguments, **request)
    assert world.state() == before
    return caught.value


# -- where windows end -----------------------------------------------------------------------------------------------


def test_a_window_stays_behind_by_its_delay(sales: World) -> None:
    shaped(sales, delay=timedelta(minutes=15))
    assert window(sales.night("2026-11-10T02:00")) == ("2026-11-01T00:00", "2026-11-10T01:45")
    assert window(sales.night("2026-11-11T02:00")) == ("2026-11-10T01:45", "2026-11-11T01:45")


def test_windows_end_on_boundaries_of_the_timezone(sales: World) -> None:
    sales.timezone = "Europe/Paris"
    shaped(sales, align="day", delay=timedelta(minutes=30))
    assert window(sales.night("2026-11-10T02:00")) == ("2026-11-01T00:00", "2026-11-09T23:00")
    # Half an hour behind, the day has not ended yet at ten past midnight.
    found = nothing(sales.at("2026-11-10T23:10"))
    assert (found.code, found.ready_at) == (NothingToLoad.UP_TO_DATE.value, "2026-11-10T23:30:00.000000")
    assert "up to 2026-11-09T23:00:00.000000 UTC; the next window ends at 2026-11-10T23:00:00.000000 UTC" in str(found)
    assert window(sales.at("2026-11-10T23:30").open("late")) == ("2026-11-09T23:00", "2026-11-10T23:00")


@pytest.mark.parametrize(
    ("month", "ends"), [("02", ["02-28T23:00", "03-31T22:00"]), ("10", ["10-31T23:00", "11-30T23:00"])]
)
def test_months_have_28_to_31_days(sales: World, month: str, ends: list[str]) -> None:
    sales.timezone = "Europe/Paris"
    sales.jobs = {"extract": {"initial_date": f"2026-{month}-15T12:00:00"}}
    shaped(sales, align="month", max=timedelta(days=30))
    found = [window(sales.night(f"2026-12-10T0{hour}:00"))[1] for hour in range(2)]
    assert found == [f"2026-{end}" for end in ends]


def test_days_on_which_clocks_change_are_one_window_each(sales: World) -> None:
    sales.timezone = "Europe/Paris"
    sales.jobs = {"extract": {"initial_date": "2026-10-23T22:00:00"}}
    shaped(sales, align="day", max=DAY)
    sales.at("2026-10-28T02:00")
    found = [window(sales.night(f"2026-10-28T0{hour}:00")) for hour in range(3)]
    assert found == [
        ("2026-10-23T22:00", "2026-10-24T22:00"),
        ("2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("2026-10-25T23:00", "2026-10-26T23:00"),
    ]


def test_an_overlap_loads_whole_days_again(sales: World) -> None:
    """Two hours of a day are no whole day. A retry has the same window."""
    sales.timezone = "Europe/Paris"
    sales.jobs = {"extract": {"initial_date": "2026-10-20T10:00:00", "reprocess_hours": 2}}
    shaped(sales, align="day", max=DAY)
    found = [window(sales.night(f"2026-10-28T0{hour}:00")) for hour in range(3)]
    assert found == [
        ("2026-10-20T10:00", "2026-10-20T22:00"),
        ("2026-10-20T10:00", "2026-10-21T22:00"),  # not before initial_date
        ("2026-10-20T22:00", "2026-10-22T22:00"),
    ]
    again = ("2026-10-21T22:00", "2026-10-23T22:00")
    assert [window(sales.night(f"2026-10-28T0{hour}:00", result="failed")) for hour in (4, 5)] == [again, again]
    assert window(sales.night("2026-10-28T06:00")) == again
    assert spans(sales.store.ledger()) == [("2026-10-20T10:00", "2026-10-23T22:00")]


def test_an_overlap_that_begins_in_a_gap_does_not_hide_what_is_loaded_after_it(clock: Clock) -> None:
    """Also where the record of the batch is lost, and only the ledger tells how far the job is loaded."""
    store = PureStore(clock)
    sales = World(store, clock)
    sales.jobs = {"extract": {"initial_date": SINCE, "reprocess_hours": 2}}
    shaped(sales, align="day", max=DAY)
    sales.night("2026-11-02T02:00")
    sales.at("2026-11-10T01:00")
    sales.store.set_window("sales", "2026-11-09T22:00", by="ops")
    assert window(sales.night("2026-11-10T02:00")) == ("2026-11-09T22:00", "2026-11-10T00:00")
    assert window(sales.night("2026-11-11T02:00", result="failed")) == ("2026-11-09T00:00", "2026-11-11T00:00")
    state = replace(store.snapshot(), owner=None)
    job = state.jobs["extract"]
    at = position("sales", "extract", job, state.config)
    assert short(format_date(loaded_until(state, "extract", job, at))) == "2026-11-10T00:00"


def test_a_window_ends_when_the_run_was_due(sales: World) -> None:
    sales.crons = ["0 2 * * *"]
    shaped(sales, until="schedule")
    sales.at("2026-11-10T05:00")
    assert window(sales.open("late", due="2026-11-10T02:00:00")) == ("2026-11-01T00:00", "2026-11-10T02:00")
    sales.close()
    # What no schedule has started goes up to when the last run was due.
    assert window(sales.at("2026-11-12T01:00").open(None)) == ("2026-11-10T02:00", "2026-11-11T02:00")
    sales.close()
    found = nothing(sales.at("2026-11-12T01:30"), None, known=False)
    assert found.ready_at == "2026-11-12T02:00:00.000000"


# -- slices ----------------------------------------------------------------------------------------------------------


def test_an_outage_is_loaded_oldest_first_in_slices(sales: World) -> None:
    shaped(sales, max=DAY)
    batch = sales.night("2026-11-03T12:00")
    assert (window(batch), batch.record.reason_code) == (("2026-11-01T00:00", "2026-11-02T00:00"), Reason.NEXT_SLICE)
    assert batch.record.more
    batch = sales.night("2026-11-03T14:00")
    assert (window(batch), batch.record.more) == (("2026-11-02T00:00", "2026-11-03T00:00"), True)
    batch = sales.night("2026-11-03T16:00")
    assert (window(batch), batch.record.more) == (("2026-11-03T00:00", "2026-11-03T16:00"), None)
    assert batch.record.reason_code == Reason.NEXT_WINDOW


def test_a_slice_that_failed_is_taken_again_as_it_was(sales: World) -> None:
    sales.jobs = {"extract": {"initial_date": SINCE, "reprocess_hours": 36, "trunc_start": True}}
    shaped(sales, max=timedelta(hours=12))
    sales.night("2026-11-08T12:00")
    expected = ("2026-10-31T00:00", "2026-11-02T00:00")
    sales.jobs["extract"].pop("initial_date")
    for hour in range(3):
        assert window(sales.night(f"2026-11-08T1{hour + 3}:00", result="failed")) == expected
    assert window(sales.night("2026-11-09T12:00")) == expected
    assert window(sales.night("2026-11-09T14:00"))[1] == "2026-11-02T12:00"


def test_the_overlap_does_not_count_for_the_size_of_a_slice(sales: World) -> None:
    sales.jobs = {"extract": {"initial_date": SINCE, "reprocess_hours": 48}}
    shaped(sales, max=DAY)
    ends = []
    for hour in range(4):
        sales.night(f"2026-11-20T0{2 * hour}:00", result="failed")
        ends.append(window(sales.night(f"2026-11-20T0{2 * hour + 1}:00")))
    assert ends == [
        ("2026-11-01T00:00", "2026-11-02T00:00"),
        ("2026-11-01T00:00", "2026-11-03T00:00"),
        ("2026-11-01T00:00", "2026-11-04T00:00"),
        ("2026-11-02T00:00", "2026-11-05T00:00"),
    ]


def test_a_window_that_moves_the_watermark_and_fails_is_taken_again_in_slices(sales: World) -> None:
    """What was loaded before the person asked does not count: it is to be loaded again."""
    shaped(sales, align="day", max=DAY)
    sales.night("2026-11-02T02:00")
    for day in range(3, 11):
        sales.night(f"2026-11-{day:02}T02:00")
    asked = {"window": ("2026-11-01", "2026-11-05"), "move_watermark": True}
    sales.night("2026-11-10T12:00", "again", "failed", **asked)
    assert window(sales.night("2026-11-11T02:00", result="failed")) == ("2026-11-01T00:00", "2026-11-02T00:00")
    assert window(sales.night("2026-11-11T03:00")) == ("2026-11-01T00:00", "2026-11-02T00:00")
    assert window(sales.night("2026-11-11T04:00")) == ("2026-11-02T00:00", "2026-11-03T00:00")


def test_a_smaller_max_makes_the_failed_window_smaller(sales: World) -> None:
    """An outage was too much for one window: the next run takes the first part of it."""
    sales.night("2026-11-10T12:00", result="failed")
    shaped(sales, max=DAY)
    assert window(sales.night("2026-11-10T14:00")) == ("2026-11-01T00:00", "2026-11-02T00:00")


def test_a_job_without_a_beginning_is_not_cut_from_1776_on(sales: World) -> None:
    sales.jobs = {"extract": {}}
    shaped(sales, max=DAY)
    assert window(sales.night("2026-11-10T12:00")) == (short(FIRST), "2026-11-10T12:00")
    assert window(sales.night("2026-11-12T13:00")) == ("2026-11-10T12:00", "2026-11-11T12:00")


def test_what_a_backfill_loaded_ahead_makes_no_slice_longer(sales: World) -> None:
    shaped(sales, max=DAY)
    sales.night("2026-11-01T12:00")
    sales.night("2026-11-08T12:00", result="failed")
    sales.night("2026-11-08T14:00", backfill=True, window=("2026-11-01T12:00", "2026-11-06T00:00"))
    assert window(sales.night("2026-11-08T16:00")) == ("2026-11-01T12:00", "2026-11-02T12:00")


def test_the_next_slice_is_for_the_run_that_the_last_one_has_started(sales: World) -> None:
    shaped(sales, max=DAY)
    first = sales.night("2026-11-08T12:00")
    second = sales.night("2026-11-08T14:00", "slice", follows=first.batch_id)
    assert window(second) == ("2026-11-02T00:00", "2026-11-03T00:00")
    found = nothing(sales, "another slice", follows=first.batch_id)
    assert found.code == NothingToLoad.SLICE_OVERTAKEN.value
    sales.night("2026-11-08T16:00", "due", result="failed")
    found = nothing(sales, "third", follows=second.batch_id)
    assert "is batch" in str(found)
    assert "(failed); the next due run goes on from there" in str(found)


def test_the_run_of_a_slice_that_was_cleared_has_its_window_again(sales: World) -> None:
    shaped(sales, max=DAY)
    first = sales.night("2026-11-08T12:00")
    sales.night("2026-11-08T14:00", "slice", result="failed", follows=first.batch_id)
    again = sales.night("2026-11-08T16:00", "slice", follows=first.batch_id)
    assert (window(again), again.kind) == (("2026-11-02T00:00", "2026-11-03T00:00"), "live")
    assert again.record.more  # so the slices go on


# -- several jobs ----------------------------------------------------------------------------------------------------


def test_a_job_that_is_behind_is_loaded_first(sales: World) -> None:
    sales.jobs = {"extract": {"initial_date": SINCE}, "load": {"initial_date": SINCE}}
    shaped(sales, max=DAY, align="day")
    sales.night("2026-11-02T02:00")
    sales.store.disable("sales", "load", by="ops")
    sales.night("2026-11-04T02:00")
    sales.night("2026-11-04T04:00")
    sales.store.enable("sales", "load", by="ops")
    batch = sales.night("2026-11-05T02:00")
    assert (window(batch, "load"), batch.record.left_out) == (("2026-11-02T00:00", "2026-11-03T00:00"), ["extract"])
    assert batch.record.more
    sales.night("2026-11-05T04:00")
    batch = sales.night("2026-11-05T06:00")
    assert [window(batch, job) for job in ("extract", "load")] == [("2026-11-04T00:00", "2026-11-05T00:00")] * 2
    assert spans(sales.store.ledger(), "load") == spans(sales.store.ledger())


def test_jobs_that_begin_at_different_times_end_at_one_moment(sales: World) -> None:
    sales.jobs = {"extract": {"initial_date": SINCE}, "load": {"initial_date": "2026-11-01T18:00:00"}}
    shaped(sales, max=DAY)
    batch = sales.night("2026-11-10T02:00")
    assert window(batch) == ("2026-11-01T00:00", "2026-11-02T00:00")
    assert window(batch, "load") == ("2026-11-01T18:00", "2026-11-02T00:00")


def test_nothing_opens_while_every_job_is_switched_off(sales: World) -> None:
    shaped(sales, max=DAY)
    sales.night("2026-11-02T02:00")
    sales.store.disable("sales", "extract", by="ops")
    assert nothing(sales.after(days=1)).code == NothingToLoad.ALL_DISABLED.value


# -- nothing to load -------------------------------------------------------------------------------------------------


def test_a_run_without_anything_to_load_may_run_all_the_same(sales: World) -> None:
    shaped(sales, align="day", if_empty="run")
    sales.night("2026-11-10T02:00")
    batch = sales.night("2026-11-10T08:00")
    assert window(batch) == ("2026-11-10T00:00", "2026-11-10T00:00")
    assert window(sales.night("2026-11-11T08:00")) == ("2026-11-10T00:00", "2026-11-11T00:00")


def test_a_clock_that_was_set_back_opens_nothing(sales: World) -> None:
    shaped(sales, until="now")
    sales.night("2026-11-10T02:00")
    assert nothing(sales.at("2026-11-10T01:00")).code == NothingToLoad.UP_TO_DATE.value


def test_windows_that_were_asked_for_have_no_shape(sales: World) -> None:
    shaped(sales, align="day", max=DAY)
    sales.night("2026-11-10T02:00")
    wanted = ("2026-10-01T05:00:00", "2026-10-20T07:00:00")
    assert window(sales.open("once", window=wanted)) == ("2026-10-01T05:00", "2026-10-20T07:00")
    assert window(sales.open("backfill", backfill=True, window=wanted)) == ("2026-10-01T05:00", "2026-10-20T07:00")


def test_the_shape_is_known_without_the_file(sales: World) -> None:
    shaped(sales, until="schedule", delay=timedelta(minutes=90), align="0 6 * * *", max=DAY / 2, if_empty="run")
    sales.crons = ["0 2 * * *"]
    sales.night("2026-11-02T12:00")
    assert sales.store.status("sales").window == sales.shape
    sales.shape = None
    batch = sales.night("2026-11-03T12:00", known=False)
    assert window(batch)[1].endswith("T06:00")


# -- runs that were missed -------------------------------------------------------------------------------------------


def test_each_missed_run_has_its_own_interval_and_the_last_one_the_rest(sales: World) -> None:
    sales.crons = ["0 2 * * *"]
    windows = []
    for day in (2, 3, 4):
        due = f"2026-11-0{day}T02:00:00"
        windows.append(window(sales.night(f"2026-11-04T1{day}:00", due, due=due, catchup=True)))
    assert windows == [
        ("2026-11-01T00:00", "2026-11-02T02:00"),
        ("2026-11-02T02:00", "2026-11-03T02:00"),
        ("2026-11-03T02:00", "2026-11-04T14:00"),
    ]


def test_a_missed_run_that_failed_is_part_of_the_next_one(sales: World) -> None:
    sales.crons = ["0 2 * * *"]
    sales.night("2026-11-04T12:00", due="2026-11-02T02:00:00", catchup=True, result="failed")
    batch = sales.night("2026-11-04T14:00", due="2026-11-03T02:00:00", catchup=True)
    assert window(batch) == ("2026-11-01T00:00", "2026-11-03T02:00")
    found = nothing(sales, "first again", due="2026-11-02T02:00:00", catchup=True)
    assert found.code == NothingToLoad.UP_TO_DATE.value


def test_the_own_interval_of_a_missed_run_may_be_sliced(sales: World) -> None:
    sales.crons = ["0 2 * * *"]
    shaped(sales, max=timedelta(hours=20))
    due = {"due": "2026-11-02T02:00:00", "catchup": True}
    first = sales.night("2026-11-04T12:00", **due)
    second = sales.night("2026-11-04T14:00", follows=first.batch_id, **due)
    assert [window(each)[1] for each in (first, second)] == ["2026-11-01T20:00", "2026-11-02T02:00"]
    assert second.record.more is None
