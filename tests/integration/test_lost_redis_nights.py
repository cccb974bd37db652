# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A Redis without persistence is killed in the middle of a night, and comes back with nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nights import Nights
from redis_server import Server

from batchy_provider.core.holders import run_key
from batchy_provider.local.rest import wait_for
from batchy_provider.local.settings import DEPLOYMENT
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

NIGHT = """
    schedule: null
    connection: forgetful
    jobs:
      load:
        bash: |
          touch {folder}/runs
          while test -e {folder}/wait; do sleep 0.2; done
"""


def batchy(airflow: Nights, server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    results = str(airflow.stack.folder / "results")
    command = [sys.executable, "-m", "batchy_provider.cli.main", "--redis-url", server.url, *words]
    environment = {**os.environ, "BATCHY_RESULTS": results}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_no_window_is_lost_or_loaded_from_the_beginning_again(
    airflow: Nights, own_server: Server, tmp_path: Path
) -> None:
    connection = {"connection_id": "forgetful", "conn_type": "redis", "host": "127.0.0.1", "port": own_server.port}
    airflow.client.request("POST", "/connections", json=connection)
    airflow.add("forgotten", NIGHT.format(folder=tmp_path))
    assert airflow.run("forgotten")[1] == "success"
    first: dict[str, Any] = json.loads(batchy(airflow, own_server, "-o", "json", "status", "forgotten").stdout)

    (tmp_path / "runs").unlink()
    (tmp_path / "wait").touch()
    struck = airflow.start("forgotten")
    wait_for((tmp_path / "runs").exists, "the script to start", timeout=240)
    own_server.kill()
    own_server.start()
    (tmp_path / "wait").unlink()
    assert airflow.client.wait_for_run("forgotten", struck) == "failed"
    assert "Redis has lost the batch since: `batchy restore forgotten`" in airflow.log("forgotten", struck, "close")

    refused, state = airflow.run("forgotten")
    assert state == "failed"
    assert airflow.tasks("forgotten", refused) == {
        "open": "failed",
        "load": "upstream_failed",
        "close": "upstream_failed",
    }
    assert "Redis has lost the workflow, and a batch that opens now would load all data again" in airflow.log(
        "forgotten", refused, "open"
    )

    shown = batchy(airflow, own_server, "restore", "forgotten", "--dry-run")
    assert shown.returncode == 1, shown.stderr
    assert "have run, but the batch was never closed as far as the archive knows" in shown.stderr
    done = batchy(airflow, own_server, "restore", "forgotten", "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads(batchy(airflow, own_server, "-o", "json", "status", "forgotten").stdout) == first

    again, state = airflow.run("forgotten")
    assert state == "success"
    with open_client(own_server.url) as client:
        batch = Store(client).batch_of_run("forgotten", run_key("forgotten", "forgotten", again, DEPLOYMENT))
    assert batch is not None
    assert batch.from_date == first["load"]["batch_start"], "the window of the night that was struck, from its start"
