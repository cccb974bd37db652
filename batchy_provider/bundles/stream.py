# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One pipe from a script, and the file that takes all that comes out of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from batchy_provider.bundles.live import LineSplitter

READ_BYTES = 256 * 1024
PIPE_BYTES = 1024 * 1024


class Stream:
    """
    One output stream of a script.

    :param name: ``stdout`` or ``stderr``
    :param path: new file for its bytes
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        with contextlib.suppress(OSError, AttributeError):  # a larger pipe is faster, not necessary
            fcntl.fcntl(self.read_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self.splitter = LineSplitter()
        self.bytes = 0
        self.open = True

    def read(self) -> bytes | None:
        """What is in the pipe: nothing more to come (empty), or nothing yet (None)."""
        try:
            return os.read(self.read_end, READ_BYTES)
        except BlockingIOError:
            return None

    def write(self, data: bytes) -> None:
        """Put all of it into the file."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.file, view) :]
        self.bytes += len(data)

    def close_write_end(self) -> None:
        """Leave the pipe to the script: it ends when nobody writes to it any more."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Close pipe and file."""
        self.close_write_end()
        os.close(self.read_end)
        os.close(self.file)
