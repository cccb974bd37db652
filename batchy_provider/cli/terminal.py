# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write to stdout: how wide the terminal is, whether it has colors, and what happens if nobody reads."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from batchy_provider.exceptions import BatchyError

_WIDTH = 80
_RULE = "─"


class OutputError(BatchyError):
    """The output cannot be written: the disk is full, for example."""


class Terminal:
    """What stdout can show."""

    def __init__(self) -> None:
        self._out = sys.stdout
        # The calling program may have closed it (`>&-`).
        self._is_terminal = self._out is not None and self._out.isatty()

    @property
    def width(self) -> int | None:
        """How many characters a line may have; None for a file or pipe, in which no line may be wrapped."""
        if not self._is_terminal:
            return None
        named = os.environ.get("COLUMNS", "")
        if named.isascii() and named.isdigit() and int(named):
            return int(named)
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            try:
                if found := os.get_terminal_size(stream.fileno()).columns:
                    return found
            except (OSError, ValueError, AttributeError):  # closed, or no terminal
                continue
        return _WIDTH

    @property
    def has_colors(self) -> bool:
        """Whether it shows colors, and the user wants them."""
        is_able = self._is_terminal or bool(os.environ.get("FORCE_COLOR"))
        return is_able and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")

    @property
    def rule(self) -> str:
        """The character of a horizontal line."""
        try:
            _RULE.encode(getattr(self._out, "encoding", None) or "utf-8")
        except (LookupError, UnicodeEncodeError):
            return "-"
        return _RULE


def write(text: str) -> None:
    """Write some of the answer at once, so that a reader sees it while the rest is read.

    :raises BrokenPipeError: nobody reads any more, as after ``head``.
    :raises OutputError: it cannot be written.
    """
    out = sys.stdout
    if out is None:  # closed by the calling program
        return
    try:
        try:
            out.write(text)
        except UnicodeEncodeError:
            encoding = out.encoding or "ascii"
            out.write(text.encode(encoding, "backslashreplace").decode(encoding))
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(out)
        raise OutputError(f"the output cannot be written: {error.strerror}") from error


def discard(out: TextIO) -> None:
    """Let Python throw away what it still has to write: it flushes stdout when it exits, and must not fail then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
