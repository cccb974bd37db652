# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Export workflows into one JSON document, and import them into another environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from batchy_provider.core.dates import format_date
from batchy_provider.exceptions import (
    ArchiveError,
    BatchyError,
    ImportDocumentError,
    RedisUnavailableError,
    WorkflowExistsError,
)
from batchy_provider.original.history import keys_of_original
from batchy_provider.services.answers import Audit
from batchy_provider.state.archive_lag import wait_for_archive
from batchy_provider.state.document_check import read_document
from batchy_provider.state.export_form import FORMAT, VERSION, ImportedWorkflow
from batchy_provider.state.importing import ImportedState, ImportRequest, export_state, import_state

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.core.values import Actor
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.services.archive import ArchiveService
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.store import Store

__all__ = ["ImportedState", "LeftOut", "PartlyImportedError", "TransferService", "decode_document"]


class PartlyImportedError(BatchyError):
    """An import was stopped after it had written some workflows.

    :param done: what was written.
    """

    def __init__(self, message: str, done: Sequence[ImportedState]) -> None:
        super().__init__(message)
        self.done = done


def decode_document(text: bytes) -> Any:
    """Decode the JSON of a document.

    :raises ImportDocumentError: if it is not JSON, with line and column.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise ImportDocumentError(f"this is not JSON: {where}. Nothing was changed") from error
    except (ValueError, RecursionError) as error:
        raise ImportDocumentError(f"this is not JSON that can be read: {error}. Nothing was changed") from error


class TransferService:
    """Export and import workflows.

    :param store: returns the state in Redis.
    :param names: which workflows Redis knows.
    :param archive: returns the archive and its service; None for each without an archive.
    :param audit: called with each export, and with each workflow after it is imported.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        names: WorkflowNames,
        archive: Callable[[], tuple[ArchiveFiles | None, ArchiveService | None]],
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._names = names
        self._archive = archive
        self._audit = audit

    def document(
        self, workflows: Iterable[str], *, actor: Actor, history: bool, left_out: list[LeftOut]
    ) -> Iterator[str]:
        """Yield the text of a document in parts, so that one workflow after the other is read and written.

        :param left_out: gets the workflows that cannot be read; they are also listed at the end of the document.
        """
        at = format_date(self._store().backend.server_time())
        yield json.dumps({"format": FORMAT, "version": VERSION, "exported_at": at})[:-1] + ', "workflows": ['
        before = "\n"
        for name in workflows:
            try:
                found = self.export(name, actor=actor, history=history)
            except RedisUnavailableError:
                raise
            except BatchyError as error:
                left_out.append(LeftOut(name, str(error)))
            else:
                yield before + json.dumps(found)
                before = ",\n"
        yield f'\n], "left_out": {json.dumps([asdict(each) for each in left_out])}}}\n'

    def export(self, workflow: str, *, actor: Actor, history: bool = False) -> dict[str, Any]:
        """Return one workflow as the document holds it.

        :param history: with all batches, not only those that belong to the state.
        :raises UnknownWorkflowError: Redis does not know it.
        """
        found = export_state(self._store().backend, workflow, history=history)
        self._audit(Audit(workflow=workflow, action="export", actor=actor, details={"history": history}))
        return found

    def read(self, data: Any) -> list[str]:
        """Check a document, and return the names of its workflows.

        :raises ImportDocumentError: it has errors; with the place of each.
        """
        return [each.name for each in _read(data)]

    def import_document(
        self, data: Any, *, actor: Actor, why: str | None = None, replace: bool = False, dry_run: bool = False
    ) -> list[ImportedState]:
        """Import all workflows of a document, each in one transaction, or none if one of them is refused.

        :param data: decoded JSON, see `decode_document`.
        :param replace: remove a workflow of the same name first, in the same transaction.
        :param dry_run: change nothing, and return what would be written.
        :raises ImportDocumentError: the document has errors.
        :raises WorkflowExistsError: Redis or the archive has one of the workflows.
        :raises BatchHeldError: one of the workflows to replace has an open batch.
        :raises PartlyImportedError: an error after the first workflow was written.
        """
        requests = [self._request(each, actor, why, replace) for each in _read(data)]
        backend = self._store().backend
        planned = [import_state(backend, each, dry_run=True) for each in requests]
        if dry_run:
            return planned
        done: list[ImportedState] = []
        for each in requests:
            try:
                done.append(self._import(each))
            except BatchyError as error:
                if not done:
                    raise
                written = ", ".join(state.workflow for state in done)
                raise PartlyImportedError(f"{error}. These workflows were imported before: {written}", done) from error
        return done

    def _request(self, workflow: ImportedWorkflow, actor: Actor, why: str | None, replace: bool) -> ImportRequest:
        files = self._files()
        superseded = None
        if files is not None and workflow.name in files.workflows():
            if not replace:
                raise WorkflowExistsError(
                    f"there is a workflow {workflow.name!r} in the archive; nothing was changed. To remove it and "
                    "import this one, use --replace. If Redis has lost it, restore it: "
                    f"`batchy restore {workflow.name}`"
                )
            latest = files.latest(workflow.name)
            superseded = None if latest is None else latest.revision
        backend = self._store().backend
        return ImportRequest(
            workflow=workflow,
            by=actor,
            why=why,
            replaces=replace,
            more=keys_of_original(backend, workflow.name) if replace else (),
            has_archive=files is not None,
            superseded=superseded,
        )

    def _import(self, request: ImportRequest) -> ImportedState:
        name = request.workflow.name
        if request.replaces and request.has_archive:
            wait_for_archive(self._store().backend, name)
        done = import_state(self._store().backend, request)
        self._names.add(name)
        details = {"batches": done.batches, "replaced": done.replaced, "ended": done.ended}
        self._audit(Audit(workflow=name, action="import", actor=request.by, why=request.why, details=details))
        files, service = self._files(), self._archive()[1]
        if files is not None and service is not None:
            try:
                files.remove(name)
                service.write(name)
            except ArchiveError as error:
                raise ArchiveError(
                    f"workflow {name!r} was imported into Redis, but the archive could not be written: {error}. "
                    f"`batchy archive {name}` writes it"
                ) from error
        return done

    def _files(self) -> ArchiveFiles | None:
        """Return the archive, if this deployment writes one."""
        return None if self._store().archive is None else self._archive()[0]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A workflow that is not in a document, and why."""

    workflow: str
    reason: str


def _read(data: Any) -> Collection[ImportedWorkflow]:
    try:
        return read_document(data)
    except RecursionError:
        raise ImportDocumentError("a value of the document is nested too deeply. Nothing was changed") from None
