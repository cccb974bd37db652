# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Lock a job, so that only one of its scripts runs at a time on one machine.

If a worker is killed, its watchdog gives the script a grace to end. The job's next try may begin in this time, and
would load the same window a second time. So each script holds a lock, and the watchdog holds it, too, until the last
process of the script is gone. The kernel frees the lock however they die.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from batchy_provider.bundles.scratch import acquire, locked

_POLL_SECONDS = 0.2


@contextlib.contextmanager
def hold_job_lock(file: Path, *, waiting: Callable[[], None], given_up: Callable[[], bool]) -> Iterator[int | None]:
    """Hold a lock during the block, and wait for it first if necessary. Yields its descriptor.

    :param file: the lock file; made, and removed at the end.
    :param waiting: called once if another process holds the lock.
    :param given_up: called while waiting; True ends the wait, and the block runs without the lock, with None.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    has_reported = False
    while (fd := acquire(file, wait=False)) is None:
        if given_up():
            yield None
            return
        if not has_reported:
            waiting()
            has_reported = True
        time.sleep(_POLL_SECONDS)
    try:
        yield fd
    finally:
        os.close(fd)
        # The watchdog may still hold it: processes that even KILL has not ended may still load.
        with locked(file, wait=False) as mine:
            if mine is not None:
                file.unlink(missing_ok=True)
