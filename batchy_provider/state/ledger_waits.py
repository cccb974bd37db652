# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask whether the ledger has what a wait needs: for waits of backfills, and for those with scope ``due``."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import Any

from batchy_provider.core.dates import day_bounds, parse_date
from batchy_provider.core.expected_ends import sources
from batchy_provider.core.intervals import Interval
from batchy_provider.core.ledger import Loaded, posted, windows_loaded
from batchy_provider.core.ledger_history import live_windows
from batchy_provider.core.presenters import live_batch
from batchy_provider.core.snapshot import Snapshot, StoredConfig
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.wait_coverage import compare, has_due_times, interval_text, moment_text, shortfall_text
from batchy_provider.core.wait_intervals import Shortfall
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.state import codec
from batchy_provider.state.keys import Keys
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.stored_values import load_id
from batchy_provider.state.wait_obstacles import enabled, failure, latest, never_done

_READ_AT_ONCE = 20
_READ_AT_MOST = 500
"""How many batches are searched for the one that loaded the data, newest first."""


def check_ledger(keys: Keys, wait: Wait, state: Snapshot) -> Generator[Sequence[Command], Sequence[Any], Verdict]:
    """Ask whether the data that a wait needs is loaded, by whichever batches, and return the verdict.

    :param state: with its ledger.
    """
    # What the original server closed last is not in the ledger yet.
    live = live_windows(state)
    ledger = posted(state.ledger, [Loaded(live)])
    known = list(state.jobs) or list(ledger)
    wanted = enabled(state, wait.jobs or known)
    # Where history batches alone have loaded the workflow, the ledger need not know all of its jobs.
    has_jobs = known if state.jobs or not known else wanted
    if (verdict := never_done(wait, wanted, has_jobs)) is not None:
        return verdict
    configs = yield from _configs_of_sources(keys, state)
    found = compare(state, wait, ledger, wanted, configs)
    is_by_day = wait.backfill or not has_due_times(state, configs)
    if lacking := [each for each in found if each.missing]:
        has_failed = None if wait.backfill else failure(state, wait, _failures_from(state, wait))
        return has_failed or _waiting(state, wait, found, lacking, is_by_day=is_by_day)
    intervals = {each.job: each.wanted for each in found}
    batch_id = state.live_id if _has_end(live, intervals) else (yield from _loaded_by(keys, intervals))
    return _done(wait, found, batch_id, is_by_day=is_by_day)


def _failures_from(state: Snapshot, wait: Wait) -> datetime:
    """Return from when on a failed batch is the one that the wait needs: since the last due time."""
    assert wait.due is not None
    assert wait.day is not None
    if not state.config.schedule.known:
        return day_bounds(wait.day, wait.timezone)[0]
    return state.config.schedule.last_fire(parse_date(wait.due))


def _waiting(
    state: Snapshot, wait: Wait, found: Sequence[Shortfall], lacking: Sequence[Shortfall], *, is_by_day: bool
) -> Verdict:
    code = VerdictCode.DAY_NOT_LOADED if is_by_day else VerdictCode.DUE_NOT_LOADED
    if len(lacking) < len(found):
        code = VerdictCode.JOB_NOT_LOADED
    whole = Interval(min(each.wanted.start for each in lacking), max(each.wanted.end for each in lacking))
    text = f"{wait.workflow}: waits for {interval_text(whole)} UTC{_why(wait, is_by_day)}; {shortfall_text(lacking)}"
    if not wait.backfill and state.live_id is not None:
        text += f"; {latest(live_batch(state))[1]}"
    return Verdict(state="waiting", code=code, text=text, intervals=tuple(found))


def _done(wait: Wait, found: Sequence[Shortfall], batch_id: int | None, *, is_by_day: bool) -> Verdict:
    code = VerdictCode.DAY_LOADED if is_by_day else VerdictCode.DUE_LOADED
    end = max(each.wanted.end for each in found)
    loaded = [each.wanted for each in found if each.wanted.start < each.wanted.end]
    if not loaded:
        text = f"{wait.workflow}: has no data to load before {moment_text(end)} UTC"
        return Verdict(state="done", code=code, text=text, intervals=tuple(found))
    batch = "a batch that was pruned" if batch_id is None else f"batch {batch_id}"
    whole = Interval(min(each.start for each in loaded), end)
    what = f"the data of {wait.day}" if is_by_day else "all that was due"
    text = f"{wait.workflow}: {batch} has loaded {what}, {interval_text(whole)} UTC"
    return Verdict(state="done", code=code, batch_id=batch_id, text=text, intervals=tuple(found))


def _why(wait: Wait, is_by_day: bool) -> str:
    """Say why it is this interval."""
    if wait.backfill:
        return f", the data of {wait.day}"
    return f", the data of {wait.day}, since no schedule of it is known" if is_by_day else ""


class Elsewhere(list[Command]):
    """Commands about other workflows, whose keys another server of a Redis Cluster may hold."""


def _configs_of_sources(
    keys: Keys, state: Snapshot
) -> Generator[Sequence[Command], Sequence[Any], dict[str, StoredConfig]]:
    """Ask for the configurations of the workflows whose data this one loads, and of theirs."""
    found: dict[str, StoredConfig] = {}
    wanted = [name for name in sources(state.config) if name != state.workflow]
    while wanted:
        others = [Keys(name, keys.cluster) for name in wanted]
        texts = yield Elsewhere(("HGET", other.meta, codec.CONFIG) for other in others)
        found |= {
            other.workflow: codec.load_config(other.meta, text) for other, text in zip(others, texts, strict=True)
        }
        known = {*found, state.workflow}
        wanted = sorted({name for config in found.values() for name in sources(config)} - known)
    return found


def _loaded_by(
    keys: Keys, intervals: Mapping[str, Interval]
) -> Generator[Sequence[Command], Sequence[Any], int | None]:
    """Ask for the newest batch that loaded the end of the intervals; None if it is not known any more."""
    for start in range(0, _READ_AT_MOST, _READ_AT_ONCE):
        (ids,) = yield [("ZREVRANGE", keys.history, start, start + _READ_AT_ONCE - 1)]
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
