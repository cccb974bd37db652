# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Start the run of the next slice after a batch whose window was cut, and read what such a run was started for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchy_provider.compat import start_run

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch
    from batchy_provider.operators.dag_run import Run

log = logging.getLogger(__name__)

CONF_SLICE = "batchy_slice"
"""Key in a run's conf: the run was started for the slice after a batch."""


@dataclass(frozen=True, slots=True)
class SliceOf:
    """What a run was started for.

    :param follows: id of the batch whose end has started it; None if it was started for no slice.
    :param due: when the first run of these slices was due, ISO 8601 UTC.
    :param by_event: the success of another workflow had started that run.
    :param catchup: that run was one of those that were missed.
    """

    follows: int | None = None
    due: str | None = None
    by_event: bool = False
    catchup: bool = False

    @classmethod
    def of(cls, run: Run, *, dag_catchup: bool) -> SliceOf:
        """Read it from a run.

        :param dag_catchup: whether Airflow makes the runs of the DAG that were missed.
        """
        given = run.conf.get(CONF_SLICE)
        if not isinstance(given, dict) or type(given.get("after")) is not int:
            return cls(due=run.due(), by_event=run.is_by_event, catchup=dag_catchup and run.is_scheduled)
        due = given.get("due")
        return cls(
            given["after"],
            due if isinstance(due, str) else run.due(),
            by_event=given.get("event") is True,
            catchup=given.get("catchup") is True,
        )


def is_due(batch: Batch) -> bool:
    """Tell whether more data is to be loaded at once after a batch."""
    return batch.kind == "live" and batch.status == "success" and batch.record is not None and batch.record.more is True


def start_next_slice(run: Run, batch: Batch, *, dag_catchup: bool) -> None:
    """Start the run of the next slice. An error does not make the batch fail: the next due run goes on from there.

    The run id follows from the batch, so a task that is tried again does not start a second run.
    """
    start = (batch.to_date or "").partition(".")[0]
    run_id = f"slice__{start}__after_{batch.batch_id}"
    before = SliceOf.of(run, dag_catchup=dag_catchup)
    following: dict[str, Any] = {"after": batch.batch_id, "due": before.due, "catchup": before.catchup}
    if before.by_event:
        following["event"] = True
    more = f"More data is left from {batch.to_date} UTC on"
    try:
        is_new = start_run(run.dag_id, run_id, {**run.conf, CONF_SLICE: following})
    except Exception as error:
        log.warning(
            "%s, and the run of the next slice could not be started: %s. The next due run goes on from there.",
            more,
            error,
        )
        return
    log.info("%s: run %s %s.", more, run_id, "is started" if is_new else "was started before")
