# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Import what tasks need before Airflow forks their processes, so that no task imports it again.

Each task has a process of its own, a fork of a long-running one. What that one has imported costs the task nothing.
Everything else is imported by each task again: without this module, some 300 modules in a third of a second. The same
holds for what a program makes once, when it first builds a DAG.

This happens only in programs that fork: a scheduler that runs tasks itself, the workers of Celery and of the Edge
provider, and the DAG processor, which forks for each file that it parses. In a Kubernetes pod each task has a new
program, so there is nothing to save.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence

DAG_FILES = (
    "batchy_provider.config.built_models",
    "batchy_provider.dag_factory",
    "batchy_provider.dag_factory.build",
    "batchy_provider.dag_factory.build_record",
    "batchy_provider.dag_factory.storable",
    "batchy_provider.operators.batch",
    "batchy_provider.operators.bundle",
    "batchy_provider.sensors.waitsy",
    "batchy_provider.timetables",
    "jinja2.ext",
)
"""What a process imports that makes the DAGs of workflow files."""

TASKS = (
    *DAG_FILES,
    "batchy_provider.archive.archiver",
    "batchy_provider.bundles.execution",
    "batchy_provider.hooks.batchy",
    "batchy_provider.hooks.secrets",
    "batchy_provider.observability.metrics",
    "batchy_provider.observability.observed_execution",
    "batchy_provider.observability.traces",
    "batchy_provider.operators.batch_watchdog",
    "batchy_provider.operators.beside",
    "batchy_provider.operators.closing",
    "batchy_provider.operators.execution_timeout",
    "batchy_provider.operators.job_batch",
    "batchy_provider.operators.opening",
    "batchy_provider.operators.progress",
    "batchy_provider.operators.script_checks",
    "batchy_provider.operators.script_request",
    "batchy_provider.operators.states_ahead",
    "batchy_provider.operators.task_durations",
    "batchy_provider.state.connections",
    "batchy_provider.state.store",
)
"""What a process imports that runs a task of a workflow. A unit test finds what is missing here."""

_WORKERS = (("celery", "worker"), ("edge", "worker"))
_log = logging.getLogger(__name__)


def modules_for(arguments: Sequence[str], executors: str) -> Sequence[str]:
    """Return the modules to import before a program of Airflow forks.

    :param arguments: of the program: ``["airflow", "scheduler"]``.
    :param executors: ``[core] executor``. A scheduler forks tasks only with a `LocalExecutor`.
    """
    if is_worker(arguments):
        return TASKS
    command = arguments[1] if len(arguments) > 1 else None
    if command == "scheduler":
        return TASKS if "LocalExecutor" in executors else ()
    return DAG_FILES if command == "dag-processor" else ()


def is_worker(arguments: Sequence[str]) -> bool:
    """Tell whether a program is a worker that forks for each task. See `modules_for`."""
    return tuple(arguments[1:3]) in _WORKERS


def preload() -> None:
    """Import what the forks of this program will need, if it is a program that forks. An error is no reason to fail."""
    from airflow.configuration import conf

    modules = modules_for(sys.argv, conf.get("core", "executor", fallback=""))
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            # The task that needs it fails with the same error, and shows it to the people who can correct it.
            _log.warning("%s cannot be imported before tasks are started: %s: %s", name, type(error).__name__, error)
    if not modules:
        return
    try:
        _warm_up(tasks=modules is TASKS)
    except Exception as error:
        _log.warning("No DAG can be built before tasks are started: %s: %s", type(error).__name__, error)


def _warm_up(*, tasks: bool) -> None:
    """Do once what is slow only the first time.

    :param tasks: whether the forks run tasks, and do not only parse files of DAGs.
    """
    from batchy_provider.dag_factory.warm_up import build_small_dag

    build_small_dag()
    if tasks:
        from batchy_provider.hooks.batchy import prepare_store

        prepare_store()


def preload_worker() -> None:
    """Do the same in a worker. It starts without its plugins, so the definition of the command line calls this."""
    if is_worker(sys.argv):
        preload()
