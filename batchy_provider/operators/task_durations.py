# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long the tasks of a run took, as Airflow measured it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

_log = logging.getLogger(__name__)


def seconds_of(ti: Any, dag_id: str, run_id: str, tasks: Collection[str]) -> dict[str, float] | None:
    """Return task → how long its last try took; of a mapped task, its longest instance. None if it is not known.

    Only forecasts use it. So a batch is closed also if Airflow does not answer, or in another form.

    :param ti: the running task's instance, which asks Airflow.
    """
    found: dict[str, float] = {}
    try:
        for each in ti.get_task_breadcrumbs(dag_id=dag_id, run_id=run_id):
            task, seconds = each.get("task_id"), each.get("duration")
            if task in tasks and isinstance(seconds, (int, float)) and str(each.get("state")) == "success":
                found[task] = max(seconds, found.get(task, 0.0))
    except Exception as error:
        _log.info("Airflow does not say how long the tasks of run %r took: %s", run_id, error)
        return None
    return found or None
