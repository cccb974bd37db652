# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Recognize files of the original Batchy, and report workflow files that only look like one.

A file of the original holds job → params: it has state in Redis, and makes no DAG. Two mistakes have the same form: a
workflow file without its key ``jobs``, and several workflows in one file. Without a check they would make no DAG, and
nobody would see an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from batchy_provider.config.diagnostics import Code, Violation
from batchy_provider.config.job_model import Job
from batchy_provider.config.job_name_checks import job_name_violations
from batchy_provider.config.key_checks import ACTIONS
from batchy_provider.config.model import SharedModel, WorkflowModel

_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_JOB_KEYS = frozenset(Job.model_fields)
_WORKFLOW_KEYS = frozenset(SharedModel.model_fields) - _JOB_KEYS | {"default_args", "schedule_interval"}
_JOB_LISTS = ("jobs", "tasks")


def is_original(data: Mapping[str, Any]) -> bool:
    """Tell whether a file has the form of the original Batchy: job → params, and nothing else."""
    if not data or not all(value is None or isinstance(value, dict) for value in data.values()):
        return False
    if any(key in WorkflowModel.model_fields for key in data):
        return False
    if len(data) > 1:
        return True
    # A single key whose mappings all have an action is the key `jobs` with a spelling mistake.
    jobs = [job for value in data.values() for job in (value or {}).values()]
    return not jobs or not all(isinstance(job, dict) and not job.keys().isdisjoint(ACTIONS) for job in jobs)


def check_original(data: Mapping[str, Any]) -> Iterator[Violation]:
    """Yield what is wrong with a file that has the form of the original Batchy."""
    if workflows := [name for name, fields in data.items() if fields and _is_workflow(fields)]:
        message = (
            f"{workflows[0]!r} is a whole workflow. A file holds one workflow, and the name of the file is its name: "
            f"move the lines below {workflows[0]!r} to {workflows[0]}.yaml"
        )
        if len(workflows) > 1:
            message += f", and do the same for {', '.join(workflows[1:6])}{', …' if len(workflows) > 6 else ''}"
        yield Violation((workflows[0],), Code.UNKNOWN_KEY, message, at_key=True)
        return
    if jobs := [name for name, fields in data.items() if fields and _has_action(fields)]:
        message = (
            f"{jobs[0]!r} is a job, and jobs belong below the key jobs: write 'jobs:' above it and indent all jobs. "
            "Without the key, this file makes no DAG"
        )
        yield Violation((jobs[0],), Code.MISSING_KEY, message, at_key=True)
        return
    for job in data:
        yield from job_name_violations(job, (job,))


def _is_workflow(fields: Mapping[str, Any]) -> bool:
    """Tell whether the mapping below a name is a workflow: of this package, or of dag-factory."""
    for key in _JOB_LISTS:
        jobs = fields.get(key)
        entries = list(jobs.values()) if isinstance(jobs, dict) else jobs if isinstance(jobs, list) else []
        if any(isinstance(job, dict) and _has_action(job) for job in entries):
            return True
    return isinstance(fields.get("default_args"), dict) and fields.keys() <= _WORKFLOW_KEYS | _JOB_KEYS


def _has_action(fields: Mapping[str, Any]) -> bool:
    """Tell whether a mapping is a job, and not params with the same names: params rarely have such values."""
    if isinstance(fields.get("bash"), str):
        return True
    if isinstance(path := fields.get("operator"), str) and _CLASS_PATH.fullmatch(path):
        return True
    # A param may be called bundle. It is a job's bundle only if all other keys are keys of jobs.
    return isinstance(fields.get("bundle"), str) and fields.keys() <= _JOB_KEYS
