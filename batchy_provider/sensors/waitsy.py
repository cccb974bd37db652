# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Wait until another workflow's batch has succeeded today."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from batchy_provider.core.vocabulary import ON_FAILED, OnFailed
from batchy_provider.exceptions import BatchyError, RedisUnavailableError
from batchy_provider.links.batch import BatchLink
from batchy_provider.operators.dag_run import retry_defaults
from batchy_provider.operators.template_fields import TemplatesOnly
from batchy_provider.sensors.waits_of_run import began, read_scope, waits_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from batchy_provider.core.waits import Wait
    from batchy_provider.services.waiter import Waiter


class WaitsySensor(TemplatesOnly, BaseSensorOperator):
    """Wait until all enabled jobs of another workflow have succeeded on the day of this run.

    Use it if a DAG needs data that another workflow loads. The two may have different schedules. The day is that of the
    run, not the current one: a wait that crosses midnight can end, and a run that you clear next week does not wait. In
    a backfill, the sensor waits for the day whose data the run loads.

    ==========================  ========================================================================
    scope                       which success counts
    ==========================  ========================================================================
    ``today``                   any since the day of this run began; not the re-run of an earlier day's run
    ``due``                     all of them together: the workflow has loaded everything up to its last due time
    ``{"within": "12h"}``       any that is at most 12 hours old
    ``since_last_run``          any since the last successful run; each success counts once
    ``any``                     any, however old
    ==========================  ========================================================================

    With ``due``, the sensor asks the ledger: the workflow has loaded all data up to the last time at which it was
    due, at the due time of this run or before it. Use it if the two workflows do not both run once a day, or if
    midnight lies between them. It needs the schedule of the other workflow, which Redis knows after its next run.
    Without a schedule, the data of the day counts.

    .. code-block:: python

        WaitsySensor(task_id="wait_for_erp", workflow="erp", jobs=["orders"], scope={"within": "12h"})

    The log says what the sensor waits for, the current state, and at the end how long it took and which batch ended
    the wait. It warns if the wait cannot end by itself: no such workflow or job, or all jobs disabled. After ten
    minutes, it also says why: a hold, or the root cause, once for each reason. The how-to guide *Waits and schedules*
    has more examples.

    :param workflow: the workflow to wait for, or a list of workflows that must all have succeeded. (templated)
    :param jobs: wait only for these jobs of each workflow; None for all enabled jobs. (templated)
    :param scope: which success counts, see the table. ``within`` also takes seconds or a timedelta.
    :param own_workflow: the workflow whose batch this DAG opens after the wait. With it, ``since_last_run`` starts when
        the last successful batch of `own_workflow` was opened. Without it, it starts when the last successful run
        began, so that a success during that run's wait counts twice. If the conf of a run has a window, any success
        counts.
    :param timezone: IANA name of the timezone of the day.
    :param on_failed: what to do when a batch has failed: ``wait``, since somebody may run it again, or ``fail``.
    :param same_day: with scope ``today``, count only a success before the day of this run ended. When that day is over,
        the sensor fails, or is skipped if ``soft_fail`` is set.
    :param deferrable: wait in the triggerer, which is the default even if ``[operators] default_deferrable`` is not
        set, since a wait may take all night. If False, wait in a worker, in ``mode`` poke or reschedule.
    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``. (templated)
    :returns: XCom with the id of the batch that ended the wait, as text. If `workflow` is a list, a JSON object
        workflow → id, as text.
    """

    template_fields: Sequence[str] = ("workflow", "jobs", "redis_conn_id")
    operator_extra_links = (BatchLink(),)
    batch_id_shown: int | None = None
    ui_color = "#fef7e0"
    _waiter: Waiter | None = None
    _asked: list[Wait] | None = None
    _explained: dict[str, object] | None = None

    def __init__(
        self,
        *,
        workflow: str | Sequence[str],
        jobs: Sequence[str] | None = None,
        scope: str | Mapping[str, Any] = "today",
        own_workflow: str | None = None,
        timezone: str = "UTC",
        on_failed: OnFailed = "wait",
        same_day: bool = False,
        deferrable: bool = True,
        redis_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Its worker may be killed, and a wait that is begun again has lost nothing.
        super().__init__(**retry_defaults(kwargs), **kwargs)
        if on_failed not in ON_FAILED:
            raise ValueError(f"on_failed is {on_failed!r}; expected wait or fail")
        if read_scope(scope)[0] != "today" and same_day:
            raise ValueError(f"same_day goes with scope today, not {scope!r}")
        if not workflow:
            raise ValueError("workflow is empty; name one, or several")
        self.workflow = workflow
        self.jobs = jobs
        self.scope = scope
        self.own_workflow = own_workflow
        self.timezone = timezone
        self.on_failed = on_failed
        self.same_day = same_day
        self.deferrable = deferrable
        self.redis_conn_id = redis_conn_id

    def execute(self, context: Context) -> Any:
        """Ask once. If the wait is not over, continue in the triggerer, or by poking."""
        self._waiter = self._asked = self._explained = None
        if not self.deferrable:
            return super().execute(context)
        try:
            waiter = self._ask(context)
        except AirflowFailException as error:
            if self.soft_fail:
                # As Airflow's sensors do that poke, and as the trigger does.
                raise AirflowSkipException(f"{error}; skipped since soft_fail is set") from error
            raise
        if waiter is not None and waiter.is_over:
            return self._xcom(waiter)
        from batchy_provider.triggers.waitsy import WaitsyTrigger

        waits = [asdict(wait) for wait in self._asked or waits_of(self, context)]
        self.defer(
            trigger=WaitsyTrigger(
                wait=waits[0] if isinstance(self.workflow, str) else waits,
                redis_conn_id=self.redis_conn_id,
                soft_fail=self.soft_fail,
                began=self._began(context),
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )
        raise AssertionError("defer raises")

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Ask again. The trigger ends the task itself, except in ``airflow dags test``, which resumes it here."""
        return self.execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask once."""
        waiter = self._ask(context)
        is_done = waiter is not None and waiter.is_over
        return PokeReturnValue(is_done, self._xcom(waiter) if waiter is not None and is_done else None)

    def _ask(self, context: Context) -> Waiter | None:
        """Ask once about each workflow.

        :returns: the wait; None if Redis cannot be asked now, which does not end the wait.
        """
        from batchy_provider.hooks.batchy import BatchyHook
        from batchy_provider.services.wait_service import ask_once
        from batchy_provider.services.waiter import Waiter

        try:
            # Without the date from which a success counts, the task must not go on: it fails and is retried.
            waits = self._asked = self._asked or waits_of(self, context)
        except RedisUnavailableError:
            raise
        except BatchyError as error:
            raise AirflowFailException(str(error)) from error
        try:
            if self._waiter is None:
                self._waiter = Waiter([wait.workflow for wait in waits], began=self._began(context))
                for wait in waits:
                    self.log.info("%s", wait)
            with BatchyHook(self.redis_conn_id) as store:
                for wait, verdict in ask_once(store, waits, self._waiter):
                    (self.log.warning if verdict.obstacle else self.log.info)("%s", verdict.text)
                    if verdict.obstacle == "workflow":
                        self._log_who_defines(wait.workflow)
                if not self._waiter.is_over:
                    self._explain(store, self._waiter, time.time() - self._began(context))
        except RedisUnavailableError as error:
            self.log.warning("%s. The wait goes on", error)
            return None
        except BatchyError as error:
            raise AirflowFailException(str(error)) from error
        if self._waiter.is_over:
            now = time.time()
            self._emit(self._waiter, now - self._began(context))
            if self._waiter.state == "failed":
                raise AirflowFailException(self._waiter.summary(now))
            self.log.info("%s", self._waiter.summary(now))
        return self._waiter

    def _emit(self, waiter: Waiter, seconds: float) -> None:
        """Send metrics and a trace of the wait that has ended."""
        from batchy_provider.observability import metrics, traces

        workflows, state = list(waiter.workflows), waiter.state
        metrics.waited(workflows, state, seconds)
        fault = waiter.text if state == "failed" else None
        traces.record("batchy.wait", time.time() - seconds, error=fault, workflows=workflows, state=state)

    def _explain(self, store: Any, waiter: Waiter, seconds: float) -> None:
        """Log why a long wait goes on: once, and again if the reason changes.

        :param seconds: how long it has lasted.
        """
        from batchy_provider.config.catalog import Catalog
        from batchy_provider.hooks.deployment import cfg_folder
        from batchy_provider.services.wait_explanations import LONG_SECONDS, explain_waits

        missing = waiter.missing
        if seconds < LONG_SECONDS or not missing:
            return
        known = self._explained = self._explained or {}
        try:
            reasons = explain_waits(store, Catalog(cfg_folder()), missing)
        except Exception:  # the wait goes on without it
            self.log.debug("The wait is not explained", exc_info=True)
            return
        for name, reason in reasons.items():
            if known.get(name) != reason.chain:
                known[name] = reason.chain
                self.log.info("%s", reason.text)

    def _log_who_defines(self, workflow: str) -> None:
        from batchy_provider.hooks.deployment import cfg_folder
        from batchy_provider.services.wait_requests import who_defines

        text, is_defined = who_defines(workflow, cfg_folder())
        (self.log.info if is_defined else self.log.warning)("%s", text)

    def _began(self, context: Context) -> float:
        return began(context, is_put_off=not self.deferrable and self.mode == "reschedule")

    def _xcom(self, waiter: Waiter) -> str:
        # What a trigger returns becomes text, since Airflow writes it as JSON twice; so this is text, too.
        batches = waiter.batches
        batch_id = self.batch_id_shown = next(iter(batches.values()))
        if not isinstance(self.workflow, str):
            return json.dumps(batches)
        return "" if batch_id is None else str(batch_id)  # what loaded the data was pruned
