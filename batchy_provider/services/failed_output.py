# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find how a failed job ended: its exit code and the last line that it wrote to stderr, from the result store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING

from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.open_batch_causes import failed_jobs
from batchy_provider.plan.why_facts import FailedJob

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_record import StoredExecution
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.core.workflow_state import WorkflowState

_TAIL_BYTES = 4096
_MOST_CHARACTERS = 300
_REMEMBERED = 1000


class FailedOutput:
    """Read how jobs failed. A batch that is closed does not change any more, so that each is read once.

    :param results: returns the result store.
    """

    def __init__(self, results: Callable[[], ResultStore]) -> None:
        self._results = results
        self._known: OrderedDict[tuple[str, int, str, str | None], FailedJob] = OrderedDict()
        self._lock = Lock()

    def of(self, state: WorkflowState, *, if_fast: bool = False) -> FailedJob | None:
        """Return the first job that has failed in the latest batch of a workflow.

        :param if_fast: read the result store only if it is a folder of this machine.
        :returns: None if no job has failed; what the result store does not have is None in it.
        """
        jobs = failed_jobs(state)
        if not jobs or state.batch is None:
            return None
        key = (state.workflow, state.batch.batch_id, jobs[0], state.batch.batch_end)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                return known
        try:
            results = self._results()
            if if_fast and not results.is_local:
                return FailedJob(job=jobs[0])
            found = _failed_job(results.latest(state.workflow, jobs[0], str(state.batch.batch_id)), jobs[0])
        except (BatchyError, OSError):
            # There is no such execution, or no result store here: what is known without them is said.
            return FailedJob(job=jobs[0])
        with self._lock:
            self._known[key] = found
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found


def _failed_job(execution: StoredExecution, job: str) -> FailedJob:
    record: Mapping[str, object] = execution.record
    code, reason = record.get("exit_code"), record.get("reason")
    first_line = str(reason).strip().splitlines()[:1] if reason else []
    return FailedJob(
        job=job,
        exit_code=code if isinstance(code, int) else None,
        reason=first_line[0][:_MOST_CHARACTERS] if first_line else None,
        last_line=_last_line(execution),
        attempt=str(record["attempt"]) if record.get("attempt") is not None else None,
    )


def _last_line(execution: StoredExecution) -> str | None:
    facts = execution.record["contents"].get("stderr")
    if not facts or not facts["bytes"]:
        return None
    with execution.open("stderr") as file:
        file.seek(max(0, facts["bytes"] - _TAIL_BYTES))
        text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]
    return lines[-1][-_MOST_CHARACTERS:] if lines else None
