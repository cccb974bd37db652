# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
Stops processes with all they have started, and does so too when the program that started them dies.

Standard library only: as a program (see ``main``) it must start in milliseconds and outlive everything else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """One process; its start time tells it from a later one with the same id."""

    pid: int
    started: str


def _table() -> dict[Process, int]:
    """Every process that can be seen, with its parent's id."""
    table = {}
    if Path("/proc/self/stat").exists():
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    # The name, in brackets, may hold anything: fields are counted from its end.
                    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                    if fields[0] not in "ZX":  # dead, and only waiting for its parent to notice
                        table[Process(int(folder.name), fields[19])] = int(fields[1])
    else:
        command = ["ps", "-axo", "pid=,ppid=,lstart="]
        listing = subprocess.run(command, capture_output=True, text=True, check=True)  # nosec B603  # nothing varies
        for line in listing.stdout.splitlines():
            pid, parent, started = line.split(None, 2)
            table[Process(int(pid), started)] = int(parent)
    return table


def identify(pid: int) -> Process:
    """The running process of this id, to be told from a later one with the same id."""
    return next((process for process in _table() if process.pid == pid), Process(pid, "gone"))


def family(leaders: Iterable[Process]) -> set[Process]:
    """
    The leaders, their descendants, and what is left of the sessions that the leaders led.

    Both, since a descendant may have made a session of its own, and an orphan has lost its parent.
    """
    table = _table()
    taken = {process.pid for process in table}
    # An id that another process has by now is nothing of ours; one that nobody has may still name a session.
    sessions = {leader.pid for leader in leaders if leader in table or leader.pid not in taken}
    members = {leader.pid for leader in leaders if leader in table}
    for process in table:
        with contextlib.suppress(OSError):
            if os.getsid(process.pid) in sessions:
                members.add(process.pid)
    children: dict[int, list[int]] = {}
    for process, parent in table.items():
        children.setdefault(parent, []).append(process.pid)
    queue = list(members)
    while queue:
        new = [pid for pid in children.get(queue.pop(), ()) if pid not in members]
        members.update(new)
        queue += new
    return {process for process in table if process.pid in members}


def _send(signum: int, processes: Iterable[Process]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signum)


def stop_families(leaders: Iterable[Process], *, interrupt: float = 12.0, terminate: float = 6.0) -> None:
    """
    Stop processes and everything below them: SIGINT, then SIGTERM, then SIGKILL.

    SIGINT goes to the leaders alone: Airflow's components end their own children in good order then, and
    PostgreSQL takes it for a fast shutdown.

    :param interrupt: seconds to wait after SIGINT.
    :param terminate: seconds to wait after SIGTERM, which goes to each process that is left.
    """
    leaders = list(leaders)
    members = family(leaders)
    for signum, seconds in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate), (signal.SIGKILL, 5.0)):
        _send(signum, members.intersection(leaders) if signum == signal.SIGINT else members)
        deadline = time.monotonic() + seconds
        while members and time.monotonic() < deadline:
            time.sleep(0.05)
            # What was started meanwhile belongs to it too; what was seen before counts until it is gone.
            members = (family(leaders) | members) & set(_table())
        if not members:
            return


def kill_families(leaders: Iterable[Process]) -> None:
    """Stop processes and everything below them at once, with SIGKILL."""
    stop_families(leaders, interrupt=0.0, terminate=0.0)


def main() -> None:
    """
    Read lines ``WAVE PID`` until the other end of the pipe is closed, then stop them, the highest wave first.

    A line ``done`` ends it with nothing to do. A program that is killed cannot say so: hence the pipe.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    waves: dict[int, list[Process]] = {}
    for line in sys.stdin:
        if line.strip() == "done":
            return
        wave, pid = line.split()
        waves.setdefault(int(wave), []).append(identify(int(pid)))
    for wave in sorted(waves, reverse=True):
        stop_families(waves[wave])


if __name__ == "__main__":
    main()
