# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Airflow for `waits.py`: PostgreSQL, Valkey and one real triggerer, with as many deferred tasks as one likes.

No scheduler: the deferred tasks are written to Airflow's tables as copies of one that Airflow made itself. What
the triggerer does with them is all its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import redis

from batchy_provider.local import servers, settings
from batchy_provider.local.ports import free_port
from batchy_provider.local.postgres import Postgres, remove_database
from batchy_provider.local.process import Guard, Service, stop_all

HERE = Path(__file__).parent
WAITING, WAITED_FOR = "waiting", "waited_for"
DAGS = f"""
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

for name in ("{WAITING}", "{WAITED_FOR}"):
    with DAG(name, schedule=None) as globals()[name]:
        EmptyOperator(task_id="task")
"""
CAPACITY = 20_000


class Rig:
    """
    The servers, and a triggerer that can be started again for each measurement.

    :param folder: holds everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "dags").mkdir()
        (folder / "dags" / "waits.py").write_text(DAGS)
        (folder / "logs").mkdir()
        env = settings.clean_environment()
        keys = settings.Secrets.of(folder)
        port = free_port()
        self._guard = Guard()
        self._valkey = servers.valkey(
            folder / "valkey", port=port, password=keys.redis_password, env=env, watch=self._watch
        )
        self._postgres = Postgres(folder / "postgres", env=env, watch=self._watch)
        options = {
            "triggerer.capacity": str(CAPACITY),
            # As it is, Airflow hands out 50 a second, and the start of 10,000 would take minutes.
            "triggerer.max_trigger_to_select_per_loop": "1000",
        }
        variables = settings.airflow_environment(
            folder,
            dags=folder / "dags",
            cfg=folder / "dags",
            database_url=self._postgres.url,
            redis_port=port,
            api_port=free_port(),
            keys=keys,
            options=options,
            connections={},
        )
        self.redis_url = variables["BATCHY_REDIS_URL"]
        self._env = {**env, **variables, "PYTHONPATH": str(HERE)}
        self.client = redis.Redis.from_url(self.redis_url, client_name="benchmark")
        self._running: list[Service] = []
        self._triggerer: Service | None = None

    def start(self) -> None:
        """Start the servers and make Airflow's tables, with one task to copy."""
        self._postgres.initialize()
        postgres = self._postgres.service()
        for service in (self._valkey, postgres):
            service.start()
            self._running.append(service)
        postgres.wait_until(self._postgres.ready, timeout=60)
        self.airflow("db", "migrate")
        self.airflow("dags", "reserialize")
        for dag_id in (WAITING, WAITED_FOR):
            self.airflow("dags", "trigger", dag_id, "--run-id", "run")
        self._database = psycopg2.connect(f"host={self._postgres.folder} user=postgres dbname=postgres")
        self._database.autocommit = True

    def stop(self) -> None:
        """Stop everything."""
        stop_all(self._running[::-1])
        self._guard.dismiss()
        remove_database(self.folder)

    def _watch(self, pid: int) -> None:
        self._guard.watch(1, pid)

    def airflow(self, *arguments: str) -> None:
        """Run a command of Airflow."""
        self._airflow(*arguments).run(timeout=240)

    def _airflow(self, *arguments: str) -> Service:
        command = [sys.executable, "-m", "airflow", *arguments]
        log = self.folder / f"{arguments[0]}.log"
        return Service(f"airflow {arguments[0]}", command, log=log, env=self._env, watch=self._watch)

    # the triggerer

    def start_triggerer(self) -> None:
        self._triggerer = self._airflow("triggerer", "--skip-serve-logs")
        self._triggerer.start()
        self._running.append(self._triggerer)

    def stop_triggerer(self) -> None:
        """Kill it, as it may have much to do still, and forget its tasks."""
        assert self._triggerer is not None
        self._triggerer.kill()
        self._running.remove(self._triggerer)
        self.sql("DELETE FROM task_instance WHERE map_index >= 0")
        self.sql("DELETE FROM trigger")
        self.sql("DELETE FROM callback")
        self.sql("DELETE FROM xcom")
        self.sql("DELETE FROM job")

    @property
    def processes(self) -> tuple[int, int]:
        """Process ids of the triggerer: the one that writes to the database, and the one in which triggers run."""
        assert self._triggerer is not None
        pid = self._triggerer.pid
        (runner,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return pid, int(runner)

    # tasks

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with self._database.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def defer(self, path: str, every_kwargs: Sequence[dict[str, Any]]) -> None:
        """Add deferred tasks.

        :param path: class of the trigger.
        :param every_kwargs: the arguments of each one's trigger.
        """
        ((first,),) = self.sql("SELECT coalesce(max(map_index), -1) + 1 FROM task_instance")
        columns = [
            name
            for (name,) in self.sql(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'task_instance'"
            )
        ]
        new = {"id": "gen_random_uuid()", "map_index": "t.n", "trigger_id": "t.id", "state": "'deferred'"}
        values = ", ".join(new.get(name, f"ti.{name}") for name in columns)
        rows = json.dumps([json.dumps(kwargs) for kwargs in every_kwargs])
        self.sql(
            f"""
            WITH asked AS (SELECT value, %s + ordinality - 1 AS n FROM json_array_elements_text(%s) WITH ORDINALITY),
            made AS (
                INSERT INTO trigger (id, classpath, kwargs, created_date)
                SELECT 1 + n, %s, value, now() FROM asked RETURNING id, id - 1 AS n
            )
            INSERT INTO task_instance ({", ".join(columns)})
            SELECT {values} FROM task_instance ti, made t WHERE ti.dag_id = %s AND ti.map_index = -1
            """,
            first,
            rows,
            path,
            WAITING,
        )

    def deferred(self) -> int:
        """How many tasks have not ended."""
        ((count,),) = self.sql("SELECT count(*) FROM task_instance WHERE state = 'deferred'")
        return int(count)

    def states(self) -> dict[str, int]:
        return dict(self.sql("SELECT state, count(*) FROM task_instance WHERE map_index >= 0 GROUP BY state"))


def until(condition: Callable[[], Any], what: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)


def memory(pid: int) -> float:
    """MiB that a process has, with its share of what it shares with other processes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / 100
