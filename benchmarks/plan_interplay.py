# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Nights in which workflows wait for each other and share a small pool, for the backtest of the plan.

What really happens is worked out job by job, apart from the plan: three workflows start at 02:00, and their `load`
needs one of two slots. `mart` waits for two of them, and `report` for `mart` and the third one. Their `load` needs a
slot, too.
"""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta

import numpy as np

from batchy_provider.core.job_durations import MAX_DURATIONS
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import JobDuration
from batchy_provider.plan.airflow_facts import AirflowFacts, PoolFacts
from batchy_provider.plan.duration_model import DurationModel
from batchy_provider.plan.expected_runs import PlanInput
from batchy_provider.plan.run_history import run_history
from batchy_provider.plan.simulation import simulate
from batchy_provider.plan.why_facts import Dependency, FileFacts, Need, WorkflowFacts

SLOTS = 2
WAITS: dict[str, list[str]] = {"crm": [], "erp": [], "web": [], "mart": ["crm", "erp"], "report": ["mart", "web"]}
USUAL = {"extract": 600.0, "load": 1500.0}
SCHEDULE = Schedule(crons=("0 2 * * *",))
AIRFLOW = AirflowFacts(pools={"db": PoolFacts(SLOTS, 0)})
DAY = timedelta(days=1)


def interplay(nights: int, first: int, start: datetime, sites: int, seed: int) -> np.ndarray:
    """Return for each forecast: whether P90 held, and the errors of P50 and of two guesses, as shares.

    :param first: forecast from this night on.
    :param start: when the first night is due.
    """
    found = []
    for site in range(sites):
        rng = np.random.default_rng([seed, site])
        own = {
            name: {job: usual * rng.uniform(0.5, 2) * rng.lognormal(0, 0.25, nights) for job, usual in USUAL.items()}
            for name in WAITS
        }
        took = [
            _night({name: {job: float(some[number]) for job, some in jobs.items()} for name, jobs in own.items()})
            for number in range(nights)
        ]
        for number in range(first, nights):
            due = start + number * DAY
            inputs = {name: _input(name, own[name], number, start) for name in WAITS}
            for run in simulate(inputs, due - 6 * timedelta(hours=1), 7, airflow=AIRFLOW, seed=number):
                if run.due != due or run.end_p50 is None or run.end_p90 is None:
                    raise AssertionError(f"no forecast: {run}")
                real = took[number][run.workflow]
                before = [took[each][run.workflow] for each in range(number - 10, number)]
                p50, p90 = ((end - due).total_seconds() for end in (run.end_p50, run.end_p90))
                guesses = (p50, before[-1], float(np.mean(before)))
                found.append((float(real <= p90 + 1), *(abs(guess - real) / real for guess in guesses)))
    return np.array(found)


def _input(name: str, own: dict[str, np.ndarray], night: int, start: datetime) -> PlanInput:
    """Return what is known of a workflow before a night."""
    known = range(max(0, night - MAX_DURATIONS), night)
    durations = {
        job: [JobDuration(start + each * DAY, float(some[each]), DAY.total_seconds()) for each in known]
        for job, some in own.items()
    }
    history = run_history(durations, {"extract": [], "load": ["extract"]})
    assert history is not None
    needs = [Need(workflow=other, by=Dependency.WAIT_FOR) for other in WAITS[name]]
    facts = WorkflowFacts(workflow=name, file=FileFacts(schedule=SCHEDULE, needs=needs))
    pools = {"extract": "default_pool", "load": "db"}
    return PlanInput(facts=facts, history=history, model=DurationModel.of(history), jobs=pools)


def _night(took: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return workflow → how long after 02:00 it ended."""
    ends: dict[str, float] = {}
    free = [0.0] * SLOTS
    waiting: list[tuple[float, str]] = []
    started: set[str] = set()
    while len(ends) < len(WAITS):
        for name, others in WAITS.items():
            if name not in started and all(other in ends for other in others):
                started.add(name)
                begin = max((ends[other] for other in others), default=0.0)
                heapq.heappush(waiting, (begin + took[name]["extract"], name))
        ready, name = heapq.heappop(waiting)
        slot = min(range(SLOTS), key=free.__getitem__)
        free[slot] = ends[name] = max(ready, free[slot]) + took[name]["load"]
    return ends
