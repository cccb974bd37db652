# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The original Batchy server's endpoints, for its clients: same paths and bodies, with a bearer token.

They change things by GET, as those clients call them; so they never take Airflow's cookie, which a browser sends
along with whatever a page of others makes it ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from batchy_provider.core.job_state import Fields
from batchy_provider.original.formats import check_format, to_json
from batchy_provider.plugin.airflow_services import Deployment
from batchy_provider.plugin.disclosure import shown_jobs
from batchy_provider.plugin.security import BearerEditor, BearerReader, Caller, WorkflowName, bearer_only

router = APIRouter(tags=["original"])

METHODS = ["GET", "POST"]
INDEX = """\
Batchy
load_cfg/<workflow>               set a workflow back to its file
get_status/<workflow>             its jobs as they stand
open_batch/<workflow>[/json|/infa]  open a batch
close_batch/<workflow>            close it as success
fail_batch/<workflow>             close it as failed
"""


def _body(jobs: Mapping[str, Fields]) -> Response:
    """Return exact fields, for callers who may edit the workflow."""
    return Response(to_json(jobs), media_type="application/json")


@router.api_route("/index", methods=METHODS, include_in_schema=False)
def index(caller: Annotated[Caller, Depends(bearer_only)]) -> Response:
    """Say what there is."""
    return Response(INDEX, media_type="text/plain")


@router.api_route("/load_cfg/{workflow}", methods=METHODS, include_in_schema=False)
def load_cfg(workflow: WorkflowName, caller: BearerEditor, services: Deployment) -> Response:
    """Set a workflow back to its file."""
    return _body(services.workflows.load(workflow, actor=caller.actor))


@router.api_route("/get_status/{workflow}", methods=METHODS, include_in_schema=False)
def get_status(workflow: WorkflowName, caller: BearerReader, services: Deployment) -> Response:
    """Return the jobs as they stand; secrets are exact for callers who may edit the workflow, as its scripts do."""
    jobs = services.states.get(workflow).jobs
    return _body(jobs if caller.may("PUT", workflow) else shown_jobs(jobs))


@router.api_route("/open_batch/{workflow}", methods=METHODS, include_in_schema=False)
@router.api_route("/open_batch/{workflow}/{form}", methods=METHODS, include_in_schema=False)
def open_batch(workflow: WorkflowName, caller: BearerEditor, services: Deployment, form: str = "json") -> Response:
    """Open a batch and return it in a format; one that is unknown opens nothing."""
    is_infa = check_format(form) == "infa"
    if is_infa:
        services.batches.check_informatica(workflow)
    batch = services.batches.open(workflow, actor=caller.actor)
    if is_infa:
        return Response(services.batches.informatica(workflow, batch), media_type="text/plain; charset=utf-8")
    return _body(batch.jobs)


@router.api_route("/close_batch/{workflow}", methods=METHODS, include_in_schema=False)
def close_batch(workflow: WorkflowName, caller: BearerEditor, services: Deployment) -> Response:
    """Close the open batch as success."""
    return _body(services.batches.close(workflow, result="success", actor=caller.actor).jobs)


@router.api_route("/fail_batch/{workflow}", methods=METHODS, include_in_schema=False)
def fail_batch(workflow: WorkflowName, caller: BearerEditor, services: Deployment) -> Response:
    """Close the open batch as failed."""
    return _body(services.batches.close(workflow, result="failed", actor=caller.actor).jobs)
