# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The session of one command, with the watchdog that ends it if the worker dies: start, signal, list and close it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from batchy_provider.bundles.background_processes import name_processes
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.session_leader import SessionLeader, find_bash
from batchy_provider.bundles.session_poll import SessionPoll
from batchy_provider.bundles.watchdog import Watchdog


class SupervisedSession:
    """The processes of one command. It waits until `SessionLeader.start_command` is called.

    :param request: the command, and how to run it.
    :param stdout: file descriptor.
    :param stderr: file descriptor.
    :param masker: masks secrets in command lines.
    :param scratch: folder to remove if this process is killed; None: no folder.
    :param lock_fds: descriptors that stay open until the session is empty, even if this process is killed.
    :raises RunnerError: there is no bash, or a limit cannot be set.
    """

    def __init__(
        self,
        request: RunRequest,
        *,
        stdout: int,
        stderr: int,
        masker: Masker,
        scratch: Path | None,
        lock_fds: Sequence[int],
    ) -> None:
        bash = find_bash(request.env.get("PATH"))
        program, *arguments = request.command
        stdin = request.stdin.open("rb") if request.stdin is not None else None
        try:
            self.leader = SessionLeader(
                bash,
                [bash if program == "bash" else program, *arguments],
                cwd=request.cwd,
                env=request.env,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                umask=request.umask,
                limits=request.limits,
            )
        finally:
            if stdin is not None:
                stdin.close()
        try:
            self._masker = masker
            self._session = self.leader.session
            self._poll = SessionPoll(self._session)
            self._watchdog = Watchdog(bash, self._session, grace=request.grace, folder=scratch, lock_fds=lock_fds)
        except BaseException:
            self.leader.close()
            raise

    def is_empty(self, now: float) -> bool:
        """Tell whether no process is left, if it is time to check; see `SessionPoll`.

        :param now: monotonic seconds.
        """
        return self._poll.is_empty(now)

    @property
    def poll_due(self) -> float:
        """When `is_empty` checks the next time (monotonic seconds)."""
        return self._poll.due

    def process_names(self) -> tuple[str, ...]:
        """Return pid and command of each process but the leader, masked."""
        return name_processes(self._session, self._masker)

    def terminate(self) -> None:
        """Send TERM to all processes."""
        self._poll.restart()
        self._session.send(signal.SIGTERM)
        self._session.send(signal.SIGCONT)  # a stopped process would not see the TERM

    def kill(self) -> None:
        """Send KILL to all processes."""
        self._poll.restart()
        self._session.kill()

    def close(self, *, abandon: bool, is_empty: bool = False) -> None:
        """Leave no process and no zombie.

        :param abandon: even KILL has not ended all processes. The watchdog tries further, and holds the locks.
        :param is_empty: no process is left, as `is_empty` has found.
        """
        self.leader.close(wait=not abandon, is_empty=is_empty)
        if abandon:
            self._watchdog.take_over()
        else:
            self._watchdog.release()
