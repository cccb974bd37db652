# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One run in the simulation of the plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from batchy_provider.plan.expected_runs import ExpectedRun, PathStep, PlanInput, RunState
from batchy_provider.plan.why_facts import WorkflowFacts

if TYPE_CHECKING:
    import numpy as np

    from batchy_provider.plan.airflow_facts import RunFacts
    from batchy_provider.plan.run_history import Numbers

    Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

_EPOCH = datetime(1970, 1, 1)


@dataclass(slots=True, eq=False)
class SimulatedRun:
    """One run in the simulation. Moments are Unix seconds.

    A moment that does not come within the plan is infinite.

    :param start: one moment for each draw; None if it is unknown.
    :param end: the same for its end, as success or as failed.
    :param fails: for each draw, whether it fails; None if it never does.
    :param path: the steps of the critical path before this run.
    :param comes_after: the slice before it: it starts when that one has succeeded.
    :param triggers: of a run that starts after others: their runs, with None for what has happened already; None for
        other runs.
    :param window: length of its window in seconds, where that is decided already.
    :param facts: the run of Airflow that it is; None if Airflow has not made it yet.
    :param is_partial: its window is a slice, and more of them follow.
    :param is_stuck: the run has failed, and nothing starts it again.
    :param is_settled: start and end are worked out, or are unknown for good.
    """

    state: RunState
    due: float | None = None
    start: Numbers | None = None
    end: Numbers | None = None
    fails: Flags | None = None
    waits_for: list[str] = field(default_factory=list)
    path: tuple[PathStep, ...] = ()
    own: PathStep | None = None
    comes_after: SimulatedRun | None = None
    triggers: Sequence[Trigger] | None = None
    window: float | None = None
    facts: RunFacts | None = None
    is_partial: bool = False
    is_stuck: bool = False
    is_settled: bool = False

    @property
    def whole_path(self) -> tuple[PathStep, ...]:
        return self.path if self.own is None else (*self.path, self.own)

    @property
    def success(self) -> Numbers | None:
        """When it has succeeded, for each draw; infinite where it fails."""
        import numpy as np

        return self.end if self.end is None or self.fails is None else np.where(self.fails, np.inf, self.end)


@dataclass(frozen=True, slots=True)
class Trigger:
    """One of the workflows whose batches start a run.

    :param runs: its runs, from the one on whose end counts. Without any, nobody knows when it ends again.
    :param is_there: its end has come already.
    """

    workflow: str
    runs: Sequence[SimulatedRun] = ()
    is_there: bool = False


def expected_run(facts: WorkflowFacts, run: SimulatedRun, now: float, until: float) -> ExpectedRun:
    """Return what the simulation says of a run.

    :param facts: of its workflow.
    :param now: Unix seconds.
    :param until: the end of the plan, Unix seconds.
    """
    import numpy as np

    allowed = facts.file.deadline if facts.file is not None else None
    start = None if run.start is None else middle(run.start)
    begin = run.due if run.due is not None else start
    deadline = None if allowed is None or begin is None or begin == np.inf else begin + allowed.total_seconds()
    p50 = p90 = missed = None
    if run.end is not None and run.success is not None:
        ends = np.sort(run.end)
        p50, p90 = float(ends[len(ends) // 2]), float(ends[len(ends) * 9 // 10])
        # Whatever does not come within the plan may come before a deadline that lies beyond it.
        if deadline is not None and (deadline <= until or bool(np.isfinite(ends[-1]))):
            missed = round(float(np.mean(run.success > deadline)), 3)
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
        critical_path=run.whole_path if run.end is not None and not run.is_stuck else (),
        is_stuck=run.is_stuck,
    )


def _moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None or not math.isfinite(seconds) else moment_of(seconds)


def middle(values: Numbers) -> float:
    """Return the median; quicker than numpy's for few values."""
    import numpy as np

    half = len(values) // 2
    return float(np.partition(values, half)[half])


def middles(rows: Sequence[Numbers]) -> list[float]:
    """Return the median of each row, as `middle` does."""
    import numpy as np

    if len(rows) == 1:
        return [middle(rows[0])]
    half = len(rows[0]) // 2
    found: list[float] = np.partition(np.array(rows), half, axis=1)[:, half].tolist()
    return found


def own_step(each: PlanInput) -> PathStep:
    """Return the step of the critical path that a run of a workflow is."""
    return PathStep(each.facts.workflow, None if each.history is None else each.history.slowest)


def moment_of(seconds: float) -> datetime:
    """Return Unix seconds as naive UTC, without a fraction."""
    return _EPOCH + timedelta(seconds=round(seconds))
