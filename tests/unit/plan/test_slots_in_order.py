# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Slots of many jobs at once, beside the simple way: one job and one draw after the other."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_nights import EVENING, nightly

from batchy_provider.plan import simulation
from batchy_provider.plan.airflow_facts import AirflowFacts, PoolFacts
from batchy_provider.plan.simulated_run import middle, middles
from batchy_provider.plan.simulation import simulate
from batchy_provider.plan.task_slots import Slots, _at_once, ends_in_order

INF = float("inf")
# Few different moments, so that many jobs are ready at the same one.
MOMENT = st.sampled_from([0.0, 1.0, 2.0, 2.5, 7.0, 1 / 3, INF])
SECONDS = st.sampled_from([0.0, 0.1, 1.0, 2.0, 5.0])


def simple_ends(until: list[list[list[float]]], ready: Any, seconds: Any) -> list[list[float]]:
    """Return when jobs end, one after the other.

    :param until: for each kind of slots, and each draw: until when each slot is taken; it is changed.
    """
    ends = [[0.0] * len(ready[0]) for _ in ready]
    for draw in range(len(ready[0])):
        for job in sorted(range(len(ready)), key=lambda job: ready[job][draw]):
            start = max([ready[job][draw], *(min(slots[draw]) for slots in until)])
            end = ends[job][draw] = start + seconds[job][draw]
            for slots in until:
                if end < INF:
                    free = [each for each in slots[draw] if each <= start]
                    # With one kind of slots the first one, else the one that was taken last.
                    slots[draw].remove(min(free) if len(until) == 1 else max(free))
                    slots[draw].append(end)
    return ends


@given(st.data(), st.integers(1, 3), st.integers(1, 7), st.lists(st.integers(1, 4), min_size=1, max_size=2))
def test_jobs_end_as_in_the_simple_way(data: st.DataObject, draws: int, jobs: int, sizes: list[int]) -> None:
    def table(values: st.SearchStrategy[float]) -> list[list[float]]:
        row = st.lists(values, min_size=draws, max_size=draws)
        return data.draw(st.lists(row, min_size=jobs, max_size=jobs))

    needed = [Slots(size, draws) for size in sizes]
    until = [[[0.0] * size for _ in range(draws)] for size in sizes]
    for _ in range(2):  # the second time, slots are taken
        ready, seconds = table(MOMENT), table(SECONDS)
        found = ends_in_order(needed, [np.array(row) for row in ready], [np.array(row) for row in seconds])
        assert [row.tolist() for row in found] == simple_ends(until, ready, seconds)
    for slots, known in zip(needed, until, strict=True):
        assert slots.earliest().tolist() == [min(each) for each in known]


@given(st.lists(st.lists(MOMENT, min_size=5, max_size=5), min_size=1, max_size=6))
def test_medians_of_many_rows_are_those_of_each(rows: list[list[float]]) -> None:
    some = [np.array(row) for row in rows]
    assert middles(some) == [middle(row) for row in some]


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 3])), min_size=1, max_size=8))
def test_jobs_at_once_are_counted_as_by_going_through_their_moments(jobs: list[tuple[int, int]]) -> None:
    history = SimpleNamespace(
        before={str(number): float(begin) for number, (begin, _) in enumerate(jobs)},
        job_seconds={str(number): float(took) for number, (_, took) in enumerate(jobs)},
    )
    moments = [(begin, 1) for begin, _ in jobs] + [(begin + took * (1 - 1e-9), -1) for begin, took in jobs]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    assert _at_once(SimpleNamespace(history=history), list(history.before)) == most


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_plan_of_runs_that_wait_for_slots_is_the_same_one_by_one(slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    more: dict[str, Any] = {"durations_of": {"a": 20, "b": 30, "c": 5, "d": 10}, "graph": graph}
    pools = {"jobs": {"a": "db", "b": "db", "c": "other", "d": "other"}}
    night = [nightly("w1", 60, **more), nightly("w2", 60, "w1", **more), nightly("w3", 60, **more, **pools)]
    inputs = {each.facts.workflow: each for each in night}
    airflow = AirflowFacts(parallelism=slots, pools={"db": PoolFacts(1, 0)})

    def plan() -> Any:
        return simulate(inputs, EVENING, 24, airflow=airflow)

    def one_by_one(needed: Any, ready: Any, seconds: Any) -> Any:
        calls = next(counted)
        assert calls < 10_000
        until = [slot._until.tolist() for slot in needed]
        ends = simple_ends(until, [row.tolist() for row in ready], [row.tolist() for row in seconds])
        for slot, now in zip(needed, until, strict=True):
            slot._until[:] = now
        return [np.array(row) for row in ends]

    counted = count()
    found = plan()
    monkeypatch.setattr(simulation, "ends_in_order", one_by_one)
    monkeypatch.setattr(simulation, "middles", lambda rows: [middle(row) for row in rows])
    assert plan() == found
    assert next(counted) > 1
