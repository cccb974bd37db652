# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Answer why a workflow is not running, or not done, and who is affected: with what Redis, files and Airflow know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from batchy_provider.core.dates import format_date
from batchy_provider.core.workflow_state import UnreadableWorkflow
from batchy_provider.plan.impact import Impact, impact
from batchy_provider.plan.why import Why, why, why_all
from batchy_provider.plan.why_facts import Facts, WorkflowFacts
from batchy_provider.services.folder_view import FolderViews
from batchy_provider.services.why_scan import WhyScan, check_known

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.core.workflow_state import WorkflowState
    from batchy_provider.plan.airflow_facts import AirflowFacts
    from batchy_provider.plan.why_facts import FailedJob
    from batchy_provider.services.failed_output import FailedOutput
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.services.lost_state import LostState
    from batchy_provider.services.states import ScanStates
    from batchy_provider.state.store import Store


class AirflowReader(Protocol):
    """Reads what an Airflow knows."""

    def __call__(self, dag_ids: Collection[str]) -> AirflowFacts | None:
        """Return the facts about some DAGs; None if Airflow cannot be asked."""


@dataclass(frozen=True, slots=True)
class LinkView:
    """One workflow of a chain, and why it is not running, or not done.

    :param code: a `WhyCode`.
    """

    workflow: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class WhyView:
    """Why a workflow is not running, or not done.

    :param code: a `WhyCode`: of this workflow.
    :param text: one line for people: the root cause first.
    :param chain: this workflow, what it waits for, and so on; the root cause is last.
    """

    workflow: str
    code: str
    text: str
    chain: list[LinkView]

    @classmethod
    def of(cls, found: Why) -> WhyView:
        """Show an answer."""
        chain = [LinkView(link.workflow, link.code.value, link.text) for link in found.chain]
        return cls(found.workflow, found.code.value, found.text, chain)


@dataclass(frozen=True, slots=True)
class FailureView:
    """How the latest batch of a workflow has failed: the first of its jobs that failed.

    :param batch_id: the batch.
    :param job: None if no job has failed, for example since a person closed the batch as failed.
    :param attempt: the try that failed; None if the result store does not have it.
    :param exit_code: of its script; None if it is not known.
    :param reason: why its execution has failed, in words; None if it is not known, or may not be seen.
    :param last_line: the last line that the script wrote to stderr; None if there is none, or it may not be seen.
    """

    batch_id: int
    job: str | None
    attempt: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    last_line: str | None = None


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of the way from a workflow to one that needs it.

    :param workflow: the workflow that is needed.
    :param by: the key of the file that says so: ``wait_for``, ``after`` or ``until``.
    """

    workflow: str
    by: str


@dataclass(frozen=True, slots=True)
class AffectedView:
    """A workflow that needs another one.

    :param via: the shortest way to it, from the workflow that was asked about.
    :param deadline: of the run that needs it, UTC, ISO 8601; None without one.
    :param miss_probability: of that deadline, from 0 to 1; None if it is not known.
    """

    workflow: str
    via: list[StepView]
    deadline: str | None
    miss_probability: float | None


@dataclass(frozen=True, slots=True)
class ImpactView:
    """The workflows that need a workflow, the nearest ones first."""

    workflow: str
    downstream: list[AffectedView]

    @classmethod
    def of(cls, found: Impact) -> ImpactView:
        """Show an impact."""
        downstream = [
            AffectedView(
                each.workflow,
                [StepView(step.workflow, step.by.value) for step in each.via],
                None if each.deadline is None else format_date(each.deadline),
                each.miss_probability,
            )
            for each in found.downstream
        ]
        return cls(found.workflow, downstream)


class WhyService:
    """Answer why, and who is affected.

    :param store: returns the state in Redis.
    :param catalog: the workflow files.
    :param names: which workflows Redis knows.
    :param failed_output: reads how jobs failed.
    :param lost_state: finds out what Redis has lost.
    :param airflow: reads what Airflow knows; None where there is no Airflow.
    :param chances: returns workflow → the probability that it misses its next deadline, as far as it is known.
    :param scan: returns the state of many workflows; None to read it from the store.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        catalog: Catalog,
        names: WorkflowNames,
        failed_output: FailedOutput,
        lost_state: LostState,
        airflow: AirflowReader | None,
        chances: Callable[[Collection[str]], Mapping[str, float]] = lambda workflows: {},
        scan: ScanStates | None = None,
    ) -> None:
        self._store = store
        self._scan_states: ScanStates = scan or (lambda names: self._store().scan(names))
        self._files = FolderViews()
        self._catalog = catalog
        self._names = names
        self._failed_output = failed_output
        self._lost_state = lost_state
        self._airflow = airflow
        self._chances = chances

    def of(self, workflow: str, *, sees_output: Callable[[str], bool] | None = None) -> WhyView:
        """Return why a workflow is not running, or not done.

        :param sees_output: tells of which workflows the caller may see what their scripts wrote; None for all.
        :raises UnknownWorkflowError: neither Redis nor a file nor the archive knows it.
        """
        scan = self._scan()
        facts = scan.read(scan.neighbours.above([workflow]))
        facts = self._with_airflow(facts)
        facts = self._with_output(facts, sees_output)
        found = why(facts, workflow)
        # The archive may be far away: ask it only about the workflows of the chain, until none of them is lost.
        checked: set[str] = set()
        while new := [link.workflow for link in found.chain if link.workflow not in checked]:
            checked.update(new)
            facts, is_changed = self._with_archive(facts, new)
            if not is_changed:
                break
            found = why(facts, workflow)
        check_known(facts, workflow, self._catalog, self._names)
        return WhyView.of(found)

    def all(
        self, only: Collection[str] | None = None, *, sees_output: Callable[[str], bool] | None = None
    ) -> dict[str, WhyView]:
        """Return workflow → why it is not running, or not done.

        The number of round trips to Redis does not depend on the number of workflows. The archive is not asked.

        :param only: the workflows to answer for; None for all. One that neither Redis nor a file knows is left out.
        :param sees_output: as in `of`.
        """
        scan = self._scan()
        known = self._names.all() | scan.file_names
        wanted = sorted(known if only is None else known & set(only))
        facts = scan.read(scan.neighbours.above(wanted), with_history=False)
        facts = self._with_airflow(facts)
        facts = self._with_output(facts, sees_output, if_fast=True)
        wanted = [name for name in wanted if facts.workflows[name].exists]
        return {name: WhyView.of(found) for name, found in why_all(facts, wanted).items()}

    def failures(
        self, names: Collection[str], *, sees_output: Callable[[str], bool] | None = None
    ) -> dict[str, FailureView]:
        """Return workflow → how its latest batch has failed, for those whose latest batch has.

        :param sees_output: as in `of`.
        """
        found: dict[str, FailureView] = {}
        for state in self._scan_states(names) if names else ():
            if isinstance(state, UnreadableWorkflow) or state.batch is None or state.batch.status != "failed":
                continue
            job = self._visible_output(state, sees_output, if_fast=True)
            found[state.workflow] = (
                FailureView(state.batch.batch_id, None)
                if job is None
                else FailureView(state.batch.batch_id, job.job, job.attempt, job.exit_code, job.reason, job.last_line)
            )
        return found

    def impact(self, workflow: str, *, late: timedelta | None = None, failed: bool = False) -> ImpactView:
        """Return the workflows that need a workflow, with their deadlines.

        :param late: suppose that its next run ends so long after it was due.
        :param failed: suppose that its next run fails.
        :raises UnknownWorkflowError: neither Redis nor a file knows it.
        """
        scan = self._scan()
        facts = scan.read(scan.neighbours.below([workflow]), with_waits=False)
        check_known(facts, workflow, self._catalog, self._names)
        chances = None if failed or late is not None else self._chances(facts.workflows.keys() - {workflow})
        return ImpactView.of(impact(facts, workflow, late=late, failed=failed, chances=chances))

    def _scan(self) -> WhyScan:
        return WhyScan(self._store(), self._files.of(self._catalog.read()), self._scan_states)

    def _with_airflow(self, facts: Facts) -> Facts:
        if self._airflow is None:
            return facts
        found = self._airflow(facts.workflows.keys())
        return replace(facts, airflow=found)

    def _with_output(self, facts: Facts, sees_output: Callable[[str], bool] | None, *, if_fast: bool = False) -> Facts:
        found: dict[str, WorkflowFacts] = {}
        for name, each in facts.workflows.items():
            state = each.readable
            if state is None or state.batch is None or state.batch.status != "failed":
                continue
            found[name] = replace(each, failed_job=self._visible_output(state, sees_output, if_fast=if_fast))
        return replace(facts, workflows={**facts.workflows, **found})

    def _visible_output(
        self, state: WorkflowState, sees_output: Callable[[str], bool] | None, *, if_fast: bool
    ) -> FailedJob | None:
        job = self._failed_output.of(state, if_fast=if_fast)
        if job is not None and sees_output is not None and not sees_output(state.workflow):
            return replace(job, last_line=None, reason=None)  # the reason quotes stderr, too
        return job

    def _with_archive(self, facts: Facts, names: Collection[str]) -> tuple[Facts, bool]:
        """Return the facts with what the archive says that Redis has lost, and whether that is anything."""
        lost = self._lost_state.of(names)
        found = {name: replace(facts.workflows[name], lost=text) for name, text in lost.items()}
        return replace(facts, workflows={**facts.workflows, **found}), bool(found)
