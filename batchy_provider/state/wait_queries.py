# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask Redis whether a wait for a workflow is over.

The rule is a generator: it yields the Redis commands whose replies it needs and returns a verdict. So the
sensor (sync), the trigger (async) and the command line ask the same questions and come to the same answer.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchy_provider.core.dates import format_date, from_unix, parse_date, unix_seconds
from batchy_provider.core.intervals import Interval
from batchy_provider.core.job_state import JobState
from batchy_provider.core.ledger import Ledger, Loaded, posted, windows_loaded
from batchy_provider.core.presenters import live_batch
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.statuses import status_of
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.wait_intervals import Schedule, day_interval, shortfalls
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.exceptions import StateError, WindowError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import ledger_questions, load_snapshot, with_ledger
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.stored_values import load_id
from batchy_provider.state.transaction import RETRY_SECONDS

_CLOSED_AT_ONCE = 20
_CLOSED_AT_MOST = 500
"""How many closed batches are searched for a success, newest first."""

Asking = Generator[Sequence[Command], Sequence[Any], "Verdict"]


@dataclass(frozen=True, slots=True)
class Question:
    """The question of a wait. Questions of equal waits are equal, so one query can answer both."""

    wait: Wait

    def __call__(self, keys: Keys) -> Asking:
        """Ask for what is needed, and return the verdict."""
        return check(keys, self.wait)


def check(keys: Keys, wait: Wait) -> Asking:
    """Ask for what is needed, and return the verdict."""
    name = wait.workflow
    questions: list[Command] = [("TIME",), ("HGETALL", keys.live), ("HMGET", keys.meta, *codec.META_FIELDS)]
    by_day = wait.backfill and wait.scope != "any"
    if by_day:
        questions += ledger_questions(keys)
    (seconds, micros), live, meta, *ledger = yield questions
    state = load_snapshot(keys, as_hash(live), meta, None)
    if by_day:
        state = yield from with_ledger(keys, state, *ledger)
        verdict = yield from _check_day(keys, wait, state)
        return verdict
    wanted = _enabled(state, wait.jobs or state.jobs)
    now = from_unix(int(seconds), int(micros))
    since, until = wait.counts_from(now), wait.counts_until
    if _all_succeeded(keys.live, state.jobs, wanted, since, until):
        return _done(name, state.live_id, state.jobs)
    # A success of the day counts, even if a later batch failed or is open.
    for start in range(0, _CLOSED_AT_MOST, _CLOSED_AT_ONCE) if wanted else ():
        page = ("ZREVRANGEBYSCORE", keys.closed, _score(until), _score(since), "LIMIT", start, _CLOSED_AT_ONCE)
        (ids,) = yield [page]
        found = [load_id(keys.closed, batch_id) for batch_id in ids]
        if not found:
            break
        hashes = yield [("HGETALL", keys.batch(batch_id)) for batch_id in found]
        for batch_id, stored in zip(found, hashes, strict=True):
            key = keys.batch(batch_id)
            jobs = codec.load_jobs(key, as_hash(stored))
            # Only the jobs that the workflow had then, except for jobs that the wait names.
            then = wanted if wait.jobs else [job for job in wanted if job in jobs]
            if _all_succeeded(key, jobs, then, since, until):
                return _done(name, batch_id, jobs)
        if len(found) < _CLOSED_AT_ONCE:
            break
    if now >= until:
        text = f"{name}: has not succeeded on {wait.day} ({wait.timezone}), and that day is over"
        return Verdict(state="failed", code=VerdictCode.DAY_OVER, text=text)
    return _not_yet(state, wait, wanted, since)


def _check_day(keys: Keys, wait: Wait, state: Snapshot) -> Asking:
    """Ask whether the data of a day is loaded, by whichever batch.

    :param state: with its ledger.
    """
    name = wait.workflow
    # What the original server closed last is not in the ledger yet.
    live = windows_loaded(state.jobs)
    ledger = posted(state.ledger, [Loaded(live)])
    known = state.jobs.keys() or ledger.keys()
    wanted = _enabled(state, wait.jobs or known)
    if not wanted or (state.jobs and not known >= set(wanted)):
        return _not_yet(state, wait, wanted, datetime.min)
    intervals = _intervals(state, wait, ledger, wanted)
    if lacking := shortfalls(ledger, intervals):
        whole = lacking[0].wanted
        start, end = map(format_date, whole)
        code = VerdictCode.DAY_NOT_LOADED if len(lacking) == len(wanted) else VerdictCode.JOB_NOT_LOADED
        lacks = "; ".join(map(str, lacking))
        text = f"{name}: has not loaded the data of {wait.day}, {start} to {end} UTC: {lacks}"
        return Verdict(state="waiting", code=code, text=text)
    batch_id = state.live_id if _has_end(live, intervals) else (yield from _loaded_by(keys, intervals))
    batch = "a batch that was pruned" if batch_id is None else f"batch {batch_id}"
    text = f"{name}: {batch} has loaded the data of {wait.day}"
    return Verdict(state="done", code=VerdictCode.DAY_LOADED, batch_id=batch_id, text=text)


def _intervals(state: Snapshot, wait: Wait, ledger: Ledger, wanted: Collection[str]) -> dict[str, Interval]:
    """Return job → the interval that it must have loaded."""
    assert wait.day is not None
    due = None if wait.due is None else parse_date(wait.due)
    schedule = Schedule(crons=state.config.crons, timezone=state.config.timezone)
    return {job: day_interval(schedule, wait.day, wait.timezone, due, ledger.get(job, ())) for job in wanted}


def _loaded_by(
    keys: Keys, intervals: Mapping[str, Interval]
) -> Generator[Sequence[Command], Sequence[Any], int | None]:
    """Ask for the newest batch that loaded the end of the intervals; None if it is not known any more."""
    for start in range(0, _CLOSED_AT_MOST, _CLOSED_AT_ONCE):
        (ids,) = yield [("ZREVRANGE", keys.history, start, start + _CLOSED_AT_ONCE - 1)]
        found = [load_id(keys.history, batch_id) for batch_id in ids]
        if not found:
            return None
        hashes = yield [("HGETALL", keys.batch(batch_id)) for batch_id in found]
        for batch_id, stored in zip(found, hashes, strict=True):
            if _has_end(windows_loaded(codec.load_jobs(keys.batch(batch_id), as_hash(stored))), intervals):
                return batch_id
    return None


def _has_end(windows: Mapping[str, Interval], intervals: Mapping[str, Interval]) -> bool:
    """Tell whether one of the windows has the end of its job's interval in it."""
    both = ((windows[job], interval.end) for job, interval in intervals.items() if job in windows)
    return any(window.start < end <= window.end for window, end in both)


def check_free(keys: Keys, batch_id: int) -> Asking:
    """Ask whether a batch is no longer the open one; if so, the verdict is done."""
    live, meta = yield [("HGETALL", keys.live), ("HMGET", keys.meta, *codec.META_FIELDS)]
    state = load_snapshot(keys, as_hash(live), meta, None)
    if state.is_open and state.live_id == batch_id:
        text = f"{keys.workflow}: batch {batch_id} is open, by {state.holder}"
        return Verdict(state="waiting", code=VerdictCode.BATCH_OPEN, text=text)
    text = f"{keys.workflow}: batch {batch_id} is not open any more"
    return Verdict(state="done", code=VerdictCode.NOT_OPEN, batch_id=batch_id, text=text)


def _done(name: str, batch_id: int | None, jobs: Mapping[str, JobState]) -> Verdict:
    end = max((end for job in jobs.values() if (end := job.batch_end) is not None), default="")
    when = f" at {end} UTC" if end else ""
    text = f"{name}: batch {batch_id} succeeded{when}"
    return Verdict(state="done", code=VerdictCode.SUCCEEDED, batch_id=batch_id, text=text)


def _score(moment: datetime) -> str:
    return {datetime.min: "-inf", datetime.max: "+inf"}.get(moment) or repr(unix_seconds(moment))


def _enabled(state: Snapshot, jobs: Iterable[str]) -> list[str]:
    """Return those of some jobs that are enabled. A wait without any is never done."""
    off = state.disabled | state.config.disabled
    return [job for job in jobs if job not in off]


def _all_succeeded(
    key: str, jobs: Mapping[str, JobState], wanted: Collection[str], since: datetime, until: datetime
) -> bool:
    return bool(wanted) and all(_succeeded(key, jobs.get(job), since, until) for job in wanted)


def _succeeded(key: str, job: JobState | None, since: datetime, until: datetime) -> bool:
    if job is None or job.status != "success":
        return False
    if since == datetime.min:
        return True
    end = job.batch_end
    return end is not None and since <= _date(key, end) < until


def _date(key: str, text: str) -> datetime:
    try:
        return parse_date(text)
    except WindowError as error:
        raise StateError(f"Redis hash {key!r}: {error}") from error


def _not_yet(state: Snapshot, wait: Wait, wanted: Collection[str], since: datetime) -> Verdict:
    name = wait.workflow
    if not state.jobs:
        text = f"{name}: not in Redis yet: no batch was ever opened, nor its config loaded (or `batchy restore {name}`)"
        return Verdict(state="waiting", code=VerdictCode.UNKNOWN_WORKFLOW, text=text)
    if not wanted:
        text = f"{name}: every job waited for is switched off; enable one"
        return Verdict(state="waiting", code=VerdictCode.ALL_DISABLED, text=text)
    if missing := [job for job in wanted if job not in state.jobs]:
        text = f"{name}: has no job {', '.join(missing)}; its jobs are {', '.join(state.jobs)}"
        return Verdict(state="waiting", code=VerdictCode.UNKNOWN_JOB, text=text)
    if state.live_id is None:
        return Verdict(state="waiting", code=VerdictCode.NEVER_OPENED, text=f"{name}: no batch was opened yet")
    batch = live_batch(state)
    ended = batch.batch_end
    failed_since = batch.status == "failed" and ended is not None and _date(batch.workflow, ended) >= since
    if failed_since and wait.fail_on_failed:
        text = f"{name}: batch {batch.batch_id} failed at {ended} UTC"
        return Verdict(state="failed", code=VerdictCode.FAILED, batch_id=batch.batch_id, text=text)
    code, what = {
        "open": (VerdictCode.BATCH_OPEN, f"batch {batch.batch_id} is open since {batch.started} UTC"),
        "failed": (VerdictCode.BATCH_FAILED, f"batch {batch.batch_id} failed at {ended} UTC; waiting for a success"),
        "new": (VerdictCode.WINDOW_SET, "its window was set, and no batch was opened since"),
        "success": (VerdictCode.SUCCESS_TOO_OLD, f"its last success, batch {batch.batch_id}, was at {ended} UTC"),
    }[batch.status]
    # For `within`, this moment changes all the time, and the log gets only sentences that changed.
    is_fixed = since != datetime.min and wait.scope != "within"
    counts = f"; a success counts from {format_date(since)} UTC on" if is_fixed else ""
    open_jobs = [job for job in wanted if status_of(name, job, state.jobs[job]) != "success"]
    of_jobs = f" (jobs {', '.join(open_jobs)})" if wait.jobs and open_jobs else ""
    return Verdict(state="waiting", code=code, text=f"{name}: {what}{of_jobs}{counts}")


def ask(backend: Backend, wait: Wait) -> Verdict:
    """Check a wait once, with a sync client."""
    keys = backend.keys(wait.workflow)
    asking = check(keys, wait)
    commands = next(asking)
    while True:
        try:
            # The caller asks again soon, so a short retry is enough.
            commands = asking.send(backend.ask(wait.workflow, *commands, retry_seconds=RETRY_SECONDS))
        except StopIteration as stop:
            verdict: Verdict = stop.value
            return verdict
