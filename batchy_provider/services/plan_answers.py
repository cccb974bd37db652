# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Answer when the next runs start and end, and whether they meet their deadlines."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from batchy_provider.core.dates import format_date
from batchy_provider.exceptions import ConfigError
from batchy_provider.plan.simulation import simulate
from batchy_provider.services.folder_view import FolderViews
from batchy_provider.services.plan_cache import Plan, PlanCache
from batchy_provider.services.plan_inputs import LostTriesReader, PlanInputs
from batchy_provider.services.why_scan import Neighbours, WhyScan, check_known

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.config.catalog import Catalog
    from batchy_provider.config.reader import Folder
    from batchy_provider.plan.expected_runs import ExpectedRun
    from batchy_provider.plan.why_facts import Facts
    from batchy_provider.services.events import EventFeed
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.services.states import ScanStates
    from batchy_provider.services.why_answers import AirflowReader
    from batchy_provider.state.store import Store

DEFAULT_HOURS = 24.0
MAX_HOURS = 24.0 * 14
"""The plan goes no further: it says less and less about later runs."""


@dataclass(frozen=True, slots=True)
class PathStepView:
    """A run that decides when another one ends.

    :param job: the job that takes most of its time; None where nobody measured the single jobs.
    """

    workflow: str
    job: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedRunView:
    """One run of the next hours. Moments are UTC, ISO 8601.

    :param due: None for a run that starts after the success of another workflow.
    :param state: ``running``, ``pending`` (it was due, and its batch is not open) or ``expected``.
    :param start: when it started, or probably will; None if that is unknown.
    :param end_p50: it ends before that in half of all cases; None if that is unknown.
    :param end_p90: it ends before that in nine of ten cases; None if that is unknown.
    :param waits_for: the workflows whose success it needs, and does not have yet.
    :param deadline: None without one.
    :param miss_probability: the probability that it misses its deadline, from 0 to 1; None if that is unknown.
    :param critical_path: the runs that decide when it ends; the run itself is last.
    """

    workflow: str
    due: str | None
    state: str
    start: str | None
    end_p50: str | None
    end_p90: str | None
    waits_for: list[str]
    deadline: str | None
    miss_probability: float | None
    critical_path: list[PathStepView]

    @classmethod
    def of(cls, run: ExpectedRun) -> ExpectedRunView:
        """Show a run."""
        return cls(
            workflow=run.workflow,
            due=_text(run.due),
            state=run.state.value,
            start=_text(run.start),
            end_p50=_text(run.end_p50),
            end_p90=_text(run.end_p90),
            waits_for=list(run.waits_for),
            deadline=_text(run.deadline),
            miss_probability=run.miss_probability,
            critical_path=[PathStepView(step.workflow, step.job) for step in run.critical_path],
        )


class PlanService:
    """Work out what will happen in the next hours.

    :param store: returns the state in Redis.
    :param catalog: the workflow files.
    :param names: which workflows Redis knows.
    :param airflow: reads what Airflow knows; None where there is no Airflow.
    :param lost_tries: reads how much time jobs lost by tries that failed; None where there is no Airflow.
    :param events: the events of batches, in a process that keeps its plan until one of them; None in others.
    :param scan: returns the state of many workflows; None to read it from the store.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        catalog: Catalog,
        names: WorkflowNames,
        airflow: AirflowReader | None,
        lost_tries: LostTriesReader | None = None,
        events: Callable[[], EventFeed] | None = None,
        scan: ScanStates | None = None,
    ) -> None:
        self._store = store
        self._scan: ScanStates = scan or (lambda names: self._store().scan(names))
        self._files = FolderViews()
        self._catalog = catalog
        self._names = names
        self._airflow = airflow
        self._inputs = PlanInputs(lost_tries)
        self._cache = PlanCache(events, self._inputs.expire)

    def of(self, workflows: Iterable[str], *, hours: float = DEFAULT_HOURS) -> list[ExpectedRunView]:
        """Return the expected runs of some workflows, by the times at which they are due.

        :param hours: how far to look ahead.
        :raises UnknownWorkflowError: neither Redis nor a file knows one of them.
        :raises ConfigError: `hours` is not possible.
        """
        wanted = dict.fromkeys(workflows)
        return [ExpectedRunView.of(run) for run in self._runs(wanted, hours, must_exist=True)]

    def all(self, only: Collection[str] | None = None, *, hours: float = DEFAULT_HOURS) -> list[ExpectedRunView]:
        """Return the expected runs of all workflows, by the times at which they are due.

        :param only: the workflows that the caller may see; None for all.
        :param hours: how far to look ahead.
        :raises ConfigError: `hours` is not possible.
        """
        known = self._names.all() | self._catalog.read().workflows.keys()
        wanted = known if only is None else known & set(only)
        return [ExpectedRunView.of(run) for run in self._runs(wanted, hours)]

    def chances(self, workflows: Collection[str]) -> Mapping[str, float]:
        """Return workflow → the probability that it misses its next deadline, as far as it is known."""
        found: dict[str, float] = {}
        for run in self._runs(workflows, DEFAULT_HOURS):
            if run.miss_probability is not None:
                found.setdefault(run.workflow, run.miss_probability)
        return found

    def foresee(self, workflows: Collection[str], hours: float) -> tuple[Facts, list[ExpectedRun]]:
        """Return the facts about some workflows and all that they need, and the expected runs of these workflows.

        :param hours: how far to look ahead; with 0, no runs are expected.
        """
        folder, wanted = self._catalog.read(), set(workflows)
        if hours <= 0:
            scan = WhyScan(self._store(), self._files.of(folder), self._scan)
            return scan.read(scan.neighbours.above(wanted), with_waits=False), []
        # Whole hours, so that a plan that is kept serves the next question.
        whole = math.ceil(hours)
        plan = self._cache.get(whole, folder, wanted, lambda: self._plan(folder, wanted, whole))
        until = plan.facts.now + timedelta(hours=hours)
        above = Neighbours.of(plan.facts.workflows).above(wanted) & plan.facts.workflows.keys()
        facts = replace(plan.facts, workflows={name: plan.facts.workflows[name] for name in sorted(above)})
        return facts, [run for run in plan.runs if run.workflow in wanted and (run.due is None or run.due < until)]

    def _runs(self, workflows: Collection[str], hours: float, *, must_exist: bool = False) -> list[ExpectedRun]:
        if not 0 < hours <= MAX_HOURS:
            raise ConfigError(f"hours is {hours:g}; expected a number above 0, at most {MAX_HOURS:g}")
        facts, runs = self.foresee(workflows, hours)
        if must_exist:
            for name in workflows:
                check_known(facts, name, self._catalog, self._names)
        return runs

    def _plan(self, folder: Folder, workflows: Collection[str], hours: int) -> Plan:
        store = self._store()
        scan = WhyScan(store, self._files.of(folder), self._scan)
        if self._airflow is not None or self._cache.is_kept:
            # All workflows share the slots of Airflow.
            workflows = {*workflows, *self._names.all(), *scan.file_names}
        facts = scan.read(scan.neighbours.above(workflows), with_waits=False)
        dags = self._airflow(facts.workflows.keys()) if self._airflow is not None else None
        inputs = self._inputs.read(store, folder, facts, dags)
        return Plan(hours, folder, facts, simulate(inputs, facts.now, hours, airflow=dags))

    def close(self) -> None:
        """Stop listening for events."""
        self._cache.close()


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_date(moment)
