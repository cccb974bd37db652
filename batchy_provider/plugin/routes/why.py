# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of why and impact: why workflows are not running, or not done, and who is affected."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from batchy_provider.config.durations import parse_duration
from batchy_provider.exceptions import ConfigError
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.security import AnyCaller, WorkflowName, WorkflowReader
from batchy_provider.services.why_answers import ImpactView, WhyView

router = APIRouter(tags=["why"])


@router.get("/why", operation_id="list_why", summary="Why workflows are not running, or not done")
def list_why(
    caller: AnyCaller,
    services: ServicesDep,
    disclosure: DisclosureDep,
    workflow: Annotated[
        list[str] | None, Query(max_length=1000, description="Only these workflows. Default: all that you may read.")
    ] = None,
) -> list[WhyView]:
    """Return the answers for many workflows at once, by name. Names of workflows that are not known are left out."""
    known = services.workflows.all_names()
    wanted = known if workflow is None else known & {*workflow}
    found = services.why.all(caller.readable(wanted), sees_output=caller.sees_output(known))
    return [disclosure.why(each) for each in found.values()]


@router.get("/workflows/{workflow}/why", operation_id="get_why", summary="Why a workflow is not running, or not done")
def get_why(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> WhyView:
    """Return the root cause, through all workflows that it waits for: it is the last link of `chain`.

    `code` is that of the workflow itself; `text` says the root cause first. A workflow of the chain that you may not
    read has the code `not_disclosed`. The last line of a script's stderr needs the permission to read task logs.
    """
    return disclosure.why(services.why.of(workflow, sees_output=caller.sees_output(services.workflows.known_names())))


@router.get("/workflows/{workflow}/impact", operation_id="get_impact", summary="Who is affected by a delay or failure")
def get_impact(
    workflow: WorkflowName,
    caller: WorkflowReader,
    services: ServicesDep,
    disclosure: DisclosureDep,
    late: Annotated[
        str | None,
        Query(
            max_length=100,
            description="Suppose that its next run ends so long after it was due.",
            examples=["2h", "1d12h"],
        ),
    ] = None,
    failed: Annotated[bool, Query(description="Suppose that its next run fails, and nobody runs it again.")] = False,
) -> ImpactView:
    """Return the workflows that need this one, directly or through others, with the deadline of each.

    `miss_probability` is null if it is not known. With `late` or `failed` it is 1 where the schedules alone decide that
    the deadline is missed. Workflows that you may not read are one entry with the name `***`.
    """
    if late is not None and failed:
        raise ConfigError("give late or failed, not both: a run that fails does not end late")
    try:
        delay = None if late is None else parse_duration(late)
    except ValueError as error:
        raise ConfigError(f"late: {error}") from None
    return disclosure.impact(services.why.impact(workflow, late=delay, failed=failed))
