# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of warnings: the deadlines that will probably be missed."""

from __future__ import annotations

from fastapi import APIRouter

from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.security import AnyCaller, WorkflowName, WorkflowReader
from batchy_provider.services.warning_answers import WarningView

router = APIRouter(tags=["plan"])


@router.get("/warnings", operation_id="list_warnings_of_all", summary="The deadlines that will probably be missed")
def list_warnings_of_all(caller: AnyCaller, services: ServicesDep, disclosure: DisclosureDep) -> list[WarningView]:
    """Return the warnings that stand, of the workflows that you may read, the nearest deadline first.

    Only workflows whose file has `deadline: {warn: …}` are evaluated, by the DAG `batchy_warnings`.
    """
    found = services.warnings.standing(caller.readable(services.workflows.all_names()))
    return [disclosure.warning(each) for each in found]


@router.get(
    "/workflows/{workflow}/warnings",
    operation_id="list_warnings",
    summary="The deadlines of a workflow that will probably be missed",
)
def list_warnings(
    workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep, disclosure: DisclosureDep
) -> list[WarningView]:
    """Return the warnings of a workflow that stand, the nearest deadline first."""
    return [disclosure.warning(each) for each in services.warnings.of(workflow)]
