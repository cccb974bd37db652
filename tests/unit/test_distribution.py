# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How the processes of a test run share the tests: all are run, and few of them on an Airflow at the same time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import distribution
import grouping
import pytest
from distribution import Groups
from xdist.scheduler import loadscope

PROCESSES = 4
AIRFLOW = [f"tests/integration/test_{name}.py::test_{number}" for name in "abcdef" for number in range(4)]
LONG = [f"tests/unit/plugin/test_{name}.py::test" for name in "abc"]
QUICK = [f"tests/unit/core/test_{name}.py::test_{number}" for name in "abcdefgh" for number in range(4)]


class Process:
    """A process of xdist as far as `Groups` knows it: it takes one test after the other."""

    shutting_down = False
    gateway = SimpleNamespace(id="gw")

    def __init__(self) -> None:
        self.tests: list[int] = []

    def send_runtest_some(self, tests: list[int]) -> None:
        self.tests += tests

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the processes take turns with some tests; return the rounds: what each process tests at the same time."""
    monkeypatch.setattr(loadscope, "parse_tx_spec_config", lambda config: [None] * PROCESSES)
    monkeypatch.setattr(distribution, "AIRFLOWS_AT_ONCE", 2)

    def call(tests: list[str]) -> list[list[str]]:
        tests = sorted(tests, key=grouping.rank)
        config: Any = SimpleNamespace(option=SimpleNamespace(loadscopereorder=False))
        scheduler = Groups(config, None)
        processes: list[Any] = [Process() for _ in range(PROCESSES)]
        for each in processes:
            scheduler.add_node(each)
        for each in processes:
            scheduler.add_node_collection(each, tests)
        scheduler.schedule()
        rounds = []
        while any(each.tests for each in processes):
            running = [(each, each.tests.pop(0)) for each in processes if each.tests]
            rounds.append([tests[index] for _, index in running])
            for each, index in running:
                scheduler.mark_test_complete(each, index)
        assert all(each.shutting_down for each in processes)
        return rounds

    return call


def test_each_test_is_run_once(run: Any) -> None:
    tests = AIRFLOW + LONG + QUICK
    assert sorted(test for each in run(tests) for test in each) == sorted(tests)


def test_two_processes_use_an_airflow_while_others_have_other_tests(run: Any) -> None:
    rounds = run(AIRFLOW + LONG + QUICK)
    on_airflow = [sum(map(grouping.has_airflow, each)) for each in rounds]
    others = [len(each) - count for each, count in zip(rounds, on_airflow, strict=True)]
    assert on_airflow[0] == 2
    last = max(number for number, count in enumerate(others) if count)
    assert max(on_airflow[:last]) == 2


def test_all_processes_use_an_airflow_when_there_is_nothing_else(run: Any) -> None:
    assert len(run(AIRFLOW)[0]) == PROCESSES
    assert all(map(grouping.has_airflow, run(AIRFLOW + QUICK[:1])[-1]))


def test_the_first_results_come_from_quick_tests(run: Any) -> None:
    first = run(AIRFLOW + LONG + QUICK)[0]
    assert sum(map(grouping.is_quick, first)) == PROCESSES - 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tests/integration/test_stopped_parts.py::test_a", "tests/integration/test_two_schedulers.py::test_b"),
        ("tests/unit/plugin/test_rest.py::test_a", "tests/unit/plugin/test_rights.py::test_b"),
        ("tests/unit/operators/test_api_calls.py::test_a", "tests/unit/operators/test_in_airflow.py::test_b"),
        ("tests/unit/core/test_dates.py::test_a", "tests/unit/core/test_dates.py::test_b"),
    ],
)
def test_tests_that_share_what_takes_long_to_make_go_to_one_process(one: str, other: str) -> None:
    assert grouping.group(one) == grouping.group(other)


def test_every_file_that_grouping_names_exists(pytestconfig: pytest.Config) -> None:
    names = [*grouping.EARLY, *grouping.IN_PROCESS, *(f"{grouping.AIRFLOWS}/{name}" for name in grouping.OWN)]
    names += [f"{grouping.AIRFLOWS}/{name}" for name in grouping.STRUCK]
    missing = [name for name in names if not list(pytestconfig.rootpath.glob(f"{name.rstrip('/')}*"))]
    assert not missing
