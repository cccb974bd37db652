# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Measure one size of one way to wait: start the waits, watch them while nothing happens, end them."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from waits_airflow import HERE, Rig, memory, processor_time, until
from waits_triggers import FIRED, STARTED, noted
from waits_ways import Nothing, Way


@dataclass
class Found:
    """The measurement of one size of one way; None where there is nothing to measure.

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
        """Start one wait, then all the rest, and measure them for a while in which nothing happens."""
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
