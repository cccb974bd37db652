# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Workflows: what is in Redis and what is in files, seen as one; their jobs and windows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.bundles.masking import hide
from batchy_provider.config.cross_file_checks import needs
from batchy_provider.config.diagnostics import Diagnostic, did_you_mean
from batchy_provider.config.graph import Node, graph_of, schedule_text
from batchy_provider.core.dates import format_date, to_utc
from batchy_provider.core.typed_data import encodable
from batchy_provider.core.values import SPECIAL_FIELDS, Actor, Fields, UnreadableWorkflow, WorkflowConfig, WorkflowState
from batchy_provider.core.windows import position_or_none
from batchy_provider.exceptions import BatchyError, ConfigError, UnknownWorkflowError
from batchy_provider.services.answers import Audit, JobSummary, Page, WorkflowDetail, WorkflowSummary
from batchy_provider.services.deadlines import deadline_of
from batchy_provider.state.log_throttle import RareLog

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.config.reader import Folder
    from batchy_provider.config.workflow import Workflow
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.store import Store

MAX_LIMIT = 1000

_unforeseen = RareLog(logging.getLogger(__name__))


class WorkflowService:
    """
    List, show and change workflows and their jobs.

    :param store: returns the state in Redis.
    :param catalog: the workflow files.
    :param names: which workflows Redis knows.
    :param audit: called with each change after it is made.
    """

    def __init__(self, *, store: Callable[[], Store], catalog: Catalog, names: WorkflowNames, audit: AuditLog) -> None:
        self._store = store
        self._catalog = catalog
        self._names = names
        self._audit = audit

    def find(
        self,
        *,
        search: str | None = None,
        status: str | None = None,
        order_by: str = "workflow",
        limit: int = 50,
        offset: int = 0,
        only: Collection[str] | None = None,
    ) -> Page[WorkflowSummary]:
        """
        Return workflows, those in Redis and those that only a file defines.

        :param search: part of a name or description, whatever its case.
        :param status: only those whose latest batch has it.
        :param order_by: a column of `WorkflowSummary`; ``-`` before it turns the order round.
        :param only: names that may be seen.
        :raises ConfigError: there is no such column.
        """
        found = self.search(search, only=only)
        if status:
            found = [summary for summary in found if summary.status == status]
        return Page.of(sort_by(found, order_by), max(1, min(limit, MAX_LIMIT)), max(0, offset))

    def search(self, search: str | None, *, only: Collection[str] | None = None) -> list[WorkflowSummary]:
        """Return those whose name or description has a text in it, whatever its case; without one, all. By name."""
        found = self.summaries(only)
        if not search:
            return found
        text = search.casefold()
        return [
            each for each in found if text in each.workflow.casefold() or text in (each.description or "").casefold()
        ]

    def all_names(self) -> set[str]:
        """Return the names of all workflows, those in Redis and those with a file, sound or not."""
        folder = self._catalog.read()
        return self._names.all() | folder.workflows.keys() | diagnostics_by_workflow(folder.diagnostics).keys()

    def known_names(self) -> set[str]:
        """Return the names of workflows that this process knows of; Redis is not asked, so that it may be away."""
        folder = self._catalog.read()
        return self._names.seen() | folder.workflows.keys() | diagnostics_by_workflow(folder.diagnostics).keys()

    def summaries(self, only: Collection[str] | None = None) -> list[WorkflowSummary]:
        """Return all workflows, by name."""
        folder = self._catalog.read()
        names = self._names.all() | folder.workflows.keys()
        if only is not None:
            names &= set(only)
        states = {state.workflow: state for state in self._store().scan(names)}
        diagnostics = diagnostics_by_workflow(folder.diagnostics)
        waits = {name: _waits_for(workflow) for name, workflow in folder.workflows.items()}
        waited: dict[str, list[str]] = {}
        for name, others in waits.items():
            for other in others:
                waited.setdefault(other, []).append(name)
        all_names = sorted(states.keys() | folder.workflows.keys() | diagnostics.keys())
        return [
            _row(
                name,
                states.get(name),
                folder.workflows.get(name),
                faults=len(diagnostics.get(name, ())),
                waits_for=waits.get(name, []),
                waited_for_by=sorted(waited.get(name, [])),
            )
            for name in all_names
            if only is None or name in only
        ]

    def get(self, name: str) -> WorkflowDetail:
        """
        Return one workflow.

        :raises UnknownWorkflowError: neither Redis nor a file knows it.
        """
        folder = self._catalog.read()
        workflow = folder.workflows.get(name)
        diagnostics = diagnostics_by_workflow(folder.diagnostics).get(name, [])
        try:
            state: WorkflowState | None = self._store().status(name)
        except UnknownWorkflowError:
            if workflow is None and not diagnostics:
                raise self._unknown(name, folder) from None
            state = None
        waits = _waits_for(workflow) if workflow is not None else []
        waited = sorted(other for other, found in folder.workflows.items() if name in _waits_for(found))
        nodes = graph_of(workflow) if workflow is not None and workflow.model is not None else {}
        config = workflow.config() if workflow is not None else None
        path = workflow.path if workflow is not None else Path(diagnostics[0].file) if diagnostics else None
        return WorkflowDetail(
            summary=_summary(name, state, workflow, faults=len(diagnostics), waits_for=waits, waited_for_by=waited),
            job_states=list(_job_states(name, state, config, nodes)),
            fields=encodable(state.jobs) if state is not None else {},
            changes=list(state.changes) if state is not None else [],
            file=str(path.relative_to(self._catalog.folder)) if path is not None else None,
            source=_text(path),
            faults=diagnostics,
            graph={task: list(node.upstream) for task, node in nodes.items()},
        )

    def fields(self, name: str) -> dict[str, Fields]:
        """
        Return job → its fields as Redis has them.

        :raises UnknownWorkflowError: Redis does not know the workflow.
        """
        return self._store().status(name).jobs

    def config(self, name: str) -> WorkflowConfig | None:
        """
        Return what the state needs of a workflow's file.

        :returns: None if there is none.
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
        """
        Set a workflow back to its configuration; windows start anew, history stays.

        :param config: a configuration of the caller's instead of the file's.
        :raises ConfigError: there is no file of it.
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
        """Let the next window of some jobs, or of all, start at `from_date` (UTC)."""
        moved = self._store().set_window(name, from_date, jobs=jobs, by=actor, why=why)
        details = {"from_date": str(from_date), "jobs": [*jobs]}
        self._audit(Audit(workflow=name, action="set_window", actor=actor, why=why, details=details))
        return moved

    def switch(self, name: str, job: str, *, enabled: bool, actor: Actor, why: str | None = None) -> frozenset[str]:
        """Switch a job on or off; returns all that are off."""
        change = self._store().enable if enabled else self._store().disable
        off = change(name, job, by=actor, why=why)
        action = "enable" if enabled else "disable"
        self._audit(Audit(workflow=name, action=action, actor=actor, why=why, job=job))
        return off

    def validate(self, paths: Iterable[Path] = ()) -> list[Diagnostic]:
        """Return the diagnostics of all workflow files, or of some, without looking into bundles."""
        from batchy_provider.config.inspection import inspect_folder

        wanted = {str(path) for path in paths}
        found = inspect_folder(self._catalog.folder, look_into_bundles=False)
        return [diagnostic for diagnostic in found if not wanted or diagnostic.file in wanted]

    def _unknown(self, name: str, folder: Folder) -> UnknownWorkflowError:
        hint = did_you_mean(name, self._names.all() | folder.workflows.keys())
        return UnknownWorkflowError(
            f"workflow {name!r} is in neither Redis nor {folder_text(self._catalog.folder)}{hint}"
        )


def folder_text(folder: Path) -> str:
    """Name the folder of workflow files."""
    return f"the folder {folder}" if folder.is_dir() else f"a folder of workflow files (there is none at {folder})"


def diagnostics_by_workflow(diagnostics: Iterable[Diagnostic]) -> dict[str, list[Diagnostic]]:
    """Sort diagnostics by the workflow whose file they are in; those of ``_defaults`` are no workflow's."""
    by_name: dict[str, list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        if not Path(diagnostic.file).stem.startswith("_") and Path(diagnostic.file).suffix:
            by_name.setdefault(Path(diagnostic.file).stem, []).append(diagnostic)
    return by_name


def sort_by(found: list[Any], order_by: str, columns: Collection[str] = ()) -> list[Any]:
    """
    Sort by a column, and by name where that is equal; what has no value comes last.

    :param columns: those that there are; by default the fields of `WorkflowSummary`.
    :raises ConfigError: there is no such column.
    """
    column = order_by.removeprefix("-")
    if column not in (columns or (field.name for field in fields(WorkflowSummary))):
        raise ConfigError(f"cannot sort by {column!r}; expected a column, such as workflow, status or -started")
    known = [item for item in found if getattr(item, column) is not None]
    unknown = [item for item in found if getattr(item, column) is None]
    known.sort(key=lambda item: _comparable(getattr(item, column)), reverse=order_by.startswith("-"))
    return known + unknown


def _comparable(value: Any) -> Any:
    if isinstance(value, list | dict):
        return len(value)
    return value if isinstance(value, str | int | float) else str(value)


def _waits_for(workflow: Workflow) -> list[str]:
    return list(dict.fromkeys(other for other, _ in needs(workflow)))


def _row(
    name: str,
    state: WorkflowState | UnreadableWorkflow | None,
    workflow: Workflow | None,
    *,
    faults: int,
    waits_for: list[str],
    waited_for_by: list[str],
) -> WorkflowSummary:
    """Return a row of a list; whatever is wrong with one workflow makes its own row unreadable, no other."""
    neighbours: dict[str, Any] = {"faults": faults, "waits_for": waits_for, "waited_for_by": waited_for_by}
    try:
        if not isinstance(state, UnreadableWorkflow):
            return _summary(name, state, workflow, **neighbours)
        return replace(_summary(name, None, workflow, **neighbours), **_unreadable(state.reason))
    except Exception as error:
        _unforeseen.warning(name, "%s: its row cannot be made", name, exc_info=error)
        reason = f"{error}" if isinstance(error, BatchyError) else f"{type(error).__name__}: {error}"
        in_cfg = workflow is not None or faults > 0
        return WorkflowSummary(workflow=name, **_unreadable(encodable(reason)), in_cfg=in_cfg, **neighbours)


def _unreadable(reason: str) -> dict[str, Any]:
    return {"status": "unreadable", "unreadable": reason, "in_redis": True, "late_seconds": None}


def _summary(
    name: str,
    state: WorkflowState | None,
    workflow: Workflow | None,
    *,
    faults: int,
    waits_for: list[str],
    waited_for_by: list[str],
) -> WorkflowSummary:
    batch = state.batch if state is not None else None
    model = workflow.model if workflow is not None else None
    config = workflow.config() if workflow is not None and state is None else None
    live = {} if state is None or batch is None or batch.status != "open" else state.progress
    last_success = state.last_success if state is not None else None
    deadline = deadline_of(model, last_success, to_utc(datetime.now(timezone.utc))) if model is not None else None
    return WorkflowSummary(
        workflow=name,
        status=batch.status if batch else "new",
        batch_id=batch.batch_id if batch else None,
        from_date=batch.from_date if batch else None,
        to_date=batch.to_date if batch else None,
        started=batch.started if batch else None,
        run=batch.record.run if batch and batch.record else None,
        batch_end=batch.batch_end if batch else None,
        last_success=last_success,
        holder=str(state.holder) if state is not None and state.holder else None,
        timezone=state.timezone if state is not None else config.timezone if config is not None else "UTC",
        jobs=list(state.jobs if state is not None else config.jobs if config is not None else ()),
        disabled=sorted(state.disabled if state is not None else config.disabled if config is not None else ()),
        progress={job: dict(r) for job, r in live.items() if batch is not None and r.get("batch_id") == batch.batch_id},
        in_redis=state is not None,
        in_cfg=workflow is not None or faults > 0,
        faults=faults,
        description=model.description if model is not None else None,
        schedule=schedule_text(model) if model is not None else None,
        deadline=deadline.at if deadline is not None else None,
        late_seconds=deadline.late_seconds if deadline is not None else None,
        waits_for=waits_for,
        waited_for_by=waited_for_by,
    )


def _job_states(
    workflow: str, state: WorkflowState | None, config: WorkflowConfig | None, nodes: Mapping[str, Node]
) -> Iterable[JobSummary]:
    names = list(state.jobs) if state is not None else list(config.jobs) if config is not None else []
    handlers = [name for name, node in nodes.items() if node.kind == "handler"]
    for name in dict.fromkeys([*names, *handlers]):
        stored: Fields = state.jobs.get(name, {}) if state is not None else {}
        given: Mapping[str, Any] = config.jobs.get(name, {}) if config is not None else {}
        node = nodes.get(name)
        report = state.progress.get(name) if state is not None else None
        zone = state.timezone if state is not None else "UTC"
        at = position_or_none(workflow, name, stored, zone) if stored else None
        fresh = {**given, "status": given.get("status") or "new"}
        known_in_file = config is not None and name in config.jobs
        reset = position_or_none(workflow, name, fresh, config.timezone) if config and known_in_file else None
        disabled = name in (state.disabled if state is not None else config.disabled if config is not None else ())
        yield JobSummary(
            job=name,
            kind="handler" if name in handlers else "job",
            status=str(stored.get("status") or "new"),
            outcome=stored.get("outcome"),
            batch_id=stored.get("batch_id"),
            from_date=stored.get("from_date"),
            to_date=stored.get("to_date") or stored.get("batch_start"),
            batch_start=stored.get("batch_start"),
            batch_end=stored.get("batch_end"),
            disabled=disabled,
            params=encodable(
                hide({key: value for key, value in (stored or given).items() if key not in SPECIAL_FIELDS})
            ),
            progress=dict(report) if report is not None and report.get("batch_id") == stored.get("batch_id") else None,
            upstream=list(node.upstream) if node is not None else [],
            note=node.note if node is not None else "",
            next_from=format_date(at.start) if at is not None else None,
            watermark=format_date(at.watermark) if at is not None else None,
            reset_from=format_date(reset.start) if reset is not None else None,
        )


def _text(path: Path | None) -> str | None:
    from batchy_provider.config.document import DocumentError
    from batchy_provider.config.file_scan import read_bytes

    try:
        return read_bytes(path).decode("utf-8", "replace") if path is not None else None
    except DocumentError:  # such as a FIFO, which would never end
        return None
