# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the names of jobs: which characters they may have, and which names other tasks of the DAG have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from batchy_provider.config.diagnostics import Code, KeyPath, Violation
from batchy_provider.config.job_order import PREVIOUS
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.run_checks import same_day_workflows
from batchy_provider.core.names import check_job_name
from batchy_provider.exceptions import InvalidNameError

RESERVED_JOBS = ("open", "close")
WAIT_PREFIX = "wait_for_"


def job_name_violations(name: str, path: KeyPath) -> Iterator[Violation]:
    """Yield the errors of a job's name."""
    try:
        check_job_name(name)
    except InvalidNameError as error:
        yield Violation(path, Code.INVALID_NAME, str(error), at_key=True)


def check_job_key(name: str) -> Iterator[Violation]:
    """Yield the errors of a job's name in a workflow file, where some names have another meaning."""
    yield from job_name_violations(name, ("jobs", name))
    if name in RESERVED_JOBS or name.startswith(WAIT_PREFIX):
        yield Violation(
            ("jobs", name),
            Code.RESERVED_NAME,
            f"{name!r} is the name of a task that every DAG of a workflow has; give the job another name",
            at_key=True,
        )
    elif name == PREVIOUS:
        message = f"{name!r} means the previous job in input; give the job another name"
        yield Violation(("jobs", name), Code.RESERVED_NAME, message, at_key=True)


def check_instances(model: WorkflowModel) -> Iterator[Violation]:
    """Yield tasks that have a name which Airflow may give to an instance of a mapped job."""
    waits = [WAIT_PREFIX + name for name in (*(wait.workflow for wait in model.wait_for), *same_day_workflows(model))]
    for mapped in (name for name, job in model.jobs.items() if job.for_each is not None):
        instance = re.compile(re.escape(mapped) + "_[0-9]+", re.ASCII)
        for task in (*model.jobs, *waits):
            if instance.fullmatch(task):
                what = (
                    f"which runs for each entry of a list: Airflow calls its instances {mapped}_0, {mapped}_1 and so on"
                )
                path = ("jobs", task if task in model.jobs else mapped)
                other = f"{task!r} looks like an instance of the job {mapped!r}, {what}; rename one of them"
                yield Violation(path, Code.RESERVED_NAME, other, at_key=True)
