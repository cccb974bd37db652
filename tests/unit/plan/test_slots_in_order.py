# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Slots of many jobs at once, beside the simple way: one job and one draw after the other."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_nights import EVENING, nightly

from batchy_provider.plan import simulation
from batchy_provider.plan.airflow_facts import AirflowFacts, PoolFacts
from batchy_provider.plan.run_history import RunHistory
from batchy_provider.plan.simulated_run import middle, middles
from batchy_provider.plan.simulation import simulate
from batchy_provider.plan.task_slots import Slots, ends_in_order

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


@given(st.data(), st.integers(1, 3), st.integers(1, 12), st.lists(st.integers(1, 9), min_size=1, max_size=2))
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


@pytest.mark.parametrize("slots", [5, 32, 400])
@pytest.mark.parametrize("spread", [0.1, 1.5], ids=["jobs that take alike", "some jobs take far longer"])
def test_many_jobs_end_as_in_the_simple_way(slots: int, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are many slots, many jobs take theirs in one step."""
    rng, steps, taken = np.random.default_rng(slots), Slots._take_many, list[int]()

    def counted(self: Slots, *args: Any) -> int:
        taken.append(steps(self, *args))
        return taken[-1]

    monkeypatch.setattr(Slots, "_take_many", counted)
    needed, until = Slots(slots, 10), [[[0.0] * slots for _ in range(10)]]
    for _ in range(3):
        ready, seconds = rng.random((80, 10)) * 9, rng.lognormal(3, spread, (80, 10))
        found = ends_in_order([needed], list(ready), list(seconds))
        assert [row.tolist() for row in found] == simple_ends(until, ready.tolist(), seconds.tolist())
    assert sum(taken) > 80 or slots == 5 or spread > 1


@given(st.lists(st.lists(MOMENT, min_size=5, max_size=5), min_size=1, max_size=6))
def test_medians_of_many_rows_are_those_of_each(rows: list[list[float]]) -> None:
    some = [np.array(row) for row in rows]
    assert middles(some) == [middle(row) for row in some]


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 3])), min_size=1, max_size=8))
def test_jobs_at_once_are_counted_as_by_going_through_their_moments(jobs: list[tuple[int, int]]) -> None:
    nothing = np.array([])
    history = RunHistory(
        starts=nothing,
        seconds=nothing,
        windows=nothing,
        path=(),
        after={},
        before={str(number): float(begin) for number, (begin, _) in enumerate(jobs)},
        job_seconds={str(number): float(took) for number, (_, took) in enumerate(jobs)},
    )
    moments = [(begin, 1) for begin, _ in jobs] + [(begin + took * (1 - 1e-9), -1) for begin, took in jobs]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    assert history.at_once(list(history.before)) == most


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
