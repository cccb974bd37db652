# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn changes into Redis commands, and replies into snapshots."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

from batchy_provider.core.alike import for_each, without_nulls
from batchy_provider.core.dates import format_date
from batchy_provider.core.job_durations import durations_of_history
from batchy_provider.core.job_state import DATE_FIELDS, JobState
from batchy_provider.core.ledger import UNREAD, Entry, differences, entries_of, posted
from batchy_provider.core.ledger_history import ledger_of_history
from batchy_provider.core.presenters import workflow_state
from batchy_provider.core.snapshot import Change, Snapshot, StoredBatch
from batchy_provider.core.statuses import status_of
from batchy_provider.core.typed_data import build
from batchy_provider.core.unfinished_rename import Rename, check_finished
from batchy_provider.core.values import PersonalChange
from batchy_provider.core.workflow_state import WorkflowState
from batchy_provider.exceptions import StateError
from batchy_provider.state import codec
from batchy_provider.state.duration_lists import duration_commands, whole_commands
from batchy_provider.state.history_ids import load_listed, newest_free_id
from batchy_provider.state.holder_codec import load_lease
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import check_jobs, load_id, load_progress, load_score, read_field

_BATCHES_AT_ONCE = 200
_damaged = LogThrottle(logging.getLogger(__name__))


def read_state(
    session: Session,
    keys: Keys,
    *,
    run: str | None = None,
    earlier_run: str | None = None,
    batch_id: int | None = None,
    wants_free_id: Callable[[Snapshot], bool] | None = None,
    watch: bool = True,
    wants_ledger: Callable[[Snapshot], bool] | None = None,
) -> tuple[Snapshot, datetime]:
    """Read the snapshot that rules decide on; a key of a wrong type is found here, before anything is written.

    :param run: run key; the batch that it opened last becomes `Snapshot.own`.
    :param earlier_run: the key of the same run in an earlier release.
    :param batch_id: the batch that becomes `Snapshot.own`, if there is none of `run`.
    :param wants_free_id: tells whether the rule needs `Snapshot.free_id`.
    :param watch: watch the keys, for a change that is decided on the snapshot.
    :param wants_ledger: tells whether the rule needs the ledger, which is read in a request of its own then; None: it
        does. Most openings do not, and of a workflow with many jobs it is long.
    :raises UnfinishedRenameError: if it is for a change, and a rename of the workflow was interrupted.
    """
    commands: list[Command] = [("WATCH", keys.live, keys.meta, keys.history, keys.runs, keys.loaded)] if watch else []
    commands += [
        ("TIME",),
        ("HGETALL", keys.live),
        ("HMGET", keys.meta, *codec.META_FIELDS),
        ("ZREVRANGE", keys.history, 0, 0, "WITHSCORES"),
        ("HMGET", keys.runs, run or "", earlier_run or ""),
        ("ZCARD", keys.closed),
        *(ledger_questions(keys) if wants_ledger is None else ()),
    ]
    (seconds, micros), live, meta, last, of_runs, _, *ledger = session.ask(*commands)[watch:]
    state = load_snapshot(keys, as_hash(live), meta, last)
    of_run = next((each for each in of_runs if each is not None), None)
    if watch:
        check_finished(state.rename, keys.workflow)
    if wants_ledger is not None and (of_run is not None or state.ledger_is_new or wants_ledger(state)):
        ledger = session.ask(*ledger_questions(keys))
    if not ledger:
        state = state.completed(ledger=UNREAD)
    else:
        state = with_own_ledger(keys, state, *ledger) or session.follow(with_ledger(keys, state, *ledger))
    if state.overtaken_id is not None:
        (overtaken,) = read_batches(session, keys, [state.overtaken_id], watch=watch)
        state = state.completed(overtaken=overtaken)
    now = session.clock(int(seconds), int(micros))
    if of_run is not None:
        batch_id = load_id(keys.runs, of_run)
    if batch_id is not None:
        if batch_id == state.live_id and state.is_open:
            own = StoredBatch(batch_id, state.jobs, state.live_record)
        else:
            (own,) = read_batches(session, keys, [batch_id], watch=watch)
        state = state.completed(own=own)
    if wants_free_id is not None and wants_free_id(state):
        state = state.completed(free_id=newest_free_id(session, keys, state, now))
    return state, now


def ledger_questions(keys: Keys) -> list[Command]:
    """Return the commands whose replies `with_ledger` takes."""
    return [("HGETALL", keys.loaded), ("HGETALL", keys.days)]


def with_own_ledger(keys: Keys, state: Snapshot, loaded: Any, days: Any) -> Snapshot | None:
    """Complete a snapshot with the ledger that this package has written; None if `with_ledger` has to ask for more.

    :param loaded: the first reply to `ledger_questions`.
    :param days: the second one.
    """
    if state.ledger_is_new or days:
        return None
    return state.completed(ledger=codec.load_ledger(keys.loaded, as_hash(loaded)))


def with_ledger(
    keys: Keys, state: Snapshot, loaded: Any, days: Any
) -> Generator[Sequence[Command], Sequence[Any], Snapshot]:
    """Complete a snapshot with the ledger; ask for more only if another program has written the state.

    An earlier release, and the original server, know no ledger. It is made from the history that they leave, and from
    the days that earlier releases list: of a batch that was pruned, no more than its day is known.

    :param state: as `load_snapshot` returns it.
    :param loaded: the first reply to `ledger_questions`.
    :param days: the second one.
    """
    if (own := with_own_ledger(keys, state, loaded, days)) is not None:
        return own
    ledger = codec.load_ledger(keys.loaded, as_hash(loaded))
    day_of = {load_id(keys.days, batch_id): day for day, batch_id in as_hash(days).items()}
    wanted = set(day_of)
    if state.ledger_is_new:
        (listed,) = yield [("ZREVRANGE", keys.history, 0, -1)]
        wanted |= {load_id(keys.history, each) for each in listed}
    batches: list[StoredBatch] = []
    ids = sorted(wanted)
    for start in range(0, len(ids), _BATCHES_AT_ONCE):
        part = ids[start : start + _BATCHES_AT_ONCE]
        hashes = [("HGETALL", keys.batch(i)) for i in part]
        *jobs, records = yield [*hashes, ("HMGET", keys.meta, *(codec.record_field(i) for i in part))]
        for each in zip(part, jobs, records, strict=True):
            # What cannot be read was not loaded, as far as anybody knows, and must not stop the workflow.
            with suppress(StateError):
                batches.append(_stored_batch(keys, *each, state.config.order))
    pruned = [day_of[each.batch_id] for each in batches if not each.jobs and each.batch_id in day_of]
    past = ledger_of_history(state, batches, pruned)
    both = posted(ledger, entries_of(past))
    durations = durations_of_history(batches) if state.ledger_is_new else {}
    return state.completed(ledger=both, ledger_is_new=True, past_durations=durations)


def read_batches(session: Session, keys: Keys, ids: Sequence[int], *, watch: bool = False) -> list[StoredBatch]:
    """Read batches of the history. A removed batch has no jobs."""
    if not ids:
        return []
    watching: list[Command] = [("WATCH", *(keys.batch(i) for i in ids))] if watch else []
    hashes = [("HGETALL", keys.batch(i)) for i in ids]
    meta = ("HMGET", keys.meta, codec.CONFIG, *(codec.record_field(i) for i in ids))
    *jobs, (config, *records) = session.ask(*watching, *hashes, meta)[watch:]
    order = codec.load_config(keys.meta, config).order
    return [_stored_batch(keys, *each, order) for each in zip(ids, jobs, records, strict=True)]


def _stored_batch(keys: Keys, batch_id: int, stored: Any, record: str | None, order: tuple[str, ...]) -> StoredBatch:
    jobs = codec.load_jobs(keys.batch(batch_id), as_hash(stored), order)
    return StoredBatch(batch_id, jobs, codec.load_record(keys.meta, batch_id, record))


def load_snapshot(keys: Keys, live: dict[str, str], meta: Sequence[str | None], last: list[str] | None) -> Snapshot:
    """Make a snapshot of replies, without the requested batch.

    :param meta: values of `META_FIELDS`.
    :param last: the newest batch id with its score, as ZREVRANGE answers; None if it was not asked for.
    :raises StateError: if neither system writes such values.
    """
    config_text, disabled, owner, last_success, revision, ledger, rename, lease, hold = meta
    config = codec.load_config(keys.meta, config_text)
    last_listed = load_listed(keys.history, last)[0][1] if last else 0.0
    return Snapshot(
        workflow=keys.workflow,
        jobs=codec.load_jobs(keys.live, live, config.order),
        config=config,
        disabled=codec.load_disabled(keys.meta, disabled),
        owner=codec.load_owner(keys.meta, owner),
        last_success=codec.load_last_success(keys.meta, last_success),
        last_listed=last_listed,
        # The score of a history batch is above the ids of all earlier batches, by less than one.
        last_id=int(last_listed),
        revision=codec.load_revision(keys.meta, revision),
        ledger_is_new=ledger is None,
        rename=load_rename(keys, rename),
        lease=load_lease(keys.meta, lease),
        hold=codec.load_hold(keys.meta, hold),
    )


def load_rename(keys: Keys, text: str | None) -> Rename | None:
    """Read the rename of a workflow that is under way; None if there is none."""
    return None if text is None else read_field(keys.meta, codec.RENAME, text, partial(build, Rename))


def last_success_command(keys: Keys, state: Snapshot) -> Command:
    """Return the command that asks when the last success was closed; for workflows whose live batch is another one."""
    last = state.last_success
    return ("ZSCORE", keys.closed, last.batch_id if last is not None else 0)


def present(
    keys: Keys,
    state: Snapshot,
    progress: Mapping[str, str],
    succeeded: Any,
    now: datetime,
    changes: Sequence[PersonalChange] = (),
    *,
    parsed: Collection[str] = DATE_FIELDS,
) -> WorkflowState:
    """Return a workflow as callers see it.

    :param progress: what ``wf:progress`` holds; a report that cannot be read is left out, with a line in the log.
    :param succeeded: reply to `last_success_command`, Unix seconds.
    :param now: the Redis server's time, naive UTC.
    :param changes: what people changed, newest first.
    :param parsed: see `stored_values.check_jobs`.
    :raises StateError: if what is stored cannot be shown.
    :raises UnfinishedRenameError: if a rename was interrupted, so that the workflow may be there under two names.
    """
    check_finished(state.rename, keys.workflow)
    check_jobs(keys.live, state.jobs, parsed)
    for name, job in state.jobs.items():
        status_of(keys.workflow, name, job)
    reports, errors = load_progress(keys.progress, progress) if progress else ({}, ())
    for error in errors:
        _damaged.warning(f"{error.args[0]}", "the progress is not shown: %s", error)
    # When the latest batch has succeeded, its jobs say when that was.
    is_known = succeeded is None or (state.live_id is not None and state.status == "success")
    last = None if is_known else format_date(load_score(keys.closed, succeeded))
    return workflow_state(state, now, changes, progress=reports, succeeded=last)


def write_commands(
    keys: Keys, state: Snapshot, change: Change, archived: Mapping[str, Any] | None = None
) -> list[Command]:
    """Return a change as Redis commands.

    :param state: what it changes.
    :param archived: further fields of ``wf:meta``, in the JSON form in which the archive holds them; None removes one.
    """
    commands: list[Command] = []
    if change.live is not None:
        if state.jobs.keys() - change.live.keys():
            commands.append(("DEL", keys.live))
        commands.append(_hset(keys.live, change.live))
    for batch_id, jobs in change.batches.items():
        if jobs is change.live:
            # The live batch: the server copies faster than a client sends.
            commands.append(("COPY", keys.live, keys.batch(batch_id), "REPLACE"))
        else:
            commands.append(_hset(keys.batch(batch_id), jobs))
    meta = {**codec.dump_meta(change), **(archived or {})}
    if set_fields := {field: value for field, value in meta.items() if value is not None}:
        pairs = (part for field, value in set_fields.items() for part in (field, codec.dump(value)))
        commands.append(("HSET", keys.meta, *pairs))
    if removed := [field for field, value in meta.items() if value is None]:
        commands.append(("HDEL", keys.meta, *removed))
    commands += [("HSET", keys.runs, run, batch_id) for run, batch_id in change.runs.items()]
    commands += [("ZADD", keys.closed, repr(score), batch_id) for batch_id, score in change.closed.items()]
    commands += ledger_commands(keys, state, change.entries)
    commands += duration_commands(keys, change.durations)
    for batch_id in change.history:
        listed = (meta.get(codec.record_field(batch_id)) or {}).get("listed")
        commands.append(("ZADD", keys.history, batch_id if listed is None else repr(listed), batch_id))
    if change.event is not None:
        commands.append(("PUBLISH", EVENTS_CHANNEL, codec.dump(change.event)))
    return commands


def ledger_commands(keys: Keys, state: Snapshot, entries: Sequence[Entry] = ()) -> list[Command]:
    """Return the commands that store the ledger of a workflow after some entries."""
    if not entries and not state.ledger_is_new:
        return []
    after = posted(state.ledger, entries)
    changed, commands = differences(state.ledger, after), list[Command]()
    if state.ledger_is_new:
        changed = after
        commands = [("DEL", keys.loaded, keys.days), ("HSET", keys.meta, codec.LEDGER, codec.LEDGER_VERSION)]
        commands += whole_commands(keys, state.past_durations)
    texts = for_each(changed, lambda _, found: codec.dump(codec.dump_intervals(found)) if found else None)
    if stored := without_nulls(texts):
        commands.append(("HSET", keys.loaded, *chain.from_iterable(stored.items())))
    if removed := [job for job, text in texts.items() if text is None] if len(stored) < len(texts) else ():
        commands.append(("HDEL", keys.loaded, *removed))
    return commands


def _hset(key: str, jobs: Mapping[str, JobState]) -> Command:
    return ("HSET", key, *chain.from_iterable(codec.dump_jobs(jobs).items()))
