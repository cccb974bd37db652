# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say in a few words when a schedule with a calendar fires."""

from __future__ import annotations

from batchy_provider.core.schedules import DayRule, Days, Move, Schedule


def summary_text(schedule: Schedule) -> str:
    """Return a schedule in one line, without its timezone: cron expressions, and the days of the calendar."""
    crons = " | ".join(schedule.crons)
    if schedule.calendar is None:
        return crons
    return f"{crons}, {days_text(schedule.calendar.name, schedule.on, schedule.move)}"


def days_text(calendar: str, on: DayRule | None, move: Move) -> str:
    """Return the days on which a schedule fires, as in ``last business day of the month of target2``.

    :param calendar: its name.
    """
    days = "business days" if on is None else _rule_text(on)
    moved = "" if move is Move.SKIP else f", moved to the {move.value} one"
    return f"{days} of {calendar}{moved}"


def _rule_text(rule: DayRule) -> str:
    if rule.days is not Days.NTH:
        return str(rule.days.value).replace("_", " ")
    place = _ordinal(abs(rule.nth))
    if rule.nth < 0:
        place = "last" if rule.nth == -1 else f"{place} last"
    return f"{place} business day of the {rule.of.value}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
