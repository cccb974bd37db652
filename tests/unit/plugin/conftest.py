# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Fixtures: Airflow's API server with the plugin, in this process, with real tokens and a real Valkey."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import SALES, Api
from sqlalchemy import select


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from airflow.models.dag import DagModel
    from airflow.utils.db import initdb, resetdb
    from airflow.utils.session import create_session

    initdb()
    with create_session() as session:
        dag = session.scalar(select(DagModel.dag_id).limit(1))
    if dag is not None:  # this process has run DAGs for other tests
        resetdb()
    os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = "of this test session alone, and as long as SHA512 wants it: 64 bytes"
    from airflow.api_fastapi.app import create_app, purge_cached_app

    purge_cached_app()
    yield create_app("core")
    purge_cached_app()


@pytest.fixture
def api(_server: object, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Return clients of the server, on an empty Valkey and a folder with the workflow ``sales``."""
    from batchy_provider.plugin import airflow_services

    cfg = tmp_path / "cfg"
    cfg.mkdir()
    (cfg / "sales.yaml").write_text(SALES)
    monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", str(cfg))
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    monkeypatch.setenv("AIRFLOW__BATCHY__BUNDLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    airflow_services.reset_services()
    yield Api(_server, cfg)
    airflow_services.get_services().close()
    airflow_services.reset_services()
