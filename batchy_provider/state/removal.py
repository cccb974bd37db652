# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Remove a workflow from Redis: its state, its history and its ledger, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from batchy_provider.core.dates import format_date
from batchy_provider.core.presenters import event
from batchy_provider.core.unfinished_rename import check_finished
from batchy_provider.state import codec
from batchy_provider.state.archive_lag import is_behind, pause
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session
from batchy_provider.state.whole_workflow import WholeWorkflow, read_whole, remove_commands


@dataclass(frozen=True, slots=True)
class RemovedState:
    """What was removed from Redis.

    :param keys: how many keys.
    :param batch_ids: ids of the batches.
    """

    keys: int = 0
    batch_ids: frozenset[int] = frozenset()

    @classmethod
    def of(cls, whole: WholeWorkflow) -> RemovedState:
        """Return what is removed with a workflow."""
        return cls(len(whole.contents), frozenset(whole.batch_ids))


def removable(backend: Backend, workflow: str, more: Collection[str] = ()) -> RemovedState:
    """Return what `remove_state` would remove, with the same errors. Change nothing."""
    keys = backend.keys(workflow)
    return backend.transact(keys, lambda session: (RemovedState.of(_checked(read_whole(session, keys, more))), ()))


def remove_state(
    backend: Backend, workflow: str, more: Collection[str] = (), *, has_archive: bool = False
) -> RemovedState:
    """Remove all keys of a workflow. If Redis does not know it, do nothing.

    :param more: see `whole_workflow.read_whole`.
    :param has_archive: wait until the archive has the latest changes, so that nothing comes into it afterwards.
    :raises BatchHeldError: if a batch is open.
    :raises UnfinishedRenameError: if a rename of it was interrupted.
    """
    keys = backend.keys(workflow)
    sent: list[RemovedState] = []

    def work(session: Session) -> tuple[RemovedState | None, Sequence[Command]]:
        whole = read_whole(session, keys, more)
        if not whole.exists:
            # Perhaps an earlier attempt has removed it, and its reply was lost, or replicas lacked it.
            return (sent[-1], leave_nothing(backend, keys)) if sent else (RemovedState(), ())
        removed = RemovedState.of(_checked(whole))
        ((seconds, micros),) = session.ask(("TIME",))
        now = session.clock(int(seconds), int(micros))
        if has_archive and is_behind(whole.state, now):
            return None, ()
        sent.append(removed)
        told = event(workflow, whole.state.live_id, "remove", "live", now)
        return removed, [*remove_commands(keys, whole.contents), ("PUBLISH", EVENTS_CHANNEL, codec.dump(told))]

    while (done := backend.transact(keys, work)) is None:
        pause()
    return done


def leave_nothing(backend: Backend, keys: Keys) -> Sequence[Command]:
    """Return commands that change nothing, so that the store can wait for replicas after a removal.

    Without them, `Backend.transact` would write a field for that purpose, and so bring back a key of the workflow.
    """
    if not backend.confirmation.replicas:
        return ()
    return (("HSET", keys.meta, "confirmed", format_date(backend.clock(0, 0))), ("DEL", keys.meta))


def _checked(whole: WholeWorkflow) -> WholeWorkflow:
    if whole.exists:
        check_finished(whole.state.rename, whole.keys.workflow)
        whole.check_closed()
        return whole
    return WholeWorkflow(keys=whole.keys, contents={}, state=whole.state)
