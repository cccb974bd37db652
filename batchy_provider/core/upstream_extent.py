# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide by its state how far a workflow has loaded its data."""

from __future__ import annotations

from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.statuses import status_of
from batchy_provider.core.upstream import LoadedUntil
from batchy_provider.core.windows import loaded_until, position


def extent(state: Snapshot) -> LoadedUntil:
    """Return how far all enabled jobs of a workflow have loaded their data, by live batches and without a gap.

    :raises BatchyError: if the state of a job cannot be read.
    """
    if not state.jobs:
        return LoadedUntil(None, why="is not in Redis: no batch of it was ever opened")
    least = LoadedUntil(None, why="has no job that is switched on")
    for name, job in state.jobs.items():
        if name in state.disabled | state.config.disabled:
            continue
        if status_of(state.workflow, name, job) != "success" and not state.ledger.get(name):
            return LoadedUntil(None, name, f"has not loaded anything yet (job {name})")
        end = loaded_until(state, name, job, position(state.workflow, name, job, state.config))
        if least.end is None or end < least.end:
            least = LoadedUntil(end, name)
    return least
