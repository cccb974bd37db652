# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long the next run takes, by the past runs: window, weekday, growth, and the unknown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest

from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.values import JobDuration
from batchy_provider.plan.duration_model import MIN_RUNS, DurationModel
from batchy_provider.plan.run_history import run_history

FIRST = datetime(2026, 1, 5, 2)  # a Monday
DAY = 86_400.0


def model(
    seconds: Callable[[int], float], *, nights: int = 56, days: Callable[[int], float] = lambda night: 1
) -> DurationModel | None:
    noise = np.random.default_rng(7).lognormal(0, 0.05, nights)
    some = [
        JobDuration(FIRST + timedelta(days=night), float(seconds(night) * noise[night]), days(night) * DAY)
        for night in range(nights)
    ]
    history = run_history({"load": some})
    return None if history is None else DurationModel.of(history)


def forecast(found: DurationModel | None, *, night: int = 56, days: float | None = 1) -> tuple[float, float]:
    """Return P50 and P90 of the run of a night."""
    assert found is not None
    window = None if days is None else days * DAY
    start = unix_seconds(FIRST + timedelta(days=night))
    draws = found.draws(np.random.default_rng(3), 1000, start=start, window_seconds=window)
    p50, p90 = np.quantile(draws, (0.5, 0.9))
    return float(p50), float(p90)


def test_without_enough_runs_nothing_is_known() -> None:
    assert model(lambda night: 100, nights=MIN_RUNS - 1) is None
    assert model(lambda night: 100, nights=MIN_RUNS) is not None


def test_one_long_run_changes_the_tail_and_not_the_middle() -> None:
    p50, p90 = forecast(model(lambda night: 3600 if night == 50 else 100))
    assert p50 == pytest.approx(100, rel=0.1)
    assert p90 < 1000


def test_a_window_of_three_days_takes_longer_where_history_shows_it() -> None:
    outages = {10, 20, 30, 40}

    def days(night: int) -> float:
        return 3.0 if night in outages else 1.0

    matters = model(lambda night: 100 * days(night), days=days)
    assert matters is not None
    assert matters.by_window == pytest.approx(1, abs=0.1)
    assert forecast(matters, days=3)[0] == pytest.approx(300, rel=0.15)
    assert forecast(matters, days=1)[0] == pytest.approx(100, rel=0.1)
    does_not = model(lambda night: 100, days=days)
    assert does_not is not None
    assert does_not.by_window == 0
    assert forecast(does_not, days=3)[0] == pytest.approx(100, rel=0.1)


def test_one_long_window_alone_shows_nothing() -> None:
    found = model(lambda night: 300 if night == 20 else 100, days=lambda night: 3.0 if night == 20 else 1.0)
    assert found is not None
    assert found.by_window == 0


def test_mondays_differ() -> None:
    found = model(lambda night: 200 if night % 7 == 0 else 100)
    assert forecast(found, night=56)[0] == pytest.approx(200, rel=0.15)
    assert forecast(found, night=57)[0] == pytest.approx(100, rel=0.1)


def test_growth_goes_on() -> None:
    found = model(lambda night: 100 * 1.02**night)
    assert forecast(found)[0] == pytest.approx(100 * 1.02**56, rel=0.1)


def test_what_runs_longer_than_ever_takes_longer_still() -> None:
    found = model(lambda night: 100)
    assert found is not None
    rng = np.random.default_rng(1)
    draws = found.draws(rng, 300, start=unix_seconds(FIRST))
    left = found.remaining(rng, draws, 50.0)
    assert np.median(left) == pytest.approx(50, rel=0.15)
    beyond = found.remaining(rng, draws, 400.0)
    assert beyond.min() >= 0
    assert 10 < np.median(beyond) < 400


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_any_length_gives_finite_numbers(seconds: float) -> None:
    p50, p90 = forecast(model(lambda night: seconds, days=lambda night: 0.0), days=None)
    assert np.isfinite([p50, p90]).all()
    assert p50 >= 0
