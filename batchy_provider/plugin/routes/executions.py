# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of executions: their output, complete or in parts, their live logs, and their bundles."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from itertools import chain
from pathlib import Path as FilePath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

from batchy_provider.bundles.scratch import remove_tree
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.routes.batches import BatchId
from batchy_provider.plugin.routes.workflows import Offset
from batchy_provider.plugin.security import CheckedJobName, CodeReader, LogReader, WorkflowName
from batchy_provider.plugin.server_addresses import hide_addresses
from batchy_provider.services.executions import ExecutionView, ResultFile

router = APIRouter(tags=["executions"])

Attempt = Annotated[str, Path(pattern=r"^[1-9][0-9]{0,5}(\.[1-9][0-9]{0,3})?$", description="Try, such as 1 or 1.2.")]
ExecutedJob = Annotated[
    str,
    Path(pattern=r"^[A-Za-z0-9_.\-]{1,200}(@[0-9]{1,6})?$", description="A job; of a mapped task job@index."),
]
EXECUTION = "/workflows/{workflow}/batches/{batch_id}/jobs/{job}/attempts/{attempt}"
UNCHANGED = {"Content-Encoding": "identity", "Cache-Control": "private, no-transform"}
"""Headers that switch Airflow's compression off: ranges, lengths and digests are those of the stored bytes."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}, "text/plain": {}}, "description": "The file."},
    206: {"content": {"application/octet-stream": {}, "text/plain": {}}, "description": "The requested part."},
    416: {"description": "The file has no such part."},
}


class ExecutionPage(BaseModel):
    """The executions of a part of the batches, newest first."""

    items: list[ExecutionView]
    total: int
    limit: int
    offset: int


@router.get("/workflows/{workflow}/executions", operation_id="list_executions", summary="List executions")
def list_executions(
    workflow: WorkflowName,
    caller: LogReader,
    services: ServicesDep,
    disclosure: DisclosureDep,
    batch_id: Annotated[int | None, Query(ge=0, le=2**53, description="Only executions of this batch.")] = None,
    job: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="How many batches at most.")] = 20,
    offset: Offset = 0,
) -> ExecutionPage:
    """Return executions batch by batch, newest batch first. `total`, `limit` and `offset` count batches."""
    batch = None if batch_id is None else str(batch_id)
    page = services.executions.find(workflow, batch_id=batch, job=job, limit=limit, offset=offset)
    items = [_for_caller(each, disclosure) for each in page.items]
    return ExecutionPage(items=items, total=page.total, limit=page.limit, offset=page.offset)


@router.get(EXECUTION, operation_id="get_execution", summary="One execution")
def get_execution(
    workflow: WorkflowName,
    batch_id: BatchId,
    job: ExecutedJob,
    attempt: Attempt,
    caller: LogReader,
    services: ServicesDep,
    disclosure: DisclosureDep,
) -> ExecutionView:
    """Return how an execution ended, and which files it wrote."""
    return _for_caller(services.executions.get(workflow, str(batch_id), job, attempt), disclosure)


def _for_caller(found: ExecutionView, disclosure: DisclosureDep) -> ExecutionView:
    """Return what the caller may see of an execution: not everyone may see the address of its bundle."""
    if found.bundle is None or disclosure.sees_server:
        return found
    return replace(found, bundle=hide_addresses(found.bundle))


@router.get(EXECUTION + "/log", operation_id="get_log", summary="Task log", status_code=307, response_class=Response)
def get_log(
    workflow: WorkflowName,
    batch_id: BatchId,
    job: ExecutedJob,
    attempt: Attempt,
    request: Request,
    caller: LogReader,
    services: ServicesDep,
) -> RedirectResponse:
    """Redirect to the task log in Airflow's own API, which also has the log of an execution that still runs.

    404 if no run of an Airflow DAG opened the batch.
    """
    run = services.batches.get(workflow, batch_id).run
    if run is None:
        raise HTTPException(404, f"no run of a DAG opened batch {batch_id} of {workflow}, so there is no task log")
    dag_id, slash, run_id = run.partition("/")
    if not slash:
        dag_id, run_id = workflow, run
    task, _, index = job.partition("@")
    root = str(request.scope.get("root_path", "")).removesuffix("/batchy")
    number = attempt.partition(".")[0]
    path = f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}/taskInstances/{quote(task)}/logs/{number}"
    return RedirectResponse(f"{root}{path}?full_content=true" + (f"&map_index={index}" if index else ""))


@router.head(EXECUTION + "/{name:path}", include_in_schema=False)
@router.get(
    EXECUTION + "/{name:path}",
    operation_id="get_file",
    summary="Download a file",
    response_class=Response,
    responses=_BYTES,
)
def get_file(
    workflow: WorkflowName,
    batch_id: BatchId,
    job: ExecutedJob,
    attempt: Attempt,
    name: Annotated[
        str, Path(pattern=r"^(stdout|stderr|output|files/.+)$", description="stdout, stderr, output or files/NAME.")
    ],
    request: Request,
    caller: LogReader,
    services: ServicesDep,
) -> Response:
    """Return a file that an execution wrote, byte for byte. Use `Range` to continue a download."""
    stored = services.executions.file(workflow, str(batch_id), job, attempt, name)
    return _respond(request, stored, f"{workflow}-{batch_id}-{job}-{attempt}-{name.replace('/', '-')}")


@router.get(
    "/workflows/{workflow}/jobs/{job}/bundle",
    operation_id="get_bundle",
    summary="Bundle of a job",
    response_class=FileResponse,
    responses={200: {"content": {"application/zip": {}}, "description": "The bundle as a zip."}},
)
def get_bundle(workflow: WorkflowName, job: CheckedJobName, caller: CodeReader, services: ServicesDep) -> FileResponse:
    """Return the bundle that a job of a workflow file runs, as a zip."""
    scratch = FilePath(tempfile.mkdtemp(prefix="batchy-download-"))
    try:
        packed = services.executions.bundle(workflow, job, scratch)
    except BaseException:
        remove_tree(scratch)
        raise
    return FileResponse(
        packed,
        media_type="application/zip",
        filename=f"{workflow}-{job}.zip",
        background=BackgroundTask(remove_tree, scratch),
        headers={**UNCHANGED, "Content-Security-Policy": "default-src 'none'; sandbox"},
    )


def _respond(request: Request, stored: ResultFile, filename: str) -> Response:
    etag = f'"{stored.sha256}"'
    is_text = stored.name in ("stdout", "stderr", "output")
    headers = {
        **UNCHANGED,
        "Accept-Ranges": "bytes",
        "ETag": etag,
        # A browser must not run the output of a script as a page of this site.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": f"{'inline' if is_text else 'attachment'}; filename*=UTF-8''{quote(filename)}",
    }
    media_type = "text/plain; charset=utf-8" if is_text else "application/octet-stream"
    if etag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    part = _part(request, stored, etag)
    if part is None:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{stored.size}"})
    start, end = part
    status = 200
    if (start, end) != (0, stored.size):
        status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{stored.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    parts = stored.read(start, end)
    first = next(parts, b"")  # if the file cannot be opened, the status is still free to say so
    return StreamingResponse(chain((first,), parts), status, headers, media_type)


def _part(request: Request, stored: ResultFile, etag: str) -> tuple[int, int] | None:
    """Return the requested range of bytes, from start (inclusive) to end (exclusive).

    :returns: the whole file if the request has no range, several ranges, or a range of another version of the file;
        None if the file has no such bytes.
    """
    requested = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if requested is None or request.headers.get("If-Range", etag) != etag or requested.group() == "bytes=-":
        return 0, stored.size
    first, last = requested.groups()
    if not first:
        start, end = max(0, stored.size - int(last)), stored.size
    else:
        start, end = int(first), min(stored.size, int(last) + 1 if last else stored.size)
    return (start, end) if start < end else None
