# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the scripts of a DAG's bundles before a batch is opened for them."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from batchy_provider.bundles.script import SCRIPT, script_problem
from batchy_provider.operators.bundle import BashBundleOperator


def script_problems(tasks: Iterable[Any]) -> list[str]:
    """Return a sentence for each script that bash would misread.

    Bundles that this machine cannot read (in object storage, behind a template, in another worker's folder) are
    checked when the job runs. Handlers of failures too: a faulty handler must not stop a night's load.

    :param tasks: the tasks of a DAG, mapped ones too.
    """
    problems = []
    for task in tasks:
        arguments = getattr(task, "partial_kwargs", None) or vars(task)
        if not issubclass(getattr(task, "operator_class", type(task)), BashBundleOperator):
            continue
        if arguments.get("job_params") is None and isinstance(arguments.get("bundle"), str | Path):
            dag = task.get_dag()
            content = _script_of(Path(dag.fileloc).parent if dag is not None else Path(), str(arguments["bundle"]))
            if content is not None and (why := script_problem(content)):
                problems.append(f"job {task.task_id}, bundle {arguments['bundle']}: {why}")
    return problems


def _script_of(folder: Path, bundle: str) -> bytes | None:
    """Return the script of a bundle on this machine, or None."""
    if "://" in bundle or "{{" in bundle:
        return None
    path = folder / bundle
    with contextlib.suppress(OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, NotImplementedError):
        if path.is_dir():
            return (path / SCRIPT).read_bytes()
        with zipfile.ZipFile(path) as archive:
            return archive.read(SCRIPT)
    return None


def check_scripts(opening: Any, disabled: Collection[str]) -> None:
    """Fail a task that opens a batch before a window opens for scripts that cannot run. Disabled jobs do not count.

    :param opening: the task.
    """
    dag = opening.get_dag()
    if dag is None:
        return
    from airflow.providers.common.compat.sdk import AirflowFailException

    tasks = [task for task in dag.tasks if task.task_id not in disabled]
    if problems := script_problems(tasks):
        raise AirflowFailException("No batch is opened. " + " ".join(problems))
