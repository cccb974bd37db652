# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Serve the web page: one HTML file, and its scripts, which call the REST API.

Airflow shows the page as an external view, in a frame of its own UI. All of Airflow 3.1 to 3.4 can do that. In a frame,
the page has its own strict content security policy. A React app would run in Airflow's page, with Airflow's policy.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from batchy_provider.plugin.airflow_services import warm_up
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
    # Browsers ask each time and get 304 if nothing changed. So people see a new version at once.
    "Cache-Control": "private, no-cache",
}
_files = StaticFiles(directory=STATIC)


@router.get("/page")
def page(caller: AnyCaller) -> Response:
    """Return the page. Like all routes, it redirects a person without a login to Airflow's login page."""
    warm_up()
    return FileResponse(STATIC / "index.html", headers=_HEADERS)


@router.get("/static/{path:path}")
async def static(path: Annotated[str, PathParameter(max_length=200)], request: Request, caller: AnyCaller) -> Response:
    """Return a file of the page. `StaticFiles` stays inside its folder and answers with ETags."""
    if path == "icon.svg":  # Airflow's navigation has it on each page
        await run_in_threadpool(warm_up)
    try:
        response = await _files.get_response(posixpath.normpath(path), request.scope)
    except ValueError as error:  # Python 3.10 raises it for a path with a null byte
        raise HTTPException(404) from error
    response.headers.update(_HEADERS)
    return response
