# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask Redis whether a wait for a workflow is over.

The rule is a generator: it yields the Redis commands whose replies it needs and returns a verdict. So the
sensor (sync), the trigger (async) and the command line ask the same questions and come to the same answer.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchy_provider.core.dates import from_unix, parse_date, unix_seconds
from batchy_provider.core.job_state import JobState
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import ledger_questions, load_snapshot, with_ledger
from batchy_provider.state.ledger_waits import Elsewhere, check_ledger
from batchy_provider.state.protocol import Command, as_hash, reply_error
from batchy_provider.state.stored_values import load_id
from batchy_provider.state.transaction import RETRY_SECONDS
from batchy_provider.state.wait_obstacles import enabled, load_date, not_yet

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
    if wait.asks_ledger:
        questions += ledger_questions(keys)
    (seconds, micros), live, meta, *ledger = yield questions
    state = load_snapshot(keys, as_hash(live), meta, None)
    if wait.asks_ledger:
        state = yield from with_ledger(keys, state, *ledger)
        verdict = yield from check_ledger(keys, wait, state)
        return verdict
    wanted = enabled(state, wait.jobs or state.jobs)
    now = from_unix(int(seconds), int(micros))
    since, until = wait.counts_from(now), wait.counts_until
    zone = state.config.timezone
    if _all_succeeded(keys.live, state.jobs, wanted, since, until) and wait.counts(state.live_record, zone):
        return _done(name, state.live_id, state.jobs)
    # A success of the day counts, even if a later batch failed or is open.
    for start in range(0, _CLOSED_AT_MOST, _CLOSED_AT_ONCE) if wanted else ():
        page = ("ZREVRANGEBYSCORE", keys.closed, _score(until), _score(since), "LIMIT", start, _CLOSED_AT_ONCE)
        (ids,) = yield [page]
        found = [load_id(keys.closed, batch_id) for batch_id in ids]
        if not found:
            break
        *hashes, records = yield [
            *(("HGETALL", keys.batch(batch_id)) for batch_id in found),
            ("HMGET", keys.meta, *map(codec.record_field, found)),
        ]
        for batch_id, stored, text in zip(found, hashes, records, strict=True):
            key = keys.batch(batch_id)
            jobs = codec.load_jobs(key, as_hash(stored))
            # Only the jobs that the workflow had then, except for jobs that the wait names.
            then = wanted if wait.jobs else [job for job in wanted if job in jobs]
            if _all_succeeded(key, jobs, then, since, until) and wait.counts(
                codec.load_record(keys.meta, batch_id, text), zone
            ):
                return _done(name, batch_id, jobs)
        if len(found) < _CLOSED_AT_ONCE:
            break
    if now >= until:
        text = f"{name}: has not succeeded on {wait.day} ({wait.timezone}), and that day is over"
        return Verdict(state="failed", code=VerdictCode.DAY_OVER, text=text)
    return not_yet(state, wait, wanted, since)


def check_free(keys: Keys, batch_id: int) -> Asking:
    """Ask whether a batch is no longer the open one; if so, the verdict is done."""
    live, meta = yield [("HGETALL", keys.live), ("HMGET", keys.meta, *codec.META_FIELDS)]
    state = load_snapshot(keys, as_hash(live), meta, None)
    if state.is_open and state.live_id == batch_id:
        text = f"{keys.workflow}: batch {batch_id} is open, by {state.holder}"
        return Verdict(state="waiting", code=VerdictCode.BATCH_OPEN, text=text)
    text = f"{keys.workflow}: batch {batch_id} is not open any more"
    return Verdict(state="done", code=VerdictCode.NOT_OPEN, batch_id=batch_id, text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldVerdict(Verdict):
    """The answer to the question whether a workflow is on hold.

    :param seconds_left: in how many seconds the hold ends by itself; None if it does not, or if there is none.
    """

    seconds_left: float | None = None


def check_hold(keys: Keys) -> Asking:
    """Ask whether a workflow is on hold; if not, the verdict is done."""
    (seconds, micros), text = yield [("TIME",), ("HGET", keys.meta, codec.HOLD)]
    now, hold = from_unix(int(seconds), int(micros)), codec.load_hold(keys.meta, text)
    if hold is None or hold.is_over(now):
        return Verdict(state="done", code=VerdictCode.NOT_ON_HOLD, text=f"{keys.workflow} is not on hold any more")
    left = None if hold.until is None else (parse_date(hold.until) - now).total_seconds()
    text = f"{keys.workflow} is {hold}"
    return HoldVerdict(state="waiting", code=VerdictCode.ON_HOLD, text=text, seconds_left=left)


def _done(name: str, batch_id: int | None, jobs: Mapping[str, JobState]) -> Verdict:
    end = max((end for job in jobs.values() if (end := job.batch_end) is not None), default="")
    when = f" at {end} UTC" if end else ""
    text = f"{name}: batch {batch_id} succeeded{when}"
    return Verdict(state="done", code=VerdictCode.SUCCEEDED, batch_id=batch_id, text=text)


def _score(moment: datetime) -> str:
    return {datetime.min: "-inf", datetime.max: "+inf"}.get(moment) or repr(unix_seconds(moment))


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
    return end is not None and since <= load_date(key, end) < until


def ask(backend: Backend, wait: Wait) -> Verdict:
    """Check a wait once, with a sync client."""
    keys = backend.keys(wait.workflow)
    asking = check(keys, wait)
    commands = next(asking)
    while True:
        try:
            commands = asking.send(_replies(backend, wait.workflow, commands))
        except StopIteration as stop:
            verdict: Verdict = stop.value
            return verdict


def _replies(backend: Backend, workflow: str, commands: Sequence[Command]) -> Sequence[Any]:
    if not isinstance(commands, Elsewhere):
        # The caller asks again soon, so a short retry is enough.
        return backend.ask(workflow, *commands, retry_seconds=RETRY_SECONDS)
    replies = backend.pipelined(commands)
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, Exception):
            raise reply_error(command, reply)
    return replies
