# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The JSON form of what the ledger answers to a wait: which interval each job must have loaded, and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from batchy_provider.core.dates import format_date, parse_date

if TYPE_CHECKING:
    from batchy_provider.core.intervals import Interval
    from batchy_provider.core.wait_intervals import Shortfall


def dump_intervals(found: Sequence[Shortfall]) -> list[dict[str, Any]]:
    """Return one object for each job.

    :returns: with ``job``, ``from_date``, ``to_date``, ``loaded`` (from 0 to 1), ``loaded_until``, ``missing``.
    """
    return [
        {
            "job": each.job,
            **_dump(each.wanted),
            "loaded": round(each.share, 4) if each.missing else 1.0,
            "loaded_until": format_date(each.loaded_until),
            "missing": [_dump(gap) for gap in each.missing],
        }
        for each in found
    ]


def load_intervals(found: Sequence[dict[str, Any]]) -> tuple[Shortfall, ...]:
    """Read what `dump_intervals` returns."""
    from batchy_provider.core.wait_intervals import Shortfall

    return tuple(Shortfall(each["job"], _load(each), tuple(map(_load, each["missing"]))) for each in found)


def _dump(interval: Interval) -> dict[str, str]:
    return {"from_date": format_date(interval.start), "to_date": format_date(interval.end)}


def _load(found: dict[str, Any]) -> Interval:
    from batchy_provider.core.intervals import Interval

    return Interval(parse_date(found["from_date"]), parse_date(found["to_date"]))
