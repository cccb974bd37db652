# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Jobs whose params are nearly alike are not put into one group: each one gets what its own configuration says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from batchy_provider.core.alike import different
from batchy_provider.core.job_state import JobState, opened_state
from batchy_provider.core.merged_jobs import merged_jobs
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.values import WorkflowConfig

# `==` takes many of these for the same. The two forms of é are different texts.
ODD = st.sampled_from(
    [
        1,
        1.0,
        True,
        "1",
        0,
        0.0,
        -0.0,
        False,
        "",
        None,
        float("nan"),
        float("inf"),
        10**30,
        -(10**30),
        "\u00e9",
        "e\u0301",
    ]
)
VALUES = st.recursive(ODD, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner))
PARAMS = st.dictionaries(st.sampled_from("pqr"), VALUES, max_size=3)
SUCCESS = {
    **opened_state(7, "2026-01-01T00:00:00.000000", "2026-01-02T00:00:00.000000"),
    "status": "success",
    "outcome": "success",
}


@given(st.lists(PARAMS, max_size=2).flatmap(lambda few: st.lists(st.sampled_from(few) if few else PARAMS)), st.data())
@example([{"p": 1}, {"p": True}, {"p": 1.0}, {"p": "1"}, {"p": 1}], None)
@example([{"p": 0.0}, {"p": -0.0}, {"p": 0}, {"p": False}], None)
@example([{"p": [1]}, {"p": [True]}, {"p": [1]}, {"p": {"x": 0}}, {"p": {"x": False}}], None)
@example([{"p": 1, "q": 2}, {"q": 2, "p": 1}, {"p": 1, "q": 2}], None)
@example([{"p": 1}, {"p": 1, "q": None}, {}, {"p": 1}], None)
@example([{"p": "\u00e9"}, {"p": "e\u0301"}], None)
def test_each_job_gets_its_own_params(params: list[dict[str, Any]], data: st.DataObject | None) -> None:
    jobs = {f"job{number}": given for number, given in enumerate(params)}
    is_known = [data is not None and data.draw(st.booleans()) for _ in params]
    # In Redis, all jobs have the params of the last night, and one state.
    stored = {name: JobState.of_parts({"old": 1}, SUCCESS) for name, known in zip(jobs, is_known, strict=True) if known}
    config = WorkflowConfig(name="sales", jobs=jobs)
    merged = merged_jobs(Snapshot(workflow="sales", jobs=stored), config)
    assert list(merged) == list(jobs)
    for (name, job), known in zip(merged.items(), is_known, strict=True):
        alone = {**jobs[name], **SUCCESS} if known else {**jobs[name], "status": "new"}
        assert json.dumps(job.fields) == json.dumps(alone)


def test_a_thousand_jobs_that_are_written_alike_are_one_value() -> None:
    jobs = {f"job{number}": {"p": number % 2, "q": [1]} for number in range(1000)}
    merged = merged_jobs(Snapshot(workflow="sales"), WorkflowConfig(name="sales", jobs=jobs))
    assert len(merged) == 1000
    assert len(different(merged)) == 2
