# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Finds the files, builds the DAGs, and hands them to whoever asked: Airflow's DAG processor or a task's start."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchy_provider.config.diagnostics import Code, Diagnostic
from batchy_provider.config.reader import InvalidFilesError, Reader, find_file, locate, read_folder
from batchy_provider.config.workflow import Workflow

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from batchy_provider.dag_factory.storable import StorageCheck

log = logging.getLogger(__name__)

Place = str | os.PathLike[str]
CheckStorage = Callable[[Workflow, "DAG"], str | None]


def build_dags(folder: Place) -> tuple[dict[str, DAG], list[Diagnostic]]:
    """Build the DAGs of all workflow files in a folder and the folders in it.

    Each DAG is serialized once, as Airflow will do it: one that Airflow cannot store would take all others with it.

    :returns: workflow → DAG for all sound files, and the diagnostics of all others. A bad file never hides a good
        one.
    """
    dags: dict[str, DAG] = {}
    with _collector_paused():
        found = read_folder(folder)
        diagnostics = found.diagnostics
        check = _storage_check(folder, found.workflows.values())
        for workflow in found.workflows.values():
            dag, more = build_workflow(workflow, None if check is None else check.problem)
            if dag is not None:
                dags[workflow.name] = dag
            diagnostics += more
        if check is not None:
            check.close()
    return dags, sorted(diagnostics, key=lambda diagnostic: diagnostic.file)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python from looking for garbage among objects that all stay: that took a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def build_one(folder: Place, name: str) -> tuple[DAG | None, list[Diagnostic]]:
    """Build the DAG of one workflow, opening no file but its own and the defaults that it inherits.

    :returns: the DAG, or None and the diagnostics; None and no diagnostic if there is no such file or it makes no DAG.
    """
    path = find_file(folder, name)
    if path is None:
        return None, []
    workflow, diagnostics = Reader(folder).read(path)
    return (None, diagnostics) if workflow is None else build_workflow(workflow)


def load_dags(folder: Place, namespace: MutableMapping[str, Any]) -> Mapping[str, DAG]:
    """Put the DAGs of a folder's workflows where Airflow looks for them.

    When Airflow starts a task it says so, and then only the DAG of that task is built.

    :param folder: the folder of the workflow files.
    :param namespace: ``globals()`` of the loader file.
    :returns: workflow → DAG.
    :raises InvalidFilesError: at the start of a task, if the file of its workflow is bad. When all are loaded,
        diagnostics are logged, and `raise_config_errors` shows them as an import error of another file: Airflow
        drops all DAGs of a file that raises.
    """
    from airflow.sdk import get_parsing_context

    if (wanted := get_parsing_context().dag_id) is not None:
        dag, diagnostics = build_one(folder, wanted)
        if diagnostics:
            raise InvalidFilesError(diagnostics)
        dags = {wanted: dag} if dag is not None else {}
    else:
        dags, diagnostics = build_dags(folder)
        for diagnostic in diagnostics:
            log.error("%s", diagnostic)
    for name, dag in dags.items():
        namespace[f"dag_{name}"] = dag
    return dags


def raise_config_errors(folder: Place) -> None:
    """Raise if any workflow file has a diagnostic, so that a loader file of its own shows them all in Airflow's UI.

    :raises InvalidFilesError: with every diagnostic of every file.
    """
    from airflow.sdk import get_parsing_context

    if get_parsing_context().dag_id is not None:  # a task starts; it is none of the tasks of this file
        return
    diagnostics = build_dags(folder)[1]
    if diagnostics:
        raise InvalidFilesError(diagnostics)


def build_workflow(workflow: Workflow, check: CheckStorage | None = None) -> tuple[DAG | None, list[Diagnostic]]:
    """Build the DAG of a workflow that has been read.

    :param check: says why Airflow could not store a DAG; see `storable`. Not asked at the start of a task.
    :returns: the DAG, or None and the diagnostics; None and no diagnostic if it makes no DAG.
    """
    if not workflow.has_dag:
        return None, []
    from batchy_provider.dag_factory.build import BuildError, build_dag

    try:
        dag = build_dag(workflow)
        problem = None if check is None else check(workflow, dag)
    except BuildError as error:
        return None, locate(workflow.path, error.violations)
    except (Exception, SystemExit) as error:  # whatever a module or an operator does must not take other workflows down
        log.debug("Building %s", workflow.path, exc_info=True)
        problem = f"{type(error).__name__}: {error}"
    if problem is not None:
        return None, [
            Diagnostic.of_file(workflow.path, Code.AIRFLOW_REFUSES, f"Airflow refuses this workflow: {problem}")
        ]
    return dag, []


def check_storage(workflow: Workflow, dag: DAG) -> str | None:
    """Say why Airflow could not store the DAG of one workflow; for `build_workflow`."""
    from batchy_provider.dag_factory.storable import storage_problem

    return storage_problem(dag)


def _storage_check(folder: Place, workflows: Iterable[Workflow]) -> StorageCheck | None:
    if not any(workflow.has_dag for workflow in workflows):
        return None
    from batchy_provider.dag_factory.storable import StorageCheck

    return StorageCheck(folder)
