# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a configuration may say of a job."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from typing import Any

import pytest

from batchy_provider.core.dates import BEGINNING
from batchy_provider.core.job_settings import beginning, cuts_to_midnight, initial, overlap, plain_fields
from batchy_provider.core.job_state import JobState
from batchy_provider.exceptions import ConfigError


def test_values_of_json_stay_with_their_order() -> None:
    given = {"z": None, "a": [1, 2.5, {"k": []}], "big": 2**100, "u": "ü", "t": True}
    assert json.dumps(plain_fields("sales", "extract", given)) == json.dumps(given)


def test_dates_that_yaml_made_of_unquoted_text_are_text_again() -> None:
    given = {
        "initial_date": date(2026, 1, 1),
        "at": datetime(2026, 1, 1, 2, tzinfo=timezone.utc),
        "days": (date(2026, 1, 2),),
    }
    assert plain_fields("sales", "extract", given) == {
        "initial_date": "2026-01-01",
        "at": "2026-01-01T02:00:00+00:00",
        "days": ["2026-01-02"],
    }


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "param 'x': nan cannot be written as JSON"),
        ({"deep": [float("inf")]}, "param 'x', key 'deep': inf"),
        ({1: 2}, "the key 1 is not text"),
        ({"a": {None: 2}}, "param 'x', key 'a': the key None is not text"),
        (b"bytes", "a bytes cannot be written"),
        ({1, 2}, "a set cannot be written"),
        (object(), "a object cannot be written"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"sales, job 'extract', {said}" if said.startswith("param") else said):
        plain_fields("sales", "extract", {"x": value})


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("reprocess_hours", "two", "expected how many hours .* zero or more"),
        ("reprocess_hours", -1, "reprocess_hours is -1"),
        ("reprocess_hours", True, "reprocess_hours is true"),
        ("reprocess_hours", [2], r"reprocess_hours is \[2\]"),
        ("trunc_start", "maybe", 'trunc_start is "maybe"; expected true or false'),
        ("trunc_start", 2, "trunc_start is 2"),
        ("trunc_start", [], r"trunc_start is \[\]"),
        ("initial_date", "soon", "initial_date: 'soon' is not a date"),
        ("initial_date", 2026, "initial_date: 2026 is not a date"),
    ],
)
def test_settings_that_cannot_be_read_are_refused(setting: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"sales, job 'extract'.*{said}"):
        plain_fields("sales", "extract", {setting: value})


def test_settings_that_are_not_there_are_nothing() -> None:
    assert overlap("sales", "extract", JobState({})).total_seconds() == 0
    assert cuts_to_midnight("sales", "extract", JobState({})) is False
    assert initial("sales", "extract", JobState({})) is None
    assert beginning("sales", "extract", JobState({})) == BEGINNING
    assert beginning("sales", "extract", JobState({"initial_date": "2026-01-01"})) == datetime(2026, 1, 1)
