# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
Runs one script: a small state machine around one selector, without threads.

::

    RUNNING ──script exits──> WAITING ──session empty, pipes closed────────> over
       │                         └──background_timeout, timeout, cancel─┐
       └──timeout, cancel, limit──> TERM ──> STOPPING <─────────────────┘
                                               │  └──session empty─────────> over
                                               └──grace──> KILL ──> KILLED > over

The script leads a session, and has ended when no process of the session is left. All that it wrote is in the two files
when `run` returns. A descendant that made a session of its own (`setsid`) is out of reach, and does not hold the run.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import math
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from batchy_provider.bundles.errors import RunnerError
from batchy_provider.bundles.limits import BACKGROUND_SECONDS, ProcessLimits
from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.output_lines import Clock
from batchy_provider.bundles.output_stream import Stream
from batchy_provider.bundles.progress_lines import Throttle, separate
from batchy_provider.bundles.run_result import BACKGROUND_TIMEOUT, RunResult
from batchy_provider.bundles.session_leader import SessionLeader, find_bash
from batchy_provider.bundles.watchdog import Guard

Copy = Callable[[str, bytes], None]

STDERR_TAIL_BYTES = 8 * 1024
_NOTE_SECONDS = 60.0
_POLL_SECONDS = 0.05
_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.01, 0.5
_FIRST_SAMPLE_SECONDS, _LONGEST_SAMPLE_SECONDS = 0.05, 2.0
_AFTER_KILL_SECONDS = 10.0
_NAMED = 10


class State(enum.Enum):
    """Where a run is."""

    RUNNING = "running"
    WAITING = "waiting"
    """The script has exited; background processes of its session are waited for."""
    STOPPING = "stopping"
    KILLED = "killed"


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
    :param background_timeout: seconds that background processes of the session may run on when the script has exited
        with one of ``good_codes``; then they are stopped, and `RunResult.ended` says so
    :param good_codes: exit codes of a script that did its work
    :param drain: seconds that background processes get after any other end of the script, and that those have who left
        the session and hold a pipe
    :param limits: resource limits of each process
    :param max_output_bytes: for each of the two streams; more stops the script
    :param umask: of the script
    :param view: shows lines while they come
    :param progress: told the newest progress line of stdout
    :param note: told in one sentence what is waited for, where there is no ``view``
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
        background_timeout: float = BACKGROUND_SECONDS,
        good_codes: Collection[int] = (0,),
        drain: float = 2.0,
        limits: ProcessLimits | None = None,
        max_output_bytes: int | None = None,
        umask: int = 0o022,
        view: LiveView | None = None,
        progress: Throttle | None = None,
        note: Callable[[str], None] | None = None,
        copy: Copy | None = None,
        scratch: Path | None = None,
        lock_fds: Sequence[int] = (),
    ) -> None:
        self._command = list(command)
        self._cwd, self._env, self._stdin, self._umask = cwd, env, stdin, umask
        self._files = {"stdout": (stdout, exact_stdout), "stderr": (stderr, None)}
        self._masker = masker or Masker()
        self._timeout, self._grace, self._drain = timeout, grace, drain
        self._background_timeout, self._good_codes = background_timeout, frozenset(good_codes)
        self._limits = limits or ProcessLimits()
        self._max_output_bytes = max_output_bytes
        self._view, self._progress, self._note, self._copy = view, progress, note, copy
        self._scratch, self._lock_fds = scratch, tuple(lock_fds)
        self._state = State.RUNNING
        self._ended = "exit"
        self._killed = False
        self._abandoned = False
        self._code: int | None = None
        self._background: tuple[str, ...] = ()
        self._timeout_at = self._deadline = self._next_note = self._next_sample = math.inf
        self._sample_seconds = _FIRST_SAMPLE_SECONDS
        self._next_look, self._look_seconds = 0.0, _FIRST_LOOK_SECONDS
        self._pipes_until: float | None = None
        self._stop_reason: str | None = None
        self._hurry = False
        self._streams: dict[str, Stream] = {}
        self._stderr_tail = b""
        self._leader: SessionLeader | None = None
        self._guard: Guard | None = None
        self._selector = selectors.DefaultSelector()
        # Whoever holds it may write to `_wake_write`, which is nobody else's descriptor meanwhile. A signal handler may
        # come between two lines of its holder, so it must be possible to take it twice.
        self._wake_lock = threading.RLock()
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
        with self._wake_lock, contextlib.suppress(BlockingIOError):  # full: it will wake up anyway
            if self._wake_write >= 0:
                os.write(self._wake_write, b"!")

    def run(self) -> RunResult:
        """
        Run to the end; afterwards no process of the session is left, nor any file of ours open.

        :raises RunnerError: it could not be started, or its output could not be written
        """
        started = time.monotonic()
        if self._timeout is not None:
            self._timeout_at = self._deadline = started + self._timeout
        try:
            self._start()
            self._loop()
        except BaseException as error:
            self._abort()
            if isinstance(error, OSError) and error.errno == errno.E2BIG:
                raise RunnerError(
                    "The script cannot be started: its arguments and its environment together are larger than this "
                    "machine allows. Put large values into files or into params."
                ) from error
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
            if self._view is not None:
                stream.show_unfinished(self._view)
            self._selector.register(stream.read_end, selectors.EVENT_READ, stream)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        with contextlib.ExitStack() as stack:
            stdin = stack.enter_context(self._stdin.open("rb")) if self._stdin is not None else None
            leader = self._leader = SessionLeader(
                bash,
                [bash if self._command[0] == "bash" else self._command[0], *self._command[1:]],
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
        self._guard = Guard(bash, leader.session, grace=self._grace, folder=self._scratch, lock_fds=self._lock_fds)
        if leader.exit_fd >= 0:
            self._selector.register(leader.exit_fd, selectors.EVENT_READ, None)
        if leader.peak_bytes:
            self._next_sample = time.monotonic() + self._sample_seconds
        if self._stop_reason is None:
            leader.open_gate()

    def _abort(self) -> None:
        """An exception came through the loop: end the script in order all the same, and keep its output."""
        self._view = self._progress = self._note = self._copy = None
        if self._leader is not None and self._guard is not None:
            self._stop("cancelled")
            with contextlib.suppress(OSError):
                self._loop()

    def _close(self) -> None:
        if self._leader is not None:
            self._leader.close(wait=not self._abandoned)
        if self._guard is not None and self._abandoned:
            self._guard.take_over()
        elif self._guard is not None:
            self._guard.release()
        self._selector.close()
        for stream in self._streams.values():
            stream.close()
        with self._wake_lock:  # from here on `cancel` has nobody to wake
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
        leader = self._running
        if self._code is None:
            self._code = leader.exited()
            if self._code is not None:
                self._script_ended(now)
        if self._code is None and self._state is not State.KILLED:
            return False
        if not self._empty(now):
            self._abandoned = self._state is State.KILLED and now >= self._deadline
            if self._abandoned:
                self._say(
                    f"Even KILL does not end {_listed(self._members())}. The job's next try waits until it has ended."
                )
            return self._abandoned
        # Who holds a pipe now has left the session on purpose.
        assert self._pipes_until is not None
        return not any(stream.open for stream in self._streams.values()) or now >= self._pipes_until

    def _script_ended(self, now: float) -> None:
        leader = self._running
        if leader.exit_fd in self._selector.get_map():
            self._selector.unregister(leader.exit_fd)
        if self._state is State.RUNNING:
            self._state = State.WAITING
            self._deadline = now + (self._background_timeout if self._is_good else self._drain)
            self._next_note = now + self._drain if self._is_good else math.inf

    def _empty(self, now: float) -> bool:
        """Tell whether no process of the session is left; looks now and then only, since a look takes a while."""
        if self._pipes_until is None and now >= self._next_look:
            if self._running.session.empty():
                self._pipes_until = now + self._drain
            else:
                self._next_look = now + self._look_seconds
                self._look_seconds = min(_LONGEST_LOOK_SECONDS, self._look_seconds * 1.5)
        return self._pipes_until is not None

    @property
    def _is_good(self) -> bool:
        return self._code in self._good_codes

    def _tick(self, now: float) -> None:
        """What time and requests do to the state."""
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
            elif now >= self._next_note:
                self._say_waiting(now)
        elif self._state is State.STOPPING and (self._hurry or now >= self._deadline):
            self._kill(now)
        elif self._state is State.KILLED and self._pipes_until is None:
            self._running.session.kill()
        if now >= self._next_sample:
            self._running.sample()
            self._sample_seconds = min(_LONGEST_SAMPLE_SECONDS, self._sample_seconds * 2)
            self._next_sample = now + self._sample_seconds
        for clock in self._clocks():
            clock.tick(now)

    def _stop(self, reason: str) -> None:
        if self._state in (State.STOPPING, State.KILLED):
            return
        if self._code is None or self._is_good:
            self._ended = reason
        self._name_background()
        self._state = State.STOPPING
        self._deadline = time.monotonic() + self._grace
        self._look_again()
        session = self._running.session
        session.send(signal.SIGTERM)
        session.send(signal.SIGCONT)  # a stopped process would not see the TERM

    def _kill(self, now: float) -> None:
        self._killed = True
        self._state = State.KILLED
        self._deadline = now + _AFTER_KILL_SECONDS
        self._look_again()
        self._running.session.kill()

    def _look_again(self) -> None:
        self._next_look, self._look_seconds = 0.0, _FIRST_LOOK_SECONDS

    def _name_background(self) -> None:
        """Remember what is going to be stopped after the script has exited, and say so."""
        if self._code is None:
            return
        self._background = self._members()
        if self._background:
            self._say(f"Stopping {_listed(self._background)} that the script left in the background.")

    def _say_waiting(self, now: float) -> None:
        self._next_note = now + _NOTE_SECONDS
        if members := self._members():
            left = self._deadline - now
            self._say(
                f"The script has exited with code {self._code}. Waiting for {_listed(members)} that it left in the "
                f"background; at most {left:,.0f} s more."
            )

    def _members(self) -> tuple[str, ...]:
        """Pid and command of each process of the session but the leader; masked, since arguments may be secret."""
        with contextlib.suppress(OSError):
            members = self._running.session.members(leader=False)
            return tuple(self._masker.text(f"{each.pid} `{each.command}`") for each in members)
        return ("processes that cannot be listed on this machine",)

    def _say(self, text: str) -> None:
        if self._view is not None:
            self._view.note(text, time.monotonic())
        elif self._note is not None:
            self._note(text)

    def _clocks(self) -> list[Clock]:
        unfinished = [stream.unfinished for stream in self._streams.values() if stream.open]
        return [clock for clock in (*unfinished, self._view, self._progress) if clock is not None]

    def _wait_seconds(self) -> float | None:
        times = [*(clock.due() for clock in self._clocks()), self._next_sample]
        if self._pipes_until is not None:
            times.append(self._pipes_until)
        else:
            times.append(self._deadline)
            if self._state is State.WAITING:
                times += [self._timeout_at, self._next_note]
            if self._code is not None or self._state is State.KILLED:
                times.append(self._next_look)
        seconds = min((when for when in times if when is not None), default=math.inf) - time.monotonic()
        if self._code is None and (self._state is not State.RUNNING or self._running.exit_fd < 0):
            seconds = min(seconds, _POLL_SECONDS)
        return None if math.isinf(seconds) else max(0.0, seconds)

    @property
    def _running(self) -> SessionLeader:
        assert self._leader is not None
        return self._leader

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
        if stream.unfinished is not None:
            stream.unfinished.touch(now)

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
        leader = self._running
        code, usage = leader.returncode, leader.usage
        assert code is not None
        return RunResult(
            exit_code=code if code >= 0 else 128 - code,
            signal=_signal_name(-code) if code < 0 else None,
            ended=self._ended,
            killed=self._killed,
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime if usage else 0.0,
            max_rss_bytes=leader.peak_bytes,
            background=self._background,
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


def _listed(processes: Sequence[str]) -> str:
    """Name some processes, and count the others."""
    count = "1 process" if len(processes) == 1 else f"{len(processes):,} processes"
    more = f" and {len(processes) - _NAMED:,} more" if len(processes) > _NAMED else ""
    return f"{count} ({', '.join(processes[:_NAMED])}{more})"
