# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Wait until another workflow's batch has succeeded today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from batchy_provider.exceptions import BatchyError, RedisUnavailableError
from batchy_provider.links.workflow import WorkflowLink
from batchy_provider.operators.run import Run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from batchy_provider.batches.waiting import Verdict, Wait

_SCOPES = ("today", "since_last_run", "any")


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
    :param deferrable: wait in the triggerer, whatever ``[operators] default_deferrable`` says, since a wait may
        take all night; else in a worker, by ``mode`` poke or reschedule.
    :param redis_conn_id: the connection; default is ``[batchy] redis_conn_id``. (templated)
    :returns: XCom with the id of the batch that ended the wait, as text.
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
        deferrable: bool = True,
        redis_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_failed not in ("wait", "fail"):
            raise ValueError(f"on_failed is {on_failed!r}; expected wait or fail")
        _read_scope(scope)
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
        except AirflowFailException as error:
            if self.soft_fail:
                # As Airflow's sensors do that poke, and as the trigger does.
                raise AirflowSkipException(f"{error}; skipped since soft_fail is set") from error
            raise
        if verdict is not None and verdict.state == "done":
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

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Look again: the trigger ends the task by itself, except in ``airflow dags test``, which resumes it here."""
        return self.execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        verdict = self._look(context)
        done = verdict is not None and verdict.state == "done"
        return PokeReturnValue(done, self._xcom(verdict) if verdict is not None and done else None)

    def _look(self, context: Context) -> Verdict | None:
        """Return how the wait stands; None if Redis cannot tell just now, which does not end a wait."""
        from batchy_provider.batches.waiting import ask
        from batchy_provider.hooks.batchy import BatchyHook

        try:
            with BatchyHook(self.redis_conn_id) as store:
                verdict = ask(store.client, store.keys(self.workflow), self._wait(context))
        except RedisUnavailableError as error:
            self.log.warning("%s. The wait goes on", error)
            return None
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
        scope, within = _read_scope(self.scope)
        last = context.get("prev_start_date_success") if scope == "since_last_run" else None
        # Airflow's context gives a proxy, which is not None even where there was no run.
        last = getattr(last, "__wrapped__", last)
        return Wait(
            workflow=self.workflow,
            jobs=(self.jobs,) if isinstance(self.jobs, str) else tuple(self.jobs or ()),
            scope=scope,
            day=run.day(self.timezone),
            timezone=self.timezone,
            backfill=run.is_backfill,
            within_seconds=within,
            since=format_date(last) if last is not None else None,
            fail_on_failed=self.on_failed == "fail",
        )

    def _xcom(self, verdict: Verdict) -> str:
        # What a trigger returns becomes text, since Airflow writes it as JSON twice; so this is text, too.
        return str(verdict.batch_id)


def _read_scope(given: str | Mapping[str, Any]) -> tuple[Any, float | None]:
    """Return the scope's name and, for ``within``, its seconds.

    :raises ValueError: if there is no such scope.
    """
    if isinstance(given, str) and given in _SCOPES:
        return given, None
    within = given.get("within") if isinstance(given, Mapping) and len(given) == 1 else None
    if isinstance(within, str):
        from batchy_provider.config.durations import parse_duration

        within = parse_duration(within)
    if isinstance(within, (int, float)):
        within = timedelta(seconds=within)
    if not isinstance(within, timedelta) or within <= timedelta():
        raise ValueError(f'scope is {given!r}; expected {", ".join(_SCOPES)} or {{"within": "12h"}}')
    return "within", within.total_seconds()
