# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Dates as the state holds them: naive UTC, ISO 8601, six digits of microseconds.

The original server reads ``batch_start`` with a format that demands the digits behind the point, so all
are written with six, also when they are zero.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from batchy_provider.exceptions import WindowError

BEGINNING = datetime(1776, 7, 4, 23, 59)
"""Where the window of a job starts that has never been loaded: the original's constant."""


def format_date(moment: datetime) -> str:
    """Write a moment as the state holds it.

    :param moment: naive UTC, or aware in any timezone.
    """
    return _format(moment if type(moment) is datetime and moment.tzinfo is None else to_utc(moment))


@lru_cache(maxsize=4096)
def _format(moment: datetime) -> str:
    # Only of naive moments: aware ones count as equal, and a cache as the same, in both readings of an hour
    # that the clock repeats.
    return moment.isoformat(timespec="microseconds")


@lru_cache(maxsize=4096)
def parse_date(text: str) -> datetime:
    """Read any ISO 8601 date or date-time as naive UTC; without an offset it is UTC already.

    :raises WindowError: if it is not one.
    """
    try:
        # All jobs of a batch share a few texts of this very form, so this line is the hot path.
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return _parse_any(text)
    return parsed if parsed.tzinfo is None else to_utc(parsed, written=text)


def _parse_any(text: str) -> datetime:
    import pendulum
    from pendulum.parsing.exceptions import ParserError

    if not text[:1].isdigit():
        # Else pendulum would read "now", and the cache keep it for ever.
        raise WindowError(_not_a_date(text))
    try:
        parsed: object = pendulum.parse(text, exact=True)
    except (ParserError, ValueError) as error:
        raise WindowError(_not_a_date(text)) from error
    if isinstance(parsed, datetime):
        return to_utc(parsed, written=text)
    if isinstance(parsed, date):
        return datetime(parsed.year, parsed.month, parsed.day)
    raise WindowError(_not_a_date(text))


def _not_a_date(value: object) -> str:
    return f"{value!r} is not a date; write it as ISO 8601, for example 2026-11-22T18:30:00 (UTC) or 2026-11-22"


def read_date(value: object) -> datetime:
    """Read a date that a person or a file gave: text, or what YAML makes of an unquoted date.

    :raises WindowError: if it is none of these.
    """
    if isinstance(value, str):
        return parse_date(value.strip())
    if isinstance(value, datetime):
        return to_utc(value, written=value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    raise WindowError(_not_a_date(value))


def to_utc(moment: datetime, *, written: object = None) -> datetime:
    """Return the moment as naive UTC, as a plain ``datetime`` also when given a subclass.

    :param written: how it was written, for the message.
    :raises WindowError: if UTC cannot hold it: it lies within a day of the calendar's first or last, in a timezone
        with an offset. Nothing else overflows.
    """
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(timezone.utc)
        except OverflowError as error:
            text = repr(written if written is not None else moment.isoformat())
            raise WindowError(_out_of_calendar(text, moment)) from error
    return datetime(
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond,
    )


def _out_of_calendar(text: str, moment: datetime) -> str:
    instead = "0001-01-02 or later" if moment.year == 1 else "9999-12-30 or earlier"
    return (
        f"{text} is not a date that UTC can hold: the calendar has the years 1 to 9999, and the offset of its "
        f"timezone leads out of them; write {instead}"
    )


def local_time(moment: datetime, place: ZoneInfo) -> datetime:
    """Return a moment (naive UTC) in a timezone, aware; at the ends of the calendar, the clock of UTC."""
    try:
        return moment.replace(tzinfo=timezone.utc).astimezone(place)
    except OverflowError:
        return moment.replace(tzinfo=place)


def _utc_or(end: datetime, moment: datetime) -> datetime:
    try:
        return to_utc(moment)
    except WindowError:
        return end


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """Return the timezone of that IANA name.

    :raises WindowError: if there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise WindowError(
            f"{name!r} is not a timezone; use a name of the IANA list, for example Europe/Paris or UTC"
        ) from error


def is_zone(name: str) -> bool:
    """Tell whether there is a timezone of that IANA name."""
    try:
        zone(name)
    except WindowError:
        return False
    return True


def midnight(moment: datetime, timezone_name: str) -> datetime:
    """Cut a moment to the midnight that began its day in the timezone.

    :param moment: naive UTC.
    :returns: naive UTC. Where clocks skip midnight, the first moment of that day; never before the calendar begins.
    """
    if timezone_name == "UTC":
        return moment.replace(hour=0, minute=0, second=0, microsecond=0)
    local = local_time(moment, zone(timezone_name))
    # fold=0 takes the first of two midnights, and, in a gap, the offset before it: the gap's end in UTC.
    return _utc_or(datetime.min, local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0))


def day_of(moment: datetime, timezone_name: str) -> str:
    """Return the ISO day that a moment (naive UTC) falls on in the timezone."""
    return local_time(moment, zone(timezone_name)).date().isoformat()


@lru_cache(maxsize=256)
def day_bounds(day: str, timezone_name: str) -> tuple[datetime, datetime]:
    """Return the first moment of a day and that of the next, naive UTC; 23, 24 or 25 hours apart.

    :param day: ISO day, for example ``2026-03-29``.
    """
    first = date.fromisoformat(day)
    place = zone(timezone_name)

    def start(of: date) -> datetime:
        noon = datetime(of.year, of.month, of.day, 12, tzinfo=place)
        return midnight(_utc_or(datetime.min, noon), timezone_name)

    return start(first), datetime.max if first == date.max else start(first + timedelta(days=1))


def unix_seconds(moment: datetime) -> float:
    """Return a naive UTC moment as Unix seconds."""
    return moment.replace(tzinfo=timezone.utc).timestamp()


def from_unix(seconds: int, microseconds: int = 0) -> datetime:
    """Return naive UTC of what Redis answers to ``TIME``."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).replace(tzinfo=None, microsecond=microseconds)
