# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""List, signal and end the processes of one session.

A script leads a session. Programs in it make process groups of their own (GNU `timeout`, `set -m`, `bash -i`), so a
signal to the script's group does not reach them. They stay in the session unless they call `setsid`.

The watchdog runs this file as a program, without the package: ``python -I -S process_session.py LEADER STARTED GRACE``.
So it imports only the standard library.
"""

# Making a Path for each of hundreds of processes takes longer than checking them.
# ruff: noqa: PTH115, PTH123, PTH208
from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

_DEAD = ("Z", "X", "x")
_COMMAND_CHARACTERS = 200
_POLL_SECONDS = 0.05
_ROUNDS = 50


class Member(NamedTuple):
    """A process of the session.

    :param group: its process group.
    :param command: its command line, on one line, shortened.
    """

    pid: int
    group: int
    command: str


class Session:
    """The processes of one session.

    Another session cannot get the same number while the leader is not reaped, or while any process is in the session.
    A caller that is not the leader's parent needs ``started`` to notice a new session with the same number.

    :param leader: process id of the leader, which is the number of the session.
    :param started: what `start_of` returned for the leader; None: not known.
    """

    def __init__(self, leader: int, started: int | None = None) -> None:
        self.leader = leader
        self._started = started
        self._list = _ProcList(leader) if _has_proc() else _PsList(leader)
        self.leader_has_ended = False
        """Whether its parent knows that the leader has ended. It is a zombie then, and starts no process any more."""

    def members(self, *, leader: bool = True) -> list[Member]:
        """Return the processes that run, without zombies.

        :param leader: False leaves the leader out.
        :raises OSError: the processes of this machine cannot be listed.
        """
        self._list.outside.clear()  # the number may belong to another process by now
        return [each for each in self._list_members() if leader or each.pid != self.leader]

    def empty(self) -> bool:
        """Tell whether no process is left, without any doubt.

        While the processes are listed, one may start another one and end. Such a list decides nothing: list them again.
        """
        self._list.outside.clear()
        if self.leader_has_ended:
            self._list.outside.add(str(self.leader))
        try:
            for _ in range(_ROUNDS):
                if self._list_members():
                    return False
                if self._list.is_sure:
                    return True
        except OSError:
            return not _group_runs(self.leader)
        return False

    def send(self, number: signal.Signals) -> None:
        """Signal each process once, by its group.

        The kernel signals a whole group at once, with all processes that are just being forked in it. All processes of
        a group are in the same session.
        """
        try:
            groups = {each.group for each in self.members()}
        except OSError:
            groups = {self.leader}
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)

    def kill(self) -> None:
        """Send KILL until no new process appears. Some of another user, or held by the kernel, may be left."""
        for _ in range(_ROUNDS):
            self.send(signal.SIGKILL)
            if self.empty():
                return

    def _list_members(self) -> list[Member]:
        if self._started is not None and start_of(self.leader) not in (None, self._started):
            self._list.is_sure = True  # the number belongs to another process by now
            return []
        return self._list.members()

    def end(self, grace: float, *, pause: Callable[[float], None] = time.sleep) -> None:
        """End all processes: TERM, and KILL after the grace. Return when the session is empty, however long it takes.

        :param grace: seconds between TERM and KILL.
        :param pause: sleeps for some seconds.
        """
        over = time.monotonic() + grace
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)  # a stopped process does not see the TERM
        pause_seconds = _POLL_SECONDS
        while not self.empty():
            if time.monotonic() >= over:
                self.kill()
                pause_seconds = min(1.0, pause_seconds * 2)
            pause(pause_seconds)


def start_of(pid: int) -> int | None:
    """Return when a process was started, in ticks since boot; None if that is not known."""
    try:
        return int(_stat(pid)[19])
    except (OSError, ValueError, IndexError):
        return None


def peak_memory(members: Iterable[Member]) -> int:
    """Return the largest resident size (bytes) that one of some processes has had so far; 0 if it is not known."""
    most = 0
    for member in members:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{member.pid}/status", "rb") as file:
            most = max(most, int(file.read().partition(b"VmHWM:")[2].split(None, 1)[0]) * 1024)
    return most


def _has_proc() -> bool:
    """Tell whether /proc shows the processes of our own namespace."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _stat(pid: int | str) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, which may be any text. The first are state, parent, group."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].decode("ascii", "replace").split()


class _ProcList:
    """The processes of a session, as /proc lists them.

    Process ids grow, and the list grows while it is read. So it has at least one of a chain of processes in which each
    starts the next one. A list is sure if no process has ended between the listing and the check of its session. Those
    that an earlier list found dead, or in another session, do not count: they cannot come into this session.
    """

    def __init__(self, session: int) -> None:
        self._session = session
        self.outside: set[str] = set()
        self.is_sure = False

    def members(self) -> list[Member]:
        """Return those that run."""
        found = []
        self.is_sure = True
        pids = [name for name in os.listdir("/proc") if name.isdecimal()]
        outside = self.outside.intersection(pids)
        for pid in pids:
            if pid in outside:
                continue
            try:
                if os.getsid(int(pid)) != self._session:
                    outside.add(pid)
                    continue
                stat = _stat(pid)
            except OSError:
                self.is_sure = False
                continue
            # A process whose first thread has ended looks like a zombie while its other threads run.
            if stat[0] not in _DEAD or int(stat[17]) > 1:
                found.append(Member(int(pid), int(stat[2]), _command(pid)))
            else:
                outside.add(pid)
                self.is_sure = False
        self.outside = outside
        return found


def _command(pid: str) -> str:
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4 * _COMMAND_CHARACTERS).rstrip(b"\0")
        if not words:
            with open(f"/proc/{pid}/comm", "rb") as file:
                words = file.read().rstrip(b"\n")
        return _one_line(words.replace(b"\0", b" ").decode("utf-8", "replace"))
    return "?"


def _one_line(text: str) -> str:
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain if len(plain) <= _COMMAND_CHARACTERS else plain[:_COMMAND_CHARACTERS] + "…"


class _PsList:
    """The processes of a session without /proc (macOS): `ps` lists all, and the kernel knows the session of each."""

    def __init__(self, session: int) -> None:
        self._session = session
        self.outside: set[str] = set()
        self.is_sure = False

    def members(self) -> list[Member]:
        """Return those that run. An empty list is sure only if the one before was empty, too."""
        import subprocess  # nosec B404  # as in the rest of this package

        command = ["ps", "-A", "-o", "pid=", "-o", "pgid=", "-o", "stat=", "-o", "args="]
        try:
            done = subprocess.run(command, capture_output=True, check=True, timeout=10)  # nosec B603  # fixed arguments
        except subprocess.SubprocessError as error:
            raise OSError(f"ps fails: {error}") from error
        found = []
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            pid, group, state, *words = line.split(None, 3)
            with contextlib.suppress(OSError):  # it has just ended
                if os.getsid(int(pid)) == self._session and state[0] not in _DEAD:
                    found.append(Member(int(pid), int(group), _one_line(" ".join(words))))
        self.is_sure = not found and not self.is_sure
        return found


def _group_runs(group: int) -> bool:
    """Tell whether the leader's group runs; used for the session where processes cannot be listed at all."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    _, _leader, _since, _grace = sys.argv
    Session(int(_leader), int(_since) if _since else None).end(float(_grace))
