# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A script's progress, on its way to the log, to Redis and to the metrics."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchy_provider.bundles.progress_lines import Progress
    from batchy_provider.core.values import Batch
    from batchy_provider.operators.bundle import BashBundleOperator

_PAUSE_SECONDS = 60.0


class ProgressKeeper:
    """Shows the script's progress in the log and keeps it in Redis; a fault there never harms the run."""

    def __init__(self, operator: BashBundleOperator, store: Any, batch: Batch | None) -> None:
        self._operator = operator
        self._store = store
        self._batch = batch
        self._not_before = -math.inf

    def __call__(self, progress: Progress) -> None:
        import datetime

        from batchy_provider.observability import events

        operator = self._operator
        if progress.progress is not None:
            workflow = operator.workflow or operator.dag_id
            events.emit(events.PROGRESS, progress.progress, workflow=workflow, job=operator.job)
        share = "" if progress.progress is None else f"{progress.progress:.0%} "
        operator.log.info("progress: %s%s", share, progress.message or "")
        now = time.monotonic()
        if self._store is None or self._batch is None or now < self._not_before:
            return
        report = {
            "batch_id": self._batch.batch_id,
            "progress": progress.progress,
            "message": progress.message,
            "at": datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds"),
        }
        try:
            self._store.set_progress(operator.workflow, operator.job, report)
        except Exception as error:
            # Each try may take as long as the connection's timeout, and the script's output waits meanwhile.
            self._not_before = now + _PAUSE_SECONDS
            operator.log.warning("The progress cannot be kept in Redis at the moment: %s", error)
