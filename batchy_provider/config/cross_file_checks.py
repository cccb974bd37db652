# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What is wrong between files, each sound by itself: waits for what nobody defines, circles of waits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from batchy_provider.config.diagnostics import Code, KeyPath, Violation, did_you_mean
from batchy_provider.config.job_order import find_circle
from batchy_provider.config.model import After
from batchy_provider.config.workflow import Workflow

Finding = tuple[Path, Violation]


def check_between(workflows: Mapping[str, Workflow], files: Collection[str]) -> Iterator[Finding]:
    """Yield what is wrong between workflows, with the file that it stands in.

    :param workflows: name → workflow, of the sound files.
    :param files: names of all files; one with diagnostics of its own is not missing.
    """
    for workflow in workflows.values():
        for other, path in needs(workflow):
            if other not in files and not _may_be_outside(workflow, path):
                message = f"no file defines the workflow {other!r}{did_you_mean(other, files)}"
                yield workflow.path, Violation(path, Code.UNDEFINED_WORKFLOW, message)
        yield from _check_jobs_of_waits(workflow, workflows)
    yield from _check_circle(workflows)


def needs(workflow: Workflow) -> Iterator[tuple[str, KeyPath]]:
    """Yield the workflows that another one waits for or is scheduled by."""
    model = workflow.model
    if model is None:
        return
    for index, wait in enumerate(model.wait_for):
        yield wait.workflow, ("wait_for", index, "workflow")
    if isinstance(model.schedule, After):
        for index, other in enumerate(model.schedule.after):
            yield other, ("schedule", "after", index)


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


def _check_circle(workflows: Mapping[str, Workflow]) -> Iterator[Finding]:
    upstream = {name: [other for other, _ in _waits_of_a_day(workflow)] for name, workflow in workflows.items()}
    # One circle at a time: without the wait that closes it, the next one shows.
    while circle := find_circle(upstream):
        first, awaited = circle[0], circle[-1]
        path = next(path for other, path in _waits_of_a_day(workflows[first]) if other == awaited)
        names = " → ".join([first, *reversed(circle)])
        yield workflows[first].path, Violation(path, Code.CYCLE, f"workflows wait for each other in a circle: {names}")
        upstream[first] = [other for other in upstream[first] if other != awaited]


def _waits_of_a_day(workflow: Workflow) -> Iterator[tuple[str, KeyPath]]:
    """Yield what must be there anew each time; any success, however old, closes no circle."""
    model = workflow.model
    for other, path in needs(workflow):
        is_any = path[0] == "wait_for" and model is not None and model.wait_for[int(path[1])].scope == "any"
        is_handler = path[0] == "schedule" and model is not None and getattr(model.schedule, "result", "") == "failed"
        if not is_any and not is_handler:
            yield other, path
