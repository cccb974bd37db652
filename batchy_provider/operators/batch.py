# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Open and close a batch as tasks, for use as a DAG's setup and teardown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

from batchy_provider.assets import workflow_alias, workflow_asset
from batchy_provider.core.vocabulary import IF_OPEN, IfOpen
from batchy_provider.exceptions import BatchHeldError, NothingToLoadError, WorkflowOnHoldError
from batchy_provider.operators.batch_operator import BatchOperator, attempt_of, batch_summary
from batchy_provider.operators.dag_run import Run, is_gone
from batchy_provider.operators.next_slice import is_due, start_next_slice

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol
    from typing_extensions import Self

    from batchy_provider.core.job_state import Fields
    from batchy_provider.core.values import Batch, OpenRequest
    from batchy_provider.core.window_shape import WindowShape
    from batchy_provider.state.store import Store

HOLDER_CHECK_SECONDS = 60
"""Seconds between two checks whether the run that holds the open batch still runs."""


class BatchyOpenOperator(BatchOperator):
    """Open a batch of a workflow, and return its window of data to the tasks after it.

    Use it as the setup of a DAG that loads data in slices: the window starts where the last successful batch ended,
    so a failed night, a pause or a rerun neither leaves data out nor loads it twice by accident. Which window a run
    gets when it is retried, cleared or backfilled: [State](../state.md).

    A run can choose its window in its conf: ``{"from_date": …, "to_date": …}``, the start inclusive, the end
    exclusive. With ``"move_watermark": true`` the next window starts at its end. With ``"ignore_hold": true`` the run
    opens its batch even if a person has put the workflow on hold.

    | what happens | state of the task |
    |---|---|
    | the batch opens, or an earlier try of the run has opened it | success |
    | the shape of the windows leaves nothing to load | skipped, and all tasks up to the closing one too |
    | another run that still runs holds the batch open | `if_open`: failed, or deferred until that batch closes |
    | a person has put the workflow on hold | deferred until the hold ends, whatever `if_open` is |
    | Redis or the archive does not answer, or the workflow changes meanwhile | up for retry |
    | the window, the jobs or the scripts cannot be used | failed, without a retry |

    ```python
    jobs = {"extract": {"reprocess_hours": 2}, "load": {}}
    open_batch = BatchyOpenOperator(task_id="open", workflow="sales", jobs=jobs).as_setup()
    ```

    A whole DAG: [How to use Python](../howto/python.md).

    :param workflow: the workflow. (templated)
    :param jobs: job → its params and the settings ``reprocess_hours``, ``trunc_start``, ``initial_date``. None: the
        jobs that Redis already has. (templated)
    :param timezone: IANA name of the timezone in which ``trunc_start`` cuts.
    :param disabled_jobs: jobs that the configuration switches off.
    :param infa: how an Informatica parameter file of this workflow names its sections.
    :param window: the shape of the windows, as a workflow file has it: ``{"align": "day", "max": "1d"}``. With ``max``,
        a BatchyCloseOperator starts the next run of the DAG until all is loaded.
    :param if_open: what to do while another run that still runs holds the batch open: ``fail``, ``wait`` until it is
        closed (deferred), or ``take_over``.
    :param redis_conn_id: connection to Redis; default: ``[batchy] redis_conn_id``. (templated)
    :returns: XCom with ``workflow``, ``batch_id``, ``kind``, ``from_date`` (inclusive), ``to_date`` (exclusive), and
        ``jobs``: job → ``from_date`` and ``to_date``. Dates are ISO 8601, UTC.
    :raises ValueError: if `if_open` or `window` has another value.
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
        window: Mapping[str, Any] | WindowShape | None = None,
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
        self.window: WindowShape | None = None
        if window is not None:
            from batchy_provider.operators.opening import shape_of

            self.window = shape_of(window)

    def execute(self, context: Context) -> dict[str, Any]:
        """Open the batch, or return the one that an earlier try of this run has opened."""
        from batchy_provider.observability import metrics, traces
        from batchy_provider.operators.opening import log_windows, skip_batch
        from batchy_provider.operators.script_checks import check_scripts

        check_scripts(self, self.disabled_jobs)
        with traces.span("batchy.open", workflow=self.workflow) as span, self._store() as store:
            request = self._request(context)
            try:
                batch = self._open(store, request, context["ti"])
            except NothingToLoadError as nothing:
                skip_batch(self, nothing)
            except WorkflowOnHoldError as held:
                self._wait_for_release(held)
            span.set(**traces.batch_attributes(batch), reused=batch.reused)
        metrics.opened(batch, attempt_of(context))
        self.batch_id_shown = batch.batch_id
        log_windows(self.log, self.workflow, batch)
        return batch_summary(batch)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Try again: the hold is over, the other batch is closed, or it is time to check whether its holder runs."""
        self.log.info("%s", event.get("text", "checking again whether the batch is open"))
        return self.execute(context)

    def _wait_for_release(self, held: WorkflowOnHoldError) -> NoReturn:
        """Defer until the hold on the workflow is over. The run goes on then, with all data that came in meanwhile."""
        from batchy_provider.triggers.hold import HoldOverTrigger

        self.log.info("%s", held)
        self.defer(
            trigger=HoldOverTrigger(workflow=self.workflow, redis_conn_id=self.redis_conn_id),
            method_name="execute_complete",
        )
        raise AssertionError("defer raises")

    def _request(self, context: Context) -> OpenRequest:
        from batchy_provider.operators.opening import open_request, workflow_config

        config, timetable = None, context["dag"].timetable
        if self.jobs is not None:
            config = workflow_config(
                self.workflow,
                self.jobs,
                timezone=self.timezone,
                disabled_jobs=self.disabled_jobs,
                infa=self.infa,
                timetable=timetable,
                window=self.window,
            )
        run = Run.of(context)
        request = open_request(
            run,
            config,
            timezone=self.timezone,
            if_open=self.if_open,
            timetable=timetable,
            dag_catchup=bool(context["dag"].catchup),
        )
        return replace(request, opened_since=run.opened_since(attempt_of(context)))

    def _open(self, store: Store, request: OpenRequest, ti: RuntimeTaskInstanceProtocol) -> Batch:
        try:
            return store.open(self.workflow, request)
        except BatchHeldError as held:
            if is_gone(ti, request.holder, held.holder):
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


class BatchyCloseOperator(BatchOperator):
    """Close the batch that this run has opened.

    Use it as the teardown of a DAG, with ``on_failure_fail_dagrun=True``: it runs even if jobs failed, records the
    outcome of each job, and moves the watermark only after a success. If the shape of the windows has cut the window of
    a batch that succeeded, it starts the next run of the DAG.

    | status | result of the batch | state of the task |
    |---|---|---|
    | ``auto``, no task before this one failed | success | success |
    | ``auto``, a task before this one failed, or did not run after a failure | failed | failed |
    | ``success`` | success | success |
    | ``failed`` | failed | success |

    ```python
    close = BatchyCloseOperator(task_id="close", workflow="sales").as_teardown(
        setups=open_batch, on_failure_fail_dagrun=True
    )
    ```

    A whole DAG: [How to use Python](../howto/python.md).

    :param workflow: the workflow. (templated)
    :param status: ``auto``, ``success`` or ``failed``. (templated)
    :param redis_conn_id: connection to Redis; default: ``[batchy] redis_conn_id``. (templated)
    :returns: XCom with ``workflow``, ``batch_id``, ``kind``, ``from_date`` (inclusive), ``to_date`` (exclusive),
        ``jobs``, ``status`` and ``outcomes``.
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
        self._aliases: list[Any] = []

    def prepare_for_execution(self) -> Self:
        """Return the copy that runs. Before, Airflow asks its API which assets are active; an alias is none."""
        from airflow.sdk import AssetAlias

        task = super().prepare_for_execution()
        if not task.inlets and all(isinstance(each, AssetAlias) for each in task.outlets):
            task._aliases, task.outlets = list(task.outlets), []
        return task

    def execute(self, context: Context) -> dict[str, Any]:
        """Close the batch, or return the one that an earlier try of this task has closed."""
        self.outlets, self._aliases = [*self._aliases, *self.outlets], []
        from batchy_provider.core.values import CloseRequest
        from batchy_provider.observability import metrics, traces
        from batchy_provider.operators.closing import decide_for_run, forget_outputs, states_before
        from batchy_provider.operators.task_durations import ended_tasks, seconds_of_ended

        run = Run.of(context)
        with traces.span("batchy.close", workflow=self.workflow) as span, self._store() as store:
            batch = store.batch_of_run(self.workflow, *run.keys(self.workflow))
            if batch is None:
                raise AirflowFailException(
                    f"{self.workflow}: run {run.run_id!r} has opened no batch, so there is none to close; put a "
                    "BatchyOpenOperator before this task. If there is one, Redis has lost the batch since: `batchy "
                    f"restore {self.workflow}`, and the next run takes the window again"
                )
            self.batch_id_shown = batch.batch_id
            ended = ended_tasks(context["ti"], run.dag_id, run.run_id)
            before, removed = states_before(context, run, batch, self.get_flat_relative_ids(upstream=True), ended)
            for name in removed:
                if store.skip_job(self.workflow, batch.batch_id, name, removed=True):
                    self.log.warning("  %s: is no longer a job of the workflow; its window does not move", name)
            closing = decide_for_run(self.status, context["ti"], run, batch, before)
            request = CloseRequest(
                result=closing.result,
                batch_id=batch.batch_id,
                outcomes=closing.outcomes,
                seconds=seconds_of_ended(ended, batch.jobs),
                by=run.holder().name,
            )
            closed = store.close(self.workflow, request)
            forget_outputs(store, closed, before)
            span.set(**traces.batch_attributes(closed))
        metrics.closed(closed, attempt_of(context))
        self.log.info("Batch %s of %s is closed: %s.", closed.batch_id, self.workflow, closed.status)
        for name, job in closed.jobs.items():
            self.log.info("  %s: %s", name, job.get("outcome"))
        if closed.kind == "live" and closed.status == "success":
            self._announce(context, closed)
        if is_due(closed):
            start_next_slice(run, closed, dag_catchup=bool(context["dag"].catchup))
        if closing.failure:
            raise AirflowFailException(f"Batch {closed.batch_id} of {self.workflow} failed: {closing.failure}")
        outcomes_now = {name: job.get("outcome") for name, job in closed.jobs.items()}
        return {**batch_summary(closed), "status": closed.status, "outcomes": outcomes_now}

    def _announce(self, context: Context, batch: Batch) -> None:
        alias = workflow_alias(self.workflow)
        if alias not in self.outlets:
            return
        extra: dict[str, Any] = {"batch_id": batch.batch_id, "from_date": batch.from_date, "to_date": batch.to_date}
        context["outlet_events"][alias].add(workflow_asset(self.workflow), extra=extra)
