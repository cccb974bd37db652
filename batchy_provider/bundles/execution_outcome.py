# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How an execution ended: its state and the reason for it, from the exit code and from what the script left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchy_provider.bundles.execution_record import StoredExecution
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.run_result import BACKGROUND_TIMEOUT, RunResult
from batchy_provider.bundles.script import SCRIPT

SKIP_EXIT_CODE = 99
TAIL_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOutcome:
    """How an execution ended.

    :param state: ``success``, ``skipped`` or ``failed``.
    :param exit_code: 0 to 255; 128 + n after signal n.
    :param summary: why it has this state, without what the script wrote.
    :param reason: the summary, with the last lines of stderr if the script failed.
    :param stored: the execution in the result store.
    :param values: content of each ``NAME.json`` of `BATCHY_OUTPUT_DIR`, masked.
    :param result: how the script's processes ended.
    :param notices: sentences for people: what the script left that is not stored.
    """

    state: str
    exit_code: int
    summary: str
    reason: str
    stored: StoredExecution
    values: Mapping[str, Any]
    result: RunResult
    notices: Sequence[str] = ()

    def reference(self) -> dict[str, Any]:
        """Return what a later job needs to find the output: ``{url, bytes, sha256}`` and the names of the values."""
        reference = self.stored.reference()
        return {**reference, "values": sorted(self.values)} if self.values else reference


def state_of(result: RunResult, problems: Sequence[str]) -> str:
    """Return the state of an execution: ``success``, ``skipped`` or ``failed``.

    :param problems: what is wrong with the output or the values of the script.
    """
    if result.ended != "exit":
        return "failed"
    if result.exit_code == SKIP_EXIT_CODE:
        return "skipped"
    return "success" if result.exit_code == 0 and not problems else "failed"


def failed_by_itself(result: RunResult) -> bool:
    """Tell whether the script failed or was stopped, whatever its output is."""
    return result.ended != "exit" or result.exit_code not in (0, SKIP_EXIT_CODE)


def reason_of(result: RunResult, problems: Sequence[str], request: ExecutionRequest) -> str:
    """Return the summary of an execution, with the last lines of stderr if the script failed; see `summary_of`."""
    summary = summary_of(result, problems, request)
    if not failed_by_itself(result):
        return summary
    tail = "\n".join(result.stderr_tail.rstrip().split("\n")[-TAIL_LINES:])
    return f"{summary} The last lines of stderr:\n{tail}" if tail else f"{summary} It wrote nothing to stderr."


def summary_of(result: RunResult, problems: Sequence[str], request: ExecutionRequest) -> str:
    """Say why an execution has its state, for people; see `state_of`.

    :param problems: what is wrong with the output or the values of the script.
    """
    by_signal = f" (signal {result.signal})" if result.signal else ""
    if result.ended == "timeout":
        text = f"{SCRIPT} was stopped after {result.seconds:.1f} s: it reached its time limit"
    elif result.ended == BACKGROUND_TIMEOUT:
        processes = ", ".join(result.background[:TAIL_LINES]) or "a process"
        text = (
            f"{SCRIPT} ended with exit code {result.exit_code}, but left work in the background that did not end "
            f"within {request.background_timeout:,.0f} s and was stopped: {processes}. Let the script `wait` for it, "
            "or stop it when it is not needed any more; `background_timeout` says how long it may take"
        )
    elif result.ended == "output_limit":
        text = f"{SCRIPT} was stopped: it wrote more than {request.max_output_bytes:,} bytes, which is the limit"
    elif result.ended != "exit":
        text = f"{SCRIPT} was stopped: {result.ended}"
    elif result.exit_code == SKIP_EXIT_CODE:
        return f"{SCRIPT} asked to be skipped: exit code {SKIP_EXIT_CODE}."
    elif result.exit_code:
        text = f"{SCRIPT} failed: exit code {result.exit_code}"
    elif problems:
        return " ".join(problems)
    else:
        return f"{SCRIPT} succeeded in {result.seconds:.1f} s."
    return f"{text}{by_signal}."
