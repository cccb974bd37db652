# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build the DAG of a small workflow before Airflow forks, so that the forks find done what is slow only the first time.

Airflow and this package make many things when they first build a DAG: modules, signatures, timetables. Without this,
each task makes them again, and so does the DAG processor for each file.
"""

from __future__ import annotations

from pathlib import Path

_WORKFLOW = """
schedule: {cron: "0 2 * * *", after: [warm_up_before]}
wait_for: warm_up_before
window: {align: hour}
defaults: {retries: 1}
jobs:
  extract: {bash: "true", initial_date: 2026-01-01}
  load: {bash: "cat", input: previous}
"""


def build_small_dag() -> None:
    """Build the DAG of a small workflow. Nothing is read from the disk, and the DAG is not kept.

    :raises RuntimeError: if the workflow has an error.
    """
    from batchy_provider.config.reader import Reader
    from batchy_provider.dag_factory.loader import build_workflow

    folder = Path("/batchy_warm_up")  # there is none
    workflow, diagnostics = Reader(folder).read_text(folder / "warm_up.yaml", _WORKFLOW)
    dag = None
    if workflow is not None:
        dag, diagnostics = build_workflow(workflow)
    if dag is None:
        raise RuntimeError("; ".join(map(str, diagnostics)))
    dag.get_template_env().from_string("{{ 1 }}")  # Jinja makes its lexer for the first template
