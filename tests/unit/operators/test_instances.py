# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""States of task instances: exact for any names, though Airflow names an instance like another task."""

from __future__ import annotations

from typing import Any

import pytest
from airflow_runs import Airflow
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.operators.task_instances import (
    NAMES_PER_REQUEST,
    PLAIN,
    UnknownStatesError,
    requests_for,
    states_of,
    worst_of,
)

STATES = st.sampled_from(["success", "failed", "skipped", "upstream_failed", "removed", "None"])
NAMES = st.one_of(
    st.from_regex(r"[ab](_[0-9]){0,4}", fullmatch=True),
    st.sampled_from(["a_", "a__1", "a_01", "1", "_1", "1_1", "a.1"]),
)


@given(tasks=st.dictionaries(NAMES, st.one_of(STATES, st.lists(STATES, max_size=12)), min_size=1), data=st.data())
def test_each_instance_has_its_own_state(tasks: dict[str, Any], data: st.DataObject) -> None:
    asked = data.draw(st.lists(st.sampled_from(sorted(tasks)), unique=True))
    expected = {
        name: dict(enumerate(tasks[name])) if isinstance(tasks[name], list) else {PLAIN: tasks[name]} for name in asked
    }
    assert states_of(Airflow(tasks=tasks), "wf", "r1", asked, counted=True) == expected


def test_names_are_asked_for_in_addresses_of_a_bounded_length() -> None:
    names = {f"job_{number}" for number in range(1_000)}
    requests = list(requests_for(names | {"job"}))
    assert {name for request in requests for name in request} == names | {"job"}
    assert max(map(len, requests)) == NAMES_PER_REQUEST
    assert ["job"] in requests


def test_an_answer_that_lacks_an_instance_is_an_error() -> None:
    class Hiding(Airflow):
        def get_ti_count(self, **_: Any) -> int:
            return 3

    airflow = Hiding(tasks={"load": ["success", "success"]})
    with pytest.raises(UnknownStatesError, match="3 instances of load in run 'r1' of wf, and returns the state of 2"):
        states_of(airflow, "wf", "r1", ["load"], counted=True)


def test_the_worst_of_several_instances() -> None:
    order = ("failed", "success")
    assert worst_of({0: "success", 1: "failed"}, order) == "failed"
    assert worst_of({0: "running"}, order) == "running"
    assert worst_of({}, order) is None
