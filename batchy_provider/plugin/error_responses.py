# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Errors as problem details in JSON (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from batchy_provider import exceptions as errors
from batchy_provider.bundles.confined_files import OutsideFolderError
from batchy_provider.bundles.errors import BundleNotFoundError, DamagedRecordError, ResultError
from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.config.reader import InvalidFilesError
from batchy_provider.core.typed_data import encodable
from batchy_provider.services.upload_files import UploadConflictError, UploadStorageError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[errors.BatchyError], HTTPStatus] = {
    errors.UnknownWorkflowError: HTTPStatus.NOT_FOUND,
    errors.UnknownJobError: HTTPStatus.NOT_FOUND,
    errors.UnknownBatchError: HTTPStatus.NOT_FOUND,
    OutsideFolderError: HTTPStatus.FORBIDDEN,
    BundleNotFoundError: HTTPStatus.NOT_FOUND,
    DamagedRecordError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ResultError: HTTPStatus.NOT_FOUND,
    errors.BatchHeldError: HTTPStatus.CONFLICT,
    errors.NotOpenError: HTTPStatus.CONFLICT,
    UploadConflictError: HTTPStatus.CONFLICT,
    UploadStorageError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.StateError: HTTPStatus.CONFLICT,
    errors.LostStateError: HTTPStatus.CONFLICT,
    errors.ArchiveError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.RedisUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Error → status; all others are the caller's input."""


_INVALID_FILES = "FaultsError"
"""The type of the problem of an `InvalidFilesError`: a stable name, which programs compare."""


class Problem(BaseModel):
    """What went wrong."""

    type: str = Field(description="What kind of problem it is: `about:blank`, or the name of an error of this package.")
    title: str = Field(description="The HTTP status in words.")
    status: int
    detail: str = Field(description="What is wrong, what was expected, what to do.")
    instance: str = Field(description="The path that was asked for.")
    errors: list[dict[str, Any]] | None = Field(
        default=None,
        description="Each error: of a workflow file with file, line, column, key, code; of a request with loc.",
    )


_WHEN = {
    400: "The request cannot be read.",
    401: "No token, or one that is not valid.",
    403: "The token lacks the right.",
    404: "There is no such workflow, job or batch.",
    409: "The state does not allow it, such as a batch that another run holds open.",
    422: "What was given cannot be used.",
    503: "Redis, or the archive of a workflow that Redis does not know, cannot be reached.",
}


def documented(when: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of some problems: status → when it comes."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": text, "content": content} for status, text in when.items()}


RESPONSES = documented(_WHEN)


def install(app: FastAPI) -> None:
    """Let all errors of an application be problems."""
    app.add_exception_handler(errors.BatchyError, _of_ours)
    app.add_exception_handler(RedisError, _of_redis)
    app.add_exception_handler(RequestValidationError, _of_request)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_nobody)


def problem(
    request: Request,
    status: HTTPStatus | int,
    detail: str,
    *,
    kind: str = "about:blank",
    diagnostics: list[Any] | None = None,
    headers: Any = None,
) -> JSONResponse:
    """Return a problem as a response, with what its caller may know."""
    status = HTTPStatus(status)
    detail, diagnostics = _told(request, detail, diagnostics)
    content = Problem(
        type=kind,
        title=status.phrase,
        status=status,
        detail=encodable(detail),
        instance=request.url.path,
        errors=diagnostics,
    )
    return JSONResponse(content.model_dump(exclude_none=True), status, media_type=MEDIA_TYPE, headers=headers)


def _told(request: Request, detail: str, diagnostics: list[Any] | None) -> tuple[str, list[Any] | None]:
    """Leave out names and places that are not for the caller; where nobody is known, those of nobody."""
    from batchy_provider.plugin.airflow_services import deployment
    from batchy_provider.plugin.disclosure import Disclosure, without_addresses

    caller = getattr(request.state, "batchy_caller", None)
    own = {str(each) for each in request.path_params.values()}
    try:
        if caller is None:
            return without_addresses(detail), None if diagnostics is None else []
        tells = Disclosure(caller, deployment())
        told = None if diagnostics is None else [_disclosed(tells, diagnostic, own) for diagnostic in diagnostics]
        return tells.text(detail, own=own), told
    except Exception:  # an error in this handler must not say too much either
        log.exception("an error cannot be told in full")
        return without_addresses(detail), None


def _disclosed(tells: Any, diagnostic: dict[str, Any], own: set[str]) -> dict[str, Any]:
    if diagnostic.keys() != {each.name for each in fields(Diagnostic)}:
        return diagnostic
    return asdict(tells.diagnostics([Diagnostic(**diagnostic)], own=own)[0])


def _of_ours(request: Request, error: Exception) -> JSONResponse:
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), HTTPStatus.UNPROCESSABLE_ENTITY)
    if isinstance(error, InvalidFilesError):
        return _of_diagnostics(request, status, error)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return _of_redis(request, error)
    return problem(request, status, str(error), kind=type(error).__name__)


def _of_diagnostics(request: Request, status: HTTPStatus, error: InvalidFilesError) -> JSONResponse:
    """Tell of diagnostics; lines of the file itself only to whom the file belongs, since they may hold secrets."""
    diagnostics = [asdict(diagnostic) for diagnostic in error.diagnostics]
    caller, workflow = getattr(request.state, "batchy_caller", None), request.path_params.get("workflow")
    if workflow is None or (caller is not None and caller.may("PUT", str(workflow))):
        return problem(request, status, str(error), kind=_INVALID_FILES, diagnostics=diagnostics)
    _, told = _told(request, "", diagnostics)
    lines = [str(Diagnostic(**diagnostic)) for diagnostic in told or ()]
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    detail = "\n".join([f"{count} in workflow files:", *lines])
    return problem(request, status, detail, kind=_INVALID_FILES, diagnostics=told)


def _of_redis(request: Request, error: Exception) -> JSONResponse:
    from batchy_provider.plugin.airflow_services import forget

    forget()  # its connection may have been edited since
    text = str(error) if isinstance(error, errors.BatchyError) else f"Redis cannot be used: {error}"
    kind = type(error).__name__ if isinstance(error, errors.BatchyError) else "RedisUnavailableError"
    headers = {"Retry-After": "5"}
    return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, text, kind=kind, headers=headers)


def _of_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    diagnostics = [
        {key: value for key, value in diagnostic.items() if key in ("loc", "msg", "type")}
        for diagnostic in error.errors()
    ]
    detail = "; ".join(f"{'.'.join(map(str, diagnostic['loc']))}: {diagnostic['msg']}" for diagnostic in diagnostics)
    return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, diagnostics=jsonable_encoder(diagnostics))


def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.UNAUTHORIZED and _is_person(request):
        return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)))
    return problem(request, error.status_code, str(error.detail), headers=error.headers)


def _is_person(request: Request) -> bool:
    """Tell whether it is a browser that goes to an address, and no program."""
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def _of_nobody(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "an error of this server; its log has more")
