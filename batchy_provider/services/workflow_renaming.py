# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Give a workflow another name: in Redis, in the archive and in the result store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchy_provider.archive.archive_renaming import mark_archive, move_archive
from batchy_provider.bundles.errors import ResultError
from batchy_provider.bundles.result_moving import move_results
from batchy_provider.config.reader import find_file
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import ArchiveError, BatchyError, RedisUnavailableError, WorkflowExistsError
from batchy_provider.original.history import keys_of_original
from batchy_provider.services.answers import Audit
from batchy_provider.services.workflow_summaries import waits_of
from batchy_provider.state import codec
from batchy_provider.state.archive_lag import wait_for_archive
from batchy_provider.state.renaming import RenameRequest, check_rename, finish_rename, rename_state

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.core.values import Actor
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RenamedWorkflow:
    """A workflow that has another name now.

    :param batches: how many batches of its history have the new name.
    """

    old: str
    new: str
    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesToChange:
    """Which workflow files still have an old name, since a rename changes no file.

    :param file: the file that defines the workflow under the old name; None if there is none.
    :param waiting: the workflows whose files wait for the old name.
    """

    file: str | None
    waiting: Sequence[str]


class RenameService:
    """Rename workflows.

    :param store: returns the state in Redis.
    :param catalog: the workflow files.
    :param names: which workflows Redis knows.
    :param archive: returns the archive; None without one.
    :param results: returns the result store; None without one.
    :param audit: called with each rename after it is made.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        catalog: Catalog,
        names: WorkflowNames,
        archive: Callable[[], ArchiveFiles | None],
        results: Callable[[], ResultStore | None],
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._names = names
        self._archive = archive
        self._results = results
        self._audit = audit

    def rename(self, old: str, new: str, *, actor: Actor, why: str | None = None) -> RenamedWorkflow:
        """Rename a workflow, or finish the same rename that was interrupted.

        :raises UnknownWorkflowError: Redis does not know the old name.
        :raises WorkflowExistsError: Redis or the archive knows the new name.
        :raises BatchHeldError: a batch is open.
        :raises InvalidNameError: the new name is not valid.
        """
        check_workflow_name(old)
        check_workflow_name(new)
        if old == new:
            raise WorkflowExistsError(f"{old!r} is the name of the workflow already; nothing was changed")
        backend, files = self._store().backend, self._archive()
        if files is not None:
            wait_for_archive(backend, old)
        archived = frozenset(files.workflows()) if files is not None else frozenset()
        results = self._results()
        has_results = results is not None and bool(results.batches(old))
        request = RenameRequest(
            old=old,
            new=new,
            by=actor,
            why=why,
            more=keys_of_original(backend, old),
            files_follow=old in archived or has_results,
        )
        was_interrupted = check_rename(backend, request)
        if new in archived and not was_interrupted:
            raise WorkflowExistsError(
                f"there is a workflow {new!r} in the archive, so {old!r} cannot get that name. Nothing was changed. "
                f"Use another name, or remove it first: `batchy remove {new}`"
            )
        marked = files if old in archived else None
        batches = self._rename_in_redis(request, marked)
        if results is not None and has_results:
            self._move_results(results, old, new)
        if marked is not None:
            self._move_archive(marked, old, new)
        finish_rename(backend, new)
        self._names.remove(old)
        self._names.add(new)
        details = {"old": old, "new": new, "batches": batches}
        self._audit(Audit(workflow=new, action="rename", actor=actor, why=why, details=details))
        return RenamedWorkflow(old=old, new=new, batches=batches)

    def files_to_change(self, old: str) -> FilesToChange:
        """Return which workflow files still have an old name."""
        folder = self._catalog.folder
        path = find_file(folder, old) if folder.is_dir() else None
        waiting = sorted(name for name, found in self._catalog.read().workflows.items() if old in waits_of(found))
        return FilesToChange(file=None if path is None else str(path), waiting=waiting)

    def _rename_in_redis(self, request: RenameRequest, files: ArchiveFiles | None) -> int:
        if files is not None:
            # From here on, neither an opening nor a restore uses what the archive has under the old name.
            mark_archive(files, request.old, request.new)
        try:
            return rename_state(self._store().backend, request)
        except RedisUnavailableError:  # it may have been made: the same call finishes it
            raise
        except BatchyError:
            if files is not None:
                mark_archive(files, request.old, None)
            raise

    def _move_results(self, results: ResultStore, old: str, new: str) -> None:
        try:
            move_results(results, old, new)
        except ResultError as error:
            raise ResultError(
                f"workflow {old!r} is {new!r} in Redis now, but its results could not be moved: {error}. "
                f"`batchy rename {old} {new}` finishes it"
            ) from error

    def _move_archive(self, files: ArchiveFiles, old: str, new: str) -> None:
        backend = self._store().backend
        keys = backend.keys(new)
        (text,) = backend.ask(new, ("HGET", keys.meta, codec.CHANGES))
        try:
            move_archive(files, old, new, codec.dump_changes(codec.load_changes(keys.meta, text)))
        except ArchiveError as error:
            raise ArchiveError(
                f"workflow {old!r} is {new!r} in Redis now, but its archive could not be moved: {error}. "
                f"`batchy rename {old} {new}` finishes it"
            ) from error
