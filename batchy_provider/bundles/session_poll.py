# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check at intervals whether a session is empty. Listing all processes takes too long to do it more often."""

from __future__ import annotations

from batchy_provider.bundles.process_session import Session

_FIRST_SECONDS, _LONGEST_SECONDS = 0.01, 0.5


class SessionPoll:
    """Checks one session, with growing pauses."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.due = 0.0
        """When `is_empty` checks the next time (monotonic seconds)."""
        self._pause = _FIRST_SECONDS

    def is_empty(self, now: float) -> bool:
        """Tell whether no process of the session is left. False before the time of the next check.

        :param now: monotonic seconds.
        """
        if now < self.due:
            return False
        if self._session.empty():
            return True
        self.due = now + self._pause
        self._pause = min(_LONGEST_SECONDS, self._pause * 1.5)
        return False

    def restart(self) -> None:
        """Check at once, and then after short pauses again, because processes were signalled."""
        self.due, self._pause = 0.0, _FIRST_SECONDS
