# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
One script of a job at a time on one machine.

A worker that is killed leaves its script to the guard, which gives it its grace to end. The job's next try may begin
meanwhile, and would load the same window beside it. So each script holds a lock, which the guard holds too until the
last process of the script is gone; the kernel frees it however they die.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from batchy_provider.bundles.scratch import acquire, locked

_LOOK_AGAIN_SECONDS = 0.2


@contextlib.contextmanager
def hold_job_lock(file: Path, *, waiting: Callable[[], None], given_up: Callable[[], bool]) -> Iterator[int | None]:
    """
    Hold a lock for the block, after whoever holds it now.

    :param file: the lock; made, and removed at the end
    :param waiting: called once if another holds it
    :param given_up: whether not to wait any longer; then the block runs without the lock
    :return: its descriptor, or None
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = False
    while (fd := acquire(file, wait=False)) is None:
        if given_up():
            yield None
            return
        if not told:
            waiting()
            told = True
        time.sleep(_LOOK_AGAIN_SECONDS)
    try:
        yield fd
    finally:
        os.close(fd)
        # The guard may hold it on: what even KILL has not ended may still load.
        with locked(file, wait=False) as mine:
            if mine is not None:
                file.unlink(missing_ok=True)
