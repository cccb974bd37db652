# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The execution of a script, as a span and as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchy_provider.observability import events, traces

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_outcome import ExecutionOutcome
    from batchy_provider.core.values import Batch


class Watched:
    """One execution that is under way.

    :param workflow: whose script it is; the DAG's name outside of a workflow.
    """

    def __init__(self, span: traces.Span, workflow: str, job: str) -> None:
        self._span = span
        self._tags = {"workflow": workflow, "job": job}
        self.is_told = False

    def ended(self, outcome: ExecutionOutcome) -> None:
        """Tell how it ended."""
        self.is_told = True
        self._span.set(exit_code=outcome.exit_code, state=outcome.state, url=outcome.stored.url)
        if outcome.state == "failed":
            # The rest is what the script wrote to stderr, which is for the log and its masker alone.
            self._span.failed(outcome.reason.partition("\n")[0])
        events.emit(events.EXECUTED, 1, **self._tags, state=outcome.state)
        events.emit(events.EXECUTION_TIME, outcome.result.seconds, **self._tags, state=outcome.state)
        events.emit(events.OUTPUT, outcome.reference().get("bytes", 0), **self._tags)

    def broke(self) -> None:
        """Tell that it has no end of its own."""
        if not self.is_told:
            self._span.set(state="error")
            events.emit(events.EXECUTED, 1, **self._tags, state="error")


@contextmanager
def watched(workflow: str, job: str, batch: Batch | None, attempt: int) -> Iterator[Watched]:
    """Watch an execution; one that leaves the block without an end could not be run, or not be kept."""
    of_batch = {} if batch is None else traces.facts(batch)
    with traces.span("batchy.execution", **{**of_batch, "workflow": workflow, "job": job, "attempt": attempt}) as span:
        found = Watched(span, workflow, job)
        try:
            yield found
        except BaseException:
            found.broke()
            raise
