# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Airflow's API server with the plugin in it, in this process: real routes, real tokens, a real Valkey."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

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
    """

    def __init__(self, app: object, cfg: Path) -> None:
        self.app = app
        self.cfg = cfg

    def client(self, role: str | None = "admin", *, cookie: bool = False) -> httpx.Client:
        """Return a client as a user of a role: ``admin``, ``user``, ``viewer``, or None for nobody."""
        from starlette.testclient import TestClient

        client = TestClient(self.app, base_url="http://testserver/batchy", raise_server_exceptions=False)  # type: ignore[arg-type]
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


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from airflow.utils.db import initdb

    initdb()
    os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = "of this test session alone, and as long as SHA512 wants it: 64 bytes"
    from airflow.api_fastapi.app import create_app, purge_cached_app

    purge_cached_app()
    yield create_app("core")
    purge_cached_app()


@pytest.fixture
def api(_server: object, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The server on an empty Valkey and a folder with the workflow ``sales``."""
    from batchy_provider.plugin import deployment

    cfg = tmp_path / "cfg"
    cfg.mkdir()
    (cfg / "sales.yaml").write_text(SALES)
    monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", str(cfg))
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    monkeypatch.setenv("AIRFLOW__BATCHY__BUNDLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    deployment.forget()
    yield Api(_server, cfg)
    deployment.deployment().close()
    deployment.forget()
