# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check workflow files together: dependencies on undefined workflows or jobs, dependency cycles."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from batchy_provider.config.diagnostics import Code, KeyPath, Violation, did_you_mean
from batchy_provider.config.job_order import find_cycle
from batchy_provider.config.schedule_model import After
from batchy_provider.config.window_model import UntilWorkflows
from batchy_provider.config.workflow import Workflow

Finding = tuple[Path, Violation]


def check_across_files(workflows: Mapping[str, Workflow], files: Collection[str]) -> Iterator[Finding]:
    """Yield the errors between workflows, each with its file.

    :param workflows: name → workflow, of the valid files.
    :param files: names of all files: a file that has errors is not missing.
    """
    for workflow in workflows.values():
        for other, path in needs(workflow):
            if other not in files and not _may_be_outside(workflow, path):
                message = f"no file defines the workflow {other!r}{did_you_mean(other, files)}"
                yield workflow.path, Violation(path, Code.UNDEFINED_WORKFLOW, message)
        yield from _check_jobs_of_waits(workflow, workflows)
    yield from _check_cycles(workflows)


def needs(workflow: Workflow) -> Iterator[tuple[str, KeyPath]]:
    """Yield the workflows that this one waits for, is scheduled by, or loads the data of, each with its key."""
    model = workflow.model
    if model is None:
        return
    for index, wait in enumerate(model.wait_for):
        yield wait.workflow, ("wait_for", index, "workflow")
    if isinstance(model.schedule, After):
        for index, other in enumerate(model.schedule.after):
            yield other, ("schedule", "after", index)
    if model.window is not None and isinstance(model.window.until, UntilWorkflows):
        for index, other in enumerate(model.window.until.workflows):
            yield other, ("window", "until", "workflows", index)


def _may_be_outside(workflow: Workflow, path: KeyPath) -> bool:
    schedule = workflow.model.schedule if workflow.model is not None else None
    return path[0] == "schedule" and isinstance(schedule, After) and schedule.outside


def _check_jobs_of_waits(workflow: Workflow, workflows: Mapping[str, Workflow]) -> Iterator[Finding]:
    for index, wait in enumerate(workflow.model.wait_for if workflow.model is not None else ()):
        if (other := workflows.get(wait.workflow)) is None:
            continue
        jobs = other.config().jobs
        for place, name in enumerate(wait.jobs or ()):
            if name not in jobs:
                is_handler = other.model is not None and name in other.model.jobs
                if is_handler:
                    message = f"{name!r} of {wait.workflow!r} is a handler (when: failed) and never succeeds"
                else:
                    message = f"the workflow {wait.workflow!r} has no job {name!r}{did_you_mean(name, jobs)}"
                yield workflow.path, Violation(("wait_for", index, "jobs", place), Code.UNDEFINED_JOB, message)


def _check_cycles(workflows: Mapping[str, Workflow]) -> Iterator[Finding]:
    upstream = {name: [other for other, _ in _waits_of_a_day(workflow)] for name, workflow in workflows.items()}
    # One cycle at a time: without the wait that closes it, the search finds the next one.
    while cycle := find_cycle(upstream):
        first, awaited = cycle[0], cycle[-1]
        path = next(path for other, path in _waits_of_a_day(workflows[first]) if other == awaited)
        names = " → ".join([first, *reversed(cycle)])
        yield workflows[first].path, Violation(path, Code.CYCLE, f"workflows wait for each other in a cycle: {names}")
        upstream[first] = [other for other in upstream[first] if other != awaited]


def _waits_of_a_day(workflow: Workflow) -> Iterator[tuple[str, KeyPath]]:
    """Yield the workflows that must succeed again before a run has something to do.

    With ``scope: any`` an old success is enough.
    """
    model = workflow.model
    for other, path in needs(workflow):
        is_any = path[0] == "wait_for" and model is not None and model.wait_for[int(path[1])].scope == "any"
        is_handler = path[0] == "schedule" and model is not None and getattr(model.schedule, "result", "") == "failed"
        if not is_any and not is_handler:
            yield other, path
