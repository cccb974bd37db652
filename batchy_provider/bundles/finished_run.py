# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn a script that has ended into the record to store and the outcome for the caller."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchy_provider.bundles.bundle_cache import FetchedBundle
from batchy_provider.bundles.execution_outcome import (
    ExecutionOutcome,
    failed_by_itself,
    reason_of,
    state_of,
    summary_of,
)
from batchy_provider.bundles.execution_record import StoredExecution
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.output_folder import FILES, OUTPUT_PROBLEM, CollectedOutput
from batchy_provider.bundles.run_result import RunResult
from batchy_provider.bundles.skipped_files import SkippedFile, new_files_notices, skipped_notices


def utc_now() -> str:
    """Return the present time as the record has it: UTC, ISO 8601, with microseconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """What is known when a script has ended.

    :param result: how its processes ended.
    :param started: when it was started, see `utc_now`.
    :param fetched: its bundle; None if it ran a command.
    :param collected: the files that it left.
    :param values: content of each ``NAME.json``, masked.
    :param values_problem: what is wrong with a ``NAME.json``; None if all are right.
    :param new_files: files that it made in its working copy, sorted.
    :param masker: masks secrets in all texts of the record.
    """

    request: ExecutionRequest
    result: RunResult
    started: str
    fetched: FetchedBundle | None
    collected: CollectedOutput
    values: Mapping[str, Any]
    values_problem: str | None
    new_files: Sequence[str]
    masker: Masker

    def record(self, skipped: Sequence[SkippedFile]) -> dict[str, Any]:
        """Return the record, without what the result store adds.

        :param skipped: files that the store did not take; ``output`` or ``files/…``.
        """
        problems = self._problems(skipped)
        files = [*self.collected.skipped, *_files_of(skipped)]
        notices = [
            # If the script exited with 0, these problems are the reason; see `summary_of`.
            *(problems if self.result.ended != "exit" or self.result.exit_code else ()),
            *self.collected.notices,
            *skipped_notices(files),
            *new_files_notices(self.new_files, self.masker),
        ]
        result, fetched = self.result, self.fetched
        return {
            "run_id": self.request.script_context.run_id,
            "state": state_of(result, problems),
            "reason": self.masker.text(reason_of(self.result, problems, self.request)),
            "notices": [self.masker.text(notice) for notice in notices],
            "ended": result.ended,
            "exit_code": result.exit_code,
            "signal": result.signal,
            "killed": result.killed,
            "started": self.started,
            "finished": utc_now(),
            "seconds": round(result.seconds, 3),
            "cpu_seconds": round(result.cpu_seconds, 3),
            "max_rss_bytes": result.max_rss_bytes,
            "host": socket.gethostname(),
            "masked": {"stdout": result.stdout_masked, "stderr": result.stderr_masked},
            "bundle": None if fetched is None else {"name": self.masker.text(fetched.name), "sha256": fetched.sha256},
        }

    def outcome(self, stored: StoredExecution) -> ExecutionOutcome:
        """Return the outcome.

        :param stored: the execution, with a record that `record` made.
        """
        record, contents = stored.record, stored.record["contents"]
        # Only of a script that did not fail by itself, problems of its output are the reason.
        is_own = failed_by_itself(self.result)
        summary = self.masker.text(summary_of(self.result, (), self.request)) if is_own else record["reason"]
        return ExecutionOutcome(
            state=record["state"],
            exit_code=self.result.exit_code,
            summary=summary,
            reason=record["reason"],
            stored=stored,
            values={name: value for name, value in self.values.items() if f"{FILES}/{name}.json" in contents},
            result=self.result,
            notices=tuple(record["notices"]),
        )

    def _problems(self, skipped: Sequence[SkippedFile]) -> list[str]:
        """Return what is wrong with the output and the values: sentences that fail a script that succeeded."""
        output_problem = self.collected.output_problem
        for each in skipped:
            if each.name == "output":
                output_problem = each.reason
        problems = [OUTPUT_PROBLEM.format(output_problem)] if output_problem else []
        return [*problems, self.values_problem] if self.values_problem else problems


def _files_of(skipped: Sequence[SkippedFile]) -> list[SkippedFile]:
    return [replace(each, name=each.name.removeprefix(f"{FILES}/")) for each in skipped if each.name != "output"]
