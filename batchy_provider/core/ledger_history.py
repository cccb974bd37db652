# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make the ledger from batches: where an earlier release, or the original server, has written the state without one.

The original server's batches come in when they are adopted, those of the archive when they are restored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from batchy_provider.core.dates import day_bounds
from batchy_provider.core.intervals import Interval
from batchy_provider.core.ledger import Ledger, Loaded, posted, windows_loaded
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.windows import position_or_none


def live_windows(state: Snapshot) -> Mapping[str, Interval]:
    """Return the windows of the jobs that succeeded in the latest batch that each was in.

    The original closes every job of the live state, also one that our batch has left out: that one has loaded nothing.
    """
    owner = state.owner
    jobs = state.jobs
    if owner is not None:
        own, left_out = str(owner.batch_id), owner.record.left_out
        jobs = {name: job for name, job in jobs.items() if name not in left_out or job.batch_name != own}
    return windows_loaded(jobs)


def still_loaded(state: Snapshot, batches: Iterable[StoredBatch]) -> list[Loaded]:
    """Return what batches of the past have loaded, less what a person has asked to load again since.

    :param state: the workflow as it is now.
    :param batches: in any order.
    """
    return _clipped([windows_loaded(batch.jobs, batch.left_out) for batch in batches], _load_again_from(state))


def ledger_of_history(state: Snapshot, batches: Iterable[StoredBatch], days: Iterable[str] = ()) -> Ledger:
    """Return the ledger of a workflow that has none yet, by all that is known of its past.

    :param state: the workflow as an earlier release, or the original server, has left it.
    :param batches: its history, in any order.
    :param days: ISO days, in the workflow's timezone, that pruned batches have loaded: no more is known of those.
    """
    wholes = [Interval(*day_bounds(day, state.config.timezone)) for day in days]
    pruned = _clipped([dict.fromkeys(state.jobs, whole) for whole in wholes], _load_again_from(state))
    return posted({}, [*pruned, *still_loaded(state, batches), Loaded(live_windows(state))])


def _load_again_from(state: Snapshot) -> dict[str, datetime]:
    """Return job → from where a person has asked to load again, unless a batch has succeeded since."""
    all_jobs = state.last_success is not None and state.last_success.batch_id == 0
    limits = {}
    for name, job in state.jobs.items():
        at = position_or_none(state.workflow, name, job, state.config)
        if at is None or job.from_date is None or job.status == "success":
            continue
        if all_jobs or job.status == "new":
            limits[name] = at.watermark
    return limits


def _clipped(windows: Iterable[Mapping[str, Interval]], limits: Mapping[str, datetime]) -> list[Loaded]:
    """Return the parts of windows that lie before the limit of their job."""
    return [
        Loaded({job: Interval(each.start, min(each.end, limits.get(job, each.end))) for job, each in some.items()})
        for some in windows
    ]
