# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Compare two batches of a workflow, job by job, and tell what differs first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_MUCH = 1.5
"""A duration or a size differs if one is so many times the other."""
_LEAST_SECONDS = 10.0
"""Durations that differ by less do not differ."""
_LEAST_BYTES = 1000
"""Sizes that differ by less, and by less than `_MUCH`, do not differ."""


class Difference(str, Enum):
    """What differs between two batches in one job, in the order in which one causes the other."""

    ONLY_HERE = "only_here"
    """The other batch has no such job."""
    ONLY_THERE = "only_there"
    """Only the other batch has such a job."""
    BUNDLE = "bundle"
    """It ran another bundle."""
    PARAMS = "params"
    """It had other params."""
    OUTCOME = "outcome"
    """It ended otherwise."""
    OUTPUT = "output"
    """Its output is much larger or smaller."""
    DURATION = "duration"
    """It took much longer or shorter."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """How a job ran in one batch, as far as it is known.

    :param outcome: how it ended.
    :param output_bytes: size of what the next job got as its input.
    :param bundle: digest of the bundle that it ran.
    :param params: all its fields but the special ones.
    """

    outcome: str | None = None
    exit_code: int | None = None
    started: str | None = None
    seconds: float | None = None
    output_bytes: int | None = None
    bundle: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobComparison:
    """One job in two batches.

    :param batch: in the batch; None if it has no such job.
    :param other: in the other batch; None if it has no such job.
    :param differences: what differs; empty if nothing does.
    :param params: the names of params that differ.
    """

    job: str
    batch: JobFacts | None
    other: JobFacts | None
    differences: Sequence[Difference]
    params: Sequence[str] = ()


def compare_jobs(batch: Mapping[str, JobFacts], other: Mapping[str, JobFacts]) -> list[JobComparison]:
    """Compare the jobs of two batches, in the order of the first one; jobs of the other one alone come last."""
    return [_compare(job, batch.get(job), other.get(job)) for job in dict.fromkeys((*batch, *other))]


def first_difference(jobs: Sequence[JobComparison]) -> JobComparison | None:
    """Return the first job in which the batches differ, as far as it may be a cause; None if nothing differs.

    A job that only took longer is no cause while a later one ran another bundle, had other params or ended otherwise.
    """
    causes = [each for each in jobs if {*each.differences} - {Difference.DURATION}]
    return next(iter(causes or [each for each in jobs if each.differences]), None)


def _compare(job: str, batch: JobFacts | None, other: JobFacts | None) -> JobComparison:
    if batch is None or other is None:
        only = Difference.ONLY_THERE if batch is None else Difference.ONLY_HERE
        return JobComparison(job=job, batch=batch, other=other, differences=[only])
    names = [*dict.fromkeys((*batch.params, *other.params))]
    missing = object()
    params = [name for name in names if not _same(batch.params.get(name, missing), other.params.get(name, missing))]
    tests = {
        Difference.BUNDLE: None not in (batch.bundle, other.bundle) and batch.bundle != other.bundle,
        Difference.PARAMS: bool(params),
        Difference.OUTCOME: batch.outcome != other.outcome,
        Difference.OUTPUT: _much(batch.output_bytes, other.output_bytes, _LEAST_BYTES),
        Difference.DURATION: _much(batch.seconds, other.seconds, _LEAST_SECONDS),
    }
    return JobComparison(
        job=job,
        batch=batch,
        other=other,
        differences=[each for each, differs in tests.items() if differs],
        params=params,
    )


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _much(one: float | None, other: float | None, least: float) -> bool:
    """Tell whether two numbers differ much. Nothing against something is much, however little it is."""
    if one is None or other is None or one == other:
        return False
    low, high = sorted((one, other))
    return (low == 0 and isinstance(one, int)) or (high - low >= least and high >= _MUCH * low)
