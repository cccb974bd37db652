# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Kills a part of Airflow, or its Redis, at random moments, as kill -9 does, and starts it again."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from batchy_provider.local.process import Service, StackError

# kind → how often, relative to the others
KINDS = {
    "task": 3,  # the task's process alone: the supervisor tells Airflow
    "worker": 3,  # the supervisor alone, which in LocalExecutor is the worker: nobody tells anybody
    "worker and task": 2,
    "scheduler": 2,  # first alone: its workers go on for seconds, until whoever starts it again ends them
    "scheduler and workers": 1,  # as a machine that fails
    "triggerer": 2,
    "api-server": 2,
    "dag-processor": 1,
    "valkey": 3,
}
TASK = re.compile(r"airflow worker -- [0-9a-f]{8}-[0-9a-f-]{27}$")
"""What a task's process is called; its parent is its supervisor."""


class Chaos:
    """
    One kill after the other, until it is told to stop.

    :param parts: what may be killed, by name; the schedulers' names begin with ``scheduler``
    :param healthy: waits until all parts are well, for so many seconds at most, or raises an error
    :param seed: the same seed draws the same kinds and pauses
    :param pause: seconds between two kills, from and to
    """

    def __init__(
        self,
        parts: Mapping[str, Service],
        healthy: Callable[[float], None],
        seed: int,
        *,
        pause: tuple[float, float] = (4, 18),
    ) -> None:
        self._parts = parts
        self._healthy = healthy
        self._random = random.Random(seed)
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._sessions: set[int] = set()
        self.kills: Counter[str] = Counter()
        self.fault: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and see to it that all parts run again."""
        self._stop.set()
        self._thread.join()
        if self.fault is not None:
            raise self.fault
        for service in self._parts.values():
            if not service.alive():
                service.start()
        self._healthy(240)

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._random.uniform(*self._pause)):
                kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
                if self._kill(kind):
                    self.kills[kind] += 1
                    # Mostly the next one finds a system that works again, sometimes one that is getting up.
                    if self._random.random() < 0.8:
                        self._until_healthy()
        except BaseException as error:
            self.fault = error

    def _until_healthy(self) -> None:
        for _ in range(60):
            with contextlib.suppress(StackError):
                self._healthy(2)
                return
            if self._stop.wait(1):
                return

    def _kill(self, kind: str) -> bool:
        if kind in ("task", "worker", "worker and task"):
            return self._kill_a_task(kind)
        name = self._random.choice(self._schedulers) if kind.startswith("scheduler") else kind
        service = self._parts[name]
        self._sessions.add(service.pid)
        if kind == "scheduler":
            os.kill(service.pid, signal.SIGKILL)
            # Its workers hold its connection to the database, with its locks, so no other scheduler can do anything:
            # systemd, a container or whoever starts it again ends them first.
            self._stop.wait(self._random.uniform(0, 6))
        service.kill()
        self._stop.wait(self._random.uniform(0, 3))
        while service.alive():
            time.sleep(0.05)
        service.start()
        return True

    def _kill_a_task(self, kind: str) -> bool:
        tasks = [pid for pid in self.tasks() if parent(pid) > 1]
        if not tasks:
            return False
        task = self._random.choice(tasks)
        supervisor = parent(task)
        for pid in {"task": [task], "worker": [supervisor]}.get(kind, [supervisor, task]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return True

    @property
    def _schedulers(self) -> list[str]:
        return [name for name in self._parts if name.startswith("scheduler")]

    def tasks(self) -> list[int]:
        """Processes of this stack's tasks. Not idle workers: one of them holds the lock of the executor's queue."""
        sessions = self._sessions | {self._parts[name].pid for name in self._schedulers}
        found = []
        for pid in all_pids():
            if TASK.fullmatch(command(pid)):
                with contextlib.suppress(ProcessLookupError):
                    if os.getsid(pid) in sessions:
                        found.append(pid)
        return sorted(found)


def all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def command(pid: int) -> str:
    """What a running process is called; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def parent(pid: int) -> int:
    """Process id of the parent of a process; 0 if it is gone."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return 0


def below(folder: Path) -> list[str]:
    """Processes that work in a folder: scripts, wherever they hang by now."""
    found = []
    for pid in all_pids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder):
                found.append(f"{pid} {command(pid)}")
    return found
