# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A job as a value: what it holds, and that what another program wrote comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.job_state import SETTING_FIELDS, STATE_FIELDS, JobState, opened_state
from batchy_provider.state import codec

PARAMS = {"region": "eu", "initial_date": "2026-01-01"}
STATE = {
    "batch_id": 7,
    "status": "success",
    "from_date": "2026-01-01T00:00:00.000000",
    "to_date": "2026-01-02T00:00:00.000000",
    "batch_start": "2026-01-02T00:00:00.000000",
    "batch_end": "2026-01-02T00:10:00.000000",
    "outcome": "success",
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from([*STATE_FIELDS, *SETTING_FIELDS, "initial_date", "region"]) | st.text(max_size=5)


@given(st.dictionaries(names, json_values, max_size=8))
def test_what_any_program_wrote_is_read_and_written_back_unchanged(fields: dict[str, Any]) -> None:
    text = json.dumps(fields)
    job = codec.load_jobs("sales", {"extract": text})["extract"]
    assert codec.dump_job(job) == text
    for name in ("batch_id", "batch_name", "status", "outcome", "from_date", "loaded_to", "batch_end", "params"):
        getattr(job, name)  # none of them raises


def test_special_fields_stand_apart_from_params() -> None:
    job = JobState({"region": "eu", **STATE, "reprocess_hours": 2, "initial_date": "2026-01-01", "trunc_start": True})
    assert job.params == PARAMS
    assert (job.batch_id, job.status, job.outcome) == (7, "success", "success")
    assert (job.from_date, job.loaded_to, job.batch_end) == (
        STATE["from_date"],
        STATE["batch_start"],
        STATE["batch_end"],
    )


@pytest.mark.parametrize(
    ("stored", "status"),
    [(None, "new"), ("new", "new"), ("failure", "failed"), ("open", "open"), ("soon", None), (1, None), ([], None)],
)
def test_status_is_one_of_ours_or_none(stored: Any, status: str | None) -> None:
    assert JobState({"status": stored}).status == status
    assert JobState({"status": stored}).stored_status == stored


def test_the_original_opens_without_a_change_of_our_end() -> None:
    assert JobState(STATE | {"batch_start": "2026-01-03T00:00:00"}).loaded_to == "2026-01-03T00:00:00"
    assert JobState({"to_date": "2026-01-02T00:00:00"}).loaded_to == "2026-01-02T00:00:00"
    assert JobState({"batch_start": 5, "to_date": None}).loaded_to is None


def test_configuration_replaces_params_and_settings_and_leaves_state() -> None:
    job = JobState({"region": "eu", "old": 1, "reprocess_hours": 2, **STATE})
    assert job.configured({"region": "us", "trunc_start": True, "status": "new"}).fields == {
        "region": "us",
        "trunc_start": True,
        **STATE,
    }


def test_a_new_job_may_bring_state() -> None:
    assert JobState.new({"region": "eu"}).fields == {"region": "eu", "status": "new"}
    assert JobState.new(STATE).fields == STATE
    assert JobState.new({"status": None}).status == "new"


def test_what_becomes_of_it() -> None:
    job = JobState(PARAMS | STATE)
    opened = job.opened(opened_state(8, "2026-01-02T00:00:00", "2026-01-03T00:00:00"))
    assert opened.fields == PARAMS | {
        "batch_id": 8,
        "status": "open",
        "from_date": "2026-01-02T00:00:00",
        "to_date": "2026-01-03T00:00:00",
        "batch_start": "2026-01-03T00:00:00",
        "batch_end": None,
    }
    end = "2026-01-03T00:10:00"
    assert opened.closed("failed", "success", end).fields == opened.fields | {
        "status": "failed",
        "batch_end": end,
        "outcome": "success",
    }
    assert opened.aborted(end).fields == opened.fields | {"status": "failed", "batch_end": end, "outcome": "aborted"}
    assert job.aborted(end) == job, "it is not open"
    assert opened.skipped(end).fields == opened.fields | {"status": "new", "batch_end": end, "outcome": "skipped"}
    assert job.left_out(8, "success").fields == job.fields | {"batch_id": 8, "outcome": "skipped"}
    assert job.starts_at("2026-01-05T00:00:00").fields == job.fields | {
        "status": "new",
        "from_date": "2026-01-05T00:00:00",
    }
    assert job.fields == PARAMS | STATE, "a value does not change"
