# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The original Batchy server's endpoints, for its clients: same paths and bodies, with a bearer token.

These clients change things by GET. So the routes accept no cookie: a page of another site can make a browser send a
GET request with Airflow's cookie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from batchy_provider.core.job_state import Fields
from batchy_provider.original.formats import check_format, to_json
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.secret_masking import mask_jobs
from batchy_provider.plugin.security import BearerEditor, BearerReader, Caller, WorkflowName, bearer_only

router = APIRouter(tags=["original"])

METHODS = ["GET", "POST"]
INDEX = """\
Batchy
load_cfg/<workflow>               reset a workflow to its file
get_status/<workflow>             show the state of its jobs
open_batch/<workflow>[/json|/infa]  open a batch
close_batch/<workflow>            close it as success
fail_batch/<workflow>             close it as failed
"""


def _body(jobs: Mapping[str, Fields]) -> Response:
    """Answer with the exact fields of jobs. Only a caller who may edit the workflow may get them."""
    return Response(to_json(jobs), media_type="application/json")


@router.api_route("/index", methods=METHODS, include_in_schema=False)
def index(caller: Annotated[Caller, Depends(bearer_only)]) -> Response:
    """Return the list of endpoints."""
    return Response(INDEX, media_type="text/plain")


@router.api_route("/load_cfg/{workflow}", methods=METHODS, include_in_schema=False)
def load_cfg(workflow: WorkflowName, caller: BearerEditor, services: ServicesDep) -> Response:
    """Reset a workflow to its file."""
    return _body(services.workflows.load(workflow, actor=caller.actor))


@router.api_route("/get_status/{workflow}", methods=METHODS, include_in_schema=False)
def get_status(workflow: WorkflowName, caller: BearerReader, services: ServicesDep) -> Response:
    """Return the state of the jobs. Secrets are masked, except for a caller who may edit the workflow."""
    jobs = services.states.get(workflow).jobs
    return _body(jobs if caller.may("PUT", workflow) else mask_jobs(jobs))


@router.api_route("/open_batch/{workflow}", methods=METHODS, include_in_schema=False)
@router.api_route("/open_batch/{workflow}/{form}", methods=METHODS, include_in_schema=False)
def open_batch(workflow: WorkflowName, caller: BearerEditor, services: ServicesDep, form: str = "json") -> Response:
    """Open a batch and return it in the requested format. An unknown format opens nothing."""
    is_infa = check_format(form) == "infa"
    if is_infa:
        services.batches.check_informatica(workflow)
    batch = services.batches.open(workflow, actor=caller.actor)
    if is_infa:
        return Response(services.batches.informatica(workflow, batch), media_type="text/plain; charset=utf-8")
    return _body(batch.jobs)


@router.api_route("/close_batch/{workflow}", methods=METHODS, include_in_schema=False)
def close_batch(workflow: WorkflowName, caller: BearerEditor, services: ServicesDep) -> Response:
    """Close the open batch as success."""
    return _body(services.batches.close(workflow, result="success", actor=caller.actor).jobs)


@router.api_route("/fail_batch/{workflow}", methods=METHODS, include_in_schema=False)
def fail_batch(workflow: WorkflowName, caller: BearerEditor, services: ServicesDep) -> Response:
    """Close the open batch as failed."""
    return _body(services.batches.close(workflow, result="failed", actor=caller.actor).jobs)
