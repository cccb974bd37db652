# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read files in the original Batchy's form (job → params, no DAG), and recognize files that only look like one.

A workflow without its key ``jobs``, and several workflows in one file, have the same form. They would make no DAG, and
nothing would be wrong with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from batchy_provider.config.diagnostics import Code, Violation
from batchy_provider.config.job_model import Job
from batchy_provider.config.key_checks import ACTIONS, job_name_violations
from batchy_provider.config.model import SharedModel, WorkflowModel

_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_KEYS_OF_JOBS = frozenset(Job.model_fields)
_KEYS_OF_WORKFLOWS = frozenset(SharedModel.model_fields) - _KEYS_OF_JOBS | {"default_args", "schedule_interval"}
_LISTS_OF_JOBS = ("jobs", "tasks")


def is_original(data: Mapping[str, Any]) -> bool:
    """Tell whether a file is one of the original Batchy: job → params, and nothing else."""
    if not data or not all(value is None or isinstance(value, dict) for value in data.values()):
        return False
    if any(key in WorkflowModel.model_fields for key in data):
        return False
    # One key whose mappings all say what they run is `jobs:`, misspelt.
    only = [job for value in data.values() for job in (value or {}).values()] if len(data) == 1 else []
    return not only or not all(isinstance(job, dict) and not job.keys().isdisjoint(ACTIONS) for job in only)


def check_original(data: Mapping[str, Any]) -> Iterator[Violation]:
    """Yield what is wrong with a file in the original's form."""
    if workflows := [name for name, fields in data.items() if fields and _is_workflow(fields)]:
        message = (
            f"{workflows[0]!r} holds a whole workflow; a file is one workflow, and its name is the file's: "
            f"write what stands below into {workflows[0]}.yaml, without this line"
        )
        if len(workflows) > 1:
            message += f", and so for {', '.join(workflows[1:6])}{', …' if len(workflows) > 6 else ''}"
        yield Violation((workflows[0],), Code.UNKNOWN_KEY, message, at_key=True)
        return
    if jobs := [name for name, fields in data.items() if fields and _says_what_it_runs(fields)]:
        message = (
            f"{jobs[0]!r} is a job, and jobs stand below the key jobs: write 'jobs:' above, and indent all jobs. "
            "Without it this file makes no DAG"
        )
        yield Violation((jobs[0],), Code.MISSING_KEY, message, at_key=True)
        return
    for job in data:
        yield from job_name_violations(job, (job,))


def _is_workflow(fields: Mapping[str, Any]) -> bool:
    """Tell whether what stands below a name is a workflow: of ours, or of dag-factory."""
    for key in _LISTS_OF_JOBS:
        jobs = fields.get(key)
        entries = list(jobs.values()) if isinstance(jobs, dict) else jobs if isinstance(jobs, list) else []
        if any(isinstance(job, dict) and _says_what_it_runs(job) for job in entries):
            return True
    return isinstance(fields.get("default_args"), dict) and fields.keys() <= _KEYS_OF_WORKFLOWS | _KEYS_OF_JOBS


def _says_what_it_runs(fields: Mapping[str, Any]) -> bool:
    """Tell whether a mapping is a job and no params: params may have the same names, but hardly such values."""
    if isinstance(fields.get("bash"), str):
        return True
    if isinstance(path := fields.get("operator"), str) and _CLASS_PATH.fullmatch(path):
        return True
    # A bundle may as well be a param, of a load of software say, unless all other keys are those of jobs.
    return isinstance(fields.get("bundle"), str) and fields.keys() <= _KEYS_OF_JOBS
