# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One run in the simulation of the plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from batchy_provider.plan.expected_runs import ExpectedRun, PathStep, PlanInput, RunState
from batchy_provider.plan.why_facts import WorkflowFacts

if TYPE_CHECKING:
    from batchy_provider.plan.run_history import Numbers

_EPOCH = datetime(1970, 1, 1)


@dataclass(slots=True)
class SimulatedRun:
    """One run in the simulation. Moments are Unix seconds.

    :param start: one moment for each draw; None if it is unknown.
    :param path: the steps of the critical path before this run.
    """

    state: RunState
    due: float | None = None
    start: Numbers | None = None
    end: Numbers | None = None
    waits_for: list[str] = field(default_factory=list)
    path: tuple[PathStep, ...] = ()
    own: PathStep | None = None

    @property
    def whole_path(self) -> tuple[PathStep, ...]:
        return self.path if self.own is None else (*self.path, self.own)


def expected_run(facts: WorkflowFacts, run: SimulatedRun, now: float) -> ExpectedRun:
    """Return what the simulation says of a run.

    :param facts: of its workflow.
    :param now: Unix seconds.
    """
    import numpy as np

    allowed = facts.file.deadline if facts.file is not None else None
    start = None if run.start is None else middle(run.start)
    begin = run.due if run.due is not None else start
    deadline = None if allowed is None or begin is None else begin + allowed.total_seconds()
    p50 = p90 = missed = None
    if run.end is not None:
        ends = np.sort(run.end)
        p50, p90 = float(ends[len(ends) // 2]), float(ends[len(ends) * 9 // 10])
        missed = None if deadline is None else round(float(np.mean(ends > deadline)), 3)
    elif deadline is not None and deadline <= now:
        missed = 1.0
    return ExpectedRun(
        workflow=facts.workflow,
        due=_moment_or_none(run.due),
        state=run.state,
        start=_moment_or_none(start),
        end_p50=_moment_or_none(p50),
        end_p90=_moment_or_none(p90),
        waits_for=tuple(run.waits_for),
        deadline=_moment_or_none(deadline),
        miss_probability=missed,
        critical_path=run.whole_path if run.end is not None else (),
    )


def _moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment_of(seconds)


def middle(values: Numbers) -> float:
    """Return the median; quicker than numpy's for few values."""
    import numpy as np

    half = len(values) // 2
    return float(np.partition(values, half)[half])


def own_step(each: PlanInput) -> PathStep:
    """Return the step of the critical path that a run of a workflow is."""
    return PathStep(each.facts.workflow, None if each.history is None else each.history.slowest)


def moment_of(seconds: float) -> datetime:
    """Return Unix seconds as naive UTC, without a fraction."""
    return _EPOCH + timedelta(seconds=round(seconds))
