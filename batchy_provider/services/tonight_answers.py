# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Answer what a night looks like: the actual and the expected runs of all workflows in a span of time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from batchy_provider.config.field_types import in_zone
from batchy_provider.core.dates import format_date, local_time, to_utc, zone
from batchy_provider.exceptions import BatchyError, ConfigError
from batchy_provider.plan.expected_runs import RunState
from batchy_provider.plan.run_list import MOST_RUNS
from batchy_provider.plan.timeline import Span, TimelineRow, in_order, timeline_row
from batchy_provider.services.deadlines import Deadline, DeadlineCache
from batchy_provider.services.folder_view import diagnostics_by_workflow
from batchy_provider.services.hold_answers import HoldView
from batchy_provider.services.plan_answers import MAX_HOURS
from batchy_provider.services.timeline_views import Timeline, TimelineBandView, TimelineRowView, TimelineRunView
from batchy_provider.services.warning_answers import standing
from batchy_provider.services.workflows import unknown_workflow
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.span_outlines import SpanOutlines

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.config.workflow import Workflow
    from batchy_provider.plan.expected_runs import ExpectedRun
    from batchy_provider.plan.why_facts import WorkflowFacts
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.services.plan_answers import PlanService
    from batchy_provider.state.outline_reader import BatchesInSpan
    from batchy_provider.state.state_cache import StateCache
    from batchy_provider.state.store import Store

MAX_SPAN = timedelta(days=14)
MOST_ROWS = 1000
_BEGIN_HOUR, _END_HOUR = 18, 12
_unforeseen = LogThrottle(logging.getLogger(__name__))


class TonightService:
    """Show what a night looks like.

    :param store: returns the state in Redis.
    :param catalog: the workflow files.
    :param names: which workflows Redis knows.
    :param plan: what will happen.
    :param states: the states that a process keeps which is asked often; None in others.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        catalog: Catalog,
        names: WorkflowNames,
        plan: PlanService,
        states: Callable[[], StateCache] | None = None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._names = names
        self._plan = plan
        self._outlines = SpanOutlines(states)
        self._deadlines = DeadlineCache()

    def span(
        self, from_date: str | None = None, to_date: str | None = None, *, timezone: str = "UTC"
    ) -> tuple[datetime, datetime]:
        """Return the span of time that somebody asks for, naive UTC.

        :param from_date: ISO 8601, inclusive; without an offset in `timezone`. Default: 18:00 of the day before.
        :param to_date: ISO 8601, exclusive. Default: 12:00 of the day after today.
        :raises ConfigError: it is not possible.
        :raises WindowError: a date or the timezone cannot be read.
        """
        now = self._store().backend.server_time()
        midnight = datetime.combine(local_time(now, zone(timezone)).date(), datetime.min.time())
        evening = (midnight - timedelta(days=1, hours=-_BEGIN_HOUR)).isoformat()
        noon = (midnight + timedelta(days=1, hours=_END_HOUR)).isoformat()
        start = to_utc(in_zone(from_date or evening, timezone), written=from_date)
        end = to_utc(in_zone(to_date or noon, timezone), written=to_date)
        if not start < end:
            raise ConfigError("from_date must be before to_date")
        if end - start > MAX_SPAN:
            raise ConfigError(f"from_date and to_date are more than {MAX_SPAN.days} days apart")
        if end - now > timedelta(hours=MAX_HOURS):
            raise ConfigError(f"to_date is more than {MAX_HOURS:g} hours ahead; the plan goes no further")
        return start, end

    def show(
        self,
        span: tuple[datetime, datetime],
        only: Collection[str] | None = None,
        *,
        workflows: Collection[str] = (),
        search: str | None = None,
        problems: bool = False,
        limit: int = MOST_ROWS,
        offset: int = 0,
        must_exist: bool = False,
    ) -> Timeline:
        """Return the runs of workflows in a span of time, those with problems first.

        :param span: as `span` returns it.
        :param only: the workflows that the caller may see; None for all.
        :param workflows: only these; empty for all.
        :param search: part of a name, description, owner or tag, whatever its case.
        :param problems: only workflows with problems.
        :param must_exist: each of `workflows` must be known; otherwise one that is not is left out.
        :raises UnknownWorkflowError: neither Redis nor a file knows one of them.
        """
        folder = self._catalog.read()
        in_redis = self._names.all()
        known = in_redis | folder.workflows.keys() | diagnostics_by_workflow(folder.diagnostics).keys()
        wanted = known if only is None else known & set(only)
        if workflows:
            if must_exist and (unknown := sorted(set(workflows) - known)):
                raise unknown_workflow(unknown[0], self._catalog, self._names)
            wanted &= set(workflows)
        files = folder.workflows
        wanted = {name for name in wanted if _matches(name, files.get(name), search)}
        start, end = span
        now = self._store().backend.server_time()  # the plan may be some seconds old
        facts, expected = self._plan.foresee(wanted, max(0.0, (end - now) / timedelta(hours=1)))
        shown = {name: facts.workflows[name] for name in wanted if facts.workflows[name].exists}
        # One without a live state may have batches all the same: those of backfills and fills.
        read = [name for name, each in shown.items() if each.readable or (each.state is None and name in in_redis)]
        batches = self._outlines.read(self._store().backend, read, start, end)
        plans: dict[str, list[ExpectedRun]] = {}
        for run in expected:
            plans.setdefault(run.workflow, []).append(run)
        rows, late = {}, {}
        for name, each in shown.items():
            late[name] = self._deadline(files.get(name), each, now)
            rows[name] = _row(
                each,
                batches.get(name),
                plans.get(name, ()),
                span=Span(start, end),
                now=now,
                deadline=late[name],
            )
        selected = [row for row in in_order(rows) if row.problems or not problems]
        views = [
            _view(
                row,
                shown[row.workflow],
                files.get(row.workflow),
                late[row.workflow],
                batches.get(row.workflow),
                now=now,
                more=sum(run.state is not RunState.RUNNING for run in plans.get(row.workflow, ())) >= MOST_RUNS,
            )
            for row in selected[offset : offset + limit]
        ]
        return Timeline(
            now=format_date(now),
            from_date=format_date(start),
            to_date=format_date(end),
            items=views,
            total=len(selected),
            limit=limit,
            offset=offset,
            counts=_counts(rows.values()),
        )

    def _deadline(self, workflow: Workflow | None, facts: WorkflowFacts, now: datetime) -> Deadline | None:
        if workflow is None or workflow.model is None:
            return None
        state = facts.readable
        try:
            return self._deadlines.find(workflow, None if state is None else state.last_success, now).deadline(now)
        except BatchyError:
            return None


def _matches(name: str, workflow: Workflow | None, search: str | None) -> bool:
    if not search:
        return True
    model = workflow.model if workflow is not None else None
    texts = [name] if model is None else [name, model.description or "", model.owner or "", *model.tags]
    return any(search.casefold() in text.casefold() for text in texts)


def _row(
    facts: WorkflowFacts,
    found: BatchesInSpan | None,
    expected: Iterable[ExpectedRun],
    *,
    span: Span,
    now: datetime,
    deadline: Deadline | None,
) -> TimelineRow:
    batches = () if found is None else found.batches
    is_late = deadline is not None and deadline.late_seconds is not None
    try:
        return timeline_row(facts, batches, [*expected], span=span, now=now, is_late=is_late)
    except Exception as error:  # an error in one workflow must not hide another
        _unforeseen.warning(facts.workflow, "%s: its runs cannot be shown", facts.workflow, exc_info=error)
        return TimelineRow(facts.workflow, (), (), ())


def _view(
    row: TimelineRow,
    facts: WorkflowFacts,
    workflow: Workflow | None,
    deadline: Deadline | None,
    found: BatchesInSpan | None,
    *,
    now: datetime,
    more: bool,
) -> TimelineRowView:
    state, model = facts.readable, workflow.model if workflow is not None else None
    status = "new" if state is None or state.batch is None else state.batch.status
    hold = state.hold if state is not None else None
    return TimelineRowView(
        workflow=row.workflow,
        status="unreadable" if facts.state is not None and state is None else status,
        problems=[problem.value for problem in row.problems],
        description=model.description if model is not None else None,
        owner=model.owner if model is not None else None,
        tags=list(model.tags) if model is not None else [],
        deadline=None if deadline is None else deadline.at,
        late_seconds=None if deadline is None else deadline.late_seconds,
        hold=None if hold is None else HoldView.of(row.workflow, hold),
        warning=None if state is None else next(iter(standing(row.workflow, state.warnings, now)), None),
        runs=[TimelineRunView.of(run) for run in row.runs],
        bands=[TimelineBandView.of(band) for band in row.bands],
        left_out=0 if found is None else found.left_out,
        more=more,
    )


def _counts(rows: Collection[TimelineRow]) -> dict[str, int]:
    found = Counter(problem.value for row in rows for problem in row.problems)
    return {
        "all": len(rows),
        "problems": sum(bool(row.problems) for row in rows),
        "empty": sum(row.is_empty for row in rows),
        **found,
    }
