# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide whether somebody holds the open batch, who may close it, and how a lease on it is renewed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.holders import Holder, Lease, Sighting
from batchy_provider.core.presenters import live_batch, stored_batch
from batchy_provider.core.snapshot import Change, Decision, Snapshot
from batchy_provider.core.values import Batch, CloseRequest, OpenRequest
from batchy_provider.exceptions import BatchHeldError


def has_lease(state: Snapshot, now: datetime) -> bool:
    """Tell whether a live lease holds the open batch."""
    lease = state.lease
    return lease is not None and state.is_open and lease.batch_id == state.live_id and parse_date(lease.until) > now


def since(state: Snapshot) -> str:
    """Say since when the live batch is open, and by whom."""
    return f"batch {state.live_id} is open since {live_batch(state).started} UTC, by {state.holder}"


def check_free(state: Snapshot, request: OpenRequest, sighting: Sighting | None, now: datetime) -> None:
    """Check that nobody holds the open batch, or that the request takes it over.

    :param sighting: what the caller's machine sees of the process that holds it; None if nobody looked.
    :raises BatchHeldError: if somebody holds it.
    """
    holder, live_id = state.holder, state.live_id
    if live_id is None or request.if_open == "take_over" or request.gone == live_id:
        return
    remedy = (
        f"Wait until it has been closed, close it yourself (`batchy close {state.workflow} --batch {live_id}` or "
        f"`batchy fail {state.workflow} --batch {live_id}`), or open with if_open take_over (`--take-over`)"
    )
    if holder.is_run:
        if _is_earlier_run_of_this_name(holder, request):
            return
        if holder.is_elsewhere(request.holder):
            remedy = (
                f"That is a run of the Airflow {holder.deployment!r}, and this is the Airflow "
                f"{request.holder.deployment!r}, which cannot ask about it. {remedy}"
            )
    elif has_lease(state, now):
        assert state.lease is not None
        remedy = f"Its lease ends at {state.lease.until} UTC, unless it is renewed. {remedy}"
    elif sighting is not None and sighting.state == "alive":
        remedy = f"That process still runs. {remedy}"
    else:
        return
    raise BatchHeldError(f"{state.workflow}: {since(state)}. {remedy}", holder=holder, batch_id=live_id)


def _is_earlier_run_of_this_name(holder: Holder, request: OpenRequest) -> bool:
    """Tell whether the holder is a run that was deleted, whose name the asking run has got."""
    mine = request.holder
    is_same = (holder.dag_id, holder.run_id) == (mine.dag_id, mine.run_id) and not holder.is_elsewhere(mine)
    return is_same and request.opened_since is not None


def never_closed(state: Snapshot, sighting: Sighting | None) -> str:
    """Return the warning of an opening that takes over a batch that is still open."""
    text = f"{since(state)}, and was never closed; its window is taken over"
    if state.holder.process is not None and sighting is not None and sighting.state == "unknown":
        text += ". Whether that process still runs cannot be seen from here: make sure that it does not"
    return text


def check_closer(state: Snapshot, request: CloseRequest, sighting: Sighting | None, now: datetime) -> None:
    """Check that the caller has opened the batch that it closes without naming it.

    :raises BatchHeldError: if another one has opened it.
    """
    holder, closer = state.holder, request.closer
    if closer is None or request.batch_id is not None or not state.is_open or state.live_id is None:
        return
    if _has_opened(holder, closer, sighting):
        return
    if not (holder.is_run or holder.process is not None or holder.by or has_lease(state, now)):
        # The original, or a program that says nothing of itself: nobody can tell callers apart.
        return
    done = "close" if request.result == "success" else "fail"
    raise BatchHeldError(
        f"{state.workflow}: {since(state)}, and not by the caller of this `batchy {done}`. Nothing was changed. "
        f"If it is to be closed all the same: `batchy {done} {state.workflow} --batch {state.live_id}`",
        holder=holder,
        batch_id=state.live_id,
    )


def _has_opened(holder: Holder, closer: Holder, sighting: Sighting | None) -> bool:
    if holder.is_run:
        return False
    mine, theirs = closer.process, holder.process
    if theirs is None:
        # An earlier release, REST, or a system that does not identify processes.
        return holder.by is not None and holder.by == closer.by
    if mine is None or sighting is None or sighting.process is None or mine.place != theirs.place:
        return False
    return sighting.process in mine.chain


def lease_of(batch_id: int, seconds: float, now: datetime) -> Lease:
    """Return a lease from now on."""
    return Lease(batch_id, format_date(now + timedelta(seconds=seconds)))


def renew_lease(state: Snapshot, batch_id: int, seconds: float, now: datetime) -> Decision[Batch]:
    """Renew the lease of a batch, if it is still open.

    A lease that has run out is renewed too, as long as nobody has taken the batch over.

    :param state: with the batch as `state.own`.
    :returns: the batch; its lease is lost if it is not open any more.
    """
    own = state.own
    if state.is_open and state.live_id == batch_id:
        return Decision(live_batch(state), Change(lease=lease_of(batch_id, seconds, now)))
    assert own is not None
    batch = stored_batch(state.workflow, own)
    if batch.kind == "live" and batch.status == "open":
        batch = replace(batch, status="failed")  # the original has opened over it; its end is not recorded yet
    return Decision(batch)
