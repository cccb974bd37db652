# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Give each job its next window, where a shape says how far windows go."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.job_state import JobState
from batchy_provider.core.slices import Limit, next_slice
from batchy_provider.core.snapshot import Snapshot, StoredConfig
from batchy_provider.core.values import OpenRequest
from batchy_provider.core.vocabulary import NothingToLoad
from batchy_provider.core.window_shape import WindowShape
from batchy_provider.core.windows import loaded_until, position
from batchy_provider.exceptions import NothingToLoadError


class ShapedWindows(NamedTuple):
    """The next windows of a workflow whose windows have a shape.

    :param spans: job → start and end, naive UTC, of the jobs that take part.
    :param more: more data is left, and is to be loaded at once.
    :param loaded: for the record of the batch, see `BatchRecord.loaded`.
    """

    spans: Mapping[str, tuple[datetime, datetime]]
    more: bool
    loaded: Mapping[str, Sequence[str]]


def shaped_windows(
    state: Snapshot,
    request: OpenRequest,
    config: StoredConfig,
    jobs: Mapping[str, JobState],
    left_out: Collection[str],
    now: datetime,
) -> ShapedWindows | None:
    """Return the next windows as the shape allows; None if nothing says that they have one.

    :param config: the configuration that counts for this opening.
    :param jobs: all jobs.
    :param left_out: those that are switched off.
    :raises NothingToLoadError: if there is nothing to load, or the run was started for a slice that is not the next.
    """
    _check_follows(state, request.follows)
    due = None if request.due is None else parse_date(request.due)
    if config.window is None and not request.catchup:
        return None
    limit = Limit(
        now=now,
        schedule=config.schedule,
        timezone=config.timezone,
        due=due,
        by_event=request.by_event,
        catchup=request.catchup,
        upstream=request.upstream,
    )
    shape = config.window
    if shape is None:
        if limit.own_interval is None:
            return None
        shape = WindowShape()
    at = {name: position(state.workflow, name, job, config) for name, job in jobs.items()}
    loaded = {name: loaded_until(state, name, job, at[name]) for name, job in jobs.items()}
    enabled = {name: end for name, end in loaded.items() if name not in left_out}
    found = next_slice(state.workflow, shape, enabled, limit)
    starts = {name: format_date(at[name].start) if name in found.ends else job.from_date for name, job in jobs.items()}
    return ShapedWindows(
        spans={name: (at[name].start, end) for name, end in found.ends.items()},
        more=found.more,
        loaded={name: [start, format_date(loaded[name])] for name, start in starts.items() if start is not None},
    )


def upstream_of(state: Snapshot, request: OpenRequest) -> Collection[str]:
    """Return the workflows whose extent the rule needs to open a batch with its next window."""
    if request.backfill or request.window is not None or state.own is not None:
        return ()
    config = state.config if request.config is None else request.config
    return () if config.window is None else config.window.workflows


def _check_follows(state: Snapshot, before: int | None) -> None:
    """Refuse a run that was started for the next slice, if the batch that has started it is not the last any more.

    A later batch starts the next slice itself when it succeeds, and a slice that fails waits for the next due run.
    """
    if before is None or (state.live_id == before and state.status == "success"):
        return
    latest = "no batch is known" if state.live_id is None else f"the last one is batch {state.live_id} ({state.status})"
    raise NothingToLoadError(
        f"{state.workflow}: there is nothing to load: this run was to take the slice after batch {before}, and "
        f"{latest}; the next due run goes on from there",
        code=NothingToLoad.SLICE_OVERTAKEN.value,
    )
