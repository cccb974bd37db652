# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Import workflow files as DAG sources, for Airflow 3.4 and newer. No loader file in the DAGs folder is needed.

Each file has its own parse, its own import error and its own Code tab. The folder of workflow files is a DAG bundle,
and this is its importer::

    [dag_processor]
    dag_bundle_config_list = [{"name": "batchy", "classpath":
        "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": "/opt/etl/cfg"}, "importers":
        [{"classpath": "batchy_provider.dag_factory.importer.WorkflowImporter"}]}]

To use it for all bundles, name it in ``dag_importer_configs``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from airflow.sdk import get_parsing_context
from airflow.sdk.importers.base import (  # type: ignore[import-not-found]  # Airflow 3.4
    AbstractDagImporter,
    DagImportError,
    DagImportResult,
    DagSourceCode,
    FilesystemDagDefinition,
    find_file_dag_definitions,
    get_file_suffix,
)

from batchy_provider.config.diagnostics import Code, Diagnostic
from batchy_provider.config.document import DocumentError
from batchy_provider.config.file_scan import CALENDARS_STEM, folders_with_calendars, read_bytes
from batchy_provider.config.reader import DEFAULTS_STEM, SUFFIXES, InvalidFilesError, Reader, find_file, find_files
from batchy_provider.core.storable_text import storable
from batchy_provider.dag_factory.loader import build_workflow, check_storage


class WorkflowImporter(AbstractDagImporter):  # type: ignore[misc]  # Airflow 3.4
    """Import the DAG of each workflow file below the folder of the bundle."""

    def __init__(self) -> None:
        self.supported_extensions = list(SUFFIXES)

    def can_handle(self, definition: Any) -> bool:
        """Return whether the suffix is one of workflow files."""
        return get_file_suffix(definition) in self.supported_extensions

    def list_dag_definitions(self, bundle: Any, *, safe_mode: bool = True) -> Iterator[Any]:
        """Yield the workflow files of a bundle, and the errors of ``_defaults`` and ``_calendars`` files.

        :param bundle: a DAG bundle; its path is a folder, or one file when Airflow parses a single file.
        """
        root = Path(bundle.path)
        if root.is_file():
            yield from _file(root, self.supported_extensions)
            return
        unreadable: list[Diagnostic] = []
        ours = set(find_files(root, unreadable))
        yield from _errors(unreadable)
        reader = Reader(root)
        # Airflow's walk applies .airflowignore; find_files leaves out bundles of scripts.
        for definition in find_file_dag_definitions(root, self.supported_extensions):
            if definition.path in ours:
                reader.defaults(definition.path.parent)
                yield definition
        for folder in folders_with_calendars(root):
            reader.calendars(folder)
        yield from _errors(reader.shared_diagnostics)

    def import_definition(self, definition: Any, bundle: Any) -> Any:
        """Return the DAG of one file, or one import error that lists its diagnostics with their lines."""
        result = DagImportResult(definition=definition)
        path, folder = Path(definition.path), Path(bundle.path)
        if (other := find_file(folder, path.stem)) not in (path, None):
            message = f"the workflow {path.stem!r} is already defined by {other}; rename one of the files"
            result.errors.extend(_errors([Diagnostic.of_file(path, Code.DUPLICATE_WORKFLOW, message)]))
            return result
        workflow, diagnostics = Reader(folder).read(path)
        if workflow is not None:
            is_task = get_parsing_context().dag_id is not None
            dag, diagnostics = build_workflow(workflow, None if is_task else check_storage)
            result.dags.extend(() if dag is None else (dag,))
        result.errors.extend(_errors(diagnostics))
        return result

    def get_source_code(self, definition: Any, dag_id: str | None = None) -> Any:
        """Return a file's text, for the Code tab."""
        language = "json" if definition.suffix == ".json" else "yaml"
        try:
            text = storable(read_bytes(definition.path).decode("utf-8-sig", "replace").replace("\r\n", "\n"))
        except DocumentError as error:
            text = f"# {error}"
        return DagSourceCode(source_code=text, language=language)


def _file(path: Path, extensions: Iterable[str]) -> Iterator[Any]:
    """Yield a single file: a workflow, or the errors of a file that is for all workflows."""
    if path.suffix not in extensions:
        return
    reader = Reader(path.parent)
    if path.stem == DEFAULTS_STEM:
        reader.defaults(path.parent)
    elif path.stem == CALENDARS_STEM:
        reader.calendars(path.parent)
    else:
        yield FilesystemDagDefinition(path=path)
    yield from _errors(reader.shared_diagnostics)


def _errors(diagnostics: Iterable[Diagnostic]) -> Iterator[Any]:
    """Yield one import error per file: Airflow stores only one."""
    by_file: dict[str, list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        by_file.setdefault(os.fspath(diagnostic.file), []).append(diagnostic)
    for file, all_of_it in by_file.items():
        first = all_of_it[0]
        yield DagImportError(
            source_reference=file,
            message=str(InvalidFilesError(all_of_it)),
            error_type="config",
            line_number=first.line,
            column_number=first.column,
        )
