# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Is the plan honest? Forecast each night of generated histories, from the nights before it alone.

Every kind of history has several jobs in a graph. For each night from the twentieth on, the plan forecasts when the run
ends. The table shows how often the run ended before P90, and the median error of P50, beside two usual guesses: "as
long as last time", and "the mean of the last ten". One kind is not generated: `chaos_durations.json` has how long the
jobs took in nights of chaos on a real Airflow (``tests/reliability``).

Run: ``python benchmarks/plan_backtest.py``
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from plan_interplay import interplay

from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.job_durations import MAX_DURATIONS
from batchy_provider.core.values import JobDuration
from batchy_provider.plan.duration_model import DurationModel
from batchy_provider.plan.run_history import run_history
from batchy_provider.plan.simulation import DRAWS

NIGHTS = 120
FIRST = 20
START = datetime(2026, 1, 5, 2)
GRAPH = {"extract": [], "clean": ["extract"], "load": ["clean"], "report": ["load"], "audit": ["extract"]}
USUAL = {"extract": 300.0, "clean": 900.0, "load": 1500.0, "report": 240.0, "audit": 600.0}
DAY = 86_400.0
CHAOS = Path(__file__).parent / "chaos_durations.json"
CHAOS_GRAPH = {"load": [], "publish": ["load"]}
"""Of all workflows of the nights of chaos."""

Factors = Callable[[np.random.Generator], tuple["np.ndarray", "np.ndarray"]]
"""Makes, for each night, by how much longer than usual it takes, and the length of its window in days."""


def plain(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Nights that differ by chance only."""
    return rng.lognormal(0, 0.2, NIGHTS), np.ones(NIGHTS)


def heavy_tails(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One night in twelve takes two to eight times as long."""
    slow = np.where(rng.random(NIGHTS) < 1 / 12, rng.uniform(2, 8, NIGHTS), 1.0)
    return rng.lognormal(0, 0.2, NIGHTS) * slow, np.ones(NIGHTS)


def weekdays(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mondays take twice as long, Saturdays and Sundays half as long."""
    days = np.arange(NIGHTS) % 7
    factor = np.select([days == 0, days >= 5], [2.0, 0.5], 1.0)
    return rng.lognormal(0, 0.15, NIGHTS) * factor, np.ones(NIGHTS)


def growth(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Each night takes 1.2 percent longer than the one before it."""
    return rng.lognormal(0, 0.15, NIGHTS) * 1.012 ** np.arange(NIGHTS), np.ones(NIGHTS)


def outages(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One night in ten loads two to six days."""
    days = np.where(rng.random(NIGHTS) < 0.1, rng.integers(2, 7, NIGHTS), 1).astype(float)
    return rng.lognormal(0, 0.2, NIGHTS) * days**0.85, days


def everything(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """All of these together."""
    days = np.arange(NIGHTS) % 7
    loads = np.where(rng.random(NIGHTS) < 0.07, rng.integers(2, 6, NIGHTS), 1).astype(float)
    slow = np.where(rng.random(NIGHTS) < 0.05, rng.uniform(2, 6, NIGHTS), 1.0)
    factor = np.select([days == 0, days >= 5], [1.6, 0.6], 1.0) * 1.006 ** np.arange(NIGHTS)
    return rng.lognormal(0, 0.2, NIGHTS) * factor * slow * loads**0.85, loads


def jump(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """In the middle, a new source doubles the data."""
    return rng.lognormal(0, 0.2, NIGHTS) * np.where(np.arange(NIGHTS) < NIGHTS // 2, 1.0, 2.0), np.ones(NIGHTS)


KINDS: tuple[Factors, ...] = (plain, heavy_tails, weekdays, growth, outages, jump, everything)


def history(kind: Factors, rng: np.random.Generator) -> tuple[dict[str, list[JobDuration]], np.ndarray, np.ndarray]:
    """Return the durations of the jobs of one workflow, how long its runs took, and the lengths of their windows."""
    factors, days = kind(rng)
    jobs: dict[str, list[JobDuration]] = {}
    for job, usual in USUAL.items():
        own = usual * factors * rng.lognormal(0, 0.08, NIGHTS)
        jobs[job] = [
            JobDuration(START + timedelta(days=night), float(own[night]), float(days[night] * DAY))
            for night in range(NIGHTS)
        ]
    ends: dict[str, np.ndarray] = {}
    for job, before in GRAPH.items():
        own = np.array([each.seconds for each in jobs[job]])
        ends[job] = own + (np.maximum.reduce([ends[other] for other in before]) if before else 0.0)
    return jobs, np.maximum.reduce(list(ends.values())), days * DAY


def backtest(kind: Factors, workflows: int, seed: int) -> np.ndarray:
    """Return for each forecast: whether P90 held, and the errors of P50 and of the two guesses, as shares."""
    found = []
    for number in range(workflows):
        rng = np.random.default_rng([seed, number])
        jobs, totals, windows = history(kind, rng)
        for night in range(FIRST, NIGHTS):
            first = max(0, night - MAX_DURATIONS)
            known = run_history({job: some[first:night] for job, some in jobs.items()}, GRAPH)
            assert known is not None
            model = DurationModel.of(known)
            assert model is not None
            start = unix_seconds(START + timedelta(days=night))
            draws = np.sort(model.draws(rng, DRAWS, start=start, window_seconds=float(windows[night])))
            found.append(_errors(draws, totals[: night + 1]))
    return np.array(found)


def backtest_chaos(seed: int) -> np.ndarray:
    """Return the same for the nights of chaos: for each workflow from its twentieth success on."""
    found = []
    for number, recorded in enumerate(json.loads(CHAOS.read_text()).values()):
        rng = np.random.default_rng([seed, number])
        jobs = {job: [_duration(*each) for each in some] for job, some in recorded.items()}
        runs = run_history(jobs, CHAOS_GRAPH)
        assert runs is not None
        for night in range(FIRST, len(runs.starts)):
            start = float(runs.starts[night])
            before = {job: [each for each in some if unix_seconds(each.start) < start] for job, some in jobs.items()}
            known = run_history(before, CHAOS_GRAPH)
            assert known is not None
            model = DurationModel.of(known)
            assert model is not None
            draws = np.sort(model.draws(rng, DRAWS, start=start, window_seconds=float(runs.windows[night])))
            found.append(_errors(draws, runs.seconds[: night + 1]))
    return np.array(found)


def _duration(start: float, seconds: float, window_seconds: float) -> JobDuration:
    return JobDuration(datetime.fromtimestamp(start, timezone.utc).replace(tzinfo=None), seconds, window_seconds)


def _errors(draws: np.ndarray, totals: np.ndarray) -> tuple[float, ...]:
    """Return whether P90 held, and the errors of P50 and of the two guesses, for the last of some runs."""
    took = totals[-1]
    guesses = (draws[DRAWS // 2], totals[-2], totals[-11:-1].mean())
    return (float(took <= draws[DRAWS * 9 // 10]), *(abs(guess - took) / took for guess in guesses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workflows", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print("| history | forecasts | P90 held | error of P50 | of the last time | of the mean of ten |")
    print("|---|---:|---:|---:|---:|---:|")
    began, results = time.process_time(), []
    for number, kind in enumerate(KINDS):
        found = backtest(kind, arguments.workflows, arguments.seed + number)
        results.append(found)
        print(_row(kind.__name__.replace("_", " "), found), flush=True)
    print(_row("all of these", np.concatenate(results)), flush=True)
    print(_row("nights of chaos, recorded", backtest_chaos(arguments.seed)), flush=True)
    sites = max(1, arguments.workflows // 5)
    print(_row("waits and a pool", interplay(NIGHTS, FIRST, START, sites, arguments.seed)))
    print(f"\n{time.process_time() - began:.0f} s of processor time")


def _row(name: str, found: np.ndarray) -> str:
    errors = " | ".join(f"{100 * each:.1f} %" for each in np.median(found[:, 1:], axis=0))
    return f"| {name} | {len(found):,} | {100 * found[:, 0].mean():.1f} % | {errors} |"


if __name__ == "__main__":
    main()
