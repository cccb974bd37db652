# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Opening and closing a batch as tasks, made to be a DAG's setup and teardown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import BaseOperator

from batchy_provider.assets import workflow_alias, workflow_asset
from batchy_provider.exceptions import (
    ArchiveUnavailableError,
    BatchHeldError,
    BatchyError,
    ConflictError,
    RedisUnavailableError,
)
from batchy_provider.links.batch import BatchLink
from batchy_provider.operators.dag_run import CONF_MOVE, Run, is_running, retry_defaults

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from batchy_provider.core.values import Batch, Fields, OpenRequest, Outcome, Result, WorkflowConfig
    from batchy_provider.operators.task_instances import States
    from batchy_provider.state.store import Store

IfOpen = Literal["fail", "wait", "take_over"]
IF_OPEN: tuple[IfOpen, ...] = ("fail", "wait", "take_over")
HOLDER_CHECK_SECONDS = 60
"""How often a run that waits for a batch to be closed asks whether its holder still runs."""

_OUTCOMES: dict[str, Outcome] = {
    "success": "success",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_failed": "aborted",
}
_FAILED = ("failed", "aborted")
_WORST_FIRST: tuple[Outcome, ...] = ("failed", "aborted", "success", "skipped")


class _BatchOperator(BaseOperator):
    """What opening and closing share.

    Both are safe to repeat, and a Redis that restarts must not cost the night, so unless told otherwise they
    are retried for some minutes; a mistake that no retry can mend fails at once.
    """

    template_fields: Sequence[str] = ("workflow", "redis_conn_id")
    operator_extra_links = (BatchLink(),)
    batch_id_shown: int | None = None

    def __init__(self, *, workflow: str, redis_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**retry_defaults(kwargs), **kwargs)
        self.workflow = workflow
        self.redis_conn_id = redis_conn_id

    @contextmanager
    def _store(self) -> Iterator[Store]:
        """Yield the store; say at once, with no retry, what only a person can mend."""
        from batchy_provider.hooks.batchy import BatchyHook

        try:
            with BatchyHook(self.redis_conn_id) as store:
                yield store
        except (RedisUnavailableError, ConflictError, ArchiveUnavailableError):
            raise
        except BatchyError as error:
            raise AirflowFailException(str(error)) from error


class BatchyOpenOperator(_BatchOperator):
    """
    Open a batch of a workflow and hand its window on.

    Which window it gets, also when it is retried, cleared or backfilled, stands in docs/state.md. A run
    may ask for a window by its conf: ``{"from_date": …, "to_date": …}``; with ``"move_watermark": true``
    the watermark moves with it.

    :param workflow: the workflow. (templated)
    :param jobs: job → its params, ``reprocess_hours``, ``trunc_start``, ``initial_date``; None opens what Redis
        knows of the workflow already. (templated)
    :param timezone: IANA name; where ``trunc_start`` cuts.
    :param disabled_jobs: jobs that are switched off in the configuration.
    :param infa: how an Informatica parameter file of this workflow names its sections.
    :param if_open: what to do while another run holds the batch open and is still running: ``fail``, ``wait``
        until it has been closed (deferred), or ``take_over``.
    :param redis_conn_id: the connection; default is ``[batchy] redis_conn_id``. (templated)
    :returns: XCom with ``workflow``, ``batch_id``, ``kind``, ``from_date``, ``to_date`` and, by job,
        ``from_date`` and ``to_date``, in ISO 8601, UTC.
    """

    template_fields: Sequence[str] = ("workflow", "jobs", "redis_conn_id")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        workflow: str,
        jobs: Mapping[str, Fields] | None = None,
        timezone: str = "UTC",
        disabled_jobs: Collection[str] = (),
        infa: Mapping[str, Any] | None = None,
        if_open: IfOpen = "fail",
        redis_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workflow=workflow, redis_conn_id=redis_conn_id, **kwargs)
        if if_open not in IF_OPEN:
            raise ValueError(f"if_open is {if_open!r}; expected one of {', '.join(IF_OPEN)}")
        self.jobs = jobs
        self.timezone = timezone
        self.disabled_jobs = sorted(disabled_jobs)
        self.infa = infa
        self.if_open = if_open

    def execute(self, context: Context) -> dict[str, Any]:
        """Open, or find open what an earlier try of this run has opened."""
        from batchy_provider.observability import events, traces

        self._refuse_scripts()
        with traces.span("batchy.open", workflow=self.workflow) as span, self._store() as store:
            request = self._request(context)
            batch = self._open(store, request, context["ti"])
            span.set(**traces.batch_attributes(batch), reused=batch.reused)
        events.opened(batch, _attempt(context))
        self.batch_id_shown = batch.batch_id
        self._tell(batch)
        return _summary(batch)

    def _refuse_scripts(self) -> None:
        """Open no window for scripts that cannot run; a job that is switched off does not count."""
        dag = self.get_dag()
        if dag is None:
            return
        from batchy_provider.operators.script_checks import script_problems

        tasks = [task for task in dag.tasks if task.task_id not in self.disabled_jobs]
        if problems := script_problems(tasks):
            raise AirflowFailException("No batch is opened. " + " ".join(problems))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Try again, now that the batch has been closed or its holder is to be looked at."""
        self.log.info("%s", event.get("text", "waited long enough to look again"))
        return self.execute(context)

    def _request(self, context: Context) -> OpenRequest:
        from batchy_provider.core.values import OpenRequest

        run = Run.of(context)
        asked = run.asked_window()
        if run.is_backfill:
            window = asked or run.backfill_window(context["dag"].timetable)
            return OpenRequest(holder=run.holder(), config=self._config(), window=window, backfill=True)
        return OpenRequest(
            holder=run.holder(),
            config=self._config(),
            window=asked,
            move_watermark=bool(run.conf.get(CONF_MOVE)),
            if_open="take_over" if self.if_open == "take_over" else "fail",
            day=None if asked else run.day(self.timezone),
        )

    def _config(self) -> WorkflowConfig | None:
        if self.jobs is None:
            return None
        from batchy_provider.core.job_settings import plain_fields
        from batchy_provider.core.names import check_job_name
        from batchy_provider.core.values import WorkflowConfig

        jobs = {check_job_name(name): plain_fields(self.workflow, name, job) for name, job in self.jobs.items()}
        return WorkflowConfig(
            name=self.workflow,
            jobs=jobs,
            timezone=self.timezone,
            disabled=frozenset(self.disabled_jobs),
            infa=self.infa or {},
        )

    def _open(self, store: Store, request: OpenRequest, ti: RuntimeTaskInstanceProtocol) -> Batch:
        try:
            return store.open(self.workflow, request)
        except BatchHeldError as held:
            if not is_running(ti, held.holder):
                return store.open(self.workflow, replace(request, gone=held.batch_id))
            if self.if_open != "wait":
                raise
            self.log.info("%s", held)
            batch_id = held.batch_id
        from batchy_provider.triggers.batch import BatchFreeTrigger

        self.defer(
            trigger=BatchFreeTrigger(
                workflow=self.workflow,
                batch_id=batch_id,
                redis_conn_id=self.redis_conn_id,
                look_again_seconds=HOLDER_CHECK_SECONDS,
            ),
            method_name="execute_complete",
        )
        raise AssertionError("defer raises")

    def _tell(self, batch: Batch) -> None:
        if batch.warning:
            self.log.warning("%s: %s", self.workflow, batch.warning)
        how = "found open, opened by this run before" if batch.reused else batch.record and batch.record.reason
        self.log.info("Batch %s of %s is open: %s.", batch.batch_id, self.workflow, how)
        left_out = batch.record.left_out if batch.record else ()
        for name, job in batch.jobs.items():
            if name in left_out:
                self.log.info("  %s: not part of this batch; its window stays", name)
            else:
                self.log.info("  %s: %s to %s UTC", name, job.get("from_date"), job.get("to_date"))


def _summary(batch: Batch) -> dict[str, Any]:
    return {
        "workflow": batch.workflow,
        "batch_id": batch.batch_id,
        "kind": batch.kind,
        "from_date": batch.from_date,
        "to_date": batch.to_date,
        "jobs": {
            name: {"from_date": job.get("from_date"), "to_date": job.get("to_date")} for name, job in batch.jobs.items()
        },
    }


class BatchyCloseOperator(_BatchOperator):
    """
    Close the batch that this run has opened.

    With ``status="auto"`` the batch is a success unless a task before this one failed or was aborted by
    another's failure; if so, this task records it and then fails, so that the run is a failure too.

    :param workflow: the workflow. (templated)
    :param status: ``auto``, ``success`` or ``failed``. (templated)
    :param redis_conn_id: the connection; default is ``[batchy] redis_conn_id``. (templated)
    :returns: XCom with ``workflow``, ``batch_id``, ``kind``, ``from_date``, ``to_date``, ``status``,
        ``outcomes``.
    """

    template_fields: Sequence[str] = ("workflow", "status", "redis_conn_id")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        workflow: str,
        status: Literal["auto", "success", "failed"] | str = "auto",
        redis_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        if "{" not in workflow:
            kwargs["outlets"] = [*kwargs.get("outlets", ()), workflow_alias(workflow)]
        super().__init__(workflow=workflow, redis_conn_id=redis_conn_id, **kwargs)
        self.status = status

    def execute(self, context: Context) -> dict[str, Any]:
        """Close, or find closed what an earlier try of this task has closed."""
        from batchy_provider.core.values import CloseRequest
        from batchy_provider.observability import events, traces

        run = Run.of(context)
        with traces.span("batchy.close", workflow=self.workflow) as span, self._store() as store:
            batch = store.batch_of_run(self.workflow, run.key(self.workflow))
            if batch is None:
                raise AirflowFailException(
                    f"{self.workflow}: run {run.run_id!r} has opened no batch, so there is none to close; put a "
                    "BatchyOpenOperator before this task. If there is one, Redis has lost the batch since: `batchy "
                    f"restore {self.workflow}`, and the next run takes the window again"
                )
            self.batch_id_shown = batch.batch_id
            before, removed = self._states(context, run, batch)
            for name in removed:
                if store.skip_job(self.workflow, batch.batch_id, name, removed=True):
                    self.log.warning("  %s: is no job of the workflow any more; its window stays where it was", name)
            result, outcomes, why = self._result(before, context, run, batch)
            request = CloseRequest(result=result, batch_id=batch.batch_id, outcomes=outcomes, by=str(run.holder()))
            closed = store.close(self.workflow, request)
            span.set(**traces.batch_attributes(closed))
        events.closed(closed, _attempt(context))
        self.log.info("Batch %s of %s is closed: %s.", closed.batch_id, self.workflow, closed.status)
        for name, job in closed.jobs.items():
            self.log.info("  %s: %s", name, job.get("outcome"))
        if closed.kind == "live" and closed.status == "success":
            self._announce(context, closed)
        if why:
            raise AirflowFailException(f"Batch {closed.batch_id} of {self.workflow} failed: {why}")
        outcomes_now = {name: job.get("outcome") for name, job in closed.jobs.items()}
        return {**_summary(closed), "status": closed.status, "outcomes": outcomes_now}

    def _result(
        self, before: States, context: Context, run: Run, batch: Batch
    ) -> tuple[Result, dict[str, Outcome], str | None]:
        """Return the result, each job's outcome and, if this task is to fail for it, why."""
        from batchy_provider.exceptions import ConfigError

        became = {task: _worst(list(states.values())) for task, states in before.items() if states}
        outcomes = {name: became[name] for name in batch.jobs if name in became}
        if self.status == "success":
            return "success", outcomes, None
        if self.status == "failed":
            return "failed", outcomes, None
        if self.status != "auto":
            raise ConfigError(f"{self.workflow}: status is {self.status!r}; expected auto, success or failed")
        bad = sorted(f"{task} {outcome}" for task, outcome in became.items() if outcome in _FAILED)
        bad += [f"{name} has no instance in this run" for name in _unknown(batch, before)]
        if bad:
            return "failed", outcomes, ", ".join(bad)
        ti = context["ti"]
        if ti.get_dr_count(dag_id=run.dag_id, run_ids=[run.run_id], states=["failed"]):
            # Marked as failed by a person, or timed out: what was skipped for that has not been loaded.
            return "failed", outcomes, "the run was marked as failed"
        return "success", outcomes, None

    def _states(self, context: Context, run: Run, batch: Batch) -> tuple[States, list[str]]:
        """Return the states of all tasks before this one, and the batch's jobs that were taken out of the file.

        What became of the latter nobody knows: Airflow calls them removed, also those that had run.
        """
        from batchy_provider.operators.task_instances import states_of

        tasks = context["dag"].task_dict
        before = self.get_flat_relative_ids(upstream=True)
        gone = [name for name in batch.jobs if name not in tasks]
        found = states_of(context["ti"], run.dag_id, run.run_id, {*before, *gone}, counted=True)
        # Of a mapped task that has fewer instances than when it ran before, the others are "removed".
        known = {task: {index: state for index, state in found[task].items() if state != "removed"} for task in before}
        return known, [name for name in gone if found[name]]

    def _announce(self, context: Context, batch: Batch) -> None:
        alias = workflow_alias(self.workflow)
        if alias not in self.outlets:
            return
        extra: dict[str, Any] = {"batch_id": batch.batch_id, "from_date": batch.from_date, "to_date": batch.to_date}
        context["outlet_events"][alias].add(workflow_asset(self.workflow), extra=extra)


def _attempt(context: Context) -> int:
    return int(getattr(context["ti"], "try_number", 1))


def _unknown(batch: Batch, before: States) -> list[str]:
    """Return the batch's jobs that are tasks before this one and have no instance: nothing tells that they ran."""
    left_out = batch.record.left_out if batch.record else ()
    return [
        name
        for name, job in batch.jobs.items()
        if name in before and not before[name] and name not in left_out and job.get("outcome") != "skipped"
    ]


def _worst(states: Sequence[str]) -> Outcome:
    """Return what became of a task: the worst of its instances, if it is mapped."""
    found = {_OUTCOMES.get(state, "aborted") for state in states}
    return next(outcome for outcome in _WORST_FIRST if outcome in found)
