# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a script can read about its execution: `BATCHY_*` variables, and the JSON file behind `BATCHY_PARAMS`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchy_provider.bundles.errors import JobEnvironmentError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptContext:
    """All that a script can read about its execution.

    :param workflow: None outside of a workflow; then ``batch_id`` and the dates are None, too.
    :param from_date: start of the window, inclusive, as stored: naive UTC ISO 8601.
    :param to_date: end of the window, exclusive, likewise.
    :param attempt: 1 for the first try.
    :param run_id: id of the DAG run, or the name that the caller gives the run.
    :param params: the job's params.
    :param previous: earlier job → its state, exit code, output reference and values.
    :param input: where the input comes from: job, state, bytes; None: the job has no input.
    """

    job: str
    workflow: str | None = None
    batch_id: int | None = None
    from_date: str | None = None
    to_date: str | None = None
    attempt: int = 1
    run_id: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    input: Mapping[str, Any] | None = None

    def variables(self) -> dict[str, str]:
        """Return the plain variables. One without a value is empty, not missing: scripts run under `set -u`."""
        values = {
            "BATCHY_WORKFLOW": self.workflow,
            "BATCHY_JOB": self.job,
            "BATCHY_BATCH_ID": self.batch_id,
            "BATCHY_FROM_DATE": self.from_date,
            "BATCHY_TO_DATE": self.to_date,
            "BATCHY_ATTEMPT": self.attempt,
            "BATCHY_RUN_ID": self.run_id,
        }
        return {name: "" if value is None else str(value) for name, value in values.items()}

    def as_json(self) -> dict[str, Any]:
        """Return the content of the file behind `BATCHY_PARAMS`."""
        return {
            "workflow": self.workflow,
            "job": self.job,
            "batch_id": self.batch_id,
            "from_date": self.from_date,
            "to_date": self.to_date,
            "attempt": self.attempt,
            "run_id": self.run_id,
            "params": dict(self.params),
            "input": dict(self.input) if self.input is not None else None,
            "previous": {job: dict(facts) for job, facts in self.previous.items()},
        }


def write_params_file(script_context: ScriptContext, path: Path) -> None:
    """Write the file behind `BATCHY_PARAMS`.

    :raises JobEnvironmentError: JSON cannot hold one of the params.
    """
    try:
        text = json.dumps(script_context.as_json(), ensure_ascii=False, indent=1)
    except (TypeError, ValueError) as error:
        job = script_context.job
        raise JobEnvironmentError(f"The params of job {job} cannot be written as JSON: {error}.") from None
    path.write_bytes(text.encode("utf-8", "surrogatepass") + b"\n")
