# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Durations as people write them: ``90s``, ``5m``, ``4h``, ``1d12h``, ``2w``."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

from batchy_provider.config.diagnostics import show
from batchy_provider.core.duration_text import format_duration

__all__ = ["EXPECTED", "MAX_DAYS", "format_duration", "parse_duration"]

EXPECTED = "a duration such as 90s, 5m, 4h or 1d12h"

MAX_DAYS = 36_525
"""The longest duration, in days: a hundred years. Airflow's scheduler subtracts durations from the present moment, and
stops with an error where there is no such date."""

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_MAX_DIGITS = 20
_WHOLE = re.compile(r"(?:[0-9]+(?:\.[0-9]{1,6})?[wdhms])+", re.ASCII)
_PART = re.compile(r"([0-9]+(?:\.[0-9]{1,6})?)([wdhms])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Read a duration: numbers with a unit each, largest unit first, no unit twice.

    :param text: units are ``w``, ``d``, ``h``, ``m`` (minutes) and ``s``; a number may have a fraction.
    :raises ValueError: if it is none, or longer than a hundred years.
    """
    compact = text.replace(" ", "")
    shown = show(text)
    if not _WHOLE.fullmatch(compact):
        raise ValueError(f"expected {EXPECTED}, not {shown}")
    parts = _PART.findall(compact)
    sizes = [_UNITS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise ValueError(f"expected {EXPECTED}: the largest unit first and each unit once, not {text!r}")
    if max(len(number) for number, _ in parts) > _MAX_DIGITS:
        raise ValueError(f"{shown} is longer than a hundred years; expected {EXPECTED}")
    # Decimal, because a float of seconds loses microseconds from a few decades on.
    seconds = sum(Decimal(number) * size for (number, _), size in zip(parts, sizes, strict=True))
    if seconds > MAX_DAYS * 86_400:
        raise ValueError(f"{shown} is longer than a hundred years; expected {EXPECTED}")
    return timedelta(days=int(seconds // 86_400), microseconds=int(seconds % 86_400 * 1_000_000))
