# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What workflows, batches and waits cost in Redis memory, and how long a night of 1,000 workflows takes.

Two ways in turns in one run, each time on a new server:

- ``store``: `Store.open` and `close`.
- ``raw``: the original server's layout, a live hash and one hash a batch with the very same JSON, and nothing else:
  the least that keeping each batch's jobs can cost.

and, with ``--postgres``, the same JSON as one row a job in a PostgreSQL table like that of Airflow's XComs.

Run: ``python benchmarks/memory.py [--workflows 1000] [--jobs 20] [--nights 20] [--processes 4] [--server PATH]``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.local.ports import free_port
from batchy_provider.local.servers import valkey_binary
from batchy_provider.state.store import Store

MILLION = 1_000_000
LISTPACK = {"hash-max-listpack-entries": 128, "hash-max-listpack-value": 1024}


@contextmanager
def server(program: str, **options: Any) -> Iterator[redis.Redis]:
    """Start a server without persistence; yield its client."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="batchy-memory-") as folder:
        given = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no", **options}
        command = [program, *(str(part) for name, value in given.items() for part in (f"--{name}", value))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            client = redis.Redis(port=port)
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            with client:
                yield client
        finally:
            process.kill()
            process.wait()


def used(client: redis.Redis) -> int:
    """Return what the data takes, without connections."""
    return int(client.info("memory")["used_memory_dataset"])


def config(name: str, jobs: int, params: int) -> WorkflowConfig:
    given = {f"param_{n}": f"value number {n}" for n in range(params)}
    return WorkflowConfig(name=name, jobs={f"job_{n:02}": {"reprocess_hours": 2, **given} for n in range(jobs)})


def nights(client: redis.Redis, names: list[str], jobs: int, params: int, count: int, first: int = 0) -> None:
    """Open and close a batch of each workflow, so many nights."""
    store = Store(client)
    for night in range(first, first + count):
        for name in names:
            holder = Holder(dag_id=name, run_id=f"scheduled__2026-11-{night:04}T02:00:00+00:00")
            batch = store.open(name, OpenRequest(config=config(name, jobs, params), holder=holder))
            store.close(name, CloseRequest(result="success", batch_id=batch.batch_id))


def copy_raw(source: redis.Redis, target: redis.Redis) -> None:
    """Copy what the original would keep too: the hashes of workflows and of batches."""
    for key in source.scan_iter(count=1000, _type="HASH"):
        if b":" not in key:
            target.hset(key, mapping=source.hgetall(key))


def of_workflows(program: str) -> None:
    print("| jobs | params a job | workflow and first batch, KiB | each further batch | its JSON | raw | store ÷ raw |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for jobs, params in ((1, 2), (5, 2), (20, 2), (20, 10), (100, 2)):
        names = [f"workflow_{n:03}" for n in range(50)]
        with server(program) as client, server(program) as raw:
            nights(client, ["warm"], jobs, params, 1)  # what a server keeps of its own after its first commands
            before = used(client)
            nights(client, names, jobs, params, 1)
            one = used(client) - before
            copy_raw(client, raw)
            raw_before, between = used(raw), used(client)
            nights(client, names, jobs, params, 20, first=1)
            a_batch = (used(client) - between) / len(names) / 20
            copy_raw(client, raw)
            raw_batch = (used(raw) - raw_before) / len(names) / 20
            text = sum(len(value) for value in client.hvals(names[0]))
            print(
                f"| {jobs} | {params} | {one / len(names) / 1024:.1f} | {a_batch / 1024:.2f} | {text / 1024:.2f} | "
                f"{raw_batch / 1024:.2f} | {a_batch / raw_batch:.2f} |",
                flush=True,
            )


def of_listpacks(program: str) -> None:
    """What the server's limits for its compact form of small hashes make of it."""
    names = [f"workflow_{n:03}" for n in range(50)]
    sizes, seconds = [], []
    for options in ({}, LISTPACK):
        with server(program, **options) as client:
            nights(client, names, 20, 2, 1)
            before, began = used(client), time.perf_counter()
            nights(client, names, 20, 2, 20, first=1)
            seconds.append(time.perf_counter() - began)
            sizes.append((used(client) - before) / len(names) / 20)
    limits = ", ".join(f"{name} {value}" for name, value in LISTPACK.items())
    print(
        f"With {limits}: {sizes[1] / 1024:.2f} KiB a batch of 20 jobs instead of {sizes[0] / 1024:.2f}, "
        f"{sizes[1] / sizes[0]:.2f} times; time {seconds[1] / seconds[0]:.2f} times"
    )


def of_connections(program: str) -> None:
    """A wait of the triggerer costs nothing but its share of two connections; one of the shell has its own two."""
    with server(program) as client:
        before = int(client.info("memory")["used_memory"])
        listeners = [redis.Redis(port=client.connection_pool.connection_kwargs["port"]) for _ in range(500)]
        pubsubs = [listener.pubsub() for listener in listeners]
        for pubsub in pubsubs:
            pubsub.subscribe("batchy:events")
            pubsub.get_message(timeout=5)
        more = int(client.info("memory")["used_memory"]) - before
        print(f"A connection that listens: {more / 500 / 1024:.1f} KiB of the server")
        for closable in (*pubsubs, *listeners):
            closable.close()


def part_of_night(port: int, names: list[str], jobs: int, what: str, start: Any, done: Any) -> None:
    with redis.Redis(port=port) as client:
        store = Store(client)
        given = {name: config(name, jobs, 2) for name in names}
        start.wait()
        for name in names:
            if what == "open":
                store.open(name, OpenRequest(config=given[name], holder=Holder(dag_id=name, run_id="tonight")))
            else:
                store.close(name, CloseRequest(result="success"))
        done.wait()


def of_the_night(program: str, workflows: int, jobs: int, count: int, processes: int) -> None:
    names = [f"workflow_{n:04}" for n in range(workflows)]
    with server(program) as client:
        nights(client, ["warm"], jobs, 2, 1)
        before = used(client)
        nights(client, names, jobs, 2, 1)
        one = used(client)
        nights(client, names, jobs, 2, count - 1, first=1)
        a_batch = (used(client) - one) / workflows / (count - 1)
        total = f"{(used(client) - before) / 2**20:,.0f} MiB"
        print(f"{workflows:,} workflows of {jobs} jobs, {count} nights each: {total}, measured")
        port = client.connection_pool.connection_kwargs["port"]
        context = multiprocessing.get_context("fork")
        for what in ("open", "close"):
            start, done = context.Barrier(processes + 1), context.Barrier(processes + 1)
            workers = [
                context.Process(target=part_of_night, args=(port, names[n::processes], jobs, what, start, done))
                for n in range(processes)
            ]
            for worker in workers:
                worker.start()
            start.wait()
            began = time.perf_counter()
            done.wait()
            seconds = time.perf_counter() - began
            print(f"  to {what} all by {processes} processes: {seconds:.2f} s, {workflows / seconds:,.0f} a second")
        gib = ((one - before) + a_batch * (MILLION - workflows)) / 2**30
        print(f"  a batch more: {a_batch / 1024:.2f} KiB; calculated for a million batches: {gib:.1f} GiB")


def of_postgres(jobs: int) -> None:
    """The same JSON, a row a job, in a table with the columns, key and index of Airflow's XComs."""
    import os

    import psycopg2

    from batchy_provider.local.postgres import Postgres

    batches = 2000
    with tempfile.TemporaryDirectory(prefix="batchy-memory-") as folder:
        Path(folder).chmod(0o755)
        postgres = Postgres(Path(folder) / "postgres", env=dict(os.environ))
        postgres.initialize()
        service = postgres.service()
        service.start()
        service.wait_until(postgres.ready, timeout=60)
        try:
            with psycopg2.connect(postgres.url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
                cursor.execute(
                    "CREATE TABLE xcom (dag_run_id int, task_id varchar(250), map_index int, key varchar(512), "
                    "dag_id varchar(250), run_id varchar(250), value jsonb, timestamp timestamptz, "
                    "PRIMARY KEY (dag_run_id, task_id, map_index, key))"
                )
                cursor.execute("CREATE INDEX ON xcom (dag_id, task_id, run_id, map_index)")
                fields = {
                    "batch_id": 1795384088,
                    "status": "success",
                    "from_date": "2026-11-22T18:39:48.000000",
                    "to_date": "2026-11-22T18:39:48.000000",
                    "batch_start": "2026-11-22T18:39:48.000000",
                    "batch_end": "2026-11-22T18:39:48.000000",
                    "outcome": "success",
                }
                rows = []
                for batch in range(batches):
                    for name, given in config("w", jobs, 2).jobs.items():
                        run = f"scheduled__2026-11-{batch:04}T02:00:00+00:00"
                        value = json.dumps({**given, **fields})
                        rows.append((batch, name, -1, "return_value", "workflow_001", run, value, "2026-11-22"))
                cursor.executemany("INSERT INTO xcom VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", rows)
                cursor.execute("SELECT pg_total_relation_size('xcom')")
                (size,) = cursor.fetchone()
            print(f"As rows like XComs in PostgreSQL, on disk: {size / batches / 1024:.2f} KiB a batch of {jobs} jobs")
        finally:
            service.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workflows", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--nights", type=int, default=20)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--server", default=str(valkey_binary()), help="a redis-server or valkey-server")
    parser.add_argument("--postgres", action="store_true", help="the rows in PostgreSQL too")
    arguments = parser.parse_args()
    of_workflows(arguments.server)
    of_listpacks(arguments.server)
    of_connections(arguments.server)
    of_the_night(arguments.server, arguments.workflows, arguments.jobs, arguments.nights, arguments.processes)
    if arguments.postgres:
        of_postgres(arguments.jobs)


if __name__ == "__main__":
    main()
