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
from batchy_provider.plugin.airflow_services import get_services, reset_services
from batchy_provider.plugin.disclosure import Disclosure
from batchy_provider.plugin.error_codes import ErrorCode, ServerError, code_of_status, kind_of
from batchy_provider.plugin.server_addresses import hide_addresses

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class ErrorResponse(BaseModel):
    """An error: problem details (RFC 9457)."""

    type: str = Field(description="The kind of error: `about:blank`, or a name that never changes.")
    code: str = Field(description="For programs: what is wrong, as a code that never changes.", examples=["batch_held"])
    title: str = Field(description="The HTTP status in words.")
    status: int
    detail: str = Field(description="For people: what is wrong, what was expected, what to do.")
    instance: str = Field(description="The path of the request.")
    errors: list[dict[str, Any]] | None = Field(
        default=None,
        description="The single errors. Errors of a workflow file have file, line, column, key and code; errors of a "
        "request have loc.",
    )


_WHEN = {
    400: "The request cannot be read.",
    401: "There is no token, or it is not valid.",
    403: "The user of the token lacks the permission.",
    404: "There is no such workflow, job or batch.",
    409: "The state does not allow it, for example because another run holds a batch open.",
    422: "A value in the request is not valid.",
    503: "Redis cannot be reached, or the archive of a workflow that Redis does not know.",
}


def documented(when: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the part of the OpenAPI document that describes some errors.

    :param when: status → when it occurs.
    """
    content = {MEDIA_TYPE: {"schema": ErrorResponse.model_json_schema()}}
    return {status: {"description": text, "content": content} for status, text in when.items()}


RESPONSES = documented(_WHEN)


def install(app: FastAPI) -> None:
    """Make an application answer all errors with an `ErrorResponse`."""
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
    """Return the response to an error, without what the caller may not know.

    :param detail: for people: what is wrong, what was expected, what to do.
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
    """Remove names and paths that the caller may not know. A caller without a valid token may know none."""
    caller = getattr(request.state, "batchy_caller", None)
    own = {str(each) for each in request.path_params.values()}
    try:
        if caller is None:
            return hide_addresses(detail), None if diagnostics is None else []
        disclosure = Disclosure(caller, get_services())
        if diagnostics is not None:
            diagnostics = [_diagnostic_for_caller(disclosure, diagnostic, own) for diagnostic in diagnostics]
        return disclosure.text(detail, own=own), diagnostics
    except Exception:  # such as Redis that does not answer; the response must not say too much then
        log.exception("The details of an error are left out: it is not known what the caller may see")
        return hide_addresses(detail), None


def _diagnostic_for_caller(disclosure: Disclosure, diagnostic: dict[str, Any], own: set[str]) -> dict[str, Any]:
    if diagnostic.keys() != {each.name for each in fields(Diagnostic)}:
        return diagnostic
    return asdict(disclosure.diagnostics([Diagnostic(**diagnostic)], own=own)[0])


def _on_batchy_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.BatchyError)
    kind = kind_of(error)
    if isinstance(error, InvalidFilesError):
        return _on_invalid_files(request, error)
    if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return _on_redis_error(request, error)
    single = None
    if isinstance(error, errors.NothingToLoadError):
        single = [{"code": error.code, "ready_at": error.ready_at}]
    return error_response(request, kind.status, str(error), code=kind.code, kind=kind.type, diagnostics=single)


def _on_invalid_files(request: Request, error: InvalidFilesError) -> JSONResponse:
    """Answer with diagnostics. They may quote secrets, so only a caller who may edit the file gets them unmasked."""
    status, code, kind = kind_of(error)
    diagnostics = [asdict(diagnostic) for diagnostic in error.diagnostics]
    caller, workflow = getattr(request.state, "batchy_caller", None), request.path_params.get("workflow")
    if workflow is None or (caller is not None and caller.may("PUT", str(workflow))):
        return error_response(request, status, str(error), code=code, kind=kind, diagnostics=diagnostics)
    _, disclosed = _for_caller(request, "", diagnostics)
    lines = [str(Diagnostic(**diagnostic)) for diagnostic in disclosed or ()]
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    detail = "\n".join([f"{count} in workflow files:", *lines])
    return error_response(request, status, detail, code=code, kind=kind, diagnostics=disclosed)


def _on_redis_error(request: Request, error: Exception) -> JSONResponse:

    reset_services()  # somebody may have edited the connection
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
    encoded = jsonable_encoder(diagnostics)
    return error_response(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, code="invalid_request", diagnostics=encoded)


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.UNAUTHORIZED and _is_person(request):
        return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)))
    code = error.code if isinstance(error, ServerError) else code_of_status(error.status_code)
    return error_response(request, error.status_code, str(error.detail), code=code, headers=error.headers)


def _is_person(request: Request) -> bool:
    """Tell whether a person opens a page in a browser; a program asks for data."""
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def _on_unexpected_error(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = "an error of this server; its log has the details"
    return error_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal_error")
