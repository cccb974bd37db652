# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Waits that are asked for by hand: which day is meant, and how it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from batchy_provider.batches.dates import day_of, from_unix, parse_date
from batchy_provider.batches.transaction import read
from batchy_provider.batches.waiting import Verdict, Wait, ask
from batchy_provider.exceptions import UnknownWorkflowError

if TYPE_CHECKING:
    from batchy_provider.batches.store import BatchStore


def make_wait(
    store: BatchStore,
    workflow: str,
    *,
    jobs: Sequence[str] = (),
    within_seconds: float | None = None,
    is_any: bool = False,
    day: str | None = None,
    timezone: str | None = None,
    fail_on_failed: bool = False,
) -> Wait:
    """
    Return what somebody waits for, its day settled: one that crosses midnight still ends.

    :param within_seconds: a success of the last so many seconds counts.
    :param is_any: any success counts.
    :param day: a success since that day began counts; by default the day that it is now, by the server's clock.
    :param timezone: IANA name of the day's timezone; by default the workflow's.
    """
    if timezone is None:
        try:
            timezone = store.status(workflow).timezone
        except UnknownWorkflowError:  # it may be created while we wait
            timezone = "UTC"
    given: dict[str, Any] = {"scope": "today"}
    if within_seconds is not None:
        given = {"scope": "within", "within_seconds": within_seconds}
    elif is_any:
        given = {"scope": "any"}
    elif day is not None:
        given["day"] = parse_date(day).date().isoformat()
    else:
        ((seconds, micros),) = read(store.client, store.keys(workflow).live, ("TIME",))
        given["day"] = day_of(from_unix(int(seconds), int(micros)), timezone)
    return Wait(workflow=workflow, jobs=tuple(jobs), timezone=timezone, fail_on_failed=fail_on_failed, **given)


def look(store: BatchStore, wait: Wait) -> Verdict:
    """Say how a wait stands."""
    return ask(store.client, store.keys(wait.workflow), wait)
