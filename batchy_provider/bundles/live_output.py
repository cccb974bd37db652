# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show a script's output while it runs: a single line at once, many lines in one call, always in order.

A call to a log costs the same for one line and for a thousand. So lines that come within a tenth of a second after a
call wait for the next one. The view may be shortened, and says so; the files have everything.
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
    """Shows lines while the script runs.

    :param show: called for each block.
    :param limit_bytes: after so many bytes, only the last lines are shown, at the end, with an exact count of the
        lines that are not shown.
    :param where: the place that has all lines, with the command that shows them.
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
        """Take whole lines of one stream.

        :param now: monotonic seconds.
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
        """Show the present content of a line that is still being written. It does not count as a line."""
        if self._left > 0:
            self.put(stream, line, now)

    def note(self, text: str, now: float) -> None:
        """Show a sentence of the runner, after all lines that came before."""
        self._flush(now)
        self._show("note", text)

    def due(self) -> float | None:
        """Return when `tick` has something to do (monotonic seconds); None if it has nothing to do."""
        return self._next if self._pending else None

    def tick(self, now: float) -> None:
        """Show the lines that have waited long enough."""
        if self._pending and now >= self._next:
            self._flush(now)

    def finish(self, now: float) -> None:
        """Show all lines that wait, and the last lines of a shortened view."""
        self._flush(now)
        if not self._hidden:
            return
        shown = sum(lines.count(b"\n") for _, lines in self._tail)
        if self._hidden > shown:
            self._show(
                "note",
                f"{self._hidden - shown:,} lines are not shown here. They are only in {self._where}. The last lines:",
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
                "note",
                f"Log limit reached. Further output goes only to {self._where}; the last lines appear here at the end.",
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
            self._show("note", f"{self._hidden:,} lines so far went only to {self._where}.")


def _text(lines: bytes) -> str:
    return lines.removesuffix(b"\n").decode("utf-8", "backslashreplace")
