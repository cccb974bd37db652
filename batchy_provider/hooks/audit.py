# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write changes that people make to Airflow's audit log, too (Browse → Audit Log)."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from batchy_provider.observability import metrics

if TYPE_CHECKING:
    from batchy_provider.services.answers import Audit

log = logging.getLogger(__name__)


def log_in_airflow(entry: Audit) -> None:
    """Write a change into Airflow's log table, as ``batchy_<action>``.

    The change is counted in the metrics too. Redis has stored it before. So if Airflow's database cannot be reached,
    this only logs a warning.
    """
    metrics.changed(entry)
    try:
        from airflow.models.log import Log
        from airflow.utils.session import create_session

        actor = entry.actor
        attributes = {"source": actor.source, "address": actor.address, "why": entry.why, "batch_id": entry.batch_id}
        extra = {name: value for name, value in {**attributes, **entry.details}.items() if value is not None}
        with create_session() as session:
            row = Log(
                event=f"batchy_{entry.action}",
                owner=actor.by,
                owner_display_name=actor.by,
                extra=json.dumps(extra, default=str),
            )
            row.dag_id, row.task_id = entry.workflow, entry.job
            session.add(row)
    except Exception as error:
        log.warning(
            "%s of %s is not in Airflow's audit log: %s", entry.action, entry.workflow, str(error).partition("\n")[0]
        )
