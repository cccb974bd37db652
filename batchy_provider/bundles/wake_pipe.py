# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Wake up a selector from a signal handler or from another thread, through a pipe."""

from __future__ import annotations

import contextlib
import os
import threading


class WakePipe:
    """Wakes up the selector that waits for `read_end`."""

    def __init__(self) -> None:
        # Held while `_write_end` is used, so that its number is not another descriptor's meanwhile. A signal handler
        # may run between two lines of the holder, so the holder must be able to take the lock twice.
        self._lock = threading.RLock()
        self.read_end, self._write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self._write_end, False)

    def wake(self) -> None:
        """Wake up the selector. Safe in a signal handler and from any thread, and harmless after `close`."""
        with self._lock, contextlib.suppress(BlockingIOError):  # full: it will wake up anyway
            if self._write_end >= 0:
                os.write(self._write_end, b"!")

    def drain(self) -> None:
        """Empty the pipe, after the selector woke up."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.read_end, 4096)

    def close(self) -> None:
        """Close both ends."""
        with self._lock:
            write_end, self._write_end = self._write_end, -1
            os.close(write_end)
        os.close(self.read_end)
