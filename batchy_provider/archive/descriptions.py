# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Describe a workflow's state in the archive or in Redis, for messages and reports."""

from __future__ import annotations

from batchy_provider.archive.entries import ArchivedState
from batchy_provider.core.job_state import job_states
from batchy_provider.core.snapshot import Snapshot


def what_kept(kept: ArchivedState) -> str:
    """Return a short description of the archived state, for people."""
    return _what(Snapshot(workflow=kept.workflow, jobs=job_states(kept.live)), kept.watermark)


def what_redis_has(state: Snapshot) -> str:
    """Return a short description of the state in Redis, for people."""
    return _what(state, None if state.last_success is None else state.last_success.to_date)


def _what(state: Snapshot, watermark: str | None) -> str:
    batch = "no batch" if state.live_id is None else f"batch {state.live_id}, {state.status}"
    return batch if watermark is None else f"{batch}, loaded up to {watermark}"
