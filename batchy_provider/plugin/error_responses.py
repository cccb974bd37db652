# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Answer each error with problem details in JSON (RFC 9457), without what the caller may not see."""

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
from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.config.reader import InvalidFilesError
from batchy_provider.core.typed_data import encodable
from batchy_provider.plugin.error_codes import ErrorCode, ServerError, code_of_status, kind_of

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class ErrorResponse(BaseModel):
    """What is wrong."""

    type: str = Field(description="The kind of error: `about:blank`, or a name that stays as it is.")
    code: str = Field(
        description="For programs: what is wrong, in one word that stays as it is.", examples=["batch_held"]
    )
    title: str = Field(description="The HTTP status in words.")
    status: int
    detail: str = Field(description="For people: what is wrong, what was expected, what to do.")
    instance: str = Field(description="The path of the request.")
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
    """
    Return the part of the OpenAPI document about some errors.

    :param when: status → when it occurs.
    """
    content = {MEDIA_TYPE: {"schema": ErrorResponse.model_json_schema()}}
    return {status: {"description": text, "content": content} for status, text in when.items()}


RESPONSES = documented(_WHEN)


def install(app: FastAPI) -> None:
    """Answer all errors of an application in this form."""
    app.add_exception_handler(errors.BatchyError, _on_batchy_error)
    app.add_exception_handler(RedisError, _on_redis_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unexpected_error)


def error_response(
    request: Request,
    status: HTTPStatus | int,
    detail: str,
    *,
    code: ErrorCode,
    kind: str = "about:blank",
    diagnostics: list[Any] | None = None,
    headers: Any = None,
) -> JSONResponse:
    """
    Return an error as a response, without what its caller may not know.

    :param code: for programs.
    :param kind: the member `type`.
    :param diagnostics: the member `errors`.
    """
    status = HTTPStatus(status)
    detail, diagnostics = _for_caller(request, detail, diagnostics)
    content = ErrorResponse(
        type=kind,
        code=code,
        title=status.phrase,
        status=status,
        detail=encodable(detail),
        instance=request.url.path,
        errors=diagnostics,
    )
    return JSONResponse(content.model_dump(exclude_none=True), status, media_type=MEDIA_TYPE, headers=headers)


def _for_caller(request: Request, detail: str, diagnostics: list[Any] | None) -> tuple[str, list[Any] | None]:
    """Remove names and paths that the caller may not know. An unknown caller may know none."""
    from batchy_provider.plugin.airflow_services import deployment
    from batchy_provider.plugin.disclosure import Disclosure, without_addresses

    caller = getattr(request.state, "batchy_caller", None)
    own = {str(each) for each in request.path_params.values()}
    try:
        if caller is None:
            return without_addresses(detail), None if diagnostics is None else []
        tells = Disclosure(caller, deployment())
        told = (
            None
            if diagnostics is None
            else [_diagnostic_for_caller(tells, diagnostic, own) for diagnostic in diagnostics]
        )
        return tells.text(detail, own=own), told
    except Exception:  # an error in this handler must not say too much either
        log.exception("the details of an error cannot be disclosed")
        return without_addresses(detail), None


def _diagnostic_for_caller(tells: Any, diagnostic: dict[str, Any], own: set[str]) -> dict[str, Any]:
    if diagnostic.keys() != {each.name for each in fields(Diagnostic)}:
        return diagnostic
    return asdict(tells.diagnostics([Diagnostic(**diagnostic)], own=own)[0])


def _on_batchy_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.BatchyError)
    kind = kind_of(error)
    if isinstance(error, InvalidFilesError):
        return _on_invalid_files(request, error)
    if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return _on_redis_error(request, error)
    return error_response(request, kind.status, str(error), code=kind.code, kind=kind.type)


def _on_invalid_files(request: Request, error: InvalidFilesError) -> JSONResponse:
    """Answer with diagnostics. Lines of the file may hold secrets: only who may edit the workflow gets them."""
    status, code, kind = kind_of(error)
    diagnostics = [asdict(diagnostic) for diagnostic in error.diagnostics]
    caller, workflow = getattr(request.state, "batchy_caller", None), request.path_params.get("workflow")
    if workflow is None or (caller is not None and caller.may("PUT", str(workflow))):
        return error_response(request, status, str(error), code=code, kind=kind, diagnostics=diagnostics)
    _, told = _for_caller(request, "", diagnostics)
    lines = [str(Diagnostic(**diagnostic)) for diagnostic in told or ()]
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    detail = "\n".join([f"{count} in workflow files:", *lines])
    return error_response(request, status, detail, code=code, kind=kind, diagnostics=told)


def _on_redis_error(request: Request, error: Exception) -> JSONResponse:
    from batchy_provider.plugin.airflow_services import forget

    forget()  # its connection may have been edited since
    text = str(error) if isinstance(error, errors.BatchyError) else f"Redis cannot be used: {error}"
    status, code, kind = kind_of(error if isinstance(error, errors.BatchyError) else errors.RedisUnavailableError())
    return error_response(request, status, text, code=code, kind=kind, headers={"Retry-After": "5"})


def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    diagnostics = [
        {key: value for key, value in diagnostic.items() if key in ("loc", "msg", "type")}
        for diagnostic in error.errors()
    ]
    detail = "; ".join(f"{'.'.join(map(str, diagnostic['loc']))}: {diagnostic['msg']}" for diagnostic in diagnostics)
    faults = jsonable_encoder(diagnostics)
    return error_response(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, code="invalid_request", diagnostics=faults)


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.UNAUTHORIZED and _is_person(request):
        return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)))
    code = error.code if isinstance(error, ServerError) else code_of_status(error.status_code)
    return error_response(request, error.status_code, str(error.detail), code=code, headers=error.headers)


def _is_person(request: Request) -> bool:
    """Tell whether a browser asks for a page, and not a program for data."""
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def _on_unexpected_error(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = "an error of this server; its log has the details"
    return error_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal_error")
