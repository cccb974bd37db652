# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Say up to where a workflow loads at one of its due times, by the shape of its windows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from batchy_provider.core.boundaries import boundary_at
from batchy_provider.core.intervals import Interval
from batchy_provider.core.snapshot import StoredConfig

Configs = Mapping[str, StoredConfig]
"""Workflow → what is known of its configuration."""

_TICK = timedelta(microseconds=1)


def sources(config: StoredConfig) -> tuple[str, ...]:
    """Return the workflows whose data a workflow loads, so that it goes no further than they do."""
    return () if config.window is None else config.window.workflows


def has_expected_ends(workflow: str, configs: Configs, seen: frozenset[str] = frozenset()) -> bool:
    """Tell whether it is known up to where a workflow loads at its due times.

    The parameters are those of `expected_end`.
    """
    config = configs.get(workflow)
    if config is None or not config.schedule.known or workflow in seen:
        return False
    return all(has_expected_ends(source, configs, seen | {workflow}) for source in sources(config))


def expected_end(
    workflow: str, fire: datetime, configs: Configs, seen: frozenset[str] = frozenset()
) -> datetime | None:
    """Return up to where a workflow loads in the run that is due at `fire`, if all goes well.

    A window up to other workflows ends where these are due to have loaded by then.

    :param configs: of the workflow, and of those whose data it loads.
    :param seen: the workflows on the way to this one.
    :returns: naive UTC; None if the schedule of a workflow whose data it loads is not known.
    """
    config = configs[workflow]
    shape = config.window
    if shape is None:
        return fire
    end = fire
    for source in shape.workflows:
        known = configs.get(source)
        if known is None or not known.schedule.known or source in seen | {workflow}:
            return None
        loaded = expected_end(source, known.schedule.last_fire(fire), configs, seen | {workflow})
        if loaded is None:
            return None
        end = min(end, loaded)
    end -= shape.delay
    return end if shape.align is None else boundary_at(shape.align, config.timezone, end)


def shaped_interval(workflow: str, interval: Interval, configs: Configs, *, from_fire: bool) -> Interval | None:
    """Return what a workflow loads of the interval between two of its due times.

    :param from_fire: keep the start, since backfills load from fire to fire, with every shape.
    :returns: None if nobody can say.
    """
    end = expected_end(workflow, interval.end, configs)
    if end is None:
        return None
    start = interval.start if from_fire else expected_end(workflow, interval.start, configs)
    if start is None or start >= end:
        # Its windows end on boundaries that are further apart than its due times.
        shape, timezone = configs[workflow].window, configs[workflow].timezone
        align = None if shape is None else shape.align
        start = end if align is None else boundary_at(align, timezone, end - _TICK)
    return Interval(start, end)
