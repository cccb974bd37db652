# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The key of a run, after its workflow got another name, names the same run of the same DAG."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.repeated_requests import renamed_run
from batchy_provider.core.values import run_key

NAMES = st.from_regex(r"[A-Za-z0-9_.\-]{1,8}", fullmatch=True)
RUNS = st.from_regex(r"[A-Za-z0-9_.~:+\-]{1,20}", fullmatch=True).filter(lambda run: not run.startswith("request:"))


@given(old=NAMES, new=NAMES, dag=NAMES, run=RUNS)
def test_the_same_run_of_the_same_dag_is_named(old: str, new: str, dag: str, run: str) -> None:
    for dag_id in (old, new, dag):
        assert renamed_run(run_key(old, dag_id, run), old, new) == run_key(new, dag_id, run)


@pytest.mark.parametrize("key", ["request:0123", "@prod|sales|nightly"])
def test_what_names_no_workflow_stays(key: str) -> None:
    assert renamed_run(key, "sales", "orders") == key
