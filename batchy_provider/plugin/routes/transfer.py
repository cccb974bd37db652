# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes to export workflows into one JSON document, and to import such a document."""

from __future__ import annotations

from typing import Annotated, Any

from airflow.configuration import conf
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from batchy_provider.bundles.limits import MIB
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.error_responses import documented
from batchy_provider.plugin.routes.workflows import ChangeRequest
from batchy_provider.plugin.security import Configurator
from batchy_provider.services.transfer import ImportedState, LeftOut, decode_document

router = APIRouter(tags=["workflows"])


class ExportRequest(ChangeRequest):
    """Which workflows to export."""

    workflows: list[str] = Field(
        default=[], max_length=10_000, description="Their names. Without any, all that the caller may edit."
    )
    history: bool = Field(default=False, description="With all batches, not only those that the state needs.")


class ExportDocument(BaseModel):
    """Workflows of one environment. `POST /import` takes it as it is."""

    format: str
    version: int
    exported_at: str = Field(description="UTC, ISO 8601.")
    workflows: list[dict[str, Any]]
    left_out: list[dict[str, str]] = Field(description="Workflows that cannot be read: `workflow` and `reason`.")


_OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "description": "What `POST /export` returned."}}},
    },
}


async def document_body(request: Request, caller: Configurator) -> bytes:
    """Return the body of an import, if it is not too large."""
    most = conf.getint("batchy", "upload_max_mb", fallback=256) * MIB
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal() or len(length) > 20:
        raise HTTPException(411, "an import needs a Content-Length")
    if int(length) > most:
        raise HTTPException(413, f"a document has at most {most:,} bytes ([batchy] upload_max_mb)")
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection was closed before the document was complete") from error


@router.post("/export", operation_id="export_workflows", summary="Export workflows", response_model=ExportDocument)
def export_workflows(caller: Configurator, services: ServicesDep, body: ExportRequest | None = None) -> Response:
    """Return workflows as one JSON document: state, ledger, configuration, disabled jobs, audit entries.

    Values are exact: params whose names suggest a secret are not masked. It needs the permissions to change Airflow's
    configuration and to edit each of the DAGs.
    """
    request = body or ExportRequest()
    for name in request.workflows:
        caller.must("PUT", name)
    names = list(dict.fromkeys(request.workflows))
    if not names:
        names = [each.workflow for each in services.states.all() if caller.may("PUT", each.workflow)]
    left_out: list[LeftOut] = []
    parts = services.transfer.document(names, actor=caller.actor, history=request.history, left_out=left_out)
    return Response("".join(parts), media_type="application/json")


@router.post(
    "/import",
    operation_id="import_workflows",
    summary="Import workflows",
    openapi_extra=_OPENAPI,
    responses=documented({411: "The request has no Content-Length.", 413: "The document is too large."}),
)
def import_workflows(
    caller: Configurator,
    services: ServicesDep,
    body: Annotated[bytes, Depends(document_body)],
    replace: Annotated[bool, Query(description="Remove a workflow of the same name first.")] = False,
    dry_run: Annotated[bool, Query(description="Change nothing; return what would be written.")] = False,
    why: Annotated[str | None, Query(max_length=2000, description="A reason, for the audit log.")] = None,
) -> list[ImportedState]:
    """Import all workflows of a document, each in one transaction, or none if one of them is refused.

    422 with the place of each error if the document is not valid, 409 if a workflow exists or has an open batch. A
    batch that was open arrives as failed. It needs the permissions to change Airflow's configuration and to edit each
    of the DAGs.
    """
    data = decode_document(body)
    for name in services.transfer.read(data):
        caller.must("PUT", name)
    return services.transfer.import_document(data, actor=caller.actor, why=why, replace=replace, dry_run=dry_run)
