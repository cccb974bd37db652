# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
The live view of a script's output: lines in order, a lone one at once, many in one call.

A call to a log costs the same for one line and for a thousand, so lines that come within a tenth of a second after a
call wait for the next one. What is shown may be shortened, and then says so; the files hold all.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from batchy_provider.bundles.limits import KIB, MIB

Show = Callable[[str, str], None]
"""Called with ``stdout``, ``stderr`` or ``note``, and one or more lines without the last newline."""

INTERVAL_SECONDS = 0.1
BLOCK_BYTES = 64 * KIB
TAIL_BYTES = 64 * KIB
LOG_LIMIT_BYTES = 128 * MIB
_NOTE_SECONDS = 30.0


class LiveView:
    """
    Shows lines while the script runs.

    :param show: called for each block
    :param limit_bytes: after so many only the last lines are shown, at the end, with an exact count of what
        is not shown
    :param where: what has all lines, and by which command they are shown
    """

    def __init__(self, show: Show, *, limit_bytes: int = LOG_LIMIT_BYTES, where: str = "the result file") -> None:
        self._show = show
        self._left = limit_bytes
        self._where = where
        self._pending: list[tuple[str, bytes]] = []
        self._pending_bytes = 0
        self._next = -math.inf
        self._tail: deque[tuple[str, bytes]] = deque()
        self._tail_bytes = 0
        self._hidden = 0
        self._next_note = math.inf

    def put(self, stream: str, lines: bytes, now: float) -> None:
        """
        Take whole lines of one stream.

        :param now: monotonic seconds
        """
        if not lines:
            return
        if self._left <= 0:
            self._hide(stream, lines, now)
            return
        self._left -= len(lines)
        if self._pending and self._pending[-1][0] == stream:
            self._pending[-1] = (stream, self._pending[-1][1] + lines)
        else:
            self._pending.append((stream, lines))
        self._pending_bytes += len(lines)
        if now >= self._next or self._pending_bytes >= BLOCK_BYTES:
            self._flush(now)

    def put_state(self, stream: str, line: bytes, now: float) -> None:
        """Take what stands until now in a line that is still being written; it is none of the lines that count."""
        if self._left > 0:
            self.put(stream, line, now)

    def note(self, text: str, now: float) -> None:
        """Say something of our own, after all lines that came before."""
        self._flush(now)
        self._show("note", text)

    def due(self) -> float | None:
        """When `tick` has something to do (monotonic seconds), or None."""
        return self._next if self._pending else None

    def tick(self, now: float) -> None:
        """Show what has waited long enough."""
        if self._pending and now >= self._next:
            self._flush(now)

    def finish(self, now: float) -> None:
        """Show all that waits, and the tail."""
        self._flush(now)
        if not self._hidden:
            return
        shown = sum(lines.count(b"\n") for _, lines in self._tail)
        if self._hidden > shown:
            self._show(
                "note",
                f"{self._hidden - shown:,} lines are not shown here, they stand in {self._where} alone. The last:",
            )
        for stream, lines in self._tail:
            self._show(stream, _text(lines))

    def _flush(self, now: float) -> None:
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        self._next = now + INTERVAL_SECONDS
        for stream, lines in pending:
            self._show(stream, _text(lines))

    def _hide(self, stream: str, lines: bytes, now: float) -> None:
        if not self._hidden:
            self._flush(now)
            self._show(
                "note", f"There is much output: from here on it goes to {self._where} alone; its end will follow here."
            )
            self._next_note = now + _NOTE_SECONDS
        self._hidden += lines.count(b"\n")
        if len(lines) > TAIL_BYTES:
            lines = lines[lines.index(b"\n", -TAIL_BYTES) + 1 :]
            self._tail.clear()  # the tail has no hole
            self._tail_bytes = 0
        self._tail.append((stream, lines))
        self._tail_bytes += len(lines)
        while self._tail_bytes - len(self._tail[0][1]) > TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft()[1])
        if now >= self._next_note:
            self._next_note = now + _NOTE_SECONDS
            self._show("note", f"{self._hidden:,} lines so far went to {self._where} alone.")


def _text(lines: bytes) -> str:
    return lines.removesuffix(b"\n").decode("utf-8", "backslashreplace")
