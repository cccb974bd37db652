# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of the plan: when the runs of the next hours start and end, and whether they meet their deadlines."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query

from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import Disclosure, DisclosureDep
from batchy_provider.plugin.security import AnyCaller, WorkflowName, WorkflowReader
from batchy_provider.services.plan_answers import DEFAULT_HOURS, MAX_HOURS, ExpectedRunView

router = APIRouter(tags=["plan"])

Hours = Annotated[float, Query(gt=0, le=MAX_HOURS, description="How far to look ahead.")]


@router.get("/plan", operation_id="list_expected_runs_of_all", summary="The expected runs of all workflows")
def list_expected_runs_of_all(
    caller: AnyCaller,
    services: ServicesDep,
    disclosure: DisclosureDep,
    hours: Hours = DEFAULT_HOURS,
    workflow: Annotated[
        list[str] | None, Query(max_length=1000, description="Only these workflows. Default: all that you may read.")
    ] = None,
) -> list[ExpectedRunView]:
    """Return the runs of the next hours, of the workflows that you may read, by the times at which they are due.

    Start and end come from how long past runs took. What is not known is null, never a guess: three successful runs
    are needed.
    """
    known = services.workflows.all_names()
    found = services.plan.all(caller.readable(known if workflow is None else known & {*workflow}), hours=hours)
    return [_visible(each, disclosure) for each in found]


@router.get("/workflows/{workflow}/plan", operation_id="list_expected_runs", summary="The expected runs of a workflow")
def list_expected_runs(
    workflow: WorkflowName,
    caller: WorkflowReader,
    services: ServicesDep,
    disclosure: DisclosureDep,
    hours: Hours = DEFAULT_HOURS,
) -> list[ExpectedRunView]:
    """Return the runs of a workflow in the next hours, by the times at which they are due."""
    return [_visible(each, disclosure) for each in services.plan.of([workflow], hours=hours)]


def _visible(run: ExpectedRunView, disclosure: Disclosure) -> ExpectedRunView:
    """Return a run without the names of workflows that the caller may not read."""
    known = {*disclosure.names({step.workflow for step in run.critical_path})}
    path = [step for step in run.critical_path if step.workflow in known]
    return replace(run, waits_for=disclosure.names(run.waits_for), critical_path=path)
