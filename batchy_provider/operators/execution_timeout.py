# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Let Airflow's `execution_timeout` stop a script in order, before Airflow raises its error."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchy_provider.bundles.execution import Execution


@contextlib.contextmanager
def orderly_timeout(execution: Execution) -> Iterator[None]:
    """Stop the script and store its result when `execution_timeout` is over; then raise Airflow's error.

    Airflow raises its error from a signal handler, at any instruction, so also between reading output and writing it.
    In this block its alarm stops the running script instead. The error follows when the block is left.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    airflow = signal.getsignal(signal.SIGALRM)
    alarms = []

    def on_alarm(number: int, frame: Any) -> None:
        if execution.running:
            alarms.append(number)
            execution.cancel("timeout")
        elif callable(airflow):
            airflow(number, frame)

    if not callable(airflow):
        yield
        return
    signal.signal(signal.SIGALRM, on_alarm)
    try:
        yield
    except Exception:
        if not alarms:  # after an alarm, the error says only that the script was stopped
            raise
    finally:
        signal.signal(signal.SIGALRM, airflow)
    if alarms:
        airflow(alarms[0], None)
