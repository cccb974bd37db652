# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show the state of workflows as Redis has it, without their files: answers fast, and loads no model of a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
    from batchy_provider.state.store import Store

ScanStates = Callable[[Collection[str]], "list[WorkflowState | UnreadableWorkflow]"]
"""Returns the state of those of some workflows that Redis has, sorted by name."""


class StateService:
    """Read the state of workflows.

    :param store: returns the state in Redis.
    """

    def __init__(self, *, store: Callable[[], Store]) -> None:
        self._store = store

    def all(self) -> list[WorkflowState | UnreadableWorkflow]:
        """Return the state of each workflow in Redis, by name."""
        return self._store().scan()

    def each(self) -> Iterator[WorkflowState | UnreadableWorkflow]:
        """Yield the state of each workflow in Redis, by name, while the next ones are read."""
        return self._store().scan_each()

    def get(self, workflow: str) -> WorkflowState:
        """Return the state of one workflow.

        :raises UnknownWorkflowError: Redis does not know the workflow.
        """
        return self._store().status(workflow)
