# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Split a stream into lines for the log. The files keep every byte.

A program that shows its progress writes one line over and over, with a carriage return between the states (rsync, pip,
tqdm), or adds a dot from time to time. Of a finished line, the log shows the last state, as a terminal does. Of a line
that is still being written, it shows the state from time to time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from batchy_provider.bundles.limits import KIB
from batchy_provider.bundles.progress_lines import MARK

LINE_BYTES = 16 * KIB
STATE_BYTES = 1 * KIB
REWRITE_SECONDS = 1.0
GROWING_SECONDS, LONGEST_GROWING_SECONDS = 5.0, 80.0
_ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Clock(Protocol):
    """An object that has something to do at certain times."""

    def due(self) -> float | None:
        """Return when `tick` has something to do (monotonic seconds); None if it has nothing to do."""

    def tick(self, now: float) -> None:
        """Do what is due at ``now`` (monotonic seconds)."""


class LineSplitter:
    """Cuts a stream into blocks of whole lines. Keeps no more than the head and the tail of one line in memory.

    Of each line, only the text after the last carriage return is passed on, unless it is blank. A line that is longer
    than ``line_bytes`` is shortened to that: the text between its head and its tail is replaced by its length.
    """

    def __init__(self, line_bytes: int = LINE_BYTES) -> None:
        self._most = 2 * max(1, line_bytes // 2)
        self._line = _Line(self._most)
        self.ended = 0
        """Changes whenever a line has ended."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the stream; returns the lines that they complete, perhaps none."""
        last = data.rfind(b"\n")
        if last < 0:
            self._line.add(data)
            return b""
        self.ended += 1
        begin = 0
        done = b""
        if self._line:
            begin = data.find(b"\n") + 1
            self._line.add(data[: begin - 1])
            done = self._line.take()
        lines = data[begin : last + 1]
        self._line.add(data[last + 1 :])
        return done + self._tidy(lines)

    def finish(self) -> bytes:
        """Return what the stream ended with, if not by a newline; then with one."""
        return self._line.take() if self._line else b""

    @property
    def state(self) -> bytes:
        """What a terminal would show now of the line that is being written."""
        return self._line.state(STATE_BYTES)

    @property
    def rewrites(self) -> bool:
        """Whether the line that is being written has gone back to its beginning."""
        return self._line.rewrites

    def _tidy(self, lines: bytes) -> bytes:
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n")  # not worth checking each line
        if b"\r" not in lines and not self._any_long(lines):
            return lines
        return b"".join(map(self._tidy_line, lines.split(b"\n")[:-1]))

    def _any_long(self, lines: bytes) -> bool:
        """Tell whether a line is too long, without checking each one of many short lines."""
        at = 0
        while len(lines) - at > self._most:
            end = lines.rfind(b"\n", at, at + self._most + 1)
            if end < 0:
                return True
            at = end + 1
        return False

    def _tidy_line(self, line: bytes) -> bytes:
        if b"\r" not in line and len(line) <= self._most:
            return line + b"\n"
        tidied = _Line(self._most)
        tidied.add(line)
        return tidied.take()


class _Line:
    """One line while it is written: head and tail of the text since the last carriage return."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self.rewrites = False
        self._before = b""
        self._clear()

    def __bool__(self) -> bool:
        return bool(self._count or self.rewrites)

    def add(self, piece: bytes) -> None:
        """Take a piece without newline."""
        end = piece.rfind(b"\r")
        if end < 0:
            self._append(piece)
            return
        self._rewrite(piece[:end])
        self._append(piece[end + 1 :])

    def take(self) -> bytes:
        """Return the whole line, with a newline, and begin the next one."""
        line = self.state(2 * self._half) + b"\n"
        self.rewrites = False
        self._before = b""
        self._clear()
        return line

    def state(self, most: int) -> bytes:
        """Return the text that is shown for the line.

        :param most: bytes, half of them at each end.
        """
        if self.rewrites and not self._is_visible():
            return self._before
        head, tail = bytes(self._head), bytes(self._tail)
        if self._count <= len(head) + len(tail) and self._count <= most:
            return head + tail
        half = max(1, most // 2)
        whole = head + tail
        # A character that is cut in two is shown as its bytes.
        return whole[:half] + _left_out(self._count - 2 * half) + whole[-half:]

    def _rewrite(self, past: bytes) -> None:
        """Go back to the beginning of the line. `past` is the text before that, perhaps several states."""
        first = past.find(b"\r")
        self._append(past if first < 0 else past[:first])
        end = len(past)
        while first >= 0 and end > first:
            begin = past.rfind(b"\r", 0, end) + 1
            if _visible(past[begin:end]):
                self._clear()
                self._append(past[begin:end])
                break
            end = begin - 1
        if self._is_visible():
            self.rewrites = False
            self._before = self.state(2 * self._half)
        self.rewrites = True
        self._clear()

    def _append(self, piece: bytes) -> None:
        self._count += len(piece)
        room = self._half - len(self._head)
        if room > 0:
            self._head += piece[:room]
            piece = piece[room:]
        if piece:
            self._tail += piece[-self._half :]
            if len(self._tail) > 2 * self._half:
                del self._tail[: -self._half]

    def _is_visible(self) -> bool:
        return _visible(self._head) or _visible(self._tail)

    def _clear(self) -> None:
        self._count = 0
        self._head = bytearray()
        self._tail = bytearray()


class Unfinished:
    """Shows the line that is being written, from time to time.

    A line that is written over is shown each second. A line that only grows (dots) is shown after five seconds, and
    then after twice as long each time: a program that buffers its output often stops in the middle of a line.

    :param splitter: has the line.
    :param show: called with the state as a line, and the time (monotonic seconds).
    """

    def __init__(self, splitter: LineSplitter, show: Callable[[bytes, float], None]) -> None:
        self._splitter = splitter
        self._show = show
        self._line = -1
        self._last = 0.0
        self._shown = b""
        self._pause = GROWING_SECONDS
        self._changed = False

    def touch(self, now: float) -> None:
        """Note that the stream got new bytes at ``now`` (monotonic seconds)."""
        if self._line != self._splitter.ended:
            self._line, self._last, self._shown, self._pause = self._splitter.ended, now, b"", GROWING_SECONDS
        self._changed = True

    def due(self) -> float | None:
        """Return when `tick` has something to do (monotonic seconds); None if it has nothing to do."""
        if not self._changed:
            return None
        return self._last + (REWRITE_SECONDS if self._splitter.rewrites else self._pause)

    def tick(self, now: float) -> None:
        """Show the state, if it is time and the state is new."""
        due = self.due()
        if due is None or now < due:
            return
        self._changed = False
        self._last = now
        state = self._splitter.state
        if state == self._shown or state.startswith(MARK) or not _visible(state):
            return
        self._shown = state
        if not self._splitter.rewrites:
            self._pause = min(self._pause * 2, LONGEST_GROWING_SECONDS)
            state += b" \xe2\x80\xa6"
        self._show(state + b"\n", now)


def _visible(text: bytes | bytearray) -> bool:
    return bool(text.strip()) and bool(_ESCAPE.sub(b"", text).strip())


def _left_out(count: int) -> bytes:
    return f" [… {count:,} more bytes of this line are only in the result file …] ".encode()
