# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The application below ``/batchy``: all routes, and the parts of its OpenAPI document that all routes share."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI, Request
from starlette.datastructures import MutableHeaders

from batchy_provider import __version__
from batchy_provider.plugin import error_responses
from batchy_provider.plugin.routes import (
    archive,
    batches,
    bulk,
    durations,
    events,
    executions,
    gaps,
    history,
    holds,
    metrics,
    moving,
    original,
    overview,
    page,
    plan,
    schedule,
    tonight,
    transfer,
    uploads,
    waits,
    warnings,
    why,
    workflows,
)
from batchy_provider.plugin.security import authenticated

API = "/api/v1"

DESCRIPTION = """\
See batches, open and close them, set windows, and enable or disable jobs.

Every request needs Airflow's own authentication: `Authorization: Bearer TOKEN`, with a token from `POST /auth/token`.
To read a workflow, you need the permission to read the DAG of that name. To change it, you need the permission to edit
that DAG. Dates are UTC, ISO 8601. Errors are problem details (RFC 9457); programs decide by their `code`.

Airflow's own API has runs, pausing, clearing and task logs: a workflow is the DAG of the same name.
"""


class DefaultHeaders:
    """Middleware that adds headers: browsers do not guess content types, and nothing caches a response unasked.

    :param app: the application that answers.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, and add the headers to its response."""

        async def send_with(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with)


def create_app() -> FastAPI:
    """Build the application."""
    # Airflow does not authenticate requests to mounted applications. FastAPI's own pages would be open to everyone.
    app = FastAPI(
        title="Batchy",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses=error_responses.RESPONSES,
    )
    error_responses.install(app)
    app.add_middleware(DefaultHeaders)
    for part in (
        workflows,
        overview,
        batches,
        history,
        durations,
        bulk,
        plan,
        tonight,
        warnings,
        schedule,
        gaps,
        holds,
        archive,
        moving,
        transfer,
        executions,
        uploads,
        waits,
        why,
        events,
        metrics,
    ):
        app.include_router(part.router, prefix=API)
    app.include_router(original.router)
    app.include_router(page.router)

    @app.get(f"{API}/openapi.json", dependencies=[Depends(authenticated)], include_in_schema=False)
    def openapi(request: Request) -> dict[str, Any]:
        return {**app.openapi(), "servers": [{"url": request.scope.get("root_path") or "/"}]}

    return app
