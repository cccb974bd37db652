# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read progress lines: ``::batchy {"progress": 0.5, "message": "34 of 68"}``. An invalid one is ordinary output."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

MARK = b"::batchy "
_MAX_LINE = 4096
_MAX_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress that a script reports.

    :param progress: 0 to 1; None if it reported only a message.
    :param message: at most 500 characters, or None.
    """

    progress: float | None
    message: str | None


def parse(line: bytes) -> Progress | None:
    """Parse one line.

    :param line: without its newline.
    :returns: None if it is not a valid progress line: then it is a plain line of output.
    """
    if not line.startswith(MARK) or len(line) > _MAX_LINE:
        return None
    try:
        parsed = json.loads(line[len(MARK) :])
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    progress, message = parsed.get("progress"), parsed.get("message")
    if progress is not None:
        if isinstance(progress, bool) or not isinstance(progress, (int, float)):
            return None
        if not math.isfinite(progress) or not 0 <= progress <= 1:
            return None
        progress = float(progress)
    if message is not None:
        if not isinstance(message, str):
            return None
        message = message[:_MAX_MESSAGE].encode("utf-8", "replace").decode()
    if progress is None and message is None:
        return None
    return Progress(progress, message)


def separate(block: bytes) -> tuple[bytes, Progress | None]:
    """Remove the valid progress lines from a block of whole lines.

    :returns: the other lines, and the last progress.
    """
    if MARK not in block:
        return block, None
    last = None
    rest = []
    for line in _lines(block):
        found = parse(line.rstrip(b"\r\n"))
        if found is None:
            rest.append(line)
        else:
            last = found
    return b"".join(rest), last


def _lines(block: bytes) -> list[bytes]:
    """Return the lines with their ends. `splitlines` would cut at a carriage return, too."""
    *lines, rest = block.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])


class Throttle:
    """Passes on the newest progress, at most once in some seconds. The last one always arrives.

    :param report: called with the progress.
    :param seconds: the shortest time between two calls.
    """

    def __init__(self, report: Callable[[Progress], None], seconds: float = 1.0) -> None:
        self._report = report
        self._seconds = seconds
        self._pending: Progress | None = None
        self._next = -math.inf

    def put(self, progress: Progress, now: float) -> None:
        """Take a new progress at ``now`` (monotonic seconds)."""
        self._pending = progress
        self.tick(now)

    def due(self) -> float | None:
        """Return when `tick` has something to do (monotonic seconds); None if it has nothing to do."""
        return self._next if self._pending is not None else None

    def tick(self, now: float, *, last: bool = False) -> None:
        """Pass on the progress that waits, if it is time or if this is the ``last`` call."""
        if self._pending is not None and (last or now >= self._next):
            progress, self._pending = self._pending, None
            self._next = now + self._seconds
            self._report(progress)
