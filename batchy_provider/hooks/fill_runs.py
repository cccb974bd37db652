# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read and queue runs of DAGs in Airflow's database, for fills: in the API server, and in `airflow batchy fill`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchy_provider.core.dates import read_date
from batchy_provider.core.intervals import Interval
from batchy_provider.exceptions import BatchyError, ConfigError, NoDagError
from batchy_provider.services.fill_requests import RUN_PREFIX, KnownRun

if TYPE_CHECKING:
    from batchy_provider.core.values import Actor

_ACTIVE = ("queued", "running")


class AirflowDagRuns:
    """The runs of this Airflow."""

    def is_paused(self, workflow: str) -> bool | None:
        """Tell whether the DAG of a workflow is paused; None if Airflow has no such DAG."""
        from airflow.models.dag import DagModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        query = select(DagModel.is_paused).where(DagModel.dag_id == workflow, DagModel.is_stale.is_(False))
        with create_session() as session:
            paused = session.scalar(query)
        return None if paused is None else bool(paused)

    def with_windows(self, workflow: str) -> list[KnownRun]:
        """Return the runs of earlier fills, and all runs that have not ended and have a window in their conf."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import or_, select

        of_fill = DagRun.run_id.startswith(RUN_PREFIX, autoescape=True)
        query = select(DagRun.run_id, DagRun.state, DagRun.conf)
        query = query.where(DagRun.dag_id == workflow, or_(of_fill, DagRun.state.in_(_ACTIVE)))
        with create_session() as session:
            found = [
                KnownRun(run_id, str(getattr(state, "value", state)), _window(conf))
                for run_id, state, conf in session.execute(query)
            ]
        return [run for run in found if run.window is not None or run.run_id.startswith(RUN_PREFIX)]

    def create(self, workflow: str, run_id: str, conf: Mapping[str, object], actor: Actor) -> bool:
        """Queue a run; return False if there is a run with this id.

        :raises NoDagError: the DAG has gone.
        :raises ConfigError: the DAG refuses the run, for example since a param of it has no value.
        """
        from airflow.api.common.trigger_dag import trigger_dag
        from airflow.exceptions import DagNotFound, DagRunAlreadyExists
        from airflow.providers.common.compat.sdk import AirflowException
        from airflow.utils.types import DagRunTriggeredByType
        from sqlalchemy.exc import IntegrityError

        by = DagRunTriggeredByType.CLI if actor.source == "cli" else DagRunTriggeredByType.REST_API
        try:
            trigger_dag(dag_id=workflow, run_id=run_id, conf=dict(conf), triggered_by=by, triggering_user_name=actor.by)
        except (DagRunAlreadyExists, IntegrityError):  # the latter if two fills start it in the same moment
            return False
        except DagNotFound as error:
            raise NoDagError(f"Airflow has no DAG {workflow!r} any more: {error}") from error
        except (AirflowException, ValueError) as error:
            raise ConfigError(f"Airflow refuses a run of DAG {workflow!r}: {error}") from error
        return True


def _window(conf: Any) -> Interval | None:
    """Return the window that a run's conf asks for; None if it has none with both ends."""
    try:
        window = Interval(read_date(conf["from_date"]), read_date(conf["to_date"]))
    except (TypeError, KeyError, BatchyError):
        return None
    return window if window.start < window.end else None
