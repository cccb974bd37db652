# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say how much longer a run takes that has started: by what its jobs report, or by how long such runs take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchy_provider.core.dates import parse_date, unix_seconds
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.expected_runs import PlanInput
from batchy_provider.plan.simulated_run import SimulatedRun, own_step

if TYPE_CHECKING:
    import numpy as np

    from batchy_provider.plan.run_history import Numbers


def run_on(each: PlanInput, run: SimulatedRun, rng: np.random.Generator, at: float, draws: int) -> None:
    """Find out when a run ends that has started.

    :param at: now, Unix seconds.
    :param draws: how many.
    """
    import numpy as np

    state = each.facts.readable
    assert state is not None
    batch = state.batch
    assert batch is not None
    assert batch.started is not None
    started = unix_seconds(parse_date(batch.started))
    run.own = own_step(each)
    run.start = np.full(draws, started)
    elapsed = max(0.0, at - started)
    reported = _by_progress(each, elapsed, rng, at, draws)
    if reported is not None:
        run.end = at + reported
    elif each.model is not None:
        window = window_length(batch.from_date, batch.to_date)
        whole = each.model.draws(rng, draws, start=started, window_seconds=window)
        run.end = at + each.model.remaining(rng, whole, elapsed)


def _by_progress(each: PlanInput, elapsed: float, rng: np.random.Generator, now: float, draws: int) -> Numbers | None:
    """Return how much longer a run takes by what its job reports; None if no job reports anything of use."""
    import numpy as np

    state, history = each.facts.readable, each.history
    if state is None or state.batch is None or each.model is None:
        return None
    latest = None
    for job, report in state.progress.items():
        share = report.get("progress")
        if report.get("batch_id") != state.batch.batch_id or not isinstance(share, (int, float)):
            continue
        if 0.05 <= share <= 1 and (latest is None or str(report.get("at")) > latest[0]):
            latest = (str(report.get("at")), job, float(share))
    if latest is None:
        return None
    at, job, share = latest
    before = history.before.get(job, 0.0) if history is not None else 0.0
    after = history.after.get(job, 0.0) if history is not None else 0.0
    try:
        silent = max(0.0, now - unix_seconds(parse_date(at)))
    except BatchyError:
        silent = 0.0
    ran = max(elapsed - silent - before, 0.0)
    left = max(0.0, ran * (1 - share) / share - silent)
    # The report says more the further it is.
    spread = max(each.model.spread, 0.05) * (1 - share)
    found: Numbers = left * np.exp(rng.standard_normal(draws) * spread)
    return found + after * np.exp(rng.standard_normal(draws) * max(each.model.spread, 0.05))


def window_length(start: str | None, end: str | None) -> float | None:
    """Return the length of a window in seconds; None if an end of it is not known."""
    if start is None or end is None:
        return None
    return max(0.0, (parse_date(end) - parse_date(start)).total_seconds())
