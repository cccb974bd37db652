# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Run one script: a small state machine around one selector, without threads.

::

    RUNNING ──script exits──> WAITING ──session empty, pipes closed────────> over
       │                         └──background_timeout, timeout, cancel─┐
       └──timeout, cancel, limit──> TERM ──> STOPPING <─────────────────┘
                                               │  └──session empty─────────> over
                                               └──grace──> KILL ──> KILLED > over

The script leads a session. The run has ended when no process of the session is left. When `Runner.run` returns, both
files have all that the script wrote. A descendant with a session of its own (`setsid`) does not belong to the run, and
the run does not wait for it.
"""

from __future__ import annotations

import contextlib
import enum
import math
import selectors
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from batchy_provider.bundles.background_processes import list_processes
from batchy_provider.bundles.errors import RunnerError
from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.output_stream import Stream
from batchy_provider.bundles.progress_lines import Throttle
from batchy_provider.bundles.run_output import Copy, RunOutput
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.run_result import BACKGROUND_TIMEOUT, RunResult, result_of
from batchy_provider.bundles.supervised_session import SupervisedSession
from batchy_provider.bundles.wake_pipe import WakePipe

_NOTICE_SECONDS = 60.0
_EXIT_POLL_SECONDS = 0.05
_AFTER_KILL_SECONDS = 10.0


class State(enum.Enum):
    """The states of a run."""

    RUNNING = "running"
    WAITING = "waiting"
    """The script has exited. The runner waits for background processes of its session."""
    STOPPING = "stopping"
    KILLED = "killed"


class Runner:
    """Runs one command once.

    :param request: the command, and how to run it.
    :param masker: masks secrets in the output; the default masks nothing.
    :param view: shows lines while the command runs.
    :param progress: gets the newest progress line of stdout.
    :param note: called with a sentence about what the runner waits for, if there is no ``view``.
    :param copy: called with all bytes as they come, masked.
    :param scratch: folder to remove if this process is killed.
    :param lock_fds: descriptors that stay open until the session is empty, even if this process is killed.
    """

    def __init__(
        self,
        request: RunRequest,
        *,
        masker: Masker | None = None,
        view: LiveView | None = None,
        progress: Throttle | None = None,
        note: Callable[[str], None] | None = None,
        copy: Copy | None = None,
        scratch: Path | None = None,
        lock_fds: Sequence[int] = (),
    ) -> None:
        self._request = request
        self._masker = masker or Masker()
        self._output = RunOutput(
            {"stdout": (request.stdout, request.exact_stdout), "stderr": (request.stderr, None)},
            self._masker,
            max_bytes=request.max_output_bytes,
            on_limit=lambda: self._stop("output_limit"),
            view=view,
            progress=progress,
            note=note,
            copy=copy,
        )
        self._scratch, self._lock_fds = scratch, tuple(lock_fds)
        self._state = State.RUNNING
        self._ended = "exit"
        self._killed = False
        self._abandoned = False
        self._code: int | None = None
        self._background: tuple[str, ...] = ()
        self._timeout_at = self._deadline = self._next_notice = math.inf
        self._pipes_until: float | None = None
        self._stop_reason: str | None = None
        self._skip_grace = False
        self._session: SupervisedSession | None = None
        self._selector = selectors.DefaultSelector()
        self._wake = WakePipe()

    def cancel(self, reason: str = "cancelled", *, at_once: bool = False) -> None:
        """Stop the command: TERM, grace, KILL. Safe in a signal handler and from any thread; returns at once.

        :param reason: becomes `RunResult.ended`.
        :param at_once: skip the rest of the grace.
        """
        self._stop_reason = self._stop_reason or reason
        self._skip_grace = self._skip_grace or at_once
        self._wake.wake()

    def run(self) -> RunResult:
        """Run the command to its end. Afterwards no process of the session is left, and all files are closed.

        :raises RunnerError: the command could not be started, or its output could not be written.
        """
        started = time.monotonic()
        if self._request.timeout is not None:
            self._timeout_at = self._deadline = started + self._request.timeout
        try:
            self._start()
            self._loop()
        except BaseException as error:
            self._abort()
            if isinstance(error, OSError):
                raise RunnerError(f"The run of {self._request.command[0]} failed: {error}") from error
            raise
        finally:
            self._close()
        return self._result(time.monotonic() - started)

    # -- start and end ---------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._output.open(self._selector)
        self._selector.register(self._wake.read_end, selectors.EVENT_READ, None)
        self._session = SupervisedSession(
            self._request,
            stdout=self._output.streams["stdout"].write_end,
            stderr=self._output.streams["stderr"].write_end,
            masker=self._masker,
            scratch=self._scratch,
            lock_fds=self._lock_fds,
        )
        self._output.close_write_ends()
        leader = self._session.leader
        if leader.exit_fd >= 0:
            self._selector.register(leader.exit_fd, selectors.EVENT_READ, None)
        if self._stop_reason is None:
            leader.start_command()

    def _abort(self) -> None:
        """Stop the command in order after an exception in the loop, and store its output."""
        self._output.silence()
        if self._session is not None:
            self._stop("cancelled")
            with contextlib.suppress(OSError):
                self._loop()

    def _close(self) -> None:
        if self._session is not None:
            self._session.close(abandon=self._abandoned, is_empty=self._pipes_until is not None)
        self._selector.close()
        self._output.close()
        self._wake.close()

    # -- the state machine -----------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._over(time.monotonic()):
            for key, _ in self._selector.select(self._wait_seconds()):
                if isinstance(key.data, Stream):
                    self._output.read(key.data)
                elif key.fd == self._wake.read_end:
                    self._wake.drain()
            self._tick(time.monotonic())
        self._output.finish(time.monotonic())

    def _over(self, now: float) -> bool:
        if self._code is None:
            self._code = self._running.leader.exited()
            if self._code is not None:
                self._script_ended(now)
        if self._code is None and self._state is not State.KILLED:
            return False
        if not self._is_empty(now):
            self._abandoned = self._state is State.KILLED and now >= self._deadline
            if self._abandoned:
                alive = list_processes(self._running.process_names())
                self._output.say(f"Even KILL does not end {alive}. The job's next try waits until it has ended.")
            return self._abandoned
        # A process that holds a pipe now has left the session on purpose.
        assert self._pipes_until is not None
        return not self._output.is_open or now >= self._pipes_until

    def _script_ended(self, now: float) -> None:
        exit_fd = self._running.leader.exit_fd
        if exit_fd in self._selector.get_map():
            self._selector.unregister(exit_fd)
        if self._state is State.RUNNING:
            self._state = State.WAITING
            self._deadline = now + (self._request.background_timeout if self._is_good else self._request.drain)
            self._next_notice = now + self._request.drain if self._is_good else math.inf

    def _is_empty(self, now: float) -> bool:
        """Tell whether no process of the session is left."""
        if self._pipes_until is None and self._running.is_empty(now):
            self._pipes_until = now + self._request.drain
        return self._pipes_until is not None

    @property
    def _is_good(self) -> bool:
        return self._code in self._request.good_codes

    def _tick(self, now: float) -> None:
        """Change the state if a deadline has passed, or if the run was cancelled."""
        if self._state is State.RUNNING:
            if self._stop_reason is not None:
                self._stop(self._stop_reason)
            elif now >= self._deadline:
                self._stop("timeout")
        elif self._state is State.WAITING and self._pipes_until is None:
            if self._stop_reason is not None:
                self._stop(self._stop_reason)
            elif now >= self._timeout_at:
                self._stop("timeout")
            elif now >= self._deadline:
                self._stop(BACKGROUND_TIMEOUT)
            elif now >= self._next_notice:
                self._say_waiting(now)
        elif self._state is State.STOPPING and (self._skip_grace or now >= self._deadline):
            self._kill(now)
        elif self._state is State.KILLED and self._pipes_until is None:
            self._running.kill()
        for clock in (self._running.leader, *self._output.clocks()):
            clock.tick(now)

    def _stop(self, reason: str) -> None:
        if self._state in (State.STOPPING, State.KILLED):
            return
        if self._code is None or self._is_good:
            self._ended = reason
        self._name_background()
        self._state = State.STOPPING
        self._deadline = time.monotonic() + self._request.grace
        self._running.terminate()

    def _kill(self, now: float) -> None:
        self._killed = True
        self._state = State.KILLED
        self._deadline = now + _AFTER_KILL_SECONDS
        self._running.kill()

    def _name_background(self) -> None:
        """Remember the background processes that are stopped now, and say so."""
        if self._code is None:
            return
        self._background = self._running.process_names()
        if self._background:
            self._output.say(f"Stopping {list_processes(self._background)} that the script left in the background.")

    def _say_waiting(self, now: float) -> None:
        self._next_notice = now + _NOTICE_SECONDS
        if members := self._running.process_names():
            self._output.say(
                f"The script has exited with code {self._code}. Waiting for {list_processes(members)} that it left in "
                f"the background; at most {self._deadline - now:,.0f} s more."
            )

    def _wait_seconds(self) -> float | None:
        times = [clock.due() for clock in (self._running.leader, *self._output.clocks())]
        if self._pipes_until is not None:
            times.append(self._pipes_until)
        else:
            times.append(self._deadline)
            if self._state is State.WAITING:
                times += [self._timeout_at, self._next_notice]
            if self._code is not None or self._state is State.KILLED:
                times.append(self._running.poll_due)
        seconds = min((when for when in times if when is not None), default=math.inf) - time.monotonic()
        if self._code is None and (self._state is not State.RUNNING or self._running.leader.exit_fd < 0):
            seconds = min(seconds, _EXIT_POLL_SECONDS)
        return None if math.isinf(seconds) else max(0.0, seconds)

    @property
    def _running(self) -> SupervisedSession:
        assert self._session is not None
        return self._session

    def _result(self, seconds: float) -> RunResult:
        leader, background = self._running.leader, self._background
        return result_of(leader, self._output, background, ended=self._ended, killed=self._killed, seconds=seconds)
