# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The states of earlier tasks that Airflow was asked for before a job, while the check before it asked Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchy_provider.operators.beside import FRESH_SECONDS
from batchy_provider.operators.task_instances import states_of

if TYPE_CHECKING:
    from batchy_provider.operators.task_instances import States

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StatesAhead:
    """The states of some tasks.

    :param asked: when Airflow was asked, monotonic seconds. Its answer may have taken long.
    """

    states: States
    asked: float

    def of(self, tasks: Collection[str]) -> States | None:
        """Return the states of some tasks; None if they are those of others, or too old."""
        is_fresh = time.monotonic() - self.asked < FRESH_SECONDS
        return self.states if is_fresh and self.states.keys() == set(tasks) else None


def ask_ahead(ti: Any, tasks: Sequence[str]) -> StatesAhead | None:
    """Ask Airflow for the states of some tasks of the run. An error is no reason to fail: then the job asks.

    :param ti: the running task's instance.
    """
    asked = time.monotonic()
    try:
        return StatesAhead(states_of(ti, ti.dag_id, ti.run_id, tasks), asked)
    except Exception as error:
        _log.info("Airflow does not say yet how earlier tasks have ended: %s", error)
        return None
