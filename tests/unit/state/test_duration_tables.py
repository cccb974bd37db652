# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Lists of durations that are read all at once say the same as those that are read entry by entry."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.values import JobDuration
from batchy_provider.state.duration_lists import dump_durations, load_durations
from batchy_provider.state.duration_tables import duration_tables
from batchy_provider.state.keys import Keys

KEYS = Keys("sales")
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2199, 12, 31))
ENTRIES = st.builds(JobDuration, MOMENTS, st.floats(0, 1e12), st.floats(0, 1e12))
LISTS = st.dictionaries(st.text("abcé ", min_size=1, max_size=3), st.lists(ENTRIES, max_size=70), max_size=4)


def cells(stored: dict[str, str]) -> dict[str, dict[float, float]] | None:
    (table,) = duration_tables([(KEYS, stored)])
    if table is None:
        return None
    assert (np.diff(table.starts) > 0).all()
    return {
        job: {at: took for at, took in zip(table.starts, table.seconds[:, column], strict=True) if took == took}
        for column, job in enumerate(table.jobs)
    }


def one_by_one(stored: dict[str, str]) -> dict[str, dict[float, float]] | None:
    found = load_durations(KEYS, stored)
    return {
        job: {unix_seconds(each.start): each.seconds for each in some} for job, some in found.items() if some
    } or None


@given(LISTS)
def test_both_ways_say_the_same(durations: dict[str, list[JobDuration]]) -> None:
    stored = dump_durations(durations)
    assert cells(stored) == one_by_one(stored)


GOOD = '["2026-11-29T02:00:00.000000",   12.345,     86400]'


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "",
        "no JSON",
        f"[{GOOD}]",
        f"[{GOOD},{GOOD}]",
        f"[{GOOD.replace('12.345', 'xx.345')}]",
        f"[{GOOD.replace('   12', '12   ')}]",
        f"[{GOOD.replace('2026-11-29', '2026-13-29')}]",
        f"[{GOOD.replace('2026-11-29', '2026-02-30')}]",
        f"[{GOOD.replace('T02:', 'T25:')}]",
        f"[{GOOD.replace('T02:', 'T02 ')}]",
        f"[{GOOD.replace('     86400', '          ')}]",
        f"[{GOOD.replace('     86400', ' 1.00e+10 ')}]",
        f"[{GOOD.replace('   12.345', '1234567.8')}]",
        f"[{GOOD.replace('   12.345', '00012.345')}]",
        f"[{GOOD[:-1]}}}]",
        '[["2026-11-29T02:00:00", 5, 7]]',
    ],
)
def test_a_list_of_another_form_counts_as_it_does_alone(text: str) -> None:
    assert cells({"load": text, "other": f"[{GOOD}]"}) == one_by_one({"load": text, "other": f"[{GOOD}]"})


def test_nothing_is_no_table() -> None:
    assert duration_tables([]) == []
    assert duration_tables([(KEYS, {})]) == [None]


def test_each_workflow_has_its_own_table() -> None:
    other = f"[{GOOD.replace('12.345', '99.000')}]"
    first, none, second = duration_tables([(KEYS, {"load": f"[{GOOD}]"}), (KEYS, {}), (KEYS, {"load": other})])
    assert none is None
    assert first is not None
    assert second is not None
    assert (first.seconds.tolist(), second.seconds.tolist()) == ([[12.345]], [[99.0]])
    assert first.windows.tolist() == [86400.0]
