# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What waits cost in one real triggerer of Airflow, and how soon they end: ours, and what else there is, in one run.

Each size of each way has a triggerer of its own (``airflow triggerer`` on PostgreSQL and Valkey), which is given
deferred tasks, left in peace for a while, and then told that the batch was closed. Moments are taken where the
trigger starts and where it fires; the end of a task is what Airflow's table says.

- ``one workflow``, ``own workflows``: our `WaitsyTrigger`, all on one workflow or each on one of its own; the time is
  counted from the last close.
- ``nothing``: a trigger that only sleeps, for Airflow's own share of the memory.
- ``ExternalTaskSensor``: its trigger, on a DAG run, which then succeeds.
- ``AwaitMessageTrigger``: of the Redis provider, on a channel.
- ``waitsy``: a process for each wait that polls a server, from the seed's description.

The last three poll, here each ``--poll`` seconds as the seed's waitsy does; the default of the first two is 60.

Run: ``python benchmarks/waits.py [--sizes 1,100,1000,10000] [--only WAY,WAY] [--idle 60]``; a quick look:
``python benchmarks/waits.py --sizes 1,20 --idle 5 --poll 2``.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from waits_airflow import HERE, WAITED_FOR, Rig, memory, processor_time, until
from waits_triggers import FIRED, STARTED, noted

from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.core.waits import Wait
from batchy_provider.state.store import Store

CHANNEL = "benchmark"
GOALS = {1_000: 0.5, 10_000: 5.0}
"""Seconds from the close until all have fired, for ours."""
AT_MOST = {"ExternalTaskSensor": 1_000, "AwaitMessageTrigger": 1_000, "waitsy": 100}
"""How many of a way are tried at most; a connection, a request to Airflow or a process each is felt before."""


@dataclass
class Found:
    """What was measured of one size of one way; None where there is nothing to measure.

    :param started: seconds until the last has started.
    :param connections: to Redis.
    :param kib: KiB of memory for each wait but the first, which brings what all share.
    :param commands: that Redis was sent in a minute in which nothing happened.
    :param busy: seconds of processor time in that minute.
    :param mean: seconds from the close until one has fired, on average.
    :param last: seconds from the close until all have fired.
    :param stored: seconds from the close until Airflow has stored the end of every task.
    """

    started: float
    connections: int
    kib: float | None
    commands: float
    busy: float
    mean: float | None = None
    last: float | None = None
    stored: float | None = None


class Way:
    """A way to wait.

    :param rig: Airflow and Redis.
    :param poll: seconds between two polls.
    """

    path = ""

    def __init__(self, rig: Rig, poll: float) -> None:
        self.rig = rig
        self.poll = poll
        self.store = Store(rig.client)

    def prepare(self, size: int) -> None:
        """Make what is waited for; it is not done yet."""

    def kwargs(self, number: int) -> dict[str, Any]:
        return {}

    def close(self) -> float:
        """End all waits; returns the moment before the last close."""
        return time.monotonic()


class OneWorkflow(Way):
    path = "batchy_provider.triggers.waitsy.WaitsyTrigger"

    def prepare(self, size: int) -> None:
        self.workflows = [self.workflow(number) for number in range(size)]
        for workflow in dict.fromkeys(self.workflows):
            config = WorkflowConfig(name=workflow, jobs={f"job{number}": {"region": "eu"} for number in range(5)})
            self.store.open(workflow, OpenRequest(config=config))

    def workflow(self, number: int) -> str:
        return "sales"

    def kwargs(self, number: int) -> dict[str, Any]:
        today = datetime.now(timezone.utc).date().isoformat()
        return {"wait": asdict(Wait(workflow=self.workflows[number], day=today))}

    def close(self) -> float:
        since = time.monotonic()
        for workflow in dict.fromkeys(self.workflows):
            since = time.monotonic()
            self.store.close(workflow, CloseRequest(result="success"))
        return since


class OwnWorkflows(OneWorkflow):
    def workflow(self, number: int) -> str:
        return f"sales{number}"


class Nothing(Way):
    path = "waits_triggers.Nothing"


class ExternalTaskSensor(Way):
    path = "airflow.providers.standard.triggers.external_task.WorkflowTrigger"

    def prepare(self, size: int) -> None:
        self._set_state("running")

    def kwargs(self, number: int) -> dict[str, Any]:
        run = {"external_dag_id": WAITED_FOR, "run_ids": ["run"], "allowed_states": ["success"]}
        return run | {"poke_interval": self.poll}

    def close(self) -> float:
        since = time.monotonic()
        self._set_state("success")
        return since

    def _set_state(self, state: str) -> None:
        self.rig.sql("UPDATE dag_run SET state = %s WHERE dag_id = %s", state, WAITED_FOR)


class AwaitMessageTrigger(Way):
    path = "airflow.providers.redis.triggers.redis_await_message.AwaitMessageTrigger"

    def kwargs(self, number: int) -> dict[str, Any]:
        return {"channels": CHANNEL, "poll_interval": self.poll}

    def close(self) -> float:
        since = time.monotonic()
        self.rig.client.publish(CHANNEL, "closed")
        return since


class Waitsy(OneWorkflow):
    """Processes, no triggerer."""


WAYS: dict[str, type[Way]] = {
    "one workflow": OneWorkflow,
    "own workflows": OwnWorkflows,
    "nothing": Nothing,
    "ExternalTaskSensor": ExternalTaskSensor,
    "AwaitMessageTrigger": AwaitMessageTrigger,
    "waitsy": Waitsy,
}


class Measurement:
    """One size of one way."""

    def __init__(self, rig: Rig, way: Way, size: int, *, idle: float) -> None:
        self.rig = rig
        self.way = way
        self.size = size
        self.idle = idle
        self.notes = rig.folder / "notes"
        self.notes.unlink(missing_ok=True)
        rig.client.flushall()
        way.prepare(size)

    def in_a_triggerer(self) -> Found:
        """Let deferred tasks wait in a triggerer of their own."""
        self.rig.start_triggerer()
        try:
            found = self.wait(self._defer, lambda: self.rig.processes)
            if not isinstance(self.way, Nothing):
                since = self.fire(found)
                until(lambda: not self.rig.deferred(), "Airflow stores the ends", 60 + 0.1 * self.size)
                found.stored = time.monotonic() - since
            return found
        finally:
            self.rig.stop_triggerer()

    def in_processes(self) -> Found:
        """Let processes wait, each by itself."""
        processes: list[subprocess.Popen[bytes]] = []

        def start(first: int, last: int) -> None:
            command = [sys.executable, str(HERE / "waits_poller.py"), url, str(self.way.poll), str(self.notes)]
            processes.extend(subprocess.Popen(command) for _ in range(first, last))

        with status_server(self.rig) as url:
            try:
                found = self.wait(start, lambda: [process.pid for process in processes])
                self.fire(found)
                return found
            finally:
                for process in processes:
                    process.kill()
                    process.wait()

    def wait(self, add: Callable[[int, int], None], pids: Callable[[], Sequence[int]]) -> Found:
        """Let all wait, first one and then the others, and look at them for a while in which nothing happens."""
        memories = []
        since = time.monotonic()
        for first, last in ((0, 1), (1, self.size)):
            if last > first:
                since = time.monotonic()
                add(first, last)
                until(lambda last=last: len(noted(self.notes, STARTED)) >= last, "the start", 60 + 0.1 * self.size)
                rest(pids)
            memories.append(sum(memory(pid) for pid in pids()))
        commands, busy = self._commands(), sum(processor_time(pid) for pid in pids())
        time.sleep(self.idle)
        minutes = self.idle / 60
        # Less the one that asks.
        commands = self._commands() - commands - 1
        return Found(
            started=max(noted(self.notes, STARTED)) - since,
            connections=sum(client["name"] != "benchmark" for client in self.rig.client.client_list()),
            kib=(memories[1] - memories[0]) / (self.size - 1) * 1024 if self.size > 1 else None,
            commands=commands / minutes,
            busy=(sum(processor_time(pid) for pid in pids()) - busy) / minutes,
        )

    def fire(self, found: Found) -> float:
        """Close, and wait until all have fired; returns the moment of the close."""
        since = self.way.close()
        until(lambda: len(noted(self.notes, FIRED)) >= self.size, "the last fires", 120 + 0.1 * self.size)
        delays = [moment - since for moment in noted(self.notes, FIRED)]
        assert len(delays) == self.size, "each fires once"
        found.mean, found.last = statistics.mean(delays), max(delays)
        return since

    def _defer(self, first: int, last: int) -> None:
        every = [
            {"path": self.way.path, "kwargs": self.way.kwargs(number), "notes": str(self.notes)}
            for number in range(first, last)
        ]
        self.rig.defer("waits_triggers.Timed", every)

    def _commands(self) -> int:
        return int(self.rig.client.info("stats")["total_commands_processed"])


def rest(pids: Callable[[], Sequence[int]]) -> None:
    """Wait until processes do nothing, or do not cease to do something."""
    for _ in range(15):
        before = sum(processor_time(pid) for pid in pids())
        time.sleep(2)
        if sum(processor_time(pid) for pid in pids()) - before < 0.1:
            return


@contextmanager
def status_server(rig: Rig) -> Iterator[str]:
    """Serve what the original's ``get_status`` serves; yields the URL for the workflow that all wait for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stored = rig.client.hgetall(self.path.rpartition("/")[2])
            body = json.dumps({job.decode(): json.loads(fields) for job, fields in stored.items()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 1_000

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/get_status/sales"
        server.shutdown()


def shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(results: dict[str, dict[int, Found]]) -> None:
    titles = (
        "way", "waits", "started, s", "Redis connections", "KiB a wait", "commands a minute", "processor s a minute",
        "fired, mean s", "all fired, s", "all stored, s",
    )  # fmt: skip
    print(f"\n| {' | '.join(titles)} |")
    print("|---|" + "---:|" * (len(titles) - 1))
    for way, sizes in results.items():
        for size, found in sizes.items():
            print(f"| {way} | {size:,} | {' | '.join(shown(value) for value in asdict(found).values())} |")


def print_ratios(results: dict[str, dict[int, Found]]) -> None:
    """What others take for one of ours, on one workflow, at the largest size of theirs."""
    ours = results.get("one workflow", {})
    print("\n| others ÷ ours | waits | connections | memory | mean delay | until all have fired |")
    print("|---|---:|---:|---:|---:|---:|")
    for way in AT_MOST:
        for size, found in results.get(way, {}).items():
            if size in ours and size > 1:
                one = ours[size]
                pairs = [(getattr(found, name), getattr(one, name)) for name in ("connections", "kib", "mean", "last")]
                ratios = [shown(a / b) if a and b else "-" for a, b in pairs]
                print(f"| {way} | {size:,} | {' | '.join(ratios)} |")
    for size, goal in GOALS.items():
        if size in ours:
            last = ours[size].last
            assert last is not None
            print(f"\n{size:,} waits on one workflow: all fired after {last:.2f} s (goal < {goal:g} s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--sizes", default="1,100,1000,10000", help="how many waits, smallest first")
    parser.add_argument("--only", default=",".join(WAYS), help="these ways; default is all")
    parser.add_argument("--idle", type=float, default=60, help="seconds to look on while nothing happens")
    parser.add_argument("--poll", type=float, default=10, help="seconds between two polls of those that poll")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    # The triggerer keeps a log file open for each task, and Valkey a connection for each that has one.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    results: dict[str, dict[int, Found]] = {}
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        try:
            rig.start()
            for size in sizes:
                for name in arguments.only.split(","):
                    if size > AT_MOST.get(name, size):
                        continue
                    measurement = Measurement(rig, WAYS[name](rig, arguments.poll), size, idle=arguments.idle)
                    is_process = WAYS[name] is Waitsy
                    try:
                        found = measurement.in_processes() if is_process else measurement.in_a_triggerer()
                    except TimeoutError as error:
                        print(f"{name}, {size:,}: {error}", flush=True)
                        continue
                    results.setdefault(name, {})[size] = found
                    print(f"{name}, {size:,}: {found}", flush=True)
        finally:
            rig.stop()
    print_table(results)
    print_ratios(results)


if __name__ == "__main__":
    main()
