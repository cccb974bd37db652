# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read and write the JSON of a hold."""

from __future__ import annotations

from typing import Any

from batchy_provider.core.dates import parse_date
from batchy_provider.core.holds import Hold
from batchy_provider.core.typed_data import build
from batchy_provider.state.record_codec import as_dict
from batchy_provider.state.stored_values import read_field

HOLD = "hold"


def load_hold(key: str, text: str | None) -> Hold | None:
    """Read the hold on a workflow.

    :param key: the hash that has it, for the error.
    """

    def read(data: Any) -> Hold:
        found = build(Hold, data)
        for date in (found.since, found.until):
            if date is not None:
                parse_date(date)
        return found

    return None if text is None else read_field(key, HOLD, text, read)


def dump_hold(hold: Hold) -> dict[str, Any]:
    """Return the JSON form that `load_hold` reads."""
    return as_dict(hold)
