# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Start a program beside this one, watch it, and stop it with all its descendants."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchy_provider.exceptions import StackError
from batchy_provider.local import guard
from batchy_provider.local.interrupts import held_back

__all__ = ["Guard", "Service", "StackError", "Watch", "kill_all", "stop_all"]

Watch = Callable[[int], None]
"""Takes the process id of each program that is started."""


class Service:
    """A program of the stack, in its own session, so that Ctrl-C in the terminal does not reach it.

    :param name: for messages.
    :param command: program and arguments.
    :param log: file to which its output is appended.
    :param env: its whole environment.
    :param user: system user that runs it (only root can choose one).
    :param watch: called with the process id of each start; see ``Guard``.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        user: str | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._env = dict(env)
        self._user = user
        self._watch = watch
        self._process: subprocess.Popen[bytes] | None = None
        self._leader: guard.Process | None = None

    @property
    def pid(self) -> int:
        """Process id of the running program."""
        if self._process is None:
            raise StackError(f"{self.name} was not started.")
        return self._process.pid

    def start(self) -> None:
        """Start it. Does not wait until it serves; ``wait_until`` does."""
        as_user: dict[str, Any] = (
            {"user": self._user, "group": _group_of(self._user), "extra_groups": []} if self._user else {}
        )
        # Ctrl-C in between would leave a process that nothing stops.
        with held_back(), self.log.open("ab") as log:
            self._process = subprocess.Popen(  # nosec B603  # the servers of a stack of one's own
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self.log.parent,
                start_new_session=True,
                **as_user,
            )
            self._leader = guard.identify(self.pid)
            if self._watch is not None:
                self._watch(self.pid)

    def run(self, *, timeout: float) -> None:
        """Run it to its end.

        :param timeout: seconds.
        :raises StackError: it failed, or did not end in time.
        """
        try:
            self.start()
            assert self._process is not None
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self.error(f"did not end within {timeout:g} seconds") from None
        except BaseException:  # for example Ctrl-C: leave no process behind
            self.kill()
            raise
        if code:
            raise self.error(f"failed with exit code {code}")

    def alive(self) -> bool:
        """Tell whether the program runs (not whether it serves)."""
        return self._process is not None and self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Wait until it serves.

        :param ready: called repeatedly; an ``OSError`` counts as no.
        :param timeout: seconds.
        :raises StackError: it died or did not get ready in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            if not self.alive():
                code = self._process.returncode if self._process is not None else None
                raise self.error(f"ended while starting (exit code {code})")
            with contextlib.suppress(OSError):
                if ready():
                    return
            if time.monotonic() > deadline:
                raise self.error(f"was not ready within {timeout:g} seconds")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it in order, with everything that it has started."""
        stop_all([self])

    def kill(self) -> None:
        """Kill it and everything that it has started, like a failing machine."""
        kill_all([self])

    def error(self, what: str) -> StackError:
        """Return an error that says what is wrong with this program and shows the end of its log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-25:]
        except OSError:
            lines = []
        tail = "\n".join(f"  | {line}" for line in lines) or "  | (empty)"
        return StackError(f"{self.name} {what}. The end of its log, {self.log}:\n{tail}")


def stop_all(services: Sequence[Service]) -> None:
    """Stop several programs at the same time, in order."""
    guard.stop_families(_leaders(services))
    _reap(services)


def kill_all(services: Sequence[Service]) -> None:
    """Kill several programs at the same time, with everything that they have started."""
    guard.kill_families(_leaders(services))
    _reap(services)


def _leaders(services: Sequence[Service]) -> list[guard.Process]:
    return [service._leader for service in services if service._leader is not None]


def _reap(services: Sequence[Service]) -> None:
    for service in services:
        if service._process is not None:
            service._process.poll()


def _group_of(user: str | None) -> int | None:
    import pwd

    return pwd.getpwnam(user).pw_gid if user else None


class Guard:
    """Stops watched processes when this program dies by any signal without having stopped them.

    :param holds: file descriptor, for example of a lock, that it keeps open until all is stopped.
    """

    def __init__(self, *, holds: int | None = None) -> None:
        self._process = subprocess.Popen(  # nosec B603  # our own module
            [sys.executable, "-S", "-E", guard.__file__],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd=os.sep,
            pass_fds=() if holds is None else (holds,),
        )

    def watch(self, wave: int, pid: int) -> None:
        """Add a process to those that it stops.

        :param wave: the highest wave is stopped first.
        """
        self._tell(f"{wave} {pid}")

    def dismiss(self) -> None:
        """End the guard: everything is stopped already."""
        self._tell("done")
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
