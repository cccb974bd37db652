# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The ledger: which intervals of data each job has loaded.

It is the one truth about what is loaded. The transaction that closes a batch adds the windows of the jobs that
succeeded; a person who moves the watermark back takes out what is to be loaded again. What is loaded twice changes
nothing. A job without gaps has one interval.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NoReturn

from batchy_provider.core.alike import different, for_each, for_each_pair, regrouped, without_nulls
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.intervals import Interval, Intervals, added, missing, until
from batchy_provider.core.job_state import JobState, by_state
from batchy_provider.exceptions import BatchyError

Ledger = Mapping[str, Intervals]
"""Job → what it has loaded, in normal form. A job that loaded nothing is not in it."""


class _Unread(Mapping[str, Intervals]):
    """A ledger that was not read: a rule that asks it all the same is wrong, and must not go on as if it were empty."""

    def _refuse(self) -> NoReturn:
        raise AssertionError("the ledger was not read; see `opening_wants_ledger`")

    def __getitem__(self, job: str) -> Intervals:
        self._refuse()

    def __iter__(self) -> Iterator[str]:
        self._refuse()

    def __len__(self) -> int:  # noqa: PLE0303 - it returns nothing
        self._refuse()

    def __repr__(self) -> str:
        return "UNREAD"


UNREAD: Ledger = _Unread()
"""The ledger of a snapshot whose rule does not need it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Entry of the ledger: jobs have loaded these intervals.

    :param windows: job → the interval.
    """

    windows: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Entry of the ledger: what these jobs have loaded from `start` on counts no more.

    :param jobs: the jobs; None for all.
    :param start: the first moment that is to be loaded again; None for everything.
    """

    jobs: frozenset[str] | None = None
    start: datetime | None = None


Entry = Loaded | Withdrawn


def posted(ledger: Ledger, entries: Iterable[Entry]) -> Ledger:
    """Return the ledger after some entries, in their order."""
    after = ledger
    for entry in entries:
        if isinstance(entry, Loaded):
            after = _with_windows(after, entry.windows)
        else:
            withdrawn = dict(after)
            for job in after.keys() if entry.jobs is None else after.keys() & entry.jobs:
                withdrawn[job] = () if entry.start is None else until(after[job], entry.start)
            after = withdrawn
    return after if all(different(after)) else {job: intervals for job, intervals in after.items() if intervals}


def _with_windows(ledger: Ledger, windows: Mapping[str, Interval]) -> Ledger:
    # Nearly all jobs of a workflow have loaded the same, and load the same.
    if ledger.keys() == windows.keys():
        return for_each_pair(ledger, windows, added)
    before: Ledger = {job: ledger.get(job, ()) for job in windows}
    return {**ledger, **for_each_pair(before, windows, added)}


def entries_of(ledger: Ledger) -> list[Loaded]:
    """Return the entries that make this ledger of an empty one."""
    return [Loaded({job: each}) for job, intervals in ledger.items() for each in intervals]


def differences(before: Ledger, after: Ledger) -> Mapping[str, Intervals]:
    """Return job → what it has loaded now, for the jobs where that differs; nothing for one that has lost all."""
    if before.keys() != after.keys():
        names = dict.fromkeys((*before, *after))
        before, after = ({job: each.get(job, ()) for job in names} for each in (before, after))
    changed = for_each_pair(after, before, lambda new, old: None if new == old else new)
    return without_nulls(changed)


def windows_loaded(jobs: Mapping[str, JobState], left_out: Collection[str] = ()) -> Mapping[str, Interval]:
    """Return the windows of the jobs that took part in a batch and succeeded in it.

    A window that is empty, or that cannot be read, is left out.

    :param jobs: job → its state in the batch.
    :param left_out: the jobs that took no part in it.
    """
    windows = for_each(by_state(jobs), lambda _, job: window_of(job) if job.status == "success" else None)
    return without_nulls(regrouped(windows), left_out)


def window_of(job: JobState) -> Interval | None:
    """Return the window of a job; None if it has none, or an empty one, or one that cannot be read."""
    start, end = job.from_date, job.loaded_to
    return None if start is None or end is None else _window(start, end)


@lru_cache(maxsize=1024)
def _window(start: str, end: str) -> Interval | None:
    # All jobs of a batch share a few windows.
    try:
        window = Interval(parse_date(start), parse_date(end))
    except BatchyError:
        return None  # another program's: what cannot be read is no date
    return window if window.start < window.end else None


def last_contiguous(loaded: Iterable[Interval], beginning: datetime) -> Interval | None:
    """Return the interval after which a job goes on that the live state does not know.

    :param loaded: what it has loaded before.
    :param beginning: where its first window starts by its configuration.
    :returns: what is loaded without a gap since `beginning`; None if what it has loaded does not begin there.
    """
    return next((each for each in loaded if each.start <= beginning < each.end), None)


@dataclass(frozen=True, slots=True, order=True)
class JobGap:
    """Data of one job that lies between its first load and its watermark, and is not loaded.

    :param from_date: its start (inclusive), ISO 8601 UTC.
    :param to_date: its end (exclusive), ISO 8601 UTC.
    """

    job: str
    from_date: str
    to_date: str


def gaps(
    ledger: Ledger, watermarks: Mapping[str, datetime], beginnings: Mapping[str, datetime] | None = None
) -> list[JobGap]:
    """Return what jobs have not loaded since their first load, in order of jobs and time.

    :param watermarks: job → its watermark: what lies after that is not missing, it is not due yet.
    :param beginnings: job → its initial date, if it has one. A load of older data makes no gap up to there.
    """
    starts = {} if beginnings is None else beginnings
    return [
        JobGap(job, format_date(each.start), format_date(each.end))
        for job, end in watermarks.items()
        if (loaded := ledger.get(job))
        for each in missing(Interval(max(loaded[0].start, starts.get(job, datetime.min)), end), loaded)
    ]
