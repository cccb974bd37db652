# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The XComs of a script's execution: its own task pushes them, later tasks of the run pull them.

- The return value is a reference to the stored output: ``url``, ``bytes``, ``sha256`` and the names of the values.
- ``exit_code``, and each ``NAME.json`` of the script as ``NAME``.
- A task that does not succeed returns nothing. Its reference is under ``batchy.output``, and under ``output`` too
  unless the script left an ``output.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batchy_provider.operators.task_instances import states_of, worst_of

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_outcome import ExecutionOutcome

REFERENCE_KEYS = frozenset(("url", "bytes", "sha256"))
_REFERENCE = "batchy.output"
"""XCom of a task that did not succeed; no value of a script can have this name."""
_OUTPUT = "output"
_EXIT_CODE = "exit_code"
_WORST_FIRST = ("failed", "upstream_failed", "success", "skipped", "removed")
"""States of a mapped task's instances: the first one that occurs is the state of the task."""


def push_outcome(ti: Any, outcome: ExecutionOutcome) -> None:
    """Push what later tasks need, except for the return value.

    :param ti: the running task's instance.
    """
    ti.xcom_push(key=_EXIT_CODE, value=outcome.exit_code)
    for name, value in outcome.values.items():
        if value is not None:  # Airflow refuses to store None; a missing XCom reads as None
            ti.xcom_push(key=name, value=value)
    if outcome.state != "success":
        reference = outcome.reference()
        ti.xcom_push(key=_REFERENCE, value=reference)
        if _OUTPUT not in outcome.values:
            ti.xcom_push(key=_OUTPUT, value=reference)


def pull_previous(ti: Any, tasks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return state, exit code, output and values of earlier tasks of this run, by task.

    :param ti: the running task's instance.
    :param tasks: ids of any tasks of the DAG, whatever their operators.
    """
    if not tasks:
        return {}
    states = states_of(ti, ti.dag_id, ti.run_id, tasks)
    previous = {}
    for task in tasks:
        state = worst_of(states[task], _WORST_FIRST)
        returned = ti.xcom_pull(task_ids=task) if state == "success" else None
        output: Any = returned if _is_reference(returned) else _failed_output(ti, task)
        names = output.get("values", []) if _is_reference(output) else []
        previous[task] = {
            "state": "aborted" if state in (None, "upstream_failed", "removed") else str(state),
            "exit_code": ti.xcom_pull(task_ids=task, key=_EXIT_CODE),
            "output": {key: output[key] for key in sorted(REFERENCE_KEYS)} if _is_reference(output) else None,
            "values": {name: ti.xcom_pull(task_ids=task, key=name) for name in names},
        }
    return previous


def pull_input(ti: Any, task: str) -> Mapping[str, Any] | bytes:
    """Return the output of a task that succeeded, as the input of another.

    :param ti: the running task's instance.
    :returns: a reference to a stored output. If the task is of another operator: what it returned, as bytes; text as
        it is, everything else as JSON.
    """
    returned: Any = ti.xcom_pull(task_ids=task)
    if _is_reference(returned):
        reference: Mapping[str, Any] = returned
        return reference
    if returned is None:
        return b""
    if isinstance(returned, str):
        return returned.encode("utf-8", "surrogateescape")
    return json.dumps(returned, ensure_ascii=False, default=str).encode()


def _failed_output(ti: Any, task: str) -> Any:
    """Return the reference of a task that did not succeed. A script may have left a value of its own as ``output``."""
    found = ti.xcom_pull(task_ids=task, key=_REFERENCE)
    return ti.xcom_pull(task_ids=task, key=_OUTPUT) if found is None else found


def _is_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() >= REFERENCE_KEYS
