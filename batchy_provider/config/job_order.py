# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find out which job follows which, from the order of the file and from ``after``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from batchy_provider.config.diagnostics import Code, Violation, did_you_mean
from batchy_provider.config.job_model import ForEach, Job

PREVIOUS = "previous"

Upstream = dict[str, tuple[str, ...]]
"""Job → the jobs that it follows, in the order of the file; empty if it starts with the batch."""


@dataclass(frozen=True, slots=True)
class Order:
    """How the jobs of a workflow follow each other.

    :param upstream: job → the jobs that it follows directly.
    :param inputs: job → the job whose output it reads, where it reads one.
    """

    upstream: Upstream
    inputs: Mapping[str, str]

    def before(self, job: str) -> list[str]:
        """Return all jobs that come before a job, directly or not, in the order of the file."""
        found: set[str] = set()
        waiting = list(self.upstream[job])
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.upstream[name]
        return [name for name in self.upstream if name in found]

    @property
    def must_meet_close(self) -> list[str]:
        """Jobs that ``close`` must wait for itself, since nothing that it waits for surely waits for them.

        A job with several jobs before it may end before some of them do: Airflow gives it up at the first
        failure, and lets a handler go.
        """
        waited_for = {only[0] for only in self.upstream.values() if len(only) == 1}
        return [name for name in self.upstream if name not in waited_for]


def resolve_order(jobs: Mapping[str, Job]) -> tuple[Order, list[Violation]]:
    """Find out what follows what, and what cannot be.

    :returns: the order, which is valid only if there are no violations; and the violations.
    """
    violations: list[Violation] = []
    upstream: Upstream = {}
    holders = [name for name, job in jobs.items() if not job.is_handler]
    last: str | None = None
    for name, job in jobs.items():
        if job.after is not None:
            upstream[name] = _named(name, job.after, jobs, violations)
        elif job.is_handler:
            upstream[name] = tuple(holders)
        else:
            upstream[name] = () if last is None else (last,)
        if not job.is_handler:
            last = name
    if violations:
        return Order(upstream, {}), violations
    # Jobs in the order of the file cannot follow each other in a cycle.
    if any(job.after is not None for job in jobs.values()) and (cycle := find_cycle(upstream)):
        path = " → ".join([*cycle, cycle[0]])
        violations.append(
            Violation(("jobs", cycle[0], "after"), Code.CYCLE, f"jobs follow each other in a cycle: {path}")
        )
        return Order(upstream, {}), violations
    for name, job in jobs.items():
        if job.is_handler and not upstream[name]:
            violations.append(Violation(("jobs", name), Code.CONFLICT, "a handler (when: failed) needs a job to watch"))
    order = Order(upstream, {})
    inputs = {name: _input(name, job.input, jobs, order, violations) for name, job in jobs.items() if job.input}
    for name, wanted in inputs.items():
        if wanted in jobs and jobs[wanted].for_each is not None:
            message = f"the job {wanted!r} runs for each entry of a list, so it has no single output to read"
            violations.append(Violation(("jobs", name, "input"), Code.CONFLICT, message))
    for name, job in jobs.items():
        if isinstance(job.for_each, ForEach):
            _check_source(name, job.for_each.from_, jobs, order, violations)
    return Order(upstream, inputs), violations


def _check_source(name: str, source: str, jobs: Mapping[str, Job], order: Order, violations: list[Violation]) -> None:
    path = ("jobs", name, "for_each", "from")
    if source not in jobs:
        violations.append(
            Violation(path, Code.UNDEFINED_JOB, f"no job {source!r} in this file{did_you_mean(source, jobs)}")
        )
    elif source not in order.before(name):
        violations.append(
            Violation(path, Code.JOB_ORDER, f"the job {source!r} does not come before {name!r}; add it to after")
        )
    elif jobs[source].operator is None:
        violations.append(
            Violation(
                path,
                Code.CONFLICT,
                f"{source!r} is a script, whose result is a reference to its output; expected an operator",
            )
        )


def _named(name: str, after: Sequence[str], jobs: Mapping[str, Job], violations: list[Violation]) -> tuple[str, ...]:
    for index, other in enumerate(after):
        path = ("jobs", name, "after", index)
        if other == name:
            violations.append(Violation(path, Code.CYCLE, f"the job {name!r} cannot follow itself"))
        elif other not in jobs:
            violations.append(
                Violation(path, Code.UNDEFINED_JOB, f"no job {other!r} in this file{did_you_mean(other, jobs)}")
            )
        elif jobs[other].is_handler and not jobs[name].is_handler:
            violations.append(
                Violation(
                    path,
                    Code.JOB_ORDER,
                    f"{other!r} is a handler (when: failed) and holds no state; only handlers can follow it",
                )
            )
    wanted = set(after) - {name}
    return tuple(other for other in jobs if other in wanted)


def _input(name: str, wanted: str, jobs: Mapping[str, Job], order: Order, violations: list[Violation]) -> str:
    path = ("jobs", name, "input")
    before = order.before(name)
    if wanted == PREVIOUS:
        direct = order.upstream[name]
        if len(direct) != 1:
            how_many = "no job" if not direct else f"{len(direct)} jobs ({', '.join(direct)})"
            violations.append(
                Violation(path, Code.JOB_ORDER, f"this job follows {how_many}; expected the name of a job before it")
            )
            return wanted
        wanted = direct[0]
    elif wanted == name:
        violations.append(Violation(path, Code.JOB_ORDER, f"the job {name!r} cannot read its own output"))
    elif wanted not in jobs:
        hint = did_you_mean(wanted, [PREVIOUS, *before]) or f"; expected previous or one of {', '.join(before)}"
        violations.append(
            Violation(path, Code.UNDEFINED_JOB, f"no job {wanted!r} in this file{hint if before else ''}")
        )
    elif wanted not in before:
        violations.append(
            Violation(path, Code.JOB_ORDER, f"the job {wanted!r} does not come before {name!r}; add it to after")
        )
    return wanted


def find_cycle(upstream: Mapping[str, Sequence[str]]) -> list[str]:
    """Return names that follow each other in a cycle, in that order, the uppermost in the file first."""
    sorter = TopologicalSorter(upstream)
    try:
        sorter.prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1][:-1]
        rank = {name: place for place, name in enumerate(upstream)}
        first = cycle.index(min(cycle, key=lambda name: rank.get(name, len(rank))))
        return cycle[first:] + cycle[:first]
    return []
