# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide how a batch closes, by the states of the tasks before its closing task. Pure: values in, a decision out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch
    from batchy_provider.core.vocabulary import Outcome, Result
    from batchy_provider.operators.task_instances import States

_OUTCOMES: dict[str, Outcome] = {
    "success": "success",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_failed": "aborted",
}
_FAILED = ("failed", "aborted")
_WORST_FIRST: tuple[Outcome, ...] = ("failed", "aborted", "success", "skipped")


@dataclass(frozen=True, slots=True)
class Closing:
    """How to close a batch.

    :param outcomes: job → its outcome, of the jobs whose tasks have one.
    :param failure: why the closing task must fail too; None if it must not.
    """

    result: Result
    outcomes: Mapping[str, Outcome]
    failure: str | None = None


def decide(status: str, batch: Batch, before: States) -> Closing:
    """Return how to close a batch.

    :param status: ``auto``, ``success`` or ``failed``.
    :param before: the states of all tasks before the closing task.
    """
    task_outcomes = {task: _worst(list(states.values())) for task, states in before.items() if states}
    outcomes = {name: task_outcomes[name] for name in batch.jobs if name in task_outcomes}
    if status == "success":
        return Closing("success", outcomes)
    if status == "failed":
        return Closing("failed", outcomes)
    bad = sorted(f"{task} {outcome}" for task, outcome in task_outcomes.items() if outcome in _FAILED)
    bad += [f"{name} has no instance in this run" for name in _without_instance(batch, before)]
    return Closing("failed", outcomes, ", ".join(bad)) if bad else Closing("success", outcomes)


def _without_instance(batch: Batch, before: States) -> list[str]:
    """Return the batch's jobs whose tasks have no instance in this run, so that nothing shows that they ran."""
    return [
        name
        for name, job in batch.jobs.items()
        if name in before and not before[name] and name not in batch.left_out and job.get("outcome") != "skipped"
    ]


def _worst(states: Sequence[str]) -> Outcome:
    """Return the outcome of a task: that of its worst instance, if it is mapped."""
    found = {_OUTCOMES.get(state, "aborted") for state in states}
    return next(outcome for outcome in _WORST_FIRST if outcome in found)
