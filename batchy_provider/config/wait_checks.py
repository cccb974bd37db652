# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the other workflows that a file names: in ``wait_for`` and in ``schedule: {after: …}``."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from batchy_provider.config.diagnostics import Code, KeyPath, Violation
from batchy_provider.config.model import After, WorkflowModel
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import InvalidNameError


def check_waits(name: str, model: WorkflowModel) -> Iterator[Violation]:
    """Yield the errors of the workflows that a file waits for or is scheduled by.

    :param name: the workflow itself.
    """
    seen: set[str] = set()
    for index, wait in enumerate(model.wait_for):
        path = ("wait_for", index, "workflow")
        yield from _check_workflow(wait.workflow, path)
        if wait.workflow == name:
            yield Violation(path, Code.CYCLE, "a workflow cannot wait for itself")
        if wait.workflow in seen:
            yield Violation(
                path, Code.DUPLICATE_ENTRY, f"{wait.workflow!r} is waited for twice; name all its jobs in one entry"
            )
        seen.add(wait.workflow)
    if isinstance(model.schedule, After):
        if not model.schedule.after:
            yield Violation(("schedule", "after"), Code.MISSING_VALUE, "expected at least one workflow, here is none")
        for index, other in enumerate(model.schedule.after):
            yield from _check_workflow(other, ("schedule", "after", index))
            if other == name:
                yield Violation(
                    ("schedule", "after", index), Code.CYCLE, "a workflow cannot be scheduled by its own success"
                )
        yield from _check_after(model.schedule, seen)


def _check_after(after: After, waited_for: Collection[str]) -> Iterator[Violation]:
    path = ("schedule", "same_day")
    if after.same_day and after.any:
        yield Violation(
            path, Code.CONFLICT, "one of them is enough with any; on the same day goes with all", at_key=True
        )
    if after.same_day and after.result != "success":
        yield Violation(
            path,
            Code.CONFLICT,
            f"only successes are waited for on the same day, not result: {after.result}",
            at_key=True,
        )
    if after.same_day:
        for index, other in enumerate(after.after):
            if other in waited_for:
                message = f"{other!r} stands in wait_for too; same_day waits for it already"
                yield Violation(("schedule", "after", index), Code.DUPLICATE_ENTRY, message)
    if after.outside and after.result == "failed":
        yield Violation(("schedule", "outside"), Code.CONFLICT, "failures outside Airflow count anyway", at_key=True)


def _check_workflow(name: str, path: KeyPath) -> Iterator[Violation]:
    try:
        check_workflow_name(name)
    except InvalidNameError as error:
        yield Violation(path, Code.INVALID_NAME, str(error))
