# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When a wait for a workflow is over (DESIGN, section 4).

The rule is a generator: it yields the Redis commands whose replies it needs and returns a verdict. So the
sensor (sync), the trigger (async) and the command line ask the same questions and come to the same answer.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from batchy_provider.batches import snapshot as snap
from batchy_provider.batches.dates import day_bounds, day_of, format_date, from_unix, parse_date, unix_seconds
from batchy_provider.batches.layout import load_snapshot
from batchy_provider.batches.model import Fields
from batchy_provider.batches.names import Keys
from batchy_provider.batches.rules.views import live_batch
from batchy_provider.batches.snapshot import Snapshot
from batchy_provider.batches.state_checks import load_id
from batchy_provider.batches.statuses import status_of
from batchy_provider.batches.transaction import Command, as_hash, read
from batchy_provider.exceptions import ConfigError, StateError, WindowError

if TYPE_CHECKING:
    from batchy_provider.batches.transaction import Client

Scope = Literal["today", "within", "since_last_run", "any"]
SCOPES: tuple[Scope, ...] = ("today", "within", "since_last_run", "any")
_CLOSED_AT_ONCE = 20
_CLOSED_AT_MOST = 500
"""How far back a success is looked for behind batches that failed since."""

Asking = Generator[Sequence[Command], Sequence[Any], "Verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What is waited for.

    :param workflow: whose batch.
    :param jobs: only these jobs; all that are switched on if empty.
    :param scope: which success counts: ``today`` (since `day` began), ``within`` the last `within_seconds`,
        ``since_last_run`` (after `since`), or ``any``.
    :param day: ISO day of the run that waits; yesterday's success does not count for ``today``.
    :param timezone: IANA name of the timezone that `day` is read in.
    :param backfill: look `day` up in the workflow's index of data days instead, where backfills are too,
        unless any success will do.
    :param within_seconds: for ``within``; more than 0.
    :param since: ISO 8601, UTC, for ``since_last_run``; None if the one that waits never succeeded.
    :param fail_on_failed: a failed batch ends the wait, too.
    :param same_day: for ``today``: only a success before `day` ended counts, and the wait has failed when it is over.
    """

    workflow: str
    jobs: Sequence[str] = ()
    scope: Scope = "today"
    day: str | None = None
    timezone: str = "UTC"
    backfill: bool = False
    within_seconds: float | None = None
    since: str | None = None
    fail_on_failed: bool = False
    same_day: bool = False

    def __post_init__(self) -> None:
        """Refuse a wait that could never be answered."""
        object.__setattr__(self, "jobs", tuple(self.jobs))  # it may come from JSON
        if self.scope not in SCOPES:
            raise ConfigError(f"{self.workflow}: there is no scope {self.scope!r}; use one of {', '.join(SCOPES)}")
        if self.scope == "within" and (self.within_seconds is None or self.within_seconds <= 0):
            raise ConfigError(f"{self.workflow}: scope within needs a duration of more than 0, for example 12h")
        if (self.scope == "today" or self.backfill) and self.day is None:
            raise ConfigError(f"{self.workflow}: scope {self.scope} needs a day")
        if self.same_day and self.scope != "today":
            raise ConfigError(f"{self.workflow}: same_day goes with scope today, not {self.scope}")

    def __str__(self) -> str:
        """Say what is waited for, in one sentence for people."""
        jobs = f"job {', '.join(self.jobs)}" if self.jobs else "every enabled job"
        if self.backfill and self.scope != "any":
            return f"{self.workflow}: waiting until {jobs} has loaded the data of {self.day}"
        counts = {
            "today": f" on {self.day}{'' if self.same_day else ' or later'} ({self.timezone})",
            "within": f" in the last {self.within_seconds:g} s" if self.within_seconds else "",
            "since_last_run": f" since {self.since} UTC" if self.since else "",
            "any": "",
        }[self.scope]
        failing = ", or until it has failed" if self.fail_on_failed else ""
        return f"{self.workflow}: waiting until {jobs} has succeeded{counts}{failing}"

    def counts_from(self, now: datetime) -> datetime:
        """Return from when on a success counts; naive UTC."""
        if self.scope == "today":
            assert self.day is not None
            return day_bounds(self.day, self.timezone)[0]
        if self.scope == "within":
            assert self.within_seconds is not None
            return now - timedelta(seconds=self.within_seconds)
        return parse_date(self.since) if self.scope == "since_last_run" and self.since else datetime.min

    @property
    def counts_until(self) -> datetime:
        """From when on a success does not count any more; naive UTC."""
        return day_bounds(self.day, self.timezone)[1] if self.same_day and self.day is not None else datetime.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a wait stands.

    :param state: ``done``, ``failed`` or ``waiting``.
    :param batch_id: the batch that ended it.
    :param text: a sentence for the log: what is so, and what it waits for.
    :param obstacle: why it cannot end unless somebody does something: Redis knows no such ``workflow``, or it has
        no such ``job``, or all of them are ``disabled``.
    """

    state: Literal["done", "failed", "waiting"]
    text: str
    batch_id: int | None = None
    obstacle: Literal["workflow", "job", "disabled"] | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether the wait has ended."""
        return self.state != "waiting"


@dataclass(frozen=True, slots=True)
class Question:
    """`check` for a wait; two for equal waits are equal, so that one look can serve both."""

    wait: Wait

    def __call__(self, keys: Keys) -> Asking:
        """Ask for what is needed, and return the verdict."""
        return check(keys, self.wait)


def check(keys: Keys, wait: Wait) -> Asking:
    """Ask for what is needed, and return the verdict."""
    name = wait.workflow
    questions: list[Command] = [("TIME",), ("HGETALL", keys.live), ("HMGET", keys.meta, *snap.META_FIELDS)]
    by_day = wait.backfill and wait.scope != "any"
    if by_day:
        questions.append(("HGET", keys.days, wait.day))
    (seconds, micros), live, meta, *of_day = yield questions
    state = load_snapshot(keys, as_hash(live), meta, None)
    if by_day:
        verdict = yield from _check_day(keys, wait, state, *of_day)
        return verdict
    wanted = _wanted(state, wait)
    now = from_unix(int(seconds), int(micros))
    since, until = wait.counts_from(now), wait.counts_until
    if _all_succeeded(keys.live, state.jobs, wanted, since, until):
        return _done(name, state.live_id, state.jobs)
    # A batch of the day that failed, or is open, after one that succeeded takes nothing from that one.
    for start in range(0, _CLOSED_AT_MOST, _CLOSED_AT_ONCE) if wanted else ():
        page = ("ZREVRANGEBYSCORE", keys.closed, _score(until), _score(since), "LIMIT", start, _CLOSED_AT_ONCE)
        (ids,) = yield [page]
        found = [load_id(keys.closed, batch_id) for batch_id in ids]
        if not found:
            break
        hashes = yield [("HGETALL", keys.batch(batch_id)) for batch_id in found]
        for batch_id, stored in zip(found, hashes, strict=True):
            key = keys.batch(batch_id)
            jobs = snap.load_jobs(key, as_hash(stored))
            # The jobs that the workflow had then; but all of those that were asked for by name.
            then = wanted if wait.jobs else [job for job in wanted if job in jobs]
            if _all_succeeded(key, jobs, then, since, until):
                return _done(name, batch_id, jobs)
        if len(found) < _CLOSED_AT_ONCE:
            break
    if now >= until:
        text = f"{name}: has not succeeded on {wait.day} ({wait.timezone}), and that day is over"
        return Verdict(state="failed", text=text)
    return _not_yet(state, wait, wanted, since)


def _check_day(keys: Keys, wait: Wait, state: Snapshot, of_day: str | None) -> Asking:
    """Ask whether the data of a day is loaded, by whichever batch."""
    name = wait.workflow
    if of_day is None:
        # What the original server closed last is in no index yet.
        if state.live_id is not None and state.live_record is None and state.status == "success":
            ends = [end for job in state.jobs.values() if isinstance(end := job.get("batch_start"), str)]
            if ends and day_of(_date(keys.live, max(ends)), state.config.timezone) == wait.day:
                return _done(name, state.live_id, state.jobs)
        text = f"{name}: no batch has loaded the data of {wait.day} yet"
        return Verdict(state="waiting", text=text, obstacle=None if state.jobs else "workflow")
    batch_id = load_id(keys.days, of_day)
    if wait.jobs:
        (stored,) = yield [("HGETALL", keys.batch(batch_id))]
        jobs = snap.load_jobs(keys.batch(batch_id), as_hash(stored))
        without = [job for job in _wanted(state, wait) if not _took_part(jobs.get(job))]
        # Of a batch that was pruned, no more is known than that it succeeded.
        if jobs and without:
            text = f"{name}: batch {batch_id} has loaded the data of {wait.day}, but not job {', '.join(without)}"
            return Verdict(state="waiting", text=text)
    return Verdict(state="done", batch_id=batch_id, text=f"{name}: batch {batch_id} has loaded the data of {wait.day}")


def _took_part(job: Fields | None) -> bool:
    return job is not None and job.get("status") == "success" and job.get("outcome") != "skipped"


def check_free(keys: Keys, batch_id: int) -> Asking:
    """Ask whether a batch is not the open one any more; then the verdict is done."""
    live, meta = yield [("HGETALL", keys.live), ("HMGET", keys.meta, *snap.META_FIELDS)]
    state = load_snapshot(keys, as_hash(live), meta, None)
    if state.is_open and state.live_id == batch_id:
        return Verdict(state="waiting", text=f"{keys.workflow}: batch {batch_id} is open, by {state.holder}")
    return Verdict(state="done", batch_id=batch_id, text=f"{keys.workflow}: batch {batch_id} is not open any more")


def _done(name: str, batch_id: int | None, jobs: Mapping[str, Fields]) -> Verdict:
    end = max((job["batch_end"] for job in jobs.values() if isinstance(job.get("batch_end"), str)), default="")
    when = f" at {end} UTC" if end else ""
    return Verdict(state="done", batch_id=batch_id, text=f"{name}: batch {batch_id} succeeded{when}")


def _score(moment: datetime) -> str:
    return {datetime.min: "-inf", datetime.max: "+inf"}.get(moment) or repr(unix_seconds(moment))


def _wanted(state: Snapshot, wait: Wait) -> list[str]:
    """Return the jobs that must have succeeded; a workflow that has none is never done."""
    off = state.disabled | state.config.disabled
    return [job for job in (wait.jobs or state.jobs) if job not in off]


def _all_succeeded(
    key: str, jobs: Mapping[str, Fields], wanted: Collection[str], since: datetime, until: datetime
) -> bool:
    return bool(wanted) and all(_succeeded(key, jobs.get(job), since, until) for job in wanted)


def _succeeded(key: str, job: Fields | None, since: datetime, until: datetime) -> bool:
    if job is None or job.get("status") != "success":
        return False
    if since == datetime.min:
        return True
    end = job.get("batch_end")
    return isinstance(end, str) and since <= _date(key, end) < until


def _date(key: str, text: str) -> datetime:
    try:
        return parse_date(text)
    except WindowError as error:
        raise StateError(f"Redis hash {key!r}: {error}") from error


def _not_yet(state: Snapshot, wait: Wait, wanted: Collection[str], since: datetime) -> Verdict:
    name = wait.workflow
    if not state.jobs:
        text = f"{name}: not in Redis yet: no batch was ever opened, nor its config loaded (or `batchy restore {name}`)"
        return Verdict(state="waiting", text=text, obstacle="workflow")
    if not wanted:
        text = f"{name}: every job waited for is switched off; enable one"
        return Verdict(state="waiting", text=text, obstacle="disabled")
    if missing := [job for job in wanted if job not in state.jobs]:
        text = f"{name}: has no job {', '.join(missing)}; its jobs are {', '.join(state.jobs)}"
        return Verdict(state="waiting", text=text, obstacle="job")
    if state.live_id is None:
        return Verdict(state="waiting", text=f"{name}: no batch was opened yet")
    batch = live_batch(state)
    ended = batch.batch_end
    failed_since = batch.status == "failed" and ended is not None and _date(batch.workflow, ended) >= since
    if failed_since and wait.fail_on_failed:
        text = f"{name}: batch {batch.batch_id} failed at {ended} UTC"
        return Verdict(state="failed", batch_id=batch.batch_id, text=text)
    what = {
        "open": f"batch {batch.batch_id} is open since {batch.started} UTC",
        "failed": f"batch {batch.batch_id} failed at {ended} UTC; waiting for a success",
        "new": "its window was set anew and no batch was opened since",
        "success": f"its last success, batch {batch.batch_id}, was at {ended} UTC",
    }[batch.status]
    # Within the last so many hours, that moves on: what stays the same is to be said once.
    is_fixed = since != datetime.min and wait.scope != "within"
    counts = f"; a success counts from {format_date(since)} UTC on" if is_fixed else ""
    open_jobs = [job for job in wanted if status_of(name, job, state.jobs[job]) != "success"]
    of_jobs = f" (jobs {', '.join(open_jobs)})" if wait.jobs and open_jobs else ""
    return Verdict(state="waiting", text=f"{name}: {what}{of_jobs}{counts}")


def ask(client: Client, keys: Keys, wait: Wait) -> Verdict:
    """Check a wait once, with a sync client."""
    asking = check(keys, wait)
    commands = next(asking)
    while True:
        try:
            commands = asking.send(read(client, keys.live, *commands))
        except StopIteration as stop:
            verdict: Verdict = stop.value
            return verdict
