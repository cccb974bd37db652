# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
Runs one script: a small state machine around one selector, without threads.

::

    RUNNING ──leader exits──> DRAINING ──pipes closed, group empty──────> over
       │                         └──drain_seconds──> KILL ──> KILLED ───> over
       └──timeout, cancel, limit──> TERM ──> STOPPING ──group empty─────> over
                                               └──grace──> KILL ──> KILLED

The script leads its own session and process group. All that it wrote is in the two files when `run` returns. A
descendant that made a session of its own (`setsid`) is out of reach, and does not hold the run either.
"""

from __future__ import annotations

import contextlib
import enum
import math
import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchy_provider.bundles.errors import RunnerError
from batchy_provider.bundles.guard import Guard
from batchy_provider.bundles.limits import ProcessLimits
from batchy_provider.bundles.live import LiveView
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.process import ProcessGroup, find_bash
from batchy_provider.bundles.progress import Throttle, separate
from batchy_provider.bundles.stream import Stream

Copy = Callable[[str, bytes], None]

STDERR_TAIL_BYTES = 8 * 1024
_POLL_SECONDS = 0.05
_AFTER_KILL_SECONDS = 1.0


class State(enum.Enum):
    """Where a run is."""

    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    KILLED = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """
    How a script ended.

    :param exit_code: as a shell tells it: 0 to 255, 128 + n after signal n
    :param signal: name of the signal that ended it, or None
    :param ended: ``exit``, ``timeout``, ``cancelled`` or ``output_limit``: who ended it
    :param killed: KILL was needed: the grace was not enough, or a background process stayed behind
    :param seconds: wall time; ``cpu_seconds`` and ``max_rss_bytes`` are those of the script and its waited-for children
    :param stdout_bytes: bytes that the script wrote
    :param stdout_masked: secrets that were masked in them
    :param stderr_tail: the last bytes of stderr, masked, as text
    """

    exit_code: int
    signal: str | None
    ended: str
    killed: bool
    seconds: float
    cpu_seconds: float
    max_rss_bytes: int
    stdout_bytes: int
    stderr_bytes: int
    stdout_masked: int
    stderr_masked: int
    stderr_tail: str


class Runner:
    """
    One run of one command.

    :param command: program and arguments
    :param cwd: its working folder
    :param env: all of its environment
    :param stdout: new file for all bytes of stdout, masked; ``stderr`` likewise
    :param masker: masks secrets in all that comes out; none by default
    :param exact_stdout: new file for stdout as it is, made only if a secret was masked in it
    :param stdin: file to read; None: empty
    :param timeout: seconds after which it is stopped; None: never
    :param grace: seconds between TERM and KILL
    :param drain: seconds that background processes get after the script has ended
    :param limits: resource limits of each process
    :param max_output_bytes: for each of the two streams; more stops the script
    :param umask: of the script
    :param view: shows lines while they come
    :param progress: told the newest progress line of stdout
    :param copy: told the name of the stream and its bytes as they come, masked, before they are cut into lines
    :param scratch: folder that is removed if this process is killed, and ``lock_fds`` that stay open until then
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: Path,
        stderr: Path,
        masker: Masker | None = None,
        exact_stdout: Path | None = None,
        stdin: Path | None = None,
        timeout: float | None = None,
        grace: float = 10.0,
        drain: float = 2.0,
        limits: ProcessLimits | None = None,
        max_output_bytes: int | None = None,
        umask: int = 0o022,
        view: LiveView | None = None,
        progress: Throttle | None = None,
        copy: Copy | None = None,
        scratch: Path | None = None,
        lock_fds: Sequence[int] = (),
    ) -> None:
        self._command = list(command)
        self._cwd, self._env, self._stdin, self._umask = cwd, env, stdin, umask
        self._files = {"stdout": (stdout, exact_stdout), "stderr": (stderr, None)}
        self._masker = masker or Masker()
        self._timeout, self._grace, self._drain = timeout, grace, drain
        self._limits = limits or ProcessLimits()
        self._max_output_bytes = max_output_bytes
        self._view, self._progress, self._copy = view, progress, copy
        self._scratch, self._lock_fds = scratch, tuple(lock_fds)
        self._state = State.RUNNING
        self._ended = "exit"
        self._killed = False
        self._deadline = math.inf
        self._stop_reason: str | None = None
        self._hurry = False
        self._streams: dict[str, Stream] = {}
        self._stderr_tail = b""
        self._group: ProcessGroup | None = None
        self._guard: Guard | None = None
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def cancel(self, reason: str = "cancelled", *, at_once: bool = False) -> None:
        """
        Stop the script: TERM, grace, KILL. Safe in a signal handler and from any thread; returns at once.

        :param reason: what `RunResult.ended` will say
        :param at_once: no grace any more
        """
        self._stop_reason = self._stop_reason or reason
        self._hurry = self._hurry or at_once
        with contextlib.suppress(OSError):  # full: it will wake up anyway; closed: it is over
            os.write(self._wake_write, b"!")

    def run(self) -> RunResult:
        """
        Run to the end; afterwards neither the process nor its group, nor any file of ours is left open.

        :raises RunnerError: it could not be started, or its output could not be written
        """
        started = time.monotonic()
        if self._timeout is not None:
            self._deadline = started + self._timeout
        try:
            self._start()
            self._loop()
        except BaseException as error:
            self._abort()
            if isinstance(error, OSError):
                raise RunnerError(f"The run of {self._command[0]} broke off: {error}") from error
            raise
        finally:
            self._close()
        return self._result(time.monotonic() - started)

    # Start and end

    def _start(self) -> None:
        bash = find_bash(self._env.get("PATH"))
        for name, (path, exact) in self._files.items():
            stream = self._streams[name] = Stream(name, path, self._masker, exact)
            self._selector.register(stream.read_end, selectors.EVENT_READ, stream)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        with contextlib.ExitStack() as stack:
            stdin = stack.enter_context(self._stdin.open("rb")) if self._stdin is not None else None
            group = self._group = ProcessGroup(
                bash,
                self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=stdin,
                stdout=self._streams["stdout"].write_end,
                stderr=self._streams["stderr"].write_end,
                umask=self._umask,
                limits=self._limits,
            )
        for stream in self._streams.values():
            stream.close_write_end()
        self._guard = Guard(bash, group.pid, grace=self._grace, folder=self._scratch, lock_fds=self._lock_fds)
        if group.exit_fd >= 0:
            self._selector.register(group.exit_fd, selectors.EVENT_READ, None)
        if self._stop_reason is None:
            group.open_gate()

    def _abort(self) -> None:
        """An exception came through the loop: end the script in order all the same, and keep its output."""
        self._view = self._progress = self._copy = None
        if self._group is not None and self._guard is not None:
            self._stop("cancelled")
            with contextlib.suppress(OSError):
                self._loop()

    def _close(self) -> None:
        if self._group is not None:
            self._group.close()
        if self._guard is not None:
            self._guard.release()
        self._selector.close()
        for stream in self._streams.values():
            stream.close()
        # From here on `cancel` has nobody to wake.
        wake, self._wake_write = self._wake_write, -1
        os.close(wake)
        os.close(self._wake_read)

    # The machine

    def _loop(self) -> None:
        while not self._over(time.monotonic()):
            for key, _ in self._selector.select(self._wait_seconds()):
                if isinstance(key.data, Stream):
                    self._read(key.data)
                elif key.fd == self._wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
            self._tick(time.monotonic())
        self._finish_view(time.monotonic())

    def _over(self, now: float) -> bool:
        group = self._running_group
        if not group.reap():
            return False
        if group.exit_fd in self._selector.get_map():
            self._selector.unregister(group.exit_fd)
        if self._state is State.RUNNING:
            self._state = State.DRAINING
            self._deadline = now + self._drain
        closed = not any(stream.open for stream in self._streams.values())
        if self._state is State.KILLED:
            # Whoever holds a pipe now has left the group on purpose.
            return closed or now >= self._deadline
        return closed and not group.alive()

    def _tick(self, now: float) -> None:
        """What time and requests do to the state."""
        if self._state is State.RUNNING:
            if self._stop_reason is not None:
                self._stop(self._stop_reason)
            elif now >= self._deadline:
                self._stop("timeout")
        elif self._state is State.DRAINING and self._stop_reason is not None:
            self._stop(self._stop_reason)
        elif self._state is not State.KILLED and (self._hurry or now >= self._deadline):
            self._kill(now)
        if self._view is not None:
            self._view.tick(now)
        if self._progress is not None:
            self._progress.tick(now)

    def _stop(self, reason: str) -> None:
        if self._state in (State.STOPPING, State.KILLED):
            return
        if self._state is State.RUNNING:
            self._ended = reason
        self._state = State.STOPPING
        self._deadline = time.monotonic() + self._grace
        self._running_group.send(signal.SIGTERM)
        self._running_group.send(signal.SIGCONT)  # a stopped process would not see the TERM

    def _kill(self, now: float) -> None:
        self._killed = True
        self._state = State.KILLED
        self._deadline = now + _AFTER_KILL_SECONDS
        self._running_group.send(signal.SIGKILL)

    def _wait_seconds(self) -> float | None:
        clocks = [clock.due() for clock in (self._view, self._progress) if clock is not None]
        if self._state is not State.KILLED:
            clocks.append(self._deadline)
        seconds = min((when for when in clocks if when is not None), default=math.inf) - time.monotonic()
        if self._state is not State.RUNNING or self._running_group.exit_fd < 0:
            seconds = min(seconds, _POLL_SECONDS)
        return None if math.isinf(seconds) else max(0.0, seconds)

    @property
    def _running_group(self) -> ProcessGroup:
        assert self._group is not None
        return self._group

    # The output

    def _read(self, stream: Stream) -> None:
        data = stream.read()
        if data is None:
            return
        now = time.monotonic()
        if not data:
            stream.open = False
            self._selector.unregister(stream.read_end)
            self._finish_stream(stream, now)
            return
        if self._max_output_bytes is not None and stream.bytes + len(data) > self._max_output_bytes:
            data = data[: self._max_output_bytes - stream.bytes]
            self._stop("output_limit")
        self._pass_on(stream, stream.keep(data), now)

    def _pass_on(self, stream: Stream, masked: bytes, now: float) -> None:
        """To all that must not see a secret."""
        if self._copy is not None and masked:
            self._copy(stream.name, masked)
        if stream.name == "stderr":
            self._stderr_tail = (self._stderr_tail + masked)[-STDERR_TAIL_BYTES:]
        if self._view is not None or self._progress is not None:
            self._show(stream, stream.splitter.feed(masked), now)

    def _finish_stream(self, stream: Stream, now: float) -> None:
        self._pass_on(stream, stream.finish(), now)
        self._show(stream, stream.splitter.finish(), now)

    def _show(self, stream: Stream, lines: bytes, now: float) -> None:
        if self._progress is not None and stream.name == "stdout":
            lines, progress = separate(lines)
            if progress is not None:
                self._progress.put(progress, now)
        if self._view is not None:
            self._view.put(stream.name, lines, now)

    def _finish_view(self, now: float) -> None:
        for stream in self._streams.values():
            if stream.open:
                self._finish_stream(stream, now)
        if self._progress is not None:
            self._progress.tick(now, last=True)
        if self._view is not None:
            self._view.finish(now)

    def _result(self, seconds: float) -> RunResult:
        group = self._running_group
        code, usage = group.returncode, group.usage
        assert code is not None
        return RunResult(
            exit_code=code if code >= 0 else 128 - code,
            signal=_signal_name(-code) if code < 0 else None,
            ended=self._ended,
            killed=self._killed,
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime if usage else 0.0,
            max_rss_bytes=usage.ru_maxrss * 1024 if usage else 0,
            stdout_bytes=self._streams["stdout"].bytes,
            stderr_bytes=self._streams["stderr"].bytes,
            stdout_masked=self._streams["stdout"].masked,
            stderr_masked=self._streams["stderr"].masked,
            stderr_tail=self._stderr_tail.decode("utf-8", "backslashreplace"),
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
