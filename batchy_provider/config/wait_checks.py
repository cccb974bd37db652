# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the other workflows that a file names: in ``wait_for`` and in ``schedule: {after: …}``."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from batchy_provider.config.diagnostics import Code, KeyPath, Violation
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.schedule_model import After, CronSchedule
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import InvalidNameError


def check_waits(name: str, model: WorkflowModel) -> Iterator[Violation]:
    """Yield the errors of the workflows that a file waits for or is scheduled by.

    :param name: the workflow itself.
    """
    seen: set[str] = set()
    for index, wait in enumerate(model.wait_for):
        path = ("wait_for", index, "workflow")
        yield from check_workflow(wait.workflow, path)
        if wait.workflow == name:
            yield Violation(path, Code.CYCLE, "a workflow cannot wait for itself")
        if wait.workflow in seen:
            yield Violation(
                path, Code.DUPLICATE_ENTRY, f"{wait.workflow!r} has two entries; name all its jobs in one entry"
            )
        seen.add(wait.workflow)
    if isinstance(model.schedule, After):
        if not model.schedule.after and not isinstance(model.schedule, CronSchedule):
            yield Violation(("schedule", "after"), Code.MISSING_VALUE, "expected at least one workflow")
        for index, other in enumerate(model.schedule.after):
            yield from check_workflow(other, ("schedule", "after", index))
            if other == name:
                yield Violation(
                    ("schedule", "after", index), Code.CYCLE, "a workflow cannot be scheduled by its own success"
                )
        yield from _check_after(model.schedule, seen)


def _check_after(after: After, waited_for: Collection[str]) -> Iterator[Violation]:
    path = ("schedule", "same_day")
    if after.same_day and after.any:
        message = "any starts a run after one workflow, same_day waits for all; use one of the two"
        yield Violation(path, Code.CONFLICT, message, at_key=True)
    if after.same_day and after.result != "success":
        yield Violation(
            path,
            Code.CONFLICT,
            f"same_day waits for successes only, not for result: {after.result}",
            at_key=True,
        )
    if after.same_day:
        for index, other in enumerate(after.after):
            if other in waited_for:
                message = f"{other!r} is also in wait_for; same_day already waits for it"
                yield Violation(("schedule", "after", index), Code.DUPLICATE_ENTRY, message)
    if after.outside and after.result == "failed":
        yield Violation(("schedule", "outside"), Code.CONFLICT, "failures outside Airflow always count", at_key=True)


def check_workflow(name: str, path: KeyPath) -> Iterator[Violation]:
    """Yield an error if a text cannot be the name of a workflow."""
    try:
        check_workflow_name(name)
    except InvalidNameError as error:
        yield Violation(path, Code.INVALID_NAME, str(error))
