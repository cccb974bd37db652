# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The durations of jobs, put together to those of runs along the job graph."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from batchy_provider.core.values import JobDuration
from batchy_provider.plan.run_history import run_history

FIRST = datetime(2026, 1, 1, 2)
DIAMOND = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def runs(*seconds: float, window: float = 86_400.0) -> list[JobDuration]:
    return [JobDuration(FIRST + timedelta(days=number), each, window) for number, each in enumerate(seconds)]


def test_a_run_takes_as_long_as_its_longest_way() -> None:
    found = run_history({"a": runs(1, 1), "b": runs(5, 50), "c": runs(20, 21), "d": runs(3, 3)}, DIAMOND)
    assert found is not None
    assert found.seconds.tolist() == [24, 54]
    assert found.path == ("a", "b", "d")
    assert found.slowest == "b"
    assert (found.before["d"], found.after["a"]) == (28.5, 30.5)


def test_without_a_graph_all_jobs_run_at_once() -> None:
    found = run_history({"a": runs(1, 9), "b": runs(5, 5)})
    assert found is not None
    assert found.seconds.tolist() == [5, 9]


def test_the_time_of_a_whole_batch_is_not_added_up() -> None:
    found = run_history({"a": runs(60, 10), "b": runs(60, 20)}, {"a": (), "b": ("a",)})
    assert found is not None
    assert found.seconds.tolist() == [60, 30]
    whole = run_history({"a": runs(60, 50), "b": runs(60, 50)}, {"a": (), "b": ("a",)})
    assert whole is not None
    assert (whole.seconds.tolist(), whole.path, whole.slowest) == ([60, 50], (), None)


def test_a_job_that_one_run_lacks_counts_as_usual_and_one_without_any_takes_no_time() -> None:
    some = runs(10, 12, 11)
    found = run_history({"a": runs(1, 1, 1), "b": [some[0], some[2]]}, {"a": (), "new": ("a",), "b": ("new",)})
    assert found is not None
    assert found.seconds.tolist() == [11, 11.5, 12]


def test_jobs_that_are_gone_or_off_do_not_count() -> None:
    found = run_history({"a": runs(1), "gone": runs(100), "off": runs(50)}, {"a": (), "off": ()}, left_out={"off"})
    assert found is not None
    assert found.seconds.tolist() == [1]
    assert run_history({}, DIAMOND) is None
    assert run_history({"gone": runs(1)}, DIAMOND) is None


@pytest.mark.parametrize("graph", [{"a": ("b",), "b": ("a",)}, {"a": ("a",)}])
def test_a_cycle_is_no_endless_loop(graph: dict[str, tuple[str, ...]]) -> None:
    assert run_history({"a": runs(1), "b": runs(1)}, graph) is None
