# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Recognize a run or a request that has opened its batch before, for example because the reply was lost."""

from __future__ import annotations

from dataclasses import replace

from batchy_provider.core.dates import parse_date
from batchy_provider.core.holders import NAMED, run_key
from batchy_provider.core.presenters import live_batch, stored_batch
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.values import Batch, OpenRequest

_REQUEST = "request:"


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
    if run.startswith((_REQUEST, NAMED)):  # a key with the name of an Airflow names the DAG, too
        return run
    dag_id, slash, run_id = run.partition("/")
    return run_key(new, dag_id, run_id) if slash else run_key(new, old, run)


def with_own(state: Snapshot, request: OpenRequest) -> Snapshot:
    """Return the state without a batch that has the run's key but is not this run's.

    An earlier run of the same name has opened it, which Airflow has deleted since, perhaps with its DAG. Or the run's
    own batch was pruned, and another one has got its id.
    """
    own = state.own
    if own is None or not request.holder.is_run:
        return state
    if own.record is not None and own.record.run not in (None, request.holder.run_name(state.workflow)):
        return replace(state, own=StoredBatch(own.batch_id, {}, None))
    return state if earlier_of_this_name(state, request) is None else replace(state, own=None)


def earlier_of_this_name(state: Snapshot, request: OpenRequest) -> StoredBatch | None:
    """Return the batch of an earlier run of the same name that Airflow has deleted since; None if there is none."""
    own = state.own
    if own is None or own.record is None or request.opened_since is None:
        return None
    return own if parse_date(own.record.started) < request.opened_since else None


def already_open(state: Snapshot, request: OpenRequest) -> Batch | None:
    """Return the batch that this same request, or its run, has opened already and that is still open."""
    mine = with_own(state, request).own
    if state.is_open and state.live_id is not None:
        same_run = mine is not None and mine.batch_id == state.live_id
        same_request = bool(request.holder.token) and state.holder.token == request.holder.token
        if same_run or same_request:
            return replace(live_batch(state), reused=True)
    if mine is not None and mine.is_open and mine.record is not None and mine.record.kind == "history":
        return replace(stored_batch(state.workflow, mine), reused=True)
    return None


def why_not_its_window(workflow: str, request: OpenRequest, earlier: StoredBatch) -> str:
    """Say why a run does not take the window of the batch that an earlier run of its name has opened."""
    batch = stored_batch(workflow, earlier)
    return (
        f"an earlier {request.holder.name} has opened batch {batch.batch_id} at {batch.started} UTC and was deleted in "
        "Airflow since, perhaps with its DAG. This run is a new one: it takes the next window, and does not load the "
        "window of that batch again. To load it again, trigger a run with the conf "
        f'{{"from_date": "{batch.from_date}", "to_date": "{batch.to_date}"}}'
    )
