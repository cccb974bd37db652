# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Describe a workflow's state in the archive or in Redis, for messages and reports."""

from __future__ import annotations

from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.unfinished_rename import Rename


def describe_archived(state: ArchivedState) -> str:
    """Return a short description of the archived state, for people."""
    return _describe(Snapshot(workflow=state.workflow, jobs=state.live), state.watermark)


def describe_redis(state: Snapshot) -> str:
    """Return a short description of the state in Redis, for people."""
    return _describe(state, None if state.last_success is None else state.last_success.to_date)


def renamed_text(state: ArchivedState) -> str:
    """Say that a rename of an archived state was interrupted, and what to do."""
    return Rename(old=state.workflow, new=state.renamed_to or "").text


def _describe(state: Snapshot, watermark: str | None) -> str:
    batch = "no batch" if state.live_id is None else f"batch {state.live_id}, {state.status}"
    return batch if watermark is None else f"{batch}, loaded up to {watermark}"
