# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Remove a workflow that is gone for good: from Redis, from the result store and from the archive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchy_provider.config.diagnostics import did_you_mean
from batchy_provider.config.reader import find_file
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import UnknownWorkflowError, WorkflowDefinedError
from batchy_provider.original.history import keys_of_original
from batchy_provider.services.answers import Audit
from batchy_provider.state.removal import RemovedState, removable, remove_state

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.core.values import Actor
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedWorkflow:
    """What was removed, or would be.

    :param keys: how many keys of Redis.
    :param batches: how many batches, in Redis, in the archive or with results.
    """

    workflow: str
    keys: int
    batches: int


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is of a workflow."""

    state: RemovedState
    archived: frozenset[int] | None
    results: frozenset[str] | None

    @property
    def removed(self) -> int:
        """How many batches there are."""
        return len({*map(str, self.state.batch_ids), *map(str, self.archived or ()), *(self.results or ())})


class RemovalService:
    """Remove workflows.

    :param store: returns the state in Redis.
    :param catalog: the workflow files.
    :param names: which workflows Redis knows.
    :param results: returns the result store; None without one.
    :param archive: returns the archive; None without one.
    :param audit: called with each removal after it is made.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        catalog: Catalog,
        names: WorkflowNames,
        results: Callable[[], ResultStore | None],
        archive: Callable[[], ArchiveFiles | None],
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._names = names
        self._results = results
        self._archive = archive
        self._audit = audit

    def preview(self, workflow: str, *, force: bool = False) -> RemovedWorkflow:
        """Return what `remove` would remove, with the same errors. Change nothing."""
        found = self._found(workflow, self._more(workflow), force=force)
        return RemovedWorkflow(workflow=workflow, keys=found.state.keys, batches=found.removed)

    def remove(self, workflow: str, *, actor: Actor, why: str | None = None, force: bool = False) -> RemovedWorkflow:
        """Remove everything of a workflow. If this is interrupted, the next call removes the rest.

        Redis goes first, in one transaction, and the archive last. As long as anything is left, the archive refuses a
        batch of this name.

        :param force: also if a file defines the workflow. Its next run then starts at `initial_date`.
        :raises UnknownWorkflowError: there is nothing of it.
        :raises WorkflowDefinedError: a file defines it.
        :raises BatchHeldError: a batch is open.
        """
        more = self._more(workflow)
        found = self._found(workflow, more, force=force)
        results, archive = self._results(), self._archive()
        state = remove_state(self._store().backend, workflow, more, has_archive=archive is not None)
        if results is not None and found.results is not None:
            results.remove(workflow)
        if archive is not None and found.archived is not None:
            archive.remove(workflow)
        self._names.remove(workflow)
        details = {"keys": state.keys, "batches": found.removed, "force": force}
        self._audit(Audit(workflow=workflow, action="remove", actor=actor, why=why, details=details))
        return RemovedWorkflow(workflow=workflow, keys=state.keys, batches=found.removed)

    def _more(self, workflow: str) -> list[str]:
        return keys_of_original(self._store().backend, workflow)

    def _found(self, workflow: str, more: list[str], *, force: bool) -> _Found:
        check_workflow_name(workflow)
        folder = self._catalog.folder
        path = find_file(folder, workflow) if folder.is_dir() and not force else None
        if path is not None:
            raise WorkflowDefinedError(
                f"the file {path} still defines workflow {workflow!r}, so its next run would start at its initial_date "
                "and load all data again. Nothing was removed. Remove the file first, or use --force (REST: force=true)"
            )
        state = removable(self._store().backend, workflow, more)
        results, archive = self._results(), self._archive()
        archived = None
        if archive is not None and workflow in archive.workflows():
            archived = frozenset(archive.batch_ids(workflow))
        stored = frozenset(results.batches(workflow)) if results is not None else frozenset()
        if not state.keys and archived is None and not stored:
            hint = did_you_mean(workflow, self._names.all() - {workflow})
            raise UnknownWorkflowError(
                f"workflow {workflow!r} is not there: Redis, the archive and the result store have nothing of it{hint}"
            )
        return _Found(state, archived, stored or None)
