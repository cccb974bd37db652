# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow's database knows of the DAGs of workflows, for all of them in one query."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timezone

from batchy_provider.batches.dates import format_date


@dataclass(frozen=True, slots=True)
class DagFacts:
    """
    What is known of a DAG.

    :param paused: nothing of it is scheduled.
    :param next_run: when its next run is due; UTC, ISO 8601. None if nothing schedules it, or an asset does.
    """

    paused: bool
    next_run: str | None


def dag_facts(dag_ids: Collection[str]) -> dict[str, DagFacts]:
    """Return the facts of those DAGs that Airflow has."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    columns = (DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after)
    query = select(*columns).where(DagModel.is_stale.is_(False))
    if len(dag_ids) < _MOST_NAMED:
        query = query.where(DagModel.dag_id.in_(dag_ids))
    wanted = set(dag_ids)
    with create_session() as session:
        return {
            dag_id: DagFacts(paused=bool(paused), next_run=None if paused else _text(due))
            for dag_id, paused, due in session.execute(query)
            if dag_id in wanted
        }


_MOST_NAMED = 500
"""More names than that in a query cost more than the rows of all DAGs."""


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_date(moment.astimezone(timezone.utc).replace(tzinfo=None))
