# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the live state and the ledger of many workflows, in few round trips."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from redis.exceptions import RedisError

from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.workflow_state import UnreadableWorkflow
from batchy_provider.exceptions import StateError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import ledger_questions, load_snapshot, read_state, with_ledger
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.protocol import Command, as_hash, reply_error
from batchy_provider.state.stored_values import is_workflow

_AT_ONCE = 1000
_unforeseen = LogThrottle(logging.getLogger(__name__))


def scan_ledgers(
    backend: Backend, names: Collection[str], *, with_history: bool = True
) -> list[Snapshot | UnreadableWorkflow]:
    """Return workflows with their ledger, sorted by name. An error in one workflow makes only that one unreadable.

    :param names: which; one that is not in Redis is left out.
    :param with_history: make the ledger of a workflow that has none yet from its history. That reads all its batches.
        Without it, such a workflow is left out.
    """
    found: list[Snapshot | UnreadableWorkflow] = []
    wanted = [Keys(name, backend.cluster) for name in sorted(names)]
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        replies = backend.pipelined([command for keys in part for command in _questions(keys)])
        size = len(_questions(part[0]))
        for at, keys in enumerate(part):
            state = _state_or_error(backend, keys, replies[at * size : (at + 1) * size], with_history)
            if state is not None:
                found.append(state)
    return found


def read_ledger(backend: Backend, workflow: str) -> Snapshot:
    """Return one workflow with its ledger; one that is not in Redis has no jobs."""
    keys = backend.keys(workflow)
    return backend.transact(keys, lambda session: (read_state(session, keys, watch=False)[0], ()))


def _questions(keys: Keys) -> list[Command]:
    return [("HGETALL", keys.live), ("HMGET", keys.meta, *codec.META_FIELDS), *ledger_questions(keys)]


def _state_or_error(
    backend: Backend, keys: Keys, replies: Sequence[Any], with_history: bool
) -> Snapshot | UnreadableWorkflow | None:
    try:
        return _state(backend, keys, replies, with_history)
    except (StateError, RedisError) as error:
        return UnreadableWorkflow(keys.workflow, str(error))
    except Exception as error:  # an error in one workflow must not hide another
        _unforeseen.warning(keys.workflow, "%s: its ledger cannot be read", keys.workflow, exc_info=error)
        reason = f"its ledger in Redis cannot be read: {type(error).__name__}: {error}"
        return UnreadableWorkflow(keys.workflow, reason)


def _state(backend: Backend, keys: Keys, replies: Sequence[Any], with_history: bool) -> Snapshot | None:
    for command, reply in zip(_questions(keys), replies, strict=True):
        if isinstance(reply, Exception):
            raise reply_error(command, reply)
    live, meta, *ledger = replies
    if not (live := as_hash(live)) or not is_workflow(live, meta):
        return None
    asking = with_ledger(keys, load_snapshot(keys, live, meta, None), *ledger)
    try:
        next(asking)
    except StopIteration as complete:
        state: Snapshot = complete.value
        return state
    return read_ledger(backend, keys.workflow) if with_history else None
