# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Shared parts of the plugin's tests: a workflow, clients of the server, and tokens."""

from __future__ import annotations

from pathlib import Path

import httpx
from anyio.from_thread import BlockingPortal

SALES = """\
description: Sales, every night
schedule: "0 2 * * *"
timezone: Europe/Paris
jobs:
  extract: {bash: "true", params: {region: eu}}
  load: {bash: "true"}
"""


class Api:
    """
    The server, as its clients see it.

    :param app: the ASGI application.
    :param cfg: folder of the workflow files.
    :param portal: the event loop that answers all requests.
    """

    def __init__(self, app: object, cfg: Path, portal: BlockingPortal) -> None:
        self.app = app
        self.cfg = cfg
        self._portal = portal

    def client(self, role: str | None = "admin", *, cookie: bool = False) -> httpx.Client:
        """Return a client as a user of a role: ``admin``, ``user``, ``viewer``, or None for nobody."""
        from starlette.testclient import TestClient

        client = TestClient(self.app, base_url="http://testserver/batchy", raise_server_exceptions=False)
        client.portal = self._portal
        if role is not None and cookie:
            client.cookies.set("_token", token(role))
        elif role is not None:
            client.headers["Authorization"] = f"Bearer {token(role)}"
        return client


def token(role: str) -> str:
    """Return a token of Airflow's auth manager for a user of a role."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return str(get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=f"{role}-ann", role=role)))
