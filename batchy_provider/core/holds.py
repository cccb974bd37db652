# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A hold on a workflow: a person says that no batch opens until a moment, or until somebody releases it, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from batchy_provider.core.dates import parse_date

MAX_REASON = 500
"""How many characters the reason of a hold may have: each opening reads it, and each list shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold. It ends by itself at `until`.

    :param by: the person who has set it.
    :param why: the reason that this person gave.
    :param since: when it was set, in the state's form of a date, by the clock of the Redis server.
    :param until: when it ends by itself, in the same form; None: only a release ends it.
    """

    by: str
    why: str
    since: str
    until: str | None = None

    def is_over(self, now: datetime) -> bool:
        """Tell whether it has ended by itself.

        :param now: the Redis server's time, naive UTC.
        """
        return self.until is not None and parse_date(self.until) <= now

    @property
    def end(self) -> str:
        """When it ends, in words."""
        return "until it is released" if self.until is None else f"until {_short(self.until)} UTC"

    def __str__(self) -> str:
        return f"on hold since {_short(self.since)} UTC, {self.end}, by {self.by}: {self.why}"


@dataclass(frozen=True, slots=True)
class HoldSet:
    """A hold that was set.

    :param replaced: the hold that it replaces; None if there was none.
    :param open_batch: id of the batch that is open, and goes on; None without one.
    """

    hold: Hold
    replaced: Hold | None = None
    open_batch: int | None = None


def _short(date: str) -> str:
    """Return a stored date without the fraction of a second."""
    return date.partition(".")[0]
