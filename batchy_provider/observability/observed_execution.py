# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Report the execution of a script as a span and as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchy_provider.observability import metrics, traces

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_outcome import ExecutionOutcome
    from batchy_provider.core.values import Batch


class ObservedExecution:
    """An execution of a script, from its start to its report.

    :param workflow: the workflow that the script belongs to; the DAG's name if it belongs to none.
    """

    def __init__(self, span: traces.Span, workflow: str, job: str) -> None:
        self._span = span
        self._tags = {"workflow": workflow, "job": job}
        self._has_ended = False

    def ended(self, outcome: ExecutionOutcome) -> None:
        """Report how the execution ended."""
        self._has_ended = True
        self._span.set(exit_code=outcome.exit_code, state=outcome.state, url=outcome.stored.url)
        if outcome.state == "failed":
            # Not the reason: what the script wrote belongs in the log only.
            self._span.failed(outcome.summary)
        metrics.emit(metrics.EXECUTED, 1, **self._tags, state=outcome.state)
        metrics.emit(metrics.EXECUTION_TIME, outcome.result.seconds, **self._tags, state=outcome.state)
        metrics.emit(metrics.OUTPUT, outcome.reference().get("bytes", 0), **self._tags)

    def broke(self) -> None:
        """Report that the execution could not run, or that its result could not be stored."""
        if not self._has_ended:
            self._span.set(state="error")
            metrics.emit(metrics.EXECUTED, 1, **self._tags, state="error")


@contextmanager
def observe(workflow: str, job: str, batch: Batch | None, attempt: int) -> Iterator[ObservedExecution]:
    """Make a span of the execution that runs in the block, and report an error that leaves it.

    :param workflow: the workflow that the script belongs to; the DAG's name if it belongs to none.
    :param batch: None if the script belongs to no workflow.
    :param attempt: Airflow's number of the try.
    """
    of_batch = {} if batch is None else traces.batch_attributes(batch)
    with traces.span("batchy.execution", **{**of_batch, "workflow": workflow, "job": job, "attempt": attempt}) as span:
        execution = ObservedExecution(span, workflow, job)
        try:
            yield execution
        except BaseException:
            execution.broke()
            raise
