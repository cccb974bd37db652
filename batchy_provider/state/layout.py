# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn changes into Redis commands, and replies into snapshots."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from batchy_provider.core.dates import format_date
from batchy_provider.core.job_state import DATE_FIELDS, JobState
from batchy_provider.core.presenters import workflow_state
from batchy_provider.core.snapshot import Change, Snapshot, StoredBatch
from batchy_provider.core.statuses import status_of
from batchy_provider.core.values import PersonalChange, WorkflowState
from batchy_provider.state import codec
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import check_jobs, load_id, load_progress, load_score

_damaged = LogThrottle(logging.getLogger(__name__))


def read_state(
    session: Session,
    keys: Keys,
    *,
    run: str | None = None,
    batch_id: int | None = None,
    watch: bool = True,
) -> tuple[Snapshot, datetime]:
    """Read the snapshot for the rules. A key of a wrong type is found here, before anything is written."""
    commands: list[Command] = [("WATCH", keys.live, keys.meta, keys.history, keys.runs)] if watch else []
    commands += [
        ("TIME",),
        ("HGETALL", keys.live),
        ("HMGET", keys.meta, *codec.META_FIELDS),
        ("ZREVRANGE", keys.history, 0, 0),
        ("HGET", keys.runs, run or ""),
        ("ZCARD", keys.closed),
        ("HLEN", keys.days),
    ]
    replies = session.ask(*commands)[watch:]
    (seconds, micros), live, meta, last, of_run = replies[:5]
    state = load_snapshot(keys, as_hash(live), meta, last)
    if state.overtaken_id is not None:
        (overtaken,) = read_batches(session, keys, [state.overtaken_id], watch=watch)
        state = replace(state, overtaken=overtaken)
    if of_run is not None:
        batch_id = load_id(keys.runs, of_run)
    if batch_id is not None:
        if batch_id == state.live_id and state.is_open:
            own = StoredBatch(batch_id, state.jobs, state.live_record)
        else:
            (own,) = read_batches(session, keys, [batch_id], watch=watch)
        state = replace(state, own=own)
    return state, session.clock(int(seconds), int(micros))


def read_batches(session: Session, keys: Keys, ids: Sequence[int], *, watch: bool = False) -> list[StoredBatch]:
    """Read batches of the history. A removed batch has no jobs."""
    if not ids:
        return []
    watching: list[Command] = [("WATCH", *(keys.batch(i) for i in ids))] if watch else []
    hashes = [("HGETALL", keys.batch(i)) for i in ids]
    meta = ("HMGET", keys.meta, codec.CONFIG, *(codec.record_field(i) for i in ids))
    *jobs, (config, *records) = session.ask(*watching, *hashes, meta)[watch:]
    order = codec.load_config(keys.meta, config).order
    return [
        StoredBatch(
            batch_id,
            codec.load_jobs(keys.batch(batch_id), as_hash(stored), order),
            codec.load_record(keys.meta, batch_id, record),
        )
        for batch_id, stored, record in zip(ids, jobs, records, strict=True)
    ]


def load_snapshot(keys: Keys, live: dict[str, str], meta: Sequence[str | None], last: list[str] | None) -> Snapshot:
    """Make a snapshot of replies, without the requested batch.

    :param meta: values of `META_FIELDS`.
    :param last: the highest batch id, as ZREVRANGE answers; None if it was not asked for.
    :raises StateError: if neither system writes such values.
    """
    config_text, disabled, owner, last_success, revision = meta
    config = codec.load_config(keys.meta, config_text)
    return Snapshot(
        workflow=keys.workflow,
        jobs=codec.load_jobs(keys.live, live, config.order),
        config=config,
        disabled=codec.load_disabled(keys.meta, disabled),
        owner=codec.load_owner(keys.meta, owner),
        last_success=codec.load_last_success(keys.meta, last_success),
        last_id=load_id(keys.history, last[0]) if last else 0,
        revision=codec.load_revision(keys.meta, revision),
    )


def last_success_command(keys: Keys, state: Snapshot) -> Command:
    """Return the command that asks when the last success was closed; for workflows whose live batch is another one."""
    last = state.last_success
    return ("ZSCORE", keys.closed, last.batch_id if last is not None else 0)


def present(
    keys: Keys,
    state: Snapshot,
    progress: Mapping[str, str],
    succeeded: Any,
    changes: Sequence[PersonalChange] = (),
    *,
    parsed: Collection[str] = DATE_FIELDS,
) -> WorkflowState:
    """Return a workflow as callers see it.

    :param progress: what ``wf:progress`` holds; a report that cannot be read is left out, with a line in the log.
    :param succeeded: reply to `last_success_command`, Unix seconds.
    :param changes: what people changed, newest first.
    :param parsed: see `stored_values.check_jobs`.
    :raises StateError: if what is stored cannot be shown.
    """
    check_jobs(keys.live, state.jobs, parsed)
    for name, job in state.jobs.items():
        status_of(keys.workflow, name, job)
    found = workflow_state(state, changes)
    reports, errors = load_progress(keys.progress, progress)
    for error in errors:
        _damaged.warning(f"{error.args[0]}", "the progress is not shown: %s", error)
    if found.batch is not None and found.batch.status == "success":
        last = found.batch.batch_end
    else:
        last = None if succeeded is None else format_date(load_score(keys.closed, succeeded))
    return replace(found, progress=reports, last_success=last)


def write_commands(keys: Keys, change: Change, archived: Mapping[str, Any] | None = None) -> list[Command]:
    """Return a change as Redis commands.

    :param archived: further fields of ``wf:meta``, in the JSON form of the archive; None removes a field.
    """
    commands: list[Command] = []
    if change.live is not None:
        commands += [("DEL", keys.live), _hset(keys.live, change.live)]
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
    commands += [("HSET", keys.days, day, batch_id) for day, batch_id in change.days.items()]
    commands += [("ZADD", keys.history, batch_id, batch_id) for batch_id in change.history]
    if change.event is not None:
        commands.append(("PUBLISH", EVENTS_CHANNEL, codec.dump(change.event)))
    return commands


def _hset(key: str, jobs: dict[str, JobState]) -> Command:
    parts: list[str] = []
    for name, job in jobs.items():
        parts += (name, codec.dump_job(job))
    return ("HSET", key, *parts)
