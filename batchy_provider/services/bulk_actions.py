# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Do one thing with many workflows: each on its own, with its own result.

A second call with the same request, for example after a lost reply, does nothing twice: what is done already is
answered as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import BatchyError, ConfigError, RedisUnavailableError, UnknownWorkflowError
from batchy_provider.services.answers import Audit

if TYPE_CHECKING:
    from batchy_provider.core.values import Actor, Batch
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.services.archive import ArchiveService
    from batchy_provider.services.workflows import WorkflowService
    from batchy_provider.state.store import Store

BulkAction = Literal["run_again", "pause", "unpause", "enable", "restore"]
RowOutcome = Literal["done", "already", "refused", "failed"]

MAX_WORKFLOWS = 200
"""How many workflows one request may name. Each may need several requests to Airflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """What happened to one workflow.

    :param result: ``done``, ``already`` (it was so before), ``refused`` (nothing has changed), or ``failed`` (an
        outage: whether something has changed is not known).
    :param code: for programs: what was done, or why not.
    :param text: the same, for people.
    """

    workflow: str
    result: RowOutcome
    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRequest:
    """One thing to do with many workflows.

    :param batches: workflow → the failed batch to run again, as the caller has seen it; without one, the latest.
    """

    action: BulkAction
    workflows: list[str]
    batches: Mapping[str, int] = field(default_factory=dict)
    why: str | None = None


class RefusedError(Exception):
    """An action on one workflow is refused.

    :param code: for programs: why.
    :param is_outage: something could not be reached, so it may work later.
    """

    def __init__(self, code: str, text: str, *, is_outage: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.is_outage = is_outage


class DagControl(Protocol):
    """Changes DAGs and runs of this Airflow, with the rights of one caller."""

    def is_paused(self, dag_id: str) -> bool:
        """Tell whether a DAG is paused.

        :raises RefusedError: Airflow has no such DAG, or the caller may not read it.
        """

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG.

        :raises RefusedError: Airflow refuses it.
        """

    def is_active(self, dag_id: str, run_id: str) -> bool:
        """Tell whether a run has not ended.

        :raises RefusedError: Airflow has no such run, or the caller may not read it.
        """

    def clear(self, dag_id: str, run_id: str, *, only_failed: bool) -> None:
        """Make Airflow run a run again.

        :param only_failed: only its failed tasks and those after them, and the tasks that open and close its batch.
        :raises RefusedError: Airflow refuses it, or no task has failed.
        """


class BulkService:
    """Run failed batches again, pause, unpause, enable and restore: one workflow, or many.

    :param store: returns the state in Redis.
    :param workflows: shows workflows, and switches jobs.
    :param archive: returns the archive; None without one.
    :param audit: called with each change after it is made.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        workflows: Callable[[], WorkflowService],
        archive: Callable[[], ArchiveService | None],
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._workflows = workflows
        self._archive = archive
        self._audit = audit

    def run(
        self,
        request: BulkRequest,
        *,
        actor: Actor,
        control: DagControl,
        refusal: Callable[[str], str | None],
        code_of: Callable[[BatchyError], str],
    ) -> list[BulkResult]:
        """Do it with each workflow, in the order of the request. An error with one does not stop the others.

        :param refusal: returns why the caller may not change a workflow; None if the caller may.
        :param code_of: returns the code of an error.
        """
        results: list[BulkResult] = []
        outage: BatchyError | None = None
        for workflow in dict.fromkeys(request.workflows):
            if (text := refusal(workflow)) is not None:
                results.append(BulkResult(workflow=workflow, result="refused", code="forbidden", text=text))
            elif outage is not None:
                text = f"not tried, since Redis did not answer before: {outage}"
                results.append(BulkResult(workflow=workflow, result="failed", code=code_of(outage), text=text))
            else:
                try:
                    results.append(self._one(workflow, request, actor, control))
                except RefusedError as error:
                    result: RowOutcome = "failed" if error.is_outage else "refused"
                    results.append(BulkResult(workflow=workflow, result=result, code=error.code, text=str(error)))
                except BatchyError as error:
                    outage = error if isinstance(error, RedisUnavailableError) else None
                    result = "refused" if outage is None else "failed"
                    results.append(BulkResult(workflow=workflow, result=result, code=code_of(error), text=str(error)))
        return results

    def run_again(
        self, workflow: str, batch_id: int, *, only_failed: bool, actor: Actor, control: DagControl, why: str | None
    ) -> str:
        """Clear the run of a batch, so that Airflow runs it again with the same window; return the run's id.

        :param only_failed: as in `DagControl.clear`.
        :raises UnknownBatchError: there is no such batch.
        :raises RefusedError: no run of this Airflow opened it, or Airflow refuses it.
        """
        dag_id, run_id = _run_of(self._store().batch(workflow, batch_id))
        self._clear(workflow, batch_id, (dag_id, run_id), actor, control, why, only_failed=only_failed)
        return run_id

    def _one(self, workflow: str, request: BulkRequest, actor: Actor, control: DagControl) -> BulkResult:
        check_workflow_name(workflow)
        match request.action:
            case "run_again":
                result = self._run_failed_again(workflow, request, actor, control)
            case "pause" | "unpause":
                result = self._pause(workflow, request, actor, control)
            case "enable":
                result = self._enable(workflow, request, actor)
            case "restore":
                result = self._restore(workflow, request, actor)
        outcome, code, text = result
        return BulkResult(workflow=workflow, result=outcome, code=code, text=text)

    # -- run again ---------------------------------------------------------------------------------------------

    def _run_failed_again(
        self, workflow: str, request: BulkRequest, actor: Actor, control: DagControl
    ) -> tuple[RowOutcome, str, str]:
        wanted = request.batches.get(workflow)
        latest = self._store().status(workflow).batch
        if latest is None:
            raise RefusedError("no_batch", "no batch was opened yet, so there is none to run again")
        if wanted is not None and latest.batch_id != wanted:
            before = self._store().batch(workflow, wanted)
            if _name(before) == _name(latest) is not None:
                return "already", "run_again_started", f"it runs again already, as batch {latest.batch_id}"
            text = f"batch {wanted} is not the latest any more: batch {latest.batch_id} is {latest.status}"
            raise RefusedError("batch_superseded", text)
        if latest.status != "failed":
            text = f"its latest batch, {latest.batch_id}, has not failed: it is {latest.status}"
            raise RefusedError("batch_not_failed", text)
        dag_id, run_id = _run_of(latest)
        if control.is_active(dag_id, run_id):
            return "already", "run_active", f"run {run_id} has not ended: it runs, or is queued to run again"
        self._clear(workflow, latest.batch_id, (dag_id, run_id), actor, control, request.why, only_failed=True)
        return "done", "run_cleared", f"run {run_id} is cleared and starts again as soon as Airflow has a free slot"

    def _clear(
        self,
        workflow: str,
        batch_id: int,
        run: tuple[str, str],
        actor: Actor,
        control: DagControl,
        why: str | None,
        *,
        only_failed: bool,
    ) -> None:
        dag_id, run_id = run
        control.clear(dag_id, run_id, only_failed=only_failed)
        details = {"run": run_id, "tasks": "failed" if only_failed else "all"}
        entry = Audit(workflow=workflow, action="run_again", actor=actor, why=why, batch_id=batch_id, details=details)
        self._record(entry, f"run again: batch {batch_id}, run {run_id}")

    # -- the others ----------------------------------------------------------------------------------------------

    def _pause(
        self, workflow: str, request: BulkRequest, actor: Actor, control: DagControl
    ) -> tuple[RowOutcome, str, str]:
        paused = request.action == "pause"
        done = "paused" if paused else "unpaused"
        if control.is_paused(workflow) == paused:
            return "already", done, f"its DAG was {done} before" if paused else "its DAG was not paused"
        control.set_paused(workflow, paused)
        self._record(Audit(workflow=workflow, action=request.action, actor=actor, why=request.why), request.action)
        return "done", done, f"its DAG is {done}"

    def _enable(self, workflow: str, request: BulkRequest, actor: Actor) -> tuple[RowOutcome, str, str]:
        jobs = self._workflows().get(workflow).summary.disabled
        if not jobs:
            return "already", "enabled", "no job of it was disabled"
        enabled, refused = [], []
        for job in jobs:
            try:
                self._workflows().switch(workflow, job, enabled=True, actor=actor, why=request.why)
            except ConfigError:  # its configuration says so
                refused.append(job)
            else:
                enabled.append(job)
        in_file = f"disabled by its file, so still off: {', '.join(refused)}"
        if not enabled:
            raise RefusedError("disabled_in_file", in_file)
        return "done", "enabled", f"enabled: {', '.join(enabled)}" + (f"; {in_file}" if refused else "")

    def _restore(self, workflow: str, request: BulkRequest, actor: Actor) -> tuple[RowOutcome, str, str]:
        archive = self._archive()
        if archive is None:
            raise RefusedError("archive_off", "this Airflow has no archive of closed batches")
        done = archive.restore(workflow, actor=actor, history=True, overwrite=False, why=request.why)
        if done.refused is not None:
            raise RefusedError("lost_state", f"not restored: {done.refused}")
        if not done.state and not done.batches:
            return "already", "restored", "Redis lacks nothing that the archive has"
        what = ["its state"] if done.state else []
        what += [f"{done.batches} batch{'' if done.batches == 1 else 'es'}"] if done.batches else []
        return "done", "restored", f"restored: {' and '.join(what)}"

    def _record(self, entry: Audit, what: str) -> None:
        """Record what a person did in Airflow, beside the other changes that people make.

        It is done: Redis that does not answer now, or does not know the workflow, changes nothing about that.
        """
        self._audit(entry)
        try:
            self._store().status(entry.workflow)
            self._store().record(entry.workflow, what, by=entry.actor, why=entry.why)
        except (UnknownWorkflowError, RedisUnavailableError):
            return


def _name(batch: Batch) -> str | None:
    return batch.record.run if batch.record is not None else None


def _run_of(batch: Batch) -> tuple[str, str]:
    """Return DAG and id of the run that opened a batch: ``RUN`` of the workflow's own DAG, ``DAG/RUN`` of another."""
    name = _name(batch)
    if name is None:
        text = f"no run of a DAG opened batch {batch.batch_id}, so Airflow cannot run it again"
        raise RefusedError("no_run", text)
    before, slash, after = name.partition("/")
    return (before, after) if slash else (batch.workflow, name)
