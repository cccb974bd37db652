# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Rows of the overview: each a workflow with its DAG, what is wrong with it, and how it failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from batchy_provider.plugin.activity import ActiveRun, Activity, activity_of
from batchy_provider.plugin.airflow_dags import DagState
from batchy_provider.services.answers import WorkflowSummary
from batchy_provider.services.list_filters import sort_by
from batchy_provider.services.problems import NO_PROBLEM_RANK, Problem, problem_of
from batchy_provider.services.why_answers import FailureView

RowFilter = Literal[
    "problems",
    "open",
    "success",
    "failed",
    "new",
    "late",
    "at_risk",
    "faults",
    "paused",
    "waiting",
    "on_hold",
    "acknowledged",
]
FILTERS: tuple[RowFilter, ...] = get_args(RowFilter)

PROBLEMS_FIRST = "problems"
"""The order of a list in which the workflows come first that need a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewRow(WorkflowSummary):
    """A row of the overview: a workflow and its DAG.

    :param has_dag: Airflow has a DAG of this name.
    :param paused: the DAG is paused; None without a DAG.
    :param next_run: when the next run is due; UTC, ISO 8601.
    :param activity: what the next run does before it has opened its batch; None if there is no such run.
    :param problem: the most important thing that is wrong with it, see `Problem`; None if there is none.
    :param failure: how its latest batch has failed; None if it has not.
    :param next_from: where its next live window starts, UTC, ISO 8601; None if it is not known.
    """

    has_dag: bool = False
    paused: bool | None = None
    next_run: str | None = None
    activity: Activity | None = None
    problem: Problem | None = field(default=None)
    failure: FailureView | None = None
    next_from: str | None = None

    @classmethod
    def of(
        cls,
        summary: WorkflowSummary,
        dag: DagState | None,
        runs: Sequence[ActiveRun] = (),
        *,
        tags: Sequence[str] = (),
        owners: Sequence[str] = (),
    ) -> OverviewRow:
        """Make the row of a workflow.

        :param dag: None if Airflow has no DAG of it.
        :param runs: the runs of the DAG that have not ended, oldest first.
        :param tags: those of the DAG, for a workflow without a file.
        :param owners: those of the DAG, for a workflow without a file.
        """
        known: dict[str, Any] = {name: getattr(summary, name) for name in _SUMMARY_FIELDS}
        if not summary.in_cfg:
            known |= {"tags": [*tags], "owners": [*owners]}
        if dag is None:
            return cls(**known, problem=problem_of(summary))
        holder = summary.run if summary.status == "open" else None
        activity = activity_of(runs, holder, on_hold=summary.hold is not None)
        doing = activity.doing if activity is not None and summary.status != "open" else None
        return cls(
            **known,
            has_dag=True,
            paused=dag.paused,
            next_run=dag.next_run,
            activity=activity,
            problem=problem_of(summary, doing=doing, paused=dag.paused),
        )

    @property
    def rank(self) -> int:
        """Where it stands in the order of problems: 0 is first. Of those without one, what runs comes first."""
        if self.problem is not None:
            return self.problem.rank
        return NO_PROBLEM_RANK + (0 if self.status == "open" else 1 if self.activity is not None else 2)

    def matches(self, wanted: RowFilter) -> bool:
        """Tell whether the workflow belongs into a filtered list."""
        match wanted:
            case "problems":
                return self.problem is not None and self.problem.is_new
            case "acknowledged":
                return self.problem is Problem.ACKNOWLEDGED
            case "late":
                return self.late_seconds is not None
            case "at_risk":
                return self.warning is not None
            case "faults":
                return self.faults > 0
            case "paused":
                return self.paused is True
            case "on_hold":
                return self.hold is not None
            case "waiting":
                return self.status != "open" and self.activity is not None
            case status:
                return self.status == status


_SUMMARY_FIELDS = [each.name for each in fields(WorkflowSummary)]
_COLUMNS = [each.name for each in fields(OverviewRow)]


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A row in a list.

    :param kinds: the filters that select it.
    :param rank: see `OverviewRow.rank`.
    """

    row: OverviewRow
    kinds: frozenset[str]
    rank: int

    @classmethod
    def of(cls, row: OverviewRow) -> ListedRow:
        """Find out which filters select a row."""
        kinds: set[str] = {each for each in FILTERS if row.matches(each)}
        if row.problem in (Problem.UNREADABLE, Problem.FAILED):
            kinds.add("failures")
        return cls(row, frozenset(kinds), row.rank)


@dataclass(frozen=True, slots=True)
class DagFacts:
    """What a row has of Airflow.

    :param dag: None if Airflow has no DAG of the workflow.
    :param runs: the runs of the DAG that have not ended, oldest first.
    :param tags: those of the DAG, for a workflow without a file.
    :param owners: those of the DAG, for a workflow without a file.
    """

    dag: DagState | None = None
    runs: Sequence[ActiveRun] = ()
    tags: Sequence[str] = ()
    owners: Sequence[str] = ()

    def row(self, summary: WorkflowSummary) -> OverviewRow:
        """Return the row of a workflow with these facts."""
        return OverviewRow.of(summary, self.dag, self.runs, tags=self.tags, owners=self.owners)


class RowCache:
    """Return the row of each workflow: the same object as before, if nothing about it has changed.

    The rows are those of nobody: what a caller may not see is taken out later. Safe to share between threads.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[WorkflowSummary, DagFacts, ListedRow]] = {}

    def row(self, summary: WorkflowSummary, facts: DagFacts) -> ListedRow:
        """Return the row of a workflow."""
        known = self._known.get(summary.workflow)
        if known is not None and known[0] is summary and known[1] == facts:
            return known[2]
        listed = ListedRow.of(facts.row(summary))
        self._known[summary.workflow] = summary, facts, listed
        return listed

    def keep(self, names: Collection[str]) -> None:
        """Forget workflows that are gone."""
        if len(self._known) > 2 * len(names):
            self._known = {name: known for name, known in self._known.items() if name in names}


def ordered(rows: Iterable[ListedRow], order_by: str) -> list[OverviewRow]:
    """Return rows in order.

    :param order_by: a column, or `PROBLEMS_FIRST`; with ``-`` before it, in descending order.
    :raises ConfigError: there is no such column.
    """
    if order_by.removeprefix("-") == PROBLEMS_FIRST:
        found = sorted(rows, key=lambda each: each.rank, reverse=order_by.startswith("-"))
        return [each.row for each in found]
    return sort_by([each.row for each in rows], order_by, _COLUMNS)


def counts_of(rows: Collection[ListedRow]) -> dict[str, int]:
    """Return filter → number of rows that it selects.

    `all` counts all rows, `failures` those with a failure that nobody has acknowledged.
    """
    found = Counter(kind for each in rows for kind in each.kinds)
    return {"all": len(rows), "failures": found["failures"], **{each: found[each] for each in FILTERS}}


def label_counts(rows: Iterable[ListedRow], labels: Callable[[OverviewRow], Iterable[str]]) -> dict[str, int]:
    """Return label → number of rows that have it, by label.

    :param labels: the labels of a row, such as its tags.
    """
    return dict(sorted(Counter(label for each in rows for label in labels(each.row)).items()))


def completed(
    rows: Iterable[OverviewRow], failures: Mapping[str, FailureView], next_starts: Mapping[str, str]
) -> list[OverviewRow]:
    """Return rows with what is read for the rows of one page only.

    :param failures: workflow → how its latest batch has failed.
    :param next_starts: workflow → where its next live window starts.
    """
    return [replace(row, failure=failures.get(row.workflow), next_from=next_starts.get(row.workflow)) for row in rows]
