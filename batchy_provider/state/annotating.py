# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The store's methods for what people say about a workflow and its batches: holds, notes, acknowledgements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from batchy_provider.core.hold_rules import release, set_hold
from batchy_provider.core.noting import add_note
from batchy_provider.state.archive_port import Archive, ArchiveEffect
from batchy_provider.state.backend import Backend

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.core.batch_notes import BatchNote
    from batchy_provider.core.holds import Hold, HoldSet
    from batchy_provider.core.snapshot import Decision, Snapshot
    from batchy_provider.core.values import Actor, WorkflowConfig
    from batchy_provider.state.changes import Rule

T = TypeVar("T")


class Annotating:
    """The part of `Store` for holds and notes. Each change is one transaction, with its audit entry."""

    backend: Backend
    archive: Archive | None

    def hold(
        self, workflow: str, *, by: str | Actor, why: str, until: object = None, config: WorkflowConfig | None = None
    ) -> HoldSet:
        """Put a workflow on hold: no batch opens until a moment, or until the release. It replaces an earlier hold.

        :param why: the reason, for everyone who finds the workflow on hold.
        :param until: when the hold ends by itself: a date, or ISO 8601 text, UTC. None: only a release ends it.
        :param config: the configuration in its file, for a workflow that Redis does not know yet.
        :raises ConfigError: if the reason or `until` cannot be used.
        :raises UnknownWorkflowError: if neither Redis nor a configuration knows it.
        :raises LostStateError: if the archive says that Redis has lost it.
        """
        check = None if self.archive is None else self.archive.guard(workflow, self.backend.address)

        def rule(state: Snapshot, now: datetime) -> Decision[HoldSet]:
            if check is not None and not state.jobs:
                check(state)
            return set_hold(state, until, why, now, by=_name(by), config=config)

        def done(made: HoldSet) -> str:
            instead = "" if made.replaced is None else f", instead of the hold of {made.replaced.by}"
            return f"put on hold {made.hold.end}{instead}"

        return self._change(workflow, rule, person=(by, done, why.strip()), effect=ArchiveEffect.STATE)

    def release(self, workflow: str, *, by: str | Actor, why: str | None = None) -> Hold:
        """End the hold on a workflow, and return it.

        :raises NotOnHoldError: if it is not on hold.
        :raises UnknownWorkflowError: if Redis does not know it.
        """
        return self._change(
            workflow,
            release,
            person=(by, lambda ended: f"released the hold of {ended.by}", why),
            effect=ArchiveEffect.STATE,
        )

    def note(
        self, workflow: str, batch_id: int, text: str | None, *, by: str | Actor, ack: bool = False
    ) -> Sequence[BatchNote]:
        """Put a note on a batch, and return all its notes, oldest first.

        :param text: the note; None only with `ack`.
        :param ack: acknowledge the failure of the batch.
        :raises UnknownWorkflowError: if Redis does not know the workflow.
        :raises UnknownBatchError: if there is no such batch.
        :raises NotRecordedError: if another program has opened it.
        :raises NotFailedError: if a failure is to be acknowledged, and the batch has not failed.
        :raises ConfigError: if the text cannot be used.
        """
        done = f"acknowledged the failure of batch {batch_id}" if ack else f"put a note on batch {batch_id}"
        return self._change(
            workflow,
            lambda state, now: add_note(state, batch_id, text, now, by=_name(by), ack=ack),
            batch_id=batch_id,
            person=(by, done, (text or "").strip() or None),
            effect=ArchiveEffect.RECORD,
        )

    def _change(self, workflow: str, rule: Rule[T], **how: Any) -> T:
        """Make a change; see `changes.make_change`."""
        raise NotImplementedError


def _name(by: str | Actor) -> str:
    return by if isinstance(by, str) else by.by
