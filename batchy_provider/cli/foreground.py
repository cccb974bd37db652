# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A script in the foreground of a terminal: its output is passed on, signals to us end it in order."""

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
_PATIENCE = 3
"""This many signals end us even while the result is being kept."""


def open_standard_files() -> None:
    """Give the numbers 0 to 2 to /dev/null where they are closed, so that no file of ours gets them."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


class Terminal:
    """
    Passes on what the script writes, as it comes.

    Where nobody reads any more, the script is stopped, as a program in a pipe would be. Where our stdout cannot be
    written for another reason (the disk is full, it is closed), the script goes on and our exit code tells.
    """

    def __init__(self) -> None:
        self.execution: Execution | None = None
        self.is_broken = False
        self.fault: str | None = None
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
                self.fault = getattr(error, "strerror", None) or str(error)
                self.say(f"its output cannot be passed on ({self.fault}); the script goes on")

    def say(self, text: str) -> None:
        """Write a line of our own to stderr, if it can be written."""
        if "stderr" not in self._silent:
            try:
                _write(sys.stderr, f"batchy: {printable(text)}\n".encode("utf-8", "backslashreplace"))
            except (OSError, ValueError):
                self._silence("stderr")

    def _silence(self, stream: str) -> None:
        """Python flushes once more at its end, which must not fail again."""
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
    except (OSError, ValueError):  # no file of the system, as in a test
        file.buffer.write(data)
        file.buffer.flush()
        return
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # another program of this terminal does not want to wait
            select.select([], [fd], [])


@contextlib.contextmanager
def stopped_by_signals(terminal: Terminal) -> Iterator[list[int]]:
    """
    End the script in order at Ctrl-C, TERM and the end of the terminal, the second one at once; yields what came.

    A signal that we were started to ignore (`nohup`, a job in the background of a script) stays ignored.
    """
    came: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        execution = terminal.execution
        came.append(number)
        if execution is None or not (execution.running or execution.has_run) or len(came) > _PATIENCE:
            raise SystemExit(128 + number)
        if execution.has_run:
            return  # the result is being kept
        if len(came) == 1:
            terminal.say("stopping the script; once more to kill it")
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
