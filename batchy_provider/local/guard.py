# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Stop processes with all their descendants, also when the program that started them dies.

Uses only the standard library: as a program (see ``main``) it must start in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc/self/stat")
"""Exists where the system shows its processes as files."""


class Process(NamedTuple):
    """A process; its start time distinguishes it from a later one with the same id."""

    pid: int
    started: str


def _table() -> dict[Process, int]:
    """Return every visible process with the id of its parent."""
    if _PROC.exists():
        numbers = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
        return dict(found for pid in numbers if (found := _look_up(pid)))
    table = {}
    command = ["ps", "-axo", "pid=,ppid=,lstart="]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)  # nosec B603  # nothing varies
    for line in listing.stdout.splitlines():
        pid, parent, started = line.split(None, 2)
        table[Process(int(pid), started)] = int(parent)
    return table


def _look_up(pid: int) -> tuple[Process, int] | None:
    """Return a process with the id of its parent; None if it is gone, or dead and not yet reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name, in brackets, may contain anything: count the fields from its end.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else (Process(pid, fields[19]), int(fields[1]))


def identify(pid: int) -> Process:
    """Return the running process with this id, with its start time; ``gone`` if there is none."""
    if _PROC.exists():
        found = _look_up(pid)
        return Process(pid, "gone") if found is None else found[0]
    return next((process for process in _table() if process.pid == pid), Process(pid, "gone"))


def family(leaders: Iterable[Process]) -> set[Process]:
    """Return the leaders, their descendants, and the other processes of the leaders' sessions.

    Both are needed: a descendant may have started its own session, and an orphan has lost its parent.
    """
    return _family_in(_table(), leaders)


def _family_in(table: Mapping[Process, int], leaders: Iterable[Process]) -> set[Process]:
    taken = {process.pid for process in table}
    # If another process has a leader's id now, it is not ours. If no process has it, its session may still exist.
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
    """Stop processes and everything below them: SIGINT, then SIGTERM, then SIGKILL.

    Only the leaders get SIGINT: Airflow's components then stop their own children in order, and PostgreSQL does a
    fast shutdown.

    :param interrupt: seconds to wait after SIGINT.
    :param terminate: seconds to wait after SIGTERM, which all remaining processes get.
    """
    leaders = list(leaders)
    members = family(leaders)
    for signum, seconds in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate), (signal.SIGKILL, 5.0)):
        _send(signum, members.intersection(leaders) if signum == signal.SIGINT else members)
        deadline = time.monotonic() + seconds
        while members and time.monotonic() < deadline:
            time.sleep(0.05)
            # Include processes started meanwhile, and those seen before until they are gone. One look at all processes
            # serves both: it reads hundreds of files, many times while Airflow stops.
            table = _table()
            members = (_family_in(table, leaders) | members) & set(table)
            if signum == signal.SIGKILL:  # those that were started just before
                _send(signum, members)
        if not members:
            return


def kill_families(leaders: Iterable[Process]) -> None:
    """Kill processes and everything below them at once, with SIGKILL."""
    stop_families(leaders, interrupt=0.0, terminate=0.0)


def main() -> None:
    """Read lines ``WAVE PID`` until the other end of the pipe is closed, then stop them, the highest wave first.

    A line ``done`` means that there is nothing to stop. The pipe closes even if the other program is killed.
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
