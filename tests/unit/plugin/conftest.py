# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Fixtures: Airflow's API server with the plugin, in this process, with real tokens and a real Valkey."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from anyio.from_thread import BlockingPortal, start_blocking_portal
from api_server import SALES, Api
from playwright.sync_api import Browser
from sqlalchemy import select

sys.path.append(str(Path(__file__).parents[2] / "integration"))


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


@pytest.fixture(scope="session")
def _portal() -> Iterator[BlockingPortal]:
    """The thread and the event loop of the server: to make both for each request takes longer than most answers."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def served(_server: object) -> Iterator[str]:
    """URL of the server, for programs that are not in this process."""
    server = uvicorn.Server(uvicorn.Config(_server, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    started = threading.Event()
    while not server.started and thread.is_alive():
        started.wait(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(60)


@pytest.fixture(scope="module")  # while it is there, this thread has a running event loop
def browser() -> Iterator[Browser]:
    """A browser, whose contexts and pages each test makes and closes itself."""
    from browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def api(
    _server: object, _portal: BlockingPortal, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Api]:
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
    yield Api(_server, cfg, _portal)
    airflow_services.get_services().close()
    airflow_services.reset_services()
