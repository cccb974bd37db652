# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Log throttle: limit repeated warnings, so that a client that repeats an error cannot fill the disk."""

from __future__ import annotations

import logging
import threading
import time

REPEAT_SECONDS = 300.0
_MOST_SUBJECTS = 1000


class LogThrottle:
    """Log at most one warning for each subject and interval. The next line gives the number of suppressed warnings.

    :param log: the logger to write to.
    :param seconds: length of the interval.
    """

    def __init__(self, log: logging.Logger, seconds: float = REPEAT_SECONDS) -> None:
        self._log = log
        self._seconds = seconds
        self._lock = threading.Lock()
        self._subjects: dict[str, tuple[float, int]] = {}

    def warning(self, subject: str, text: str, *values: object, exc_info: BaseException | None = None) -> None:
        """Log a warning, or count it as suppressed.

        :param subject: warnings with the same subject share one interval and one count.
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
