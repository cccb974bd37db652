# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Airflow plugin: timetables, links of tasks, and the REST API and page below ``/batchy`` in the API server.

Every Airflow process imports its plugins, even the process of each task. So this module imports nothing until somebody
asks for the application, as the API server does when it starts, or for the timetables. Only in the programs that fork
processes for tasks or DAG files it imports what those need.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from batchy_provider.preload import preload

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink
    from airflow.timetables.base import Timetable
    from fastapi import FastAPI

PREFIX = "/batchy"

_log = logging.getLogger(__name__)


class LazyApp:
    """An ASGI application that builds the real one when it is first used."""

    def __init__(self) -> None:
        self._app: FastAPI | None = None

    @property
    def app(self) -> FastAPI:
        """Return the real application."""
        if self._app is None:
            from batchy_provider.plugin.app import create_app

            self._app = create_app()
        return self._app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request. Its scope has Airflow's application, through which routes ask Airflow's API."""
        from batchy_provider.plugin.request_scope import AIRFLOW_APP

        await self.app({**scope, AIRFLOW_APP: scope.get("app")}, receive, send)


class Applications:
    """The application, which the API server asks for when it starts. It is built then: no person waits for it later."""

    def __init__(self) -> None:
        self._app = LazyApp()

    def __get__(self, plugin: object, owner: type | None = None) -> list[dict[str, Any]]:
        try:
            _ = self._app.app
        except Exception:  # Airflow's own page must work without this one. A request to this one shows the error.
            _log.exception("Batchy's page and REST API cannot be loaded. Airflow goes on without them")
        return [{"app": self._app, "url_prefix": PREFIX, "name": "Batchy"}]


class LazyTimetables:
    """The timetables of this package, imported by the processes that ask for them."""

    def __get__(self, plugin: object, owner: type | None = None) -> list[type[Timetable]]:
        from batchy_provider.timetables import CalendarTimetable

        return [CalendarTimetable]


class LazyLinks:
    """The links that the API server finds when a person looks at a task."""

    def __get__(self, plugin: object, owner: type | None = None) -> list[BaseOperatorLink]:
        from batchy_provider.plugin.run_link import RunLink

        return [RunLink()]


class IdentityListener:
    """Gives an Airflow without a name an identity of its own, when one of its programs with a database starts."""

    @hookimpl
    def on_starting(self, component: object) -> None:
        """Airflow calls this in each task, too: only a job is a program that has the database."""
        if type(component).__name__ != "Job":
            return
        from batchy_provider.hooks.airflow_identity import publish_identity
        from batchy_provider.hooks.deployment import configured_name

        if configured_name() is None:
            publish_identity()


class BatchyPlugin(AirflowPlugin):
    """The REST API, the page, the links and the timetables of this package."""

    name = "batchy"
    timetables = LazyTimetables()
    operator_extra_links = LazyLinks()
    listeners = [IdentityListener()]  # noqa: RUF012 - Airflow's form
    fastapi_apps = Applications()
    # Relative addresses: Airflow's own address may have a path.
    external_views = [  # noqa: RUF012 - Airflow's form
        {
            "name": "Batches",
            "href": "batchy/page",
            "destination": "nav",
            "url_route": "batches",
            "nav_top_level": True,
            "icon": "batchy/static/icon.svg",
        },
        {
            "name": "Batches",
            "href": "batchy/page?in=dag#/workflows/{DAG_ID}",
            "destination": "dag",
            "url_route": "dag-batches",
            "icon": "batchy/static/icon.svg",
        },
    ]


preload()
