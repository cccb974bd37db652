# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Run any command with this process's own input and output, in a session of its own, and pass signals on to it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchy_provider.bundles.process_session import Member, Session
from batchy_provider.bundles.watchdog import Watchdog

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 126, 127
_MAX_SIGNALS_BEFORE_START = 1


class CommandNotRunnableError(Exception):
    """The command cannot be run.

    :param exit_code: 126 if it is not executable, 127 if it is not found, as shells have it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def find_program(name: str) -> str:
    """Return the path of a program, as a shell finds it.

    :raises CommandNotRunnableError: there is none, or it is not executable.
    """
    if (found := shutil.which(name)) is not None:
        return found
    folders = [""] if os.sep in name else os.get_exec_path()
    if name and any(Path(folder, name).exists() for folder in folders):
        raise CommandNotRunnableError(f"{name}: this is not an executable file", EXIT_NOT_EXECUTABLE)
    raise CommandNotRunnableError(f"{name}: command not found", EXIT_NOT_FOUND)


class ForegroundCommand:
    """A command that runs in a session of its own. A watchdog ends its session if this process is killed.

    :param program: path of the program.
    :param command: its name and arguments.
    :param env: its environment.
    :param grace: seconds between TERM and KILL where the whole session is ended.
    :param folder: removed if this process is killed.
    :raises CommandNotRunnableError: it cannot be started.
    """

    def __init__(
        self, program: str, command: Sequence[str], *, env: Mapping[str, str], grace: float, folder: Path
    ) -> None:
        self._grace = grace
        self._process = _start(program, command, env)
        self._session = Session(self._process.pid)
        bash = shutil.which("bash")
        self._watchdog = None if bash is None else Watchdog(bash, self._session, grace=grace, folder=folder)
        self._has_ended = False
        self._stopping = threading.Lock()

    def send(self, number: int) -> None:
        """Pass a signal on to the command's process group."""
        if not self._has_ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """End all processes of the session: TERM, and KILL after the grace. Safe in another thread."""
        with self._stopping:
            self._session.end(self._grace)

    def wait(self) -> int:
        """Wait for the end of the command; return its exit code, 128 + n after signal n."""
        code = self._process.wait()
        self._has_ended = True
        return code if code >= 0 else 128 - code

    def left(self) -> list[Member]:
        """Return the processes that it has left behind, and let them run. If `stop` runs, wait for it first."""
        with self._stopping:
            try:
                return self._session.members(leader=False)
            except OSError:
                return []
            finally:
                if self._watchdog is not None:
                    self._watchdog.release()


def _start(program: str, command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    options: dict[str, Any] = {"env": dict(env), "start_new_session": True}
    try:
        return subprocess.Popen(list(command), executable=program, **options)  # nosec B603  # the user's own command
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without a first line that names its interpreter: as in a shell
            return subprocess.Popen(["/bin/sh", program, *command[1:]], **options)  # nosec B603  # as above
        code = EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_EXECUTABLE
        raise CommandNotRunnableError(f"{command[0]} cannot be started: {error.strerror}", code) from error


class ForwardedSignals:
    """The signals that this process gets for its command.

    :param came: the signals that have come, in order.
    """

    def __init__(self) -> None:
        self.came: list[int] = []
        self.command: ForegroundCommand | None = None

    def on_signal(self, number: int, frame: Any) -> None:
        """Pass a signal on. Before the command starts, remember it, and end at once at the second one."""
        self.came.append(number)
        if self.command is not None:
            self.command.send(number)
        elif len(self.came) > _MAX_SIGNALS_BEFORE_START:
            raise SystemExit(128 + number)


@contextlib.contextmanager
def forwarded_signals() -> Iterator[ForwardedSignals]:
    """Handle SIGINT, SIGTERM and SIGHUP while the block runs. A signal that is ignored (`nohup`) stays ignored."""
    signals = ForwardedSignals()
    before = {number: signal.getsignal(number) for number in PASSED_ON}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, signals.on_signal)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
