# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide which workflows of a list need a person first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchy_provider.core.vocabulary import SentenceCode

if TYPE_CHECKING:
    from batchy_provider.services.answers import WorkflowSummary

_STUCK = ("queued", "held")


class Problem(SentenceCode):
    """What is wrong with a workflow. The order is that of importance: the first that applies counts."""

    UNREADABLE = "unreadable"
    """Its state in Redis cannot be read, so nothing of it can run."""
    FAILED = "failed"
    """Its latest batch has failed, and nobody has acknowledged that."""
    INVALID_FILE = "invalid_file"
    """Its file has errors."""
    LATE = "late"
    """It has missed its deadline."""
    AT_RISK = "at_risk"
    """It will probably miss its deadline."""
    STUCK = "stuck"
    """Its next run is queued, or another batch holds it up."""
    ACKNOWLEDGED = "acknowledged"
    """Its latest batch has failed, and somebody has acknowledged that."""
    ON_HOLD = "on_hold"
    """A person has put it on hold."""
    PAUSED = "paused"
    """Its DAG is paused."""

    @property
    def rank(self) -> int:
        """How much it matters: 0 is the most important."""
        return _RANKS[self]

    @property
    def is_new(self) -> bool:
        """Tell whether nobody has dealt with it yet, as far as is known."""
        return self.rank <= Problem.STUCK.rank


_RANKS = {problem: rank for rank, problem in enumerate(Problem)}
NO_PROBLEM_RANK = len(_RANKS)


def problem_of(summary: WorkflowSummary, *, doing: str | None = None, paused: bool = False) -> Problem | None:
    """Return the most important problem of a workflow; None if it has none.

    :param doing: what its next run does before it has opened its batch, such as ``queued``; None without such a run.
    :param paused: its DAG is paused.
    """
    if summary.status == "unreadable":
        return Problem.UNREADABLE
    if summary.status == "failed" and summary.acknowledged is None:
        return Problem.FAILED
    if summary.faults:
        return Problem.INVALID_FILE
    if summary.late_seconds is not None:
        return Problem.LATE
    if summary.warning is not None:
        return Problem.AT_RISK
    if doing in _STUCK and not paused:
        return Problem.STUCK
    if summary.status == "failed":
        return Problem.ACKNOWLEDGED
    if summary.hold is not None:
        return Problem.ON_HOLD
    return Problem.PAUSED if paused else None
