# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read how long the jobs of many workflows took, all at once.

The entries of the lists have the same number of characters (see `duration_lists`), so numpy reads all of them together,
character by character. A list of another form is read entry by entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.duration_table import DurationTable
from batchy_provider.core.job_durations import MAX_DURATIONS
from batchy_provider.state.duration_lists import ENTRY_WIDTH, load_durations
from batchy_provider.state.keys import Keys

if TYPE_CHECKING:
    from batchy_provider.core.duration_table import Numbers

    Characters = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

_FORM = b'["0000-00-00T00:00:00.000000",    0.000,         0],'
_DIGITS = np.array([place for place, sign in enumerate(_FORM) if sign in b"0 "])
_SIGNS = np.array([place for place, sign in enumerate(_FORM) if sign not in b"0 "])
_YEAR, _MONTH, _DAY, _TIME, _SECONDS, _WINDOW = (2, 4), (7, 2), (10, 2), (13, 8), (30, 9), (40, 10)
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_ZERO, _SPACE = ord("0"), ord(" ")


def duration_tables(stored: Sequence[tuple[Keys, Mapping[str, str]]]) -> list[DurationTable | None]:
    """Return the table of each of some workflows; None for one without a list that can be read.

    :param stored: the keys of each workflow, and its lists as they are stored.
    """
    lists = [(number, job, text) for number, (_, some) in enumerate(stored) for job, text in some.items()]
    is_regular = [len(text) % ENTRY_WIDTH == 1 and text.isascii() and text.startswith('[["') for *_, text in lists]
    rows = _rows([text for (*_, text), regular in zip(lists, is_regular, strict=True) if regular])
    at = 0
    found: list[dict[str, tuple[Numbers, Numbers, Numbers]]] = [{} for _ in stored]
    for (number, job, text), regular in zip(lists, is_regular, strict=True):
        if regular:
            size = len(text) // ENTRY_WIDTH
            part = slice(at, at + size)
            at += size
            if rows.is_good[part].all():
                found[number][job] = _latest(rows.starts[part], rows.seconds[part], rows.windows[part])
                continue
        if (columns := _one_by_one(stored[number][0], job, text)) is not None:
            found[number][job] = columns
    return [_table(columns) if columns else None for columns in found]


class _Rows:
    """All entries of many lists, one after the other.

    :param is_good: for each entry, whether it has the form that is read here.
    """

    def __init__(self, characters: Characters) -> None:
        digits = characters - _ZERO
        is_space = characters == _SPACE
        digits[is_space] = 0
        self.is_good: Flags = (
            (digits[:, _DIGITS] <= 9).all(axis=1)
            & (characters[:, _SIGNS] == np.frombuffer(_FORM, np.uint8)[_SIGNS]).all(axis=1)
            & _is_padded(is_space, digits)
            & _is_moment(digits)
        )
        self.starts = _moments(digits)
        thousandths = _number(digits, *_SECONDS, skip=5)
        self.seconds: Numbers = thousandths / 1000.0
        self.windows: Numbers = _number(digits, *_WINDOW).astype(np.float64)


def _rows(texts: Sequence[str]) -> _Rows:
    # The closing bracket of a list stands where the comma after an entry does.
    joined = "".join([f"{text[1:-1]}," for text in texts]).encode("ascii")
    return _Rows(np.frombuffer(joined, np.uint8).reshape(-1, ENTRY_WIDTH))


def _is_padded(is_space: Flags, digits: Characters) -> Flags:
    """Tell for each entry whether its numbers are padded with spaces, and with nothing else."""
    found = np.logical_not(is_space[:, : _SECONDS[0]].any(axis=1))
    for first, width, units in ((*_SECONDS, 4), (*_WINDOW, 9)):
        part = is_space[:, first : first + width]
        # No space follows a character that is none, and the digit of the units is there.
        found = found & ~(part[:, 1:] & ~part[:, :-1]).any(axis=1) & ~part[:, units]
        is_zero = (digits[:, first : first + units] == 0) & ~part[:, :units]
        is_first = np.concatenate([np.ones((len(part), 1), bool), part[:, : units - 1]], axis=1)
        found = found & ~(is_zero & is_first).any(axis=1)
    return found


def _is_moment(digits: Characters) -> Flags:
    """Tell for each entry whether its start is a moment of the calendar."""
    month, day, hour, minute, second = (_number(digits, first, 2) for first in (7, 10, 13, 16, 19))
    year = _number(digits, *_YEAR)
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    longest = _MONTH_DAYS[np.minimum(month, 12)] + ((month == 2) & is_leap)
    found: Flags = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= longest)
    return found & (hour < 24) & (minute < 60) & (second < 60)


def _number(
    digits: Characters, first: int, width: int, *, skip: int | None = None
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the number that stands at some places of each entry, without the point at `skip`."""
    found = np.zeros(len(digits), np.int64)
    for place in range(width):
        if place != skip:
            found *= 10
            found += digits[:, first + place]
    return found


def _moments(digits: Characters) -> Numbers:
    months = (_number(digits, *_YEAR) - 1970) * 12 + _number(digits, *_MONTH) - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + _number(digits, *_DAY) - 1
    hour, minute, second = (_number(digits, _TIME[0] + place, 2) for place in (0, 3, 6))
    micros = _number(digits, _TIME[0] + 9, 6)
    found: Numbers = (days * 86_400 + hour * 3600 + minute * 60 + second) + micros / 1e6
    return found


def _latest(starts: Numbers, seconds: Numbers, windows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return as many entries as are kept, oldest first."""
    if len(starts) <= MAX_DURATIONS and (starts[1:] >= starts[:-1]).all():
        return starts, seconds, windows
    order = np.argsort(starts, kind="stable")[-MAX_DURATIONS:]
    return starts[order], seconds[order], windows[order]


def _one_by_one(keys: Keys, job: str, text: str) -> tuple[Numbers, Numbers, Numbers] | None:
    found = load_durations(keys, {job: text}).get(job)
    if not found:
        return None
    return (
        np.array([unix_seconds(each.start) for each in found]),
        np.array([each.seconds for each in found]),
        np.array([each.window_seconds for each in found]),
    )


def _table(columns: Mapping[str, tuple[Numbers, Numbers, Numbers]]) -> DurationTable:
    """Put the lists of the jobs of a workflow side by side."""
    lists = list(columns.values())
    first = lists[0][0]
    if all(len(starts) == len(first) and (starts == first).all() for starts, *_ in lists[1:]) and _has_no_twins(first):
        seconds = np.stack([seconds for _, seconds, _ in lists], axis=1)
        windows = np.maximum.reduce([windows for *_, windows in lists])
        return DurationTable(tuple(columns), first, seconds, windows)
    moments = np.unique(np.concatenate([starts for starts, *_ in lists]))
    seconds = np.full((len(moments), len(lists)), np.nan)
    windows = np.zeros(len(moments))
    for column, (starts, took, lengths) in enumerate(lists):
        places = np.searchsorted(moments, starts)
        seconds[places, column] = took
        np.maximum.at(windows, places, lengths)
    return DurationTable(tuple(columns), moments, seconds, windows)


def _has_no_twins(starts: Numbers) -> bool:
    return bool((starts[1:] > starts[:-1]).all())
