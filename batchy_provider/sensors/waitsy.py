# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Wait until another workflow's batch has succeeded today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.configuration import conf
from airflow.providers.common.compat.sdk import AirflowFailException, BaseSensorOperator, PokeReturnValue

from batchy_provider.exceptions import BatchyError, RedisUnavailableError
from batchy_provider.links.workflow import WorkflowLink
from batchy_provider.operators.run import Run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from batchy_provider.batches.waiting import Verdict, Wait


class WaitsySensor(BaseSensorOperator):
    """
    Wait until every job of a workflow that is switched on has succeeded on the day of this run.

    The day is that of the run, not of the moment: a wait that crosses midnight still ends, and a run that is
    cleared next week does not wait at all. In a backfill, the wait is for the day whose data the run loads.

    :param workflow: the workflow waited for. (templated)
    :param jobs: only these jobs of it. (templated)
    :param scope: which success counts: ``today``, ``since_last_run`` (after this DAG's own last success),
        ``any``, or ``{"within": "12h"}`` (also seconds, or a timedelta).
    :param timezone: IANA name of the timezone whose days count.
    :param on_failed: ``wait`` (it may be run again) or ``fail`` when the batch has failed.
    :param deferrable: wait in the triggerer; else in a worker, by ``mode`` poke or reschedule.
    :param redis_conn_id: the connection; default is ``[batchy] redis_conn_id``. (templated)
    :returns: XCom with ``workflow`` and ``batch_id``: the batch that ended the wait.
    """

    template_fields: Sequence[str] = ("workflow", "jobs", "redis_conn_id")
    operator_extra_links = (WorkflowLink(),)
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        workflow: str,
        jobs: Sequence[str] | None = None,
        scope: str | Mapping[str, Any] = "today",
        timezone: str = "UTC",
        on_failed: Literal["wait", "fail"] = "wait",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=True),
        redis_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_failed not in ("wait", "fail"):
            raise ValueError(f"on_failed is {on_failed!r}; expected wait or fail")
        self.workflow = workflow
        self.jobs = jobs
        self.scope = scope
        self.timezone = timezone
        self.on_failed = on_failed
        self.deferrable = deferrable
        self.redis_conn_id = redis_conn_id

    def execute(self, context: Context) -> Any:
        """Look once; if it is not done, go on in the triggerer, or poke."""
        if not self.deferrable:
            return super().execute(context)
        try:
            verdict = self._look(context)
        except RedisUnavailableError as error:
            self.log.warning("%s. The wait goes on in the triggerer, which tries again", error)
        else:
            if verdict.state == "done":
                return self._xcom(verdict)
        from batchy_provider.triggers.waitsy import WaitsyTrigger

        self.defer(
            trigger=WaitsyTrigger(
                wait=asdict(self._wait(context)),
                redis_conn_id=self.redis_conn_id,
                soft_fail=self.soft_fail,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )
        raise AssertionError("defer raises")

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> None:
        """Only there for its name: the trigger ends the task, and a timeout is raised before this."""

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        verdict = self._look(context)
        return PokeReturnValue(verdict.is_over, self._xcom(verdict) if verdict.is_over else None)

    def _look(self, context: Context) -> Verdict:
        from batchy_provider.batches.waiting import ask
        from batchy_provider.hooks.batchy import BatchyHook

        try:
            with BatchyHook(self.redis_conn_id) as store:
                verdict = ask(store.client, store.keys(self.workflow), self._wait(context))
        except RedisUnavailableError:
            raise
        except BatchyError as error:
            raise AirflowFailException(str(error)) from error
        self.log.info("%s", verdict.text)
        if verdict.state == "failed":
            raise AirflowFailException(verdict.text)
        return verdict

    def _wait(self, context: Context) -> Wait:
        from batchy_provider.batches.dates import format_date
        from batchy_provider.batches.waiting import Wait

        run = Run.of(context)
        scope, within = _scope(self.scope)
        last = context.get("prev_start_date_success") if scope == "since_last_run" else None
        return Wait(
            workflow=self.workflow,
            jobs=tuple(self.jobs or ()),
            scope=scope,
            day=run.day(self.timezone),
            timezone=self.timezone,
            backfill=run.is_backfill,
            within_seconds=within,
            since=format_date(last) if last is not None else None,
            fail_on_failed=self.on_failed == "fail",
        )

    def _xcom(self, verdict: Verdict) -> dict[str, Any]:
        return {"workflow": self.workflow, "batch_id": verdict.batch_id}


def _scope(given: str | Mapping[str, Any]) -> tuple[Any, float | None]:
    """Return the scope's name and, for ``within``, its seconds."""
    if isinstance(given, str):
        return given, None
    from batchy_provider.config.durations import parse_duration
    from batchy_provider.exceptions import ConfigError

    within = given.get("within")
    if len(given) != 1 or not isinstance(within, (str, int, float, timedelta)):
        raise ConfigError(f'scope is {dict(given)!r}; expected today, since_last_run, any or {{"within": "12h"}}')
    if isinstance(within, str):
        within = parse_duration(within)
    return "within", within.total_seconds() if isinstance(within, timedelta) else float(within)
