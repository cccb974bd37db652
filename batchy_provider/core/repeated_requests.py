# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Recognize a run or a request that has opened its batch before, for example because the reply was lost."""

from __future__ import annotations

from dataclasses import replace

from batchy_provider.core.presenters import live_batch, stored_batch
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.values import Batch, OpenRequest, run_key

_REQUEST = "request:"
_WHOLE = "@"
"""Begins the key of a run that names its Airflow deployment and its DAG: the same under each name of a workflow."""


def request_key(workflow: str, request: OpenRequest) -> str | None:
    """Return the key of a request in ``wf:runs``, by which the same request finds its batch again; None without one.

    A person's or program's live batch is known by its owner; its one-off loads are many.
    """
    if (run := request.holder.run_key(workflow)) is not None:
        return run
    one_off = request.backfill or (request.window is not None and not request.move_watermark)
    return f"{_REQUEST}{request.holder.token}" if one_off else None


def renamed_run(run: str, old: str, new: str) -> str:
    """Return the key of a run or request after its workflow was renamed: it names the same run of the same DAG.

    So a run of a DAG with the new name is never taken for a run of the DAG with the old name.
    """
    if run.startswith((_REQUEST, _WHOLE)):
        return run
    dag_id, slash, run_id = run.partition("/")
    return run_key(new, dag_id, run_id) if slash else run_key(new, old, run)


def already_open(state: Snapshot, request: OpenRequest) -> Batch | None:
    """Return the batch that this same request, or its run, has opened already and that is still open."""
    mine = state.own
    if state.is_open and state.live_id is not None:
        same_run = mine is not None and mine.batch_id == state.live_id
        same_request = bool(request.holder.token) and state.holder.token == request.holder.token
        if same_run or same_request:
            return replace(live_batch(state), reused=True)
    if mine is not None and mine.is_open and mine.record is not None and mine.record.kind == "history":
        return replace(stored_batch(state.workflow, mine), reused=True)
    return None
