# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Route of durations: how long past runs took, and how long the next one will probably take."""

from __future__ import annotations

from fastapi import APIRouter

from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.security import WorkflowName, WorkflowReader
from batchy_provider.services.duration_history import DurationsView

router = APIRouter(tags=["plan"])


@router.get("/workflows/{workflow}/durations", operation_id="get_durations", summary="How long runs take")
def get_durations(workflow: WorkflowName, caller: WorkflowReader, services: ServicesDep) -> DurationsView:
    """Return how long the latest successful runs of a workflow and of its jobs took, and the expectation of the next.

    The expectation is that of the plan, for a window of the usual length: P50 and P90 are null with fewer than three
    runs. `notes` say in words what the length of the window, the weekday and growth do.
    """
    return services.durations.of(workflow)
