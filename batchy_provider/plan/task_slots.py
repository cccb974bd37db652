# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The slots that tasks need in the simulation: of pools, of the executor, and of the DAG itself.

Only limits that tasks may really meet are simulated: most pools are never full, and then they change nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchy_provider.plan.airflow_facts import AirflowFacts
from batchy_provider.plan.expected_runs import PlanInput

if TYPE_CHECKING:
    import numpy as np

    from batchy_provider.plan.run_history import Numbers, RunHistory

SlotsOfJobs = Mapping[str, "tuple[Slots, ...]"]
"""Job → all slots that it needs while it runs."""

_FEW_JOBS = 4_000
_FEWEST_DRAWS = 100
_MOST_AT_ONCE = 64
"""So many jobs take their slots at once, at most."""
_FEWEST_AT_ONCE = 4
"""Fewer jobs take them faster one after the other."""
_MOST_SLOTS_OF_ONE = 8
"""With more slots for each job, too: all slots are put in order for the jobs at once."""
_BUSY = ("running", "restarting", "queued")


class Slots:
    """Some slots: until when each is taken, in each draw.

    :param count: how many there are. Without any, nobody knows when one gets free.
    :param draws: how many.
    """

    def __init__(self, count: int, draws: int) -> None:
        import numpy as np

        self.is_closed = count <= 0
        self._until = np.zeros((draws, max(count, 1)))
        self._draws = np.arange(draws)
        # The same memory, with one index for a draw and a slot.
        self._flat = self._until.reshape(-1)
        self._first_of = self._draws * self._until.shape[1]

    def earliest(self) -> Numbers:
        """Return when the first slot is free, for each draw."""
        found: Numbers = self._until.min(axis=1)
        return found

    def take(self, start: Numbers, end: Numbers) -> None:
        """Take a slot from `start` to `end`: of those that are free then, the one that was taken last."""
        import numpy as np

        self._set(np.where(self._until <= start[:, None], self._until, -1.0).argmax(axis=1), end)

    def take_first(self, ready: Numbers, seconds: Numbers) -> Numbers:
        """Let one job after the other take the slot that is free first, when it is ready or later.

        :param ready: a row for each job: when it is ready, for each draw.
        :param seconds: a row for each job: how long it takes, for each draw.
        :returns: a row for each job: when it ends.
        """
        import numpy as np

        ends = np.empty_like(ready)
        if not (np.isfinite(ready).all() and np.isfinite(seconds).all()):
            for at, took, end in zip(ready, seconds, ends, strict=True):
                first = self._until.argmin(axis=1)
                np.add(np.maximum(at, self._until[self._draws, first]), took, out=end)
                self._set(first, end)
            return ends
        # As above, in as few calls as possible: there may be 20,000 jobs.
        done = 0
        while many := self._take_many(ready[done:], seconds[done:], ends[done:]):
            done += many
        until, flat, first_of = self._until, self._flat, self._first_of
        for at, took, end in zip(ready[done:], seconds[done:], ends[done:], strict=True):
            places = until.argmin(axis=1)
            places += first_of
            np.maximum(at, flat.take(places), out=end)
            np.add(end, took, out=end)
            flat[places] = end
        return ends

    def _take_many(self, ready: Numbers, seconds: Numbers, ends: Numbers) -> int:
        """Let the next jobs take their slots at once, as many as need no slot that one of them gives back.

        :param ends: gets the moments when they end.
        :returns: how many these were; 0 if it takes less time to do one after the other.
        """
        import numpy as np

        count = min(len(ready), self._until.shape[1], _MOST_AT_ONCE)
        if count < _FEWEST_AT_ONCE or self._until.shape[1] > count * _MOST_SLOTS_OF_ONE:
            return 0
        # Only the times of the slots matter, not which is which: those that are free first come first.
        if count < self._until.shape[1]:
            self._until.partition(count - 1, axis=1)
        self._until[:, :count].sort(axis=1)
        free = self._until[:, :count].T
        found = np.maximum(ready[:count], free)
        found += seconds[:count]
        # A job needs no slot that is given back if its own is free by then, in each draw.
        is_own = (np.minimum.accumulate(found[:-1]) >= free[1:]).all(axis=1)
        many = count if is_own.all() else int(is_own.argmin()) + 1
        if many < _FEWEST_AT_ONCE:
            return 0
        ends[:many] = found[:many]
        free[:many] = found[:many]
        return many

    def _set(self, places: np.ndarray[tuple[int, ...], np.dtype[np.intp]], end: Numbers) -> None:
        import numpy as np

        # A run that does not start within the plan takes no slot.
        is_taken = np.isfinite(end)
        if is_taken.all():
            self._until[self._draws, places] = end
        else:
            self._until[self._draws[is_taken], places[is_taken]] = end[is_taken]


def ends_in_order(needed: Sequence[Slots], ready: Sequence[Numbers], seconds: Sequence[Numbers]) -> list[Numbers]:
    """Let jobs that need the same slots run: in each draw, the one that is ready first takes a slot first.

    :param needed: a slot of each of these.
    :param ready: when each job is ready, for each draw.
    :param seconds: how long each job takes, for each draw.
    :returns: when each job ends.
    """
    import numpy as np

    moments, lengths = np.array(ready), np.array(seconds)
    if len(ready) == 1:
        return list(_ends(needed, moments, lengths))
    order = np.argsort(moments, axis=0, kind="stable")
    # The place of each job in the memory of a table: numpy's functions along an axis take twice as long.
    places = order * moments.shape[1] + np.arange(moments.shape[1])
    moments.put(places, _ends(needed, moments.take(places), lengths.take(places)))
    return list(moments)


def _ends(needed: Sequence[Slots], ready: Numbers, seconds: Numbers) -> Numbers:
    """Return when jobs end that take their slots one after the other; a row for each job."""
    import numpy as np

    if len(needed) == 1:
        return needed[0].take_first(ready, seconds)
    ends = np.empty_like(ready)
    for at, took, end in zip(ready, seconds, ends, strict=True):
        start = at
        for slots in needed:
            start = np.maximum(start, slots.earliest())
        np.add(start, took, out=end)
        for slots in needed:
            slots.take(start, end)
    return ends


@dataclass(frozen=True, slots=True)
class _Demand:
    """How many tasks of a workflow may run at the same time.

    :param in_all: of all its jobs.
    :param in_pool: pool → of the jobs that take its slots.
    """

    in_all: int
    in_pool: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that tasks may have to wait for.

    :param counts: limit → how many slots are left.
    :param needed: workflow → job → the limits that it needs a slot of; without the workflows that wait for none.
    """

    counts: Mapping[str, int]
    needed: Mapping[str, Mapping[str, tuple[str, ...]]]

    def draws(self, runs: Mapping[str, int], most: int) -> int:
        """Return how many draws to make: fewer if very many jobs take slots.

        :param runs: workflow → how many runs of it are simulated.
        :param most: how many draws to make of few jobs.
        """
        jobs = sum(runs.get(name, 0) * len(some) for name, some in self.needed.items())
        return most if jobs <= _FEW_JOBS else max(min(most, _FEWEST_DRAWS), most * _FEW_JOBS // jobs)

    def slots(self, draws: int) -> dict[str, SlotsOfJobs]:
        """Return workflow → job → the slots that it may have to wait for."""
        found = {limit: Slots(count, draws) for limit, count in self.counts.items()}
        return {
            name: {job: tuple(found[limit] for limit in limits) for job, limits in some.items()}
            for name, some in self.needed.items()
        }


def limits_of(inputs: Mapping[str, PlanInput], runs: Mapping[str, int], airflow: AirflowFacts | None) -> Limits:
    """Return the limits that tasks may have to wait for.

    :param runs: workflow → how many runs of it are simulated.
    :param airflow: knows the limits; None without an Airflow: then only those of files are known.
    """
    airflow = airflow or AirflowFacts()
    demands = {
        name: _demand(each.history, each.jobs or {}, min(each.max_active_runs, runs.get(name, 0)))
        for name, each in inputs.items()
        if each.history is not None and each.history.follows
    }
    executor, pool_of = "executor", "pool {}".format
    limits = {pool_of(name): (pool.slots, _others(airflow, pool.used, name)) for name, pool in airflow.pools.items()}
    limits[executor] = (airflow.parallelism, _others(airflow, airflow.running))
    asked: Counter[str] = Counter()
    for demand in demands.values():
        asked[executor] += demand.in_all
        for pool, count in demand.in_pool.items():
            asked[pool_of(pool)] += count
    counts = {
        limit: left
        for limit, (most, others) in limits.items()
        if (left := _left(most, others, asked[limit])) is not None
    }
    needed: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, demand in demands.items():
        each = inputs[name]
        own = _left(each.max_active_tasks or 0, 0, demand.in_all)
        shared = [executor] if executor in counts else []
        if own is not None:
            shared.append(f"dag {name}")
            counts[shared[-1]] = own
        pools = {pool_of(pool) for pool in demand.in_pool} & counts.keys()
        if shared or pools:
            of_jobs = {job: pool_of((each.jobs or {}).get(job)) for job in _jobs(each)}
            needed[name] = {job: (*([pool] if pool in pools else ()), *shared) for job, pool in of_jobs.items()}
    return Limits(counts, needed)


def _left(limit: int, others: int, demand: int) -> int | None:
    """Return how many slots a limit leaves; None if it is none, or no task may have to wait for it.

    :param others: how many slots are taken by tasks of which the plan knows nothing.
    """
    left = limit - max(others, 0)
    return left if limit > 0 and demand > left else None


def _jobs(each: PlanInput) -> Collection[str]:
    return each.history.follows.keys() if each.history is not None else ()


def _others(airflow: AirflowFacts, taken: int, pool: str | None = None) -> int:
    """Return how many of the slots that are taken now are not taken by runs that the plan knows."""
    tasks = (task for dag in airflow.dags.values() for run in dag.runs for task in run.tasks)
    return taken - sum(task.state in _BUSY and pool in (None, task.pool) for task in tasks)


def _demand(history: RunHistory, pools: Mapping[str, str], runs: int) -> _Demand:
    of_pool: dict[str, list[str]] = {}
    for job in history.follows:
        if job in pools:
            of_pool.setdefault(pools[job], []).append(job)
    in_all = runs * history.most_at_once
    # Most workflows use one pool.
    in_pool = {
        pool: in_all if len(some) == len(history.follows) else runs * history.at_once(some)
        for pool, some in of_pool.items()
    }
    return _Demand(in_all, in_pool)
