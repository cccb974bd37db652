# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Durations: what is read, what is not, and that what is written reads as it was."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.config.durations import MAX_DAYS, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("4h", timedelta(hours=4)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("1d 12h", timedelta(days=1, hours=12)),
        ("2w", timedelta(weeks=2)),
        ("1.5h", timedelta(minutes=90)),
        ("0s", timedelta()),
        ("0.000001s", timedelta(microseconds=1)),
    ],
)
def test_reads(text: str, expected: timedelta):
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "5 minutes",
        "-5m",
        "5m1h",
        "5m5m",
        "1e3s",
        "\N{ARABIC-INDIC DIGIT FIVE}m",
        "5M",
        "1.s",
        "99999999999999w",
        "36525d0.000001s",
        "9" * 100_000 + "h",
    ],
)
def test_refuses(text: str):
    with pytest.raises(ValueError, match="expected a duration such as 90s, 5m, 4h or 1d12h"):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=MAX_DAYS)))
def test_what_is_written_reads_the_same(duration: timedelta):
    assert parse_duration(format_duration(duration)) == duration


def test_writes_as_short_as_it_goes():
    assert format_duration(timedelta(days=1, hours=12)) == "1d12h"
    assert format_duration(timedelta(seconds=90)) == "1m30s"
    assert format_duration(timedelta()) == "0s"
    with pytest.raises(ValueError, match="negative"):
        format_duration(timedelta(seconds=-1))
