# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write durations for people: ``45s``, ``4h``, ``1d12h``."""

from __future__ import annotations

from datetime import timedelta

_UNITS = {"d": 86_400, "h": 3_600, "m": 60}


def format_duration(duration: timedelta) -> str:
    """Write a duration in the form that workflow files and options have, as short as it goes.

    :raises ValueError: if it is negative.
    """
    if duration < timedelta():
        raise ValueError(f"a duration cannot be negative, got {duration}")
    rest = duration.days * 86_400 + duration.seconds
    text = ""
    for unit, seconds in _UNITS.items():
        count, rest = divmod(rest, seconds)
        text += f"{count}{unit}" if count else ""
    if duration.microseconds:
        return text + f"{rest}.{duration.microseconds:06}".rstrip("0") + "s"
    return text + (f"{rest}s" if rest or not text else "")
