# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The shape of a workflow's windows: where a window may end at most, on which boundaries, and how long it may be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

Until = Literal["now", "schedule", "workflows"]
"""Up to where data is there to load.

- ``now``: up to the moment at which the batch opens.
- ``schedule``: up to the time at which the run was due.
- ``workflows``: up to where other workflows have loaded their data.
"""
UNTIL: tuple[Until, ...] = get_args(Until)

IfEmpty = Literal["skip", "run"]
"""What an opening does if there is nothing to load.

- ``skip``: no batch opens, and nothing changes.
- ``run``: a batch opens, with a window that ends where the last one ended.
"""
IF_EMPTY: tuple[IfEmpty, ...] = get_args(IfEmpty)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowShape:
    """The shape of a workflow's windows. Without arguments: up to now, and nothing opens if that is no step forward.

    :param until: up to where data is there to load.
    :param workflows: with ``until="workflows"``: the workflows whose data this one loads.
    :param delay: how far windows stay behind `until`.
    :param align: the boundaries on which windows end: one of `boundaries.UNITS`, or a cron expression. None for any
        moment.
    :param max: the most data that one window may take; whole days are days of the calendar. None for no limit.
    :param if_empty: what to do if there is nothing to load.
    """

    until: Until = "now"
    workflows: tuple[str, ...] = ()
    delay: timedelta = timedelta()
    align: str | None = None
    max: timedelta | None = None
    if_empty: IfEmpty = "skip"

    def __str__(self) -> str:
        """Return the shape in words, as lists and pages show it."""
        until = f"the data of {', '.join(self.workflows)}" if self.until == "workflows" else _UNTIL[self.until]
        words = [f"until {until}"]
        if self.delay:
            words.append(f"{_duration(self.delay)} behind")
        if self.align is not None:
            words.append(_ALIGN.get(self.align, f"aligned to {self.align!r}"))
        if self.max is not None:
            words.append(f"at most {_duration(self.max)} at once")
        if self.if_empty == "run":
            words.append("also if empty")
        return ", ".join(words)


_UNTIL = {"now": "now", "schedule": "the run is due"}
_ALIGN = {"hour": "whole hours", "day": "whole days", "week": "whole weeks", "month": "whole months"}


def _duration(duration: timedelta) -> str:
    parts = []
    rest = duration.seconds
    for count, unit in ((duration.days, "d"), (rest // 3600, "h"), (rest // 60 % 60, "m"), (rest % 60, "s")):
        if count:
            parts.append(f"{count}{unit}")
    if duration.microseconds:
        parts.append(f"{duration.microseconds}µs")
    return "".join(parts) or "0s"
