# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say which days are business days and which are holidays, by the calendar that a workflow has picked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

SATURDAY_AND_SUNDAY = frozenset({5, 6})
"""The weekend of a calendar that names no other; Monday is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Named business days.

    :param weekend: days of the week that are never business days; Monday is 0.
    :param holidays: codes of the library ``holidays``: countries (``DE``), their regions (``DE-BY``), and markets
        (``ECB``, ``NYSE``).
    :param add: days that are holidays too.
    :param remove: days that are no holidays, whatever the library says.
    """

    name: str
    weekend: frozenset[int] = SATURDAY_AND_SUNDAY
    holidays: tuple[str, ...] = ()
    add: frozenset[date] = frozenset()
    remove: frozenset[date] = frozenset()

    def holiday_name(self, day: date) -> str | None:
        """Return the name of a holiday with its calendar, as in ``Good Friday, ECB``; None if it is none."""
        return f"added to {self.name}" if day in self.add else None

    def is_business_day(self, day: date) -> bool:
        """Tell whether a day is neither of the weekend nor a holiday."""
        return day.weekday() not in self.weekend and self.holiday_name(day) is None

    @property
    def last_year_known(self) -> int | None:
        """The last year of which the holidays are known; None if there is no last one."""
        return None
