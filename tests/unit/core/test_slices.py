# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The guarantees of shaped windows, for any shape, any jobs and any times."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchy_provider.core.boundaries import SHORTEST, UNITS, boundary_at, later_by
from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.slices import Limit, Slice, next_slice
from batchy_provider.core.upstream import LoadedUntil
from batchy_provider.core.vocabulary import NothingToLoad
from batchy_provider.core.window_shape import WindowShape
from batchy_provider.exceptions import NothingToLoadError

ZONES = ["UTC", "Europe/Paris", "America/Santiago", "Asia/Kathmandu", "Australia/Lord_Howe", "Antarctica/Troll"]
START = datetime(2026, 1, 1)

moments = st.datetimes(START, datetime(2027, 1, 1))
shapes = st.builds(
    WindowShape,
    until=st.sampled_from(["now", "schedule", "workflows"]),
    workflows=st.just(("crm",)),
    delay=st.timedeltas(timedelta(), timedelta(days=3)),
    align=st.sampled_from([None, *UNITS, "30 6 * * *", "0 0 * * mon,thu", "15,35 * * * *", "*/20 1-3 * * *"]),
    max=st.none() | st.timedeltas(timedelta(minutes=1), timedelta(days=70)),
)
loaded_jobs = st.dictionaries(st.sampled_from("abc"), moments, min_size=1)


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    return Limit(
        now=draw(moments),
        schedule=Schedule(crons=("0 2 * * *",), timezone=draw(st.sampled_from(ZONES))),
        timezone=draw(st.sampled_from(ZONES)),
        due=draw(st.none() | moments),
        catchup=draw(st.booleans()),
        upstream={"crm": LoadedUntil(draw(moments), "load")},
    )


def slice_or_none(shape: WindowShape, loaded: dict[str, datetime], limit: Limit) -> Slice | None:
    try:
        return next_slice("sales", shape, loaded, limit)
    except NothingToLoadError:
        return None


@given(shape=shapes, loaded=loaded_jobs, limit=limits())
def test_windows_go_forward_end_at_one_moment_and_not_beyond_their_data(
    shape: WindowShape, loaded: dict[str, datetime], limit: Limit
) -> None:
    found = slice_or_none(shape, loaded, limit)
    latest = limit.end(shape)
    assert latest is not None
    if found is None:
        assert all(end >= latest for end in loaded.values())
        return
    assert len(set(found.ends.values())) == 1
    (end,) = set(found.ends.values())
    assert all(loaded[name] < end for name in found.ends)
    assert all(loaded[name] >= end for name in loaded.keys() - found.ends.keys()), "who is behind takes part"
    assert end <= latest <= limit.now - shape.delay
    assert found.more == (end < latest)
    if shape.until == "workflows":
        assert end <= limit.upstream["crm"].end - shape.delay
    if shape.align is not None:
        assert boundary_at(shape.align, limit.timezone, end) == end


@given(shape=shapes, loaded=loaded_jobs, limit=limits())
def test_no_slice_is_longer_than_the_max_or_one_step(
    shape: WindowShape, loaded: dict[str, datetime], limit: Limit
) -> None:
    found = slice_or_none(shape, loaded, limit)
    if shape.max is None or found is None:
        return
    for name, end in found.ends.items():
        longest = later_by(loaded[name], shape.max, limit.timezone)
        step = timedelta() if shape.align is None else SHORTEST.get(shape.align, timedelta(days=7))
        step += timedelta(days=3, hours=1) if step else timedelta()  # months of 31 days, days of 25 hours
        assert end <= max(longest, loaded[name] + step)


@given(shape=shapes, loaded=loaded_jobs, limit=limits(), later=st.timedeltas(timedelta(), timedelta(days=90)))
def test_a_slice_that_is_taken_again_later_ends_no_earlier_and_if_it_was_full_at_the_same_moment(
    shape: WindowShape, loaded: dict[str, datetime], limit: Limit, later: timedelta
) -> None:
    first = slice_or_none(shape, loaded, limit)
    if first is None:
        return
    upstream = {"crm": LoadedUntil(limit.upstream["crm"].end + later)}
    due = None if limit.due is None else limit.due + later
    again = slice_or_none(shape, loaded, replace(limit, now=limit.now + later, due=due, upstream=upstream))
    assert again is not None
    assert all(again.ends[name] >= end for name, end in first.ends.items())
    if first.more:
        assert again.ends == first.ends


@given(shape=shapes, loaded=loaded_jobs, limit=limits())
def test_slices_one_after_another_load_everything_once_and_in_order(
    shape: WindowShape, loaded: dict[str, datetime], limit: Limit
) -> None:
    assume(shape.max is None or shape.max > timedelta(hours=12))
    reached, more, ends = dict(loaded), True, []
    while more:
        found = slice_or_none(shape, reached, limit)
        if found is None:
            break
        ends.append(next(iter(found.ends.values())))
        reached |= found.ends
        more = found.more
    latest = limit.end(shape)
    assert ends == sorted(set(ends)), "in order, and each further than the one before"
    assert reached == {name: max(end, latest) for name, end in loaded.items()}
    assert slice_or_none(shape, reached, limit) is None


@given(loaded=loaded_jobs, limit=limits(), shape=shapes)
def test_an_empty_run_stays_where_each_job_is(shape: WindowShape, loaded: dict[str, datetime], limit: Limit) -> None:
    found = next_slice("sales", replace(shape, if_empty="run"), loaded, limit)
    other = slice_or_none(shape, loaded, limit)
    assert found.ends.keys() == loaded.keys()
    assert all(found.ends[name] >= end for name, end in loaded.items())
    assert found.ends == (loaded if other is None else loaded | other.ends)


def test_an_upstream_that_has_loaded_nothing_leaves_nothing_to_load() -> None:
    shape = WindowShape(until="workflows", workflows=("crm", "erp"))
    upstream = {"crm": LoadedUntil(START + timedelta(days=9)), "erp": LoadedUntil(None, why="is not in Redis")}
    limit = Limit(now=datetime(2026, 2, 1), schedule=Schedule(), timezone="UTC", upstream=upstream)
    with pytest.raises(NothingToLoadError, match="loads what erp has loaded, and erp is not in Redis") as caught:
        next_slice("sales", shape, {"load": START}, limit)
    assert caught.value.code == NothingToLoad.UPSTREAM_UNKNOWN.value


def test_the_upstream_that_is_furthest_behind_is_named() -> None:
    shape = WindowShape(until="workflows", workflows=("crm", "erp"), align="day")
    upstream = {"crm": LoadedUntil(datetime(2026, 1, 9)), "erp": LoadedUntil(datetime(2026, 1, 2, 12), "orders")}
    limit = Limit(now=datetime(2026, 2, 1), schedule=Schedule(), timezone="UTC", upstream=upstream)
    with pytest.raises(
        NothingToLoadError, match=r"erp has loaded its own up to 2026-01-02T12.*\(job orders\); the n"
    ) as caught:
        next_slice("sales", shape, {"load": datetime(2026, 1, 2)}, limit)
    assert caught.value.code == NothingToLoad.UPSTREAM_BEHIND.value


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (WindowShape(), "until now"),
        (
            WindowShape(until="schedule", delay=timedelta(minutes=15), align="day", max=timedelta(days=1)),
            "until the run is due, 15m behind, whole days, at most 1d at once",
        ),
        (
            WindowShape(until="workflows", workflows=("crm", "erp"), align="0 6 * * *", if_empty="run"),
            "until the data of crm, erp, aligned to '0 6 * * *', also if empty",
        ),
    ],
)
def test_a_shape_reads_as_words(shape: WindowShape, words: str) -> None:
    assert str(shape) == words


def test_the_run_before_the_holidays_is_the_last_that_was_missed_and_takes_the_rest() -> None:
    daily = Schedule(crons=("0 2 * * *",))
    bank = replace(daily, calendar=Calendar(name="bank", add=frozenset({date(2026, 4, 3)})))
    thursday, sunday = datetime(2026, 4, 2, 2), datetime(2026, 4, 5, 12)
    missed = Limit(now=sunday, schedule=bank, timezone="UTC", due=thursday, catchup=True, upstream={})
    assert missed.own_interval is None
    assert replace(missed, schedule=daily).own_interval == thursday
    assert replace(missed, now=datetime(2026, 4, 6, 12)).own_interval == thursday, "it was due again on Monday"


def test_what_can_open_next_waits_for_the_day_after_the_holidays() -> None:
    bank = Schedule(crons=("0 2 * * *",), calendar=Calendar(name="bank", add=frozenset({date(2026, 4, 3)})))
    limit = Limit(now=datetime(2026, 4, 3, 12), schedule=bank, timezone="UTC", upstream={})
    with pytest.raises(NothingToLoadError) as caught:
        next_slice("sales", WindowShape(until="schedule"), {"load": datetime(2026, 4, 2, 2)}, limit)
    assert caught.value.ready_at == "2026-04-06T02:00:00.000000"
    event = replace(limit, due=datetime(2026, 4, 3, 11), by_event=True)
    found = next_slice("sales", WindowShape(until="schedule"), {"load": datetime(2026, 4, 2, 2)}, event)
    assert found.ends == {"load": datetime(2026, 4, 3, 11)}, "an upstream's success is a due time of its own"
