# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the live state and the ledger of many workflows, in few round trips."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.exceptions import StateError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import ledger_questions, load_snapshot, read_state, with_ledger
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.protocol import Command, as_hash, reply_error
from batchy_provider.state.scan import look_in_parts
from batchy_provider.state.stored_values import is_workflow

if TYPE_CHECKING:
    from batchy_provider.state.outline_reader import Ask

_AT_ONCE = 1000
_unforeseen = LogThrottle(logging.getLogger(__name__))


def scan_ledgers(
    backend: Backend, names: Collection[str], *, with_history: bool = True, ask: Ask | None = None
) -> list[Snapshot | UnreadableWorkflow]:
    """Return workflows with their ledger, sorted by name. An error in one workflow makes only that one unreadable.

    :param names: which; one that is not in Redis is left out.
    :param with_history: make the ledger of a workflow that has none yet from its history. That reads all its batches.
        Without it, such a workflow is left out.
    :param ask: sends commands that read, with their workflows; None: `Backend.pipelined`.
    """
    found: list[Snapshot | UnreadableWorkflow] = []
    wanted = [Keys(name, backend.cluster) for name in sorted(names)]
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        asked = [(keys.workflow, command) for keys in part for command in _questions(keys)]
        replies = ask(asked) if ask is not None else backend.pipelined([command for _, command in asked])
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


def scan_with_ledgers(
    backend: Backend, names: Collection[str]
) -> Iterator[tuple[list[WorkflowState | UnreadableWorkflow], list[Snapshot]]]:
    """Yield what `scan.scan` returns, and the workflows with a ledger that can be read: a thousand at a time.

    Each workflow is read once. One that has no ledger yet is not among the latter.

    :param names: which; one that is not in Redis is left out.
    """
    for looks, now in look_in_parts(backend, sorted(names), ledger_questions):
        found: list[Snapshot] = []
        for look in looks:
            live, meta, _ = look.replies
            meta = meta[: len(codec.META_FIELDS)] if isinstance(meta, list) else meta  # without the warnings
            state = _state_or_error(backend, look.keys, [live, meta, *look.more], False, look.state)
            if isinstance(state, Snapshot):
                found.append(state)
        yield [row for look in looks if (row := look.row(now)) is not None], found


def _questions(keys: Keys) -> list[Command]:
    return [("HGETALL", keys.live), ("HMGET", keys.meta, *codec.META_FIELDS), *ledger_questions(keys)]


def _state_or_error(
    backend: Backend, keys: Keys, replies: Sequence[Any], with_history: bool, known: Snapshot | None = None
) -> Snapshot | UnreadableWorkflow | None:
    """Return a workflow with its ledger.

    :param replies: those to `_questions`.
    :param known: what was made of the replies before those to `ledger_questions`.
    """
    try:
        return _state(backend, keys, replies, with_history, known)
    except (StateError, RedisError) as error:
        return UnreadableWorkflow(keys.workflow, str(error))
    except Exception as error:  # an error in one workflow must not hide another
        _unforeseen.warning(keys.workflow, "%s: its ledger cannot be read", keys.workflow, exc_info=error)
        reason = f"its ledger in Redis cannot be read: {type(error).__name__}: {error}"
        return UnreadableWorkflow(keys.workflow, reason)


def _state(
    backend: Backend, keys: Keys, replies: Sequence[Any], with_history: bool, known: Snapshot | None
) -> Snapshot | None:
    for command, reply in zip(_questions(keys), replies, strict=True):
        if isinstance(reply, Exception):
            raise reply_error(command, reply)
    live, meta, *ledger = replies
    if known is None:
        if not (live := as_hash(live)) or not is_workflow(live, meta):
            return None
        known = load_snapshot(keys, live, meta, None)
    asking = with_ledger(keys, known, *ledger)
    try:
        next(asking)
    except StopIteration as complete:
        state: Snapshot = complete.value
        return state
    return read_ledger(backend, keys.workflow) if with_history else None
