# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Hold back Ctrl-C while a step runs that must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextmanager
def held_back(*, notice: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP until the block has ended.

    Without it, Ctrl-C between the start of a process and the line that records it would leave an orphan.
    Started programs are not affected: the kernel gives them the default handlers again.

    :param notice: called for each signal, which is then dropped; by default the first one is delivered afterwards.
    """
    if threading.current_thread() is not threading.main_thread():  # Python allows signal handlers only there
        yield
        return
    seen: list[int] = []

    def hold(signum: int, frame: Any) -> None:
        if notice is None:
            seen.append(signum)
        else:
            notice()

    # A signal that is ignored, or that ends the program at once, stays as it is.
    before = {signum: signal.getsignal(signum) for signum in SIGNALS if callable(signal.getsignal(signum))}
    for signum in before:
        signal.signal(signum, hold)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if seen:
        first = before[signal.Signals(seen[0])]
        assert callable(first)
        first(seen[0], None)
