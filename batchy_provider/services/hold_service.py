# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Put workflows on hold, release them, and write notes on their batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import NotOnHoldError, UnknownWorkflowError
from batchy_provider.services.answers import Audit
from batchy_provider.services.hold_answers import HoldMade, HoldView

if TYPE_CHECKING:
    from batchy_provider.core.batch_notes import BatchNote
    from batchy_provider.core.values import Actor
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.services.workflows import WorkflowService
    from batchy_provider.state.store import Store


class HoldService:
    """Holds and notes: what people say about a workflow and its batches.

    :param store: returns the state in Redis.
    :param workflows: knows the files, and the names of all workflows.
    :param names: the workflows that Redis knows; each workflow that is put on hold is added.
    :param audit: called with each change after it is made.
    """

    def __init__(
        self, *, store: Callable[[], Store], workflows: WorkflowService, names: WorkflowNames, audit: AuditLog
    ) -> None:
        self._store = store
        self._workflows = workflows
        self._names = names
        self._audit = audit

    def hold(self, workflow: str, *, actor: Actor, why: str, until: object = None) -> HoldMade:
        """Put a workflow on hold. It replaces an earlier hold.

        :param why: the reason, for everyone who finds the workflow on hold.
        :param until: when the hold ends by itself: a date, or ISO 8601 text, UTC. None: only a release ends it.
        :raises ConfigError: the reason or `until` cannot be used.
        :raises UnknownWorkflowError: neither Redis nor a file knows the workflow.
        """
        check_workflow_name(workflow)
        store = self._store()
        try:
            made = store.hold(workflow, by=actor, why=why, until=until)
        except UnknownWorkflowError:
            config = self._workflows.config(workflow)
            if config is None:
                raise self._workflows.unknown(workflow) from None
            # Its first run is to wait, too.
            made = store.hold(workflow, by=actor, why=why, until=until, config=config)
        self._names.add(workflow)
        details = {"until": made.hold.until, "replaced": None if made.replaced is None else str(made.replaced)}
        self._audit(
            Audit(workflow=workflow, action="hold", actor=actor, why=made.hold.why, details=_without_none(details))
        )
        return HoldMade(
            hold=HoldView.of(workflow, made.hold),
            replaced=None if made.replaced is None else HoldView.of(workflow, made.replaced),
            open_batch=made.open_batch,
        )

    def release(self, workflow: str, *, actor: Actor, why: str | None = None) -> HoldView:
        """End the hold on a workflow, and return it.

        :raises NotOnHoldError: the workflow is not on hold.
        :raises UnknownWorkflowError: neither Redis nor a file knows the workflow.
        """
        check_workflow_name(workflow)
        try:
            ended = self._store().release(workflow, by=actor, why=why)
        except UnknownWorkflowError:
            if workflow in self._workflows.all_names():
                raise NotOnHoldError(f"{workflow} is not on hold, so there is nothing to release") from None
            raise self._workflows.unknown(workflow) from None
        self._audit(Audit(workflow=workflow, action="release", actor=actor, why=why))
        return HoldView.of(workflow, ended)

    def note(self, workflow: str, batch_id: int, text: str, *, actor: Actor) -> list[BatchNote]:
        """Put a note on a batch, and return all its notes, oldest first.

        :raises ConfigError: the text cannot be used.
        :raises UnknownBatchError: there is no batch of that id.
        :raises NotRecordedError: another program has opened it.
        :raises UnknownWorkflowError: Redis does not know the workflow.
        """
        with self._nearest_name(workflow):
            notes = self._store().note(workflow, batch_id, text, by=actor)
        self._audit(Audit(workflow=workflow, action="note", actor=actor, why=text.strip(), batch_id=batch_id))
        return list(notes)

    def acknowledge(self, workflow: str, batch_id: int, text: str | None = None, *, actor: Actor) -> list[BatchNote]:
        """Acknowledge the failure of a batch, and return all its notes, oldest first.

        :raises NotFailedError: the batch has not failed.
        :raises ConfigError: the text cannot be used.
        :raises UnknownBatchError: there is no batch of that id.
        :raises NotRecordedError: another program has opened it.
        :raises UnknownWorkflowError: Redis does not know the workflow.
        """
        with self._nearest_name(workflow):
            notes = self._store().note(workflow, batch_id, text, by=actor, ack=True)
        why = (text or "").strip() or None
        self._audit(Audit(workflow=workflow, action="ack", actor=actor, why=why, batch_id=batch_id))
        return list(notes)

    @contextmanager
    def _nearest_name(self, workflow: str) -> Iterator[None]:
        """Name the nearest workflow if nobody knows this one."""
        check_workflow_name(workflow)
        try:
            yield
        except UnknownWorkflowError:
            if workflow in self._workflows.all_names():
                raise
            raise self._workflows.unknown(workflow) from None


def _without_none(details: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in details.items() if value is not None}
