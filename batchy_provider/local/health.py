# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Wait until a local Airflow is healthy, and check that its programs are alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from batchy_provider.local.process import Service
from batchy_provider.local.topology import CORE

_REPORT_SECONDS = 30.0
_POLL_SECONDS = 0.2


def check_alive(services: Iterable[Service]) -> None:
    """Check that every program is alive.

    :raises StackError: one has died; the text names it and shows the end of its log.
    """
    for service in services:
        if not service.alive():
            raise service.error("has died")


def wait_until_healthy(
    health: Callable[[], Mapping[str, str | None]],
    services: Mapping[str, Service],
    *,
    report: Callable[[str], None],
    on_answer: Callable[[], None],
    timeout: float,
) -> None:
    """Wait until all components of Airflow are healthy.

    :param health: returns the status of each component; raises OSError while the API server does not answer.
    :param services: the programs of the stack by name. If one dies, the wait ends at once.
    :param report: called twice a minute with what is not healthy yet.
    :param on_answer: called each time that the API server answers.
    :param timeout: seconds.
    :raises StackError: a program has died, or a component is not healthy in time.
    """
    began = reported = time.monotonic()
    waiting_for = list(CORE)
    while True:
        check_alive(services.values())
        try:
            waiting_for = [name for name, status in health().items() if status != "healthy"]
            on_answer()
            if not waiting_for:
                return
        except OSError:
            pass
        now = time.monotonic()
        if now - reported > _REPORT_SECONDS:
            reported = now
            report(f"Still waiting for {', '.join(waiting_for)}")
        if now - began > timeout:
            name = waiting_for[0].replace("_", "-")
            raise services.get(name, services["api-server"]).error(f"was not ready within {timeout:g} seconds")
        time.sleep(_POLL_SECONDS)
