# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A log that does not repeat itself: what others send again and again must not fill a disk."""

from __future__ import annotations

import logging
import threading
import time

REPEAT_SECONDS = 300.0
_MOST_SUBJECTS = 1000


class RareLog:
    """Writes a line about one subject at most once in a while, and then says how many were left out.

    :param log: where the lines go.
    :param seconds: how long a subject rests.
    """

    def __init__(self, log: logging.Logger, seconds: float = REPEAT_SECONDS) -> None:
        self._log = log
        self._seconds = seconds
        self._lock = threading.Lock()
        self._subjects: dict[str, tuple[float, int]] = {}

    def warning(self, subject: str, text: str, *values: object, exc_info: BaseException | None = None) -> None:
        """Log a warning, or count it.

        :param subject: what it is about; warnings about one subject are counted together.
        :param text: the message, with ``%`` places for the values.
        :param exc_info: an error whose traceback is logged too.
        """
        now = time.monotonic()
        with self._lock:
            at, left_out = self._subjects.get(subject, (None, 0))
            if at is not None and now - at < self._seconds:
                self._subjects[subject] = (at, left_out + 1)
                return
            if len(self._subjects) >= _MOST_SUBJECTS:
                self._subjects.clear()
            self._subjects[subject] = (now, 0)
        more = f" ({left_out} more like this since the last such line)" if left_out else ""
        self._log.warning(text + more, *values, exc_info=exc_info)
