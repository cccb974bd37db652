# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read what this machine's Airflow knows; its own log lines go to stderr meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from batchy_provider.cli.result_store import airflow_logs_to_stderr

if TYPE_CHECKING:
    from batchy_provider.plan.airflow_facts import AirflowFacts
    from batchy_provider.services.plan_inputs import LostTries
    from batchy_provider.services.why_answers import AirflowReader


def airflow_reader(note: Callable[[str], None]) -> AirflowReader:
    """Return what reads the DAGs, runs and slots of this machine's Airflow.

    :param note: shows a person why Airflow cannot be asked.
    """

    def read(dag_ids: Collection[str]) -> AirflowFacts | None:
        with airflow_logs_to_stderr():
            from batchy_provider.hooks.airflow_database import read_airflow

            try:
                return read_airflow(dag_ids)
            except Exception as error:  # a machine may have the connection and not the metadata database
                reason = f"{error}".strip().partition("\n")[0] or type(error).__name__
                note(f"batchy: Airflow is not asked, since its database cannot be read: {reason}")
                return None

    return read


def lost_tries(dag_ids: Collection[str]) -> LostTries:
    """Return how much time jobs of this machine's Airflow lost by tries that failed."""
    with airflow_logs_to_stderr():
        from batchy_provider.hooks.lost_tries import read_lost_tries

        return read_lost_tries(dag_ids)
