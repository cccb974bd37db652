# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show and change workflows, their jobs and windows, from Redis and the workflow files together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.config.diagnostics import Diagnostic, did_you_mean
from batchy_provider.core.dates import format_date
from batchy_provider.core.job_state import Fields, JobState
from batchy_provider.core.typed_data import encodable
from batchy_provider.core.values import Actor, WorkflowConfig
from batchy_provider.core.windows import position_or_none
from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.exceptions import ConfigError, UnknownWorkflowError
from batchy_provider.services.answers import Audit, Page, WorkflowDetail, WorkflowSummary
from batchy_provider.services.folder_view import FolderView, FolderViews
from batchy_provider.services.list_filters import is_found, is_labelled, sort_by
from batchy_provider.services.summary_cache import RowFacts, SummaryCache
from batchy_provider.services.workflow_summaries import job_summaries, summary_of
from batchy_provider.state.log_throttle import LogThrottle

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.config.catalog import Catalog
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.services.states import ScanStates
    from batchy_provider.state.store import Store

MAX_LIMIT = 1000

_unforeseen = LogThrottle(logging.getLogger(__name__))


class WorkflowService:
    """List, show and change workflows and their jobs.

    :param store: returns the state in Redis.
    :param catalog: the workflow files.
    :param names: which workflows Redis knows.
    :param audit: called with each change after it is made.
    :param scan: returns the state of many workflows; None to read it from the store.
    :param now: returns the time of the Redis server, naive UTC; None to ask the store.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        catalog: Catalog,
        names: WorkflowNames,
        audit: AuditLog,
        scan: ScanStates | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._store = store
        self._now = now or self._server_time
        self._catalog = catalog
        self._names = names
        self._scan: ScanStates = scan or (lambda names: self._store().scan(names))
        self._audit = audit
        self._rows = SummaryCache()
        self._files = FolderViews()

    def find(
        self,
        *,
        search: str | None = None,
        status: str | None = None,
        tags: Collection[str] = (),
        owners: Collection[str] = (),
        order_by: str = "workflow",
        limit: int = 50,
        offset: int = 0,
        only: Collection[str] | None = None,
    ) -> Page[WorkflowSummary]:
        """Return workflows, those in Redis and those that only a file defines.

        :param search: part of a name or description, whatever its case.
        :param status: only workflows whose latest batch has this status.
        :param tags: only workflows that have one of these tags; empty for all.
        :param owners: only workflows that have one of these owners; empty for all.
        :param order_by: a column of `WorkflowSummary`; with ``-`` before it, in descending order.
        :param only: the workflows that the caller may see; None for all.
        :raises ConfigError: there is no such column.
        """
        found = self.search(search, only=only)
        found = [each for each in found if is_labelled(each, tags, owners) and status in (None, each.status)]
        return Page.of(sort_by(found, order_by), max(1, min(limit, MAX_LIMIT)), max(0, offset))

    def search(self, search: str | None, *, only: Collection[str] | None = None) -> list[WorkflowSummary]:
        """Return the workflows whose name or description contains a text, in any case, by name; without a text, all."""
        found = self.summaries(only)
        return [each for each in found if is_found(each, search)]

    def files(self) -> FolderView:
        """Return what the workflow files say now."""
        return self._files.of(self._catalog.read())

    def all_names(self, files: FolderView | None = None) -> set[str]:
        """Return the names of all workflows, in Redis or with a file, valid or not.

        :param files: as `files` returned them; None to read them.
        """
        return self._names.all() | (files or self.files()).names

    def known_names(self) -> set[str]:
        """Return the names of the workflows that this process knows already, without asking Redis."""
        return self._names.seen() | self.files().names

    def summaries(
        self, only: Collection[str] | None = None, files: FolderView | None = None, scan: ScanStates | None = None
    ) -> list[WorkflowSummary]:
        """Return all workflows, by name. A row that has not changed is the same object as in the last answer.

        :param only: which; None for all.
        :param files: as `files` returned them; None to read them.
        :param scan: returns the state of many workflows; None for the way of this service.
        """
        files = files or self.files()
        workflows, known = files.folder.workflows, self._names.all() | files.folder.workflows.keys()
        names = known if only is None else known & set(only)
        states = {state.workflow: state for state in (scan or self._scan)(names)}
        now = self._now()
        found = [
            self._rows.row(
                name,
                RowFacts(
                    states.get(name),
                    workflows.get(name),
                    len(files.diagnostics.get(name, ())),
                    files.waits_for.get(name, []),
                    files.waited_for_by.get(name, []),
                ),
                now,
            )
            for name in sorted(states.keys() | files.names)
            if only is None or name in only
        ]
        self._rows.keep(known | files.names)
        return found

    def next_starts(self, names: Collection[str]) -> dict[str, str]:
        """Return workflow → where its next live window starts (inclusive), as far as that is known.

        Of jobs that have loaded differently far, the one that is furthest behind counts.
        """
        found: dict[str, str] = {}
        for state in self._scan(names) if names else ():
            if isinstance(state, UnreadableWorkflow):
                continue
            positions = [
                position_or_none(state.workflow, job, JobState(fields), state)
                for job, fields in state.jobs.items()
                if job not in state.disabled and fields
            ]
            if positions and (known := [at.start for at in positions if at is not None]):
                found[state.workflow] = format_date(min(known))
        return found

    def get(self, name: str) -> WorkflowDetail:
        """Return one workflow.

        :raises UnknownWorkflowError: neither Redis nor a file knows it.
        """
        from batchy_provider.config.graph import graph_of

        files = self.files()
        workflow, diagnostics = files.folder.workflows.get(name), files.diagnostics.get(name, [])
        try:
            state: WorkflowState | None = self._store().status(name)
        except UnknownWorkflowError:
            if workflow is None and not diagnostics:
                raise self.unknown(name) from None
            state = None
        waits, waited = files.waits_for.get(name, []), files.waited_for_by.get(name, [])
        nodes = graph_of(workflow) if workflow is not None and workflow.model is not None else {}
        config = workflow.config() if workflow is not None else None
        path = workflow.path if workflow is not None else Path(diagnostics[0].file) if diagnostics else None
        return WorkflowDetail(
            summary=summary_of(
                name,
                state,
                workflow,
                faults=len(diagnostics),
                waits_for=waits,
                waited_for_by=waited,
                now=self._now(),
            ),
            job_states=list(job_summaries(name, state, config, nodes)),
            fields=encodable(state.jobs) if state is not None else {},
            changes=list(state.changes) if state is not None else [],
            file=str(path.relative_to(self._catalog.folder)) if path is not None else None,
            source=_text(path),
            faults=diagnostics,
            graph={task: list(node.upstream) for task, node in nodes.items()},
        )

    def config(self, name: str) -> WorkflowConfig | None:
        """Return what the state needs from the file of a workflow.

        :returns: None if there is no file.
        :raises InvalidFilesError: the file has errors.
        """
        from batchy_provider.config.reader import InvalidFilesError, Reader, find_file

        folder = self._catalog.folder
        path = find_file(folder, name) if folder.is_dir() else None
        if path is None:
            return None
        reader = Reader(folder)
        found, diagnostics = reader.read(path)
        if found is None or diagnostics or reader.defaults_diagnostics:
            raise InvalidFilesError([*diagnostics, *reader.defaults_diagnostics])
        return found.config()

    def load(
        self, name: str, *, actor: Actor, why: str | None = None, config: WorkflowConfig | None = None
    ) -> dict[str, Fields]:
        """Reset a workflow to its configuration: windows start again at `initial_date`, the history stays.

        :param config: use this configuration instead of the file's.
        :raises ConfigError: it has no file.
        """
        config = config or self.config(name)
        if config is None:
            raise ConfigError(
                f"there is no file of workflow {name!r} in {self._catalog.folder.absolute()}; "
                "name the folder with --cfg or BATCHY_CFG, in Airflow with [batchy] cfg_folder"
            )
        jobs = self._store().load(config, by=actor, why=why)
        self._names.add(name)
        self._audit(Audit(workflow=name, action="load", actor=actor, why=why))
        return jobs

    def set_window(
        self, name: str, from_date: object, *, jobs: Collection[str] = (), actor: Actor, why: str | None = None
    ) -> dict[str, Fields]:
        """Set where the next window starts, for some jobs or for all.

        :param from_date: UTC, ISO 8601; inclusive.
        :param jobs: empty for all jobs.
        :returns: job → its fields.
        """
        moved = self._store().set_window(name, from_date, jobs=jobs, by=actor, why=why)
        details = {"from_date": str(from_date), "jobs": [*jobs]}
        self._audit(Audit(workflow=name, action="set_window", actor=actor, why=why, details=details))
        return moved

    def switch(self, name: str, job: str, *, enabled: bool, actor: Actor, why: str | None = None) -> frozenset[str]:
        """Switch a job on or off.

        :returns: all jobs that are off.
        """
        change = self._store().enable if enabled else self._store().disable
        off = change(name, job, by=actor, why=why)
        action = "enable" if enabled else "disable"
        self._audit(Audit(workflow=name, action=action, actor=actor, why=why, job=job))
        return off

    def validate(self, paths: Iterable[Path] = ()) -> list[Diagnostic]:
        """Return the diagnostics of all workflow files, or of some. Bundles are not opened."""
        from batchy_provider.config.inspection import inspect_folder

        wanted = {str(path) for path in paths}
        found = inspect_folder(self._catalog.folder, look_into_bundles=False)
        return [diagnostic for diagnostic in found if not wanted or diagnostic.file in wanted]

    def _server_time(self) -> datetime:
        return self._store().backend.server_time()

    def unknown(self, name: str) -> UnknownWorkflowError:
        """Return the error for a workflow that neither Redis nor a file knows. It suggests the nearest name."""
        return unknown_workflow(name, self._catalog, self._names)


def unknown_workflow(name: str, catalog: Catalog, names: WorkflowNames) -> UnknownWorkflowError:
    """Return the error for a workflow that neither Redis nor a file knows. It suggests the nearest name."""
    hint = did_you_mean(name, names.all() | catalog.read().workflows.keys())
    return UnknownWorkflowError(f"workflow {name!r} is in neither Redis nor {folder_text(catalog.folder)}{hint}")


def folder_text(folder: Path) -> str:
    """Name the folder of workflow files in a message."""
    return f"the folder {folder}" if folder.is_dir() else f"a folder of workflow files (there is none at {folder})"


def _text(path: Path | None) -> str | None:
    from batchy_provider.config.document import DocumentError
    from batchy_provider.config.file_scan import read_bytes

    try:
        return read_bytes(path).decode("utf-8", "replace") if path is not None else None
    except DocumentError:  # such as a FIFO, which would never end
        return None
