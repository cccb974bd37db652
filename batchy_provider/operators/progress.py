# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Report a script's progress to the task log, to Redis and to the metrics; show its output in the task log."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchy_provider.bundles.progress_lines import Progress
    from batchy_provider.core.values import Batch

_PAUSE_SECONDS = 60.0


class ProgressReporter:
    """Report each progress line of a script. An error of Redis or of the metrics does not affect the script.

    :param log: the task's logger.
    :param store: where the workflow's state is; None outside of a workflow. ``batch`` likewise.
    :param workflow: whose script it is; the DAG's name outside of a workflow.
    """

    def __init__(self, log: Any, store: Any, batch: Batch | None, *, workflow: str, job: str) -> None:
        self._log = log
        self._store = store
        self._batch = batch
        self._workflow = workflow
        self._job = job
        self._not_before = -math.inf

    def __call__(self, progress: Progress) -> None:
        import datetime

        from batchy_provider.observability import metrics

        if progress.progress is not None:
            metrics.emit(metrics.PROGRESS, progress.progress, workflow=self._workflow, job=self._job)
        share = "" if progress.progress is None else f"{progress.progress:.0%} "
        self._log.info("progress: %s%s", share, progress.message or "")
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
            self._store.set_progress(self._workflow, self._job, report)
        except Exception as error:
            # Each attempt may take as long as the connection's timeout, and blocks the script's output.
            self._not_before = now + _PAUSE_SECONDS
            self._log.warning(
                "Redis does not store the progress: %s. The next try is in %d seconds.", error, _PAUSE_SECONDS
            )


def show_lines(log: Any, stream: str, lines: str) -> None:
    """Log all lines of a script that arrived together as one record.

    :param log: the task's logger.
    :param stream: ``stdout``, ``stderr``, or another word for a sentence of the runner.
    """
    if stream == "stdout":
        log.info("%s", lines)
    elif stream == "stderr":
        log.warning("%s", "stderr: " + lines.replace("\n", "\nstderr: "))
    else:
        log.warning("%s", lines)
