# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build the DAGs of workflow files, for Airflow's DAG processor and for the start of a task."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, MutableMapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider import collector
from batchy_provider.config.diagnostics import Code, Diagnostic
from batchy_provider.config.reader import (
    WARNINGS_DAG,
    InvalidFilesError,
    Reader,
    find_file,
    first_of_each_name,
    locate,
)
from batchy_provider.config.valid_files import CachingReader
from batchy_provider.config.workflow import Workflow

if TYPE_CHECKING:
    from airflow.sdk import DAG

log = logging.getLogger(__name__)

FolderPath = str | os.PathLike[str]
CheckStorage = Callable[[Workflow, "DAG"], str | None]


def build_dags(folder: FolderPath) -> tuple[dict[str, DAG], list[Diagnostic]]:
    """Build the DAGs of all workflow files in a folder and the folders in it.

    Each new DAG is serialized once, as Airflow does it: one DAG that cannot be stored would stop it from
    storing all other DAGs.

    :returns: workflow → DAG of all valid files, and the diagnostics of all invalid ones. An invalid file never hides a
        valid one.
    """
    parse = _Parse(folder)
    return parse.build_all(), parse.sorted_diagnostics


def find_errors(folder: FolderPath) -> list[Diagnostic]:
    """Return the diagnostics of all workflow files, those of `build_dags`. Build only what it has not built yet.

    A file whose DAG has an error is built, too.
    """
    parse = _Parse(folder)
    parse.find_errors()
    return parse.sorted_diagnostics


class _Parse:
    """Read and build the workflow files of a folder, one after the other: only the DAGs stay in memory.

    :param folder: the folder of the workflow files.
    """

    def __init__(self, folder: FolderPath) -> None:
        from batchy_provider.dag_factory.build_record import BuildRecord
        from batchy_provider.dag_factory.storable import StorageCheck

        self.folder = folder
        self.diagnostics: list[Diagnostic] = []
        self.warns = False
        self._reader = CachingReader(folder)
        self._record = BuildRecord(self._reader)
        self._check = StorageCheck(self._record)

    @cached_property
    def _configured(self) -> Mapping[str, Any]:
        from batchy_provider.dag_factory.build import configured_arguments

        return configured_arguments()

    @property
    def sorted_diagnostics(self) -> list[Diagnostic]:
        """All errors, by file."""
        return sorted(self.diagnostics, key=lambda diagnostic: diagnostic.file)

    def build_all(self) -> dict[str, DAG]:
        """Return the DAGs of all files, and write down what is valid for the next parse."""
        dags: dict[str, DAG] = {}
        with collector.paused():
            for path in first_of_each_name(self.folder, self.diagnostics):
                key = self._reader.key(path)
                if (known := self._build_again(path, key)) is not None:
                    dags[known.dag_id] = known
                    continue
                workflow, dag = self._build(path, key)
                if dag is not None:
                    dags[dag.dag_id] = dag
                    self.warns = self.warns or _asks_for_warnings(workflow)
            self.diagnostics += self._reader.shared_diagnostics
            self._reader.remember()
            self._record.write()
        return dags

    def find_errors(self) -> None:
        """Read what can have changed, and build what the last parse could not build or has not seen."""
        with collector.paused():
            for path in first_of_each_name(self.folder, self.diagnostics):
                key = self._reader.key(path)
                if not self._record.is_current(key):
                    self._build(path, key)
                elif self._record.looks_outside(key) and self._record.blueprint(key, path) is None:
                    self.diagnostics += self._reader.read(path)[1]
            self.diagnostics += self._reader.shared_diagnostics

    def _build_again(self, path: Path, key: str | None) -> DAG | None:
        """Build a DAG from its blueprint in the record; None if the file has to be read."""
        blueprint = self._record.blueprint(key, path)
        if blueprint is None or key is None:
            return None
        from batchy_provider.dag_factory.build import build_dag

        try:
            dag = build_dag(blueprint, self._configured)
        except (Exception, SystemExit):  # `_build` says what is wrong, in the words of its file
            log.debug("Building %s from the record", path, exc_info=True)
            return None
        self._record.add_again(key)
        return dag

    def _build(self, path: Path, key: str | None) -> tuple[Workflow | None, DAG | None]:
        workflow, diagnostics = self._reader.read(path)
        self.diagnostics += diagnostics
        if workflow is None:
            return None, None
        dag, diagnostics = build_workflow(workflow, partial(self._check.problem, key), self._configured)
        self.diagnostics += diagnostics
        if dag is None and not diagnostics:
            self._record.add(key, workflow)
        return workflow, dag


def _asks_for_warnings(workflow: Workflow | None) -> bool:
    deadline = None if workflow is None or workflow.model is None else workflow.model.deadline
    return deadline is not None and deadline.warn is not None


def build_one(folder: FolderPath, name: str) -> tuple[DAG | None, list[Diagnostic]]:
    """Build the DAG of one workflow. Open only its own file and the defaults that it inherits.

    :returns: the DAG, or None and the diagnostics; None and no diagnostic if there is no such file or it makes no DAG.
    """
    path = find_file(folder, name)
    if path is None:
        return None, []
    workflow, diagnostics = Reader(folder).read(path)
    return (None, diagnostics) if workflow is None else build_workflow(workflow)


def load_dags(
    folder: FolderPath, namespace: MutableMapping[str, Any], *, warnings: str = WARNINGS_DAG
) -> Mapping[str, DAG]:
    """Put the DAGs of a folder's workflows into the namespace of a loader file, where Airflow finds them.

    When Airflow starts a task, only the DAG of that task is built. If a file asks for warnings about its deadline, the
    DAG that gives them is added.

    :param folder: the folder of the workflow files.
    :param namespace: ``globals()`` of the loader file.
    :param warnings: id of the DAG that gives warnings. If several loader files of an Airflow read different folders,
        each needs an id of its own.
    :returns: workflow → DAG; without the DAG that gives warnings.
    :raises InvalidFilesError: at the start of a task, if the file of its workflow has errors. When all are loaded,
        diagnostics are logged, and `raise_config_errors` shows them as an import error of another file: Airflow
        drops all DAGs of a file that raises.
    """
    from airflow.sdk import get_parsing_context

    if (wanted := get_parsing_context().dag_id) is not None:
        warns = wanted == warnings
        dag, diagnostics = (None, []) if warns else build_one(folder, wanted)
        if diagnostics:
            raise InvalidFilesError(diagnostics)
        dags = {wanted: dag} if dag is not None else {}
    else:
        parse = _Parse(folder)
        dags, warns = parse.build_all(), parse.warns
        for diagnostic in parse.sorted_diagnostics:
            log.error("%s", diagnostic)
    for name, dag in dags.items():
        namespace[f"dag_{name}"] = dag
    if warns:
        from batchy_provider.dag_factory.warnings_dag import warnings_dag

        namespace[f"dag_{warnings}"] = warnings_dag(folder, dag_id=warnings)
    return dags


def raise_config_errors(folder: FolderPath) -> None:
    """Raise if any workflow file has an error, so that Airflow's UI shows all errors as the import error of one file.

    :raises InvalidFilesError: with every diagnostic of every file.
    """
    from airflow.sdk import get_parsing_context

    if get_parsing_context().dag_id is not None:  # a task starts, and this file has no tasks
        return
    diagnostics = find_errors(folder)
    if diagnostics:
        raise InvalidFilesError(diagnostics)


def build_workflow(
    workflow: Workflow, check: CheckStorage | None = None, configured: Mapping[str, Any] | None = None
) -> tuple[DAG | None, list[Diagnostic]]:
    """Build the DAG of a workflow.

    :param check: returns why Airflow could not store the DAG; see `storable`. None at the start of a task.
    :param configured: see `build.configured_arguments`.
    :returns: the DAG, or None and the diagnostics; None and no diagnostic if it makes no DAG.
    """
    if not workflow.has_dag:
        return None, []
    from batchy_provider.dag_factory.blueprint import blueprint_of
    from batchy_provider.dag_factory.build import BuildError, build_dag

    try:
        dag = build_dag(blueprint_of(workflow), configured)
        problem = None if check is None else check(workflow, dag)
    except BuildError as error:
        return None, locate(workflow.path, error.violations)
    except (Exception, SystemExit) as error:  # an error in a module or an operator must not stop other workflows
        log.debug("Building %s", workflow.path, exc_info=True)
        problem = f"{type(error).__name__}: {error}"
    if problem is not None:
        return None, [
            Diagnostic.of_file(workflow.path, Code.AIRFLOW_REFUSES, f"Airflow refuses this workflow: {problem}")
        ]
    return dag, []


def check_storage(workflow: Workflow, dag: DAG) -> str | None:
    """Return why Airflow could not store the DAG of one workflow, or None; pass it to `build_workflow`."""
    from batchy_provider.dag_factory.storable import storage_problem

    return storage_problem(dag)
