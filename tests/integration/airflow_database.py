# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask Airflow's metadata database what a test waits for.

A test that waits asks the same question again and again. Airflow's API server takes twenty to fifty milliseconds of a
processor for each answer, the database less than one. Where Airflow's own answer is what a test is about, use REST.
"""

from __future__ import annotations

from typing import Any

import psycopg2


class AirflowDatabase:
    """
    Reads the metadata database of a local stack.

    :param url: of SQLAlchemy, as in ``[database] sql_alchemy_conn``.
    """

    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg2", "", 1)
        self._connection: Any = None

    def has_dag(self, dag_id: str) -> bool:
        """Whether a DAG can be run: it is not stale, and Airflow has stored all of it, which comes a moment later."""
        query = "select 1 from dag where dag_id = %s and not is_stale and exists (select 1 from serialized_dag"
        return bool(self._rows(f"{query} where serialized_dag.dag_id = dag.dag_id)", dag_id))

    def run_states(self, dag_id: str) -> dict[str, str]:
        """State of each run of a DAG, by run id, oldest first."""
        return dict(self._rows("select run_id, state from dag_run where dag_id = %s order by id", dag_id))

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """State of each task of a run, by task id; of a mapped task, that of its last instance."""
        query = "select task_id, state from task_instance where dag_id = %s and run_id = %s order by map_index"
        return dict(self._rows(query, dag_id, run_id))

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = psycopg2.connect(self._url)
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
