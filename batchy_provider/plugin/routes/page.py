# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Serve the web page: one HTML file, and its scripts, which call the REST API.

Airflow shows it as an external view, in a frame of its own UI. That is the one way that all of Airflow 3.1 to 3.4
have, and the one in which the page keeps a content security policy of its own; a React app would be run in
Airflow's page, with what that allows.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from batchy_provider.plugin.security import AnyCaller

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parents[1] / "static"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # Asked for each time, answered with 304 where nothing changed: an upgrade is seen at once.
    "Cache-Control": "private, no-cache",
}
_files = StaticFiles(directory=STATIC)


@router.get("/page")
def page(caller: AnyCaller) -> Response:
    """Return the page. A person without a login is led to Airflow's, as from all addresses here."""
    return FileResponse(STATIC / "index.html", headers=_HEADERS)


@router.get("/static/{path:path}")
async def static(path: Annotated[str, PathParameter(max_length=200)], request: Request, caller: AnyCaller) -> Response:
    """Return a file of the page. Starlette's static files stay inside their folder, and know ETags."""
    try:
        answer = await _files.get_response(posixpath.normpath(path), request.scope)
    except ValueError as error:  # no path at all, as one with a null byte is on Python 3.10
        raise HTTPException(404) from error
    answer.headers.update(_HEADERS)
    return answer
