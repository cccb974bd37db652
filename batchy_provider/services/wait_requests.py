# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn a caller's request into a wait: for which day, since when a success counts, where the jobs are defined."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.core.dates import day_of, format_date, parse_date
from batchy_provider.core.holders import run_keys
from batchy_provider.core.waits import Wait
from batchy_provider.exceptions import UnknownWorkflowError

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.core.holders import Holder
    from batchy_provider.core.values import Batch
    from batchy_provider.state.store import Store


def make_wait(
    store: Store,
    workflow: str,
    *,
    jobs: Sequence[str] = (),
    within_seconds: float | None = None,
    is_any: bool = False,
    due: str | None = None,
    day: str | None = None,
    timezone: str | None = None,
    fail_on_failed: bool = False,
) -> Wait:
    """Return a wait with a fixed day, so that a wait that crosses midnight can end.

    :param within_seconds: a success that is at most this old counts.
    :param is_any: any success counts.
    :param due: everything up to the last due time at this moment or before it must be loaded: a date, ISO 8601 UTC, or
        ``now`` for the present moment by the server's clock.
    :param day: a success since this day began counts; ISO date; None for today by the server's clock.
    :param timezone: IANA name of the day's timezone; default is the workflow's.
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
    elif due is not None:
        moment = store.backend.server_time(workflow) if due == "now" else parse_date(due)
        given = {"scope": "due", "due": format_date(moment)}
    elif day is not None:
        given["day"] = parse_date(day).date().isoformat()
    else:
        given["day"] = day_of(store.backend.server_time(workflow), timezone)
    return Wait(workflow=workflow, jobs=tuple(jobs), timezone=timezone, fail_on_failed=fail_on_failed, **given)


_LOOKS_BACK = 500
_READ_AT_ONCE = 20


def own_last_success(store: Store, workflow: str, run: Holder, opened_since: datetime | None = None) -> str | None:
    """Return when a workflow opened its last live batch that succeeded.

    A success of another workflow after that is new to it. If its run was cleared, the batches of that run do not count,
    so that the run finds again what it found the first time.

    :param workflow: the workflow that waits.
    :param run: the run that waits.
    :param opened_since: a batch before this moment (naive UTC) is not of this run, but of a deleted one of its name.
    :returns: ISO 8601, UTC; None if there is none among its newest 500 batches.
    """

    def is_own(batch: Batch) -> bool:
        record = batch.record
        if record is None or record.run != run.run_name(workflow):
            return False
        if run.deployment is not None and record.deployment not in (None, run.deployment):
            return False
        return opened_since is None or parse_date(record.started) >= opened_since

    before = store.batch_of_run(workflow, *run_keys(workflow, run.dag_id or "", run.run_id or "", run.deployment))
    is_again = before is not None and is_own(before)
    found = None
    for offset in range(0, _LOOKS_BACK, _READ_AT_ONCE):
        batches = store.history(workflow, limit=_READ_AT_ONCE, offset=offset)
        for batch in batches:
            if is_own(batch):
                found = None
            elif found is None and batch.kind == "live" and batch.status == "success":
                found = batch.started
        if not batches or (found is not None and not is_again):
            break
    return found


def who_defines(workflow: str, folder: str | os.PathLike[str]) -> tuple[str, bool]:
    """Find out whether a file defines a workflow that Redis does not know.

    :param folder: the folder of workflow files.
    :returns: a sentence for the log, and whether a file defines the workflow.
    """
    from batchy_provider.config.diagnostics import did_you_mean
    from batchy_provider.config.reader import find_file, find_files

    if not Path(folder).is_dir():
        return f"{workflow}: whether a file defines it cannot be seen here: there is no folder {folder}", False
    if (path := find_file(folder, workflow)) is not None:
        return f"{workflow}: {path} defines it, and no batch of it was opened yet", True
    nearest = did_you_mean(workflow, (path.stem for path in find_files(folder)))
    return f"{workflow}: no file in {folder} defines it{nearest or '; is the name right?'}", False
