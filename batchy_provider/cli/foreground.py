# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Run a script in the foreground of a terminal: pass on its output, stop it when a signal comes."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from batchy_provider.core.terminal_text import printable

if TYPE_CHECKING:
    from batchy_provider.bundles.execution import Execution

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MAX_SIGNALS = 3
"""After more signals than this, exit even while the result is being written."""


def open_standard_files() -> None:
    """Open /dev/null as stdin, stdout and stderr where they are closed, so that no other file gets these numbers."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


class Terminal:
    """Pass on what the script writes.

    If nobody reads the output any more, stop the script, as happens to any program in a pipe. If stdout cannot be
    written for another reason (full disk, closed file), let the script finish; the exit code reports the failure.
    """

    def __init__(self) -> None:
        self.execution: Execution | None = None
        self.is_broken = False
        self.write_error: str | None = None
        self._silent: set[str] = set()

    def write(self, stream: str, data: bytes) -> None:
        """Pass on bytes of ``stdout`` or ``stderr``."""
        if stream in self._silent:
            return
        try:
            _write(sys.stdout if stream == "stdout" else sys.stderr, data)
        except (OSError, ValueError) as error:
            self._silence(stream)
            if isinstance(error, BrokenPipeError):
                self.is_broken = True
                if self.execution is not None:
                    self.execution.cancel("nobody reads its output any more")
            elif stream == "stdout":
                self.write_error = getattr(error, "strerror", None) or str(error)
                self.say(f"its output cannot be written ({self.write_error}); the script continues")

    def say(self, text: str) -> None:
        """Write a message to stderr, if possible."""
        if "stderr" not in self._silent:
            try:
                _write(sys.stderr, f"batchy: {printable(text)}\n".encode("utf-8", "backslashreplace"))
            except (OSError, ValueError):
                self._silence("stderr")

    def _silence(self, stream: str) -> None:
        """Send the rest to /dev/null: Python flushes again when it exits, and that must not fail."""
        self._silent.add(stream)
        file = sys.stdout if stream == "stdout" else sys.stderr
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def _write(file: Any, data: bytes) -> None:
    if file is None:
        raise OSError(errno.EBADF, "it is closed")
    file.flush()
    try:
        fd = file.fileno()
    except (OSError, ValueError):  # not a real file, as in a test
        file.buffer.write(data)
        file.buffer.flush()
        return
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # another program has made the terminal non-blocking
            select.select([], [fd], [])


@contextlib.contextmanager
def stopped_by_signals(terminal: Terminal) -> Iterator[list[int]]:
    """Stop the script when SIGINT, SIGTERM or SIGHUP comes, and kill it at the second signal.

    A signal that this process ignores from its start (`nohup`, a background job of a script) stays ignored.

    :returns: the signals that have come, in a list that grows.
    """
    came: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        execution = terminal.execution
        came.append(number)
        if execution is None or not (execution.running or execution.has_run) or len(came) > _MAX_SIGNALS:
            raise SystemExit(128 + number)
        if execution.has_run:
            return  # the result is being written
        if len(came) == 1:
            terminal.say("stopping the script; press Ctrl-C again to kill it")
        execution.cancel("interrupted", at_once=len(came) > 1)

    before = {number: signal.getsignal(number) for number in _STOPS}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
