# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The XComs of a script's execution: its own task pushes them, later tasks of the run read them.

- The return value is a reference to the stored output: ``url``, ``bytes``, ``sha256`` and the names of the values.
- ``exit_code``, unless the script succeeded and nothing in the DAG can read it.
- Each ``NAME.json`` of the script, as ``NAME``.
- A task that does not succeed returns nothing. Its reference is under ``batchy.output``, and under ``output`` too
  unless the script left an ``output.json``.

In a batch, Redis has a copy of them. So a task reads those of all earlier tasks at once, and not with some calls of
Airflow's API for each. XCom answers where Redis has no copy: for tasks of other operators, after a person has changed
the state of a task, in another batch of the same run, or after Redis has lost its data.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batchy_provider.exceptions import BatchyError
from batchy_provider.operators.task_instances import States, states_of, worst_of

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_outcome import ExecutionOutcome
    from batchy_provider.core.values import Batch
    from batchy_provider.state.job_outputs import Instance, JobOutputs
    from batchy_provider.state.store import Store

REFERENCE_KEYS = frozenset(("url", "bytes", "sha256"))
_REFERENCE = "batchy.output"
"""XCom of a task that did not succeed; no value of a script can have this name."""
_OUTPUT = "output"
_EXIT_CODE = "exit_code"
_RETURN = "return_value"
_WORST_FIRST = ("failed", "upstream_failed", "success", "skipped", "removed")
"""States of a mapped task's instances: the first one that occurs is the state of the task."""
_PLAIN_BACKEND = "BaseXCom"

_log = logging.getLogger(__name__)


def outputs_of(store: Store | None, batch: Batch | None) -> JobOutputs | None:
    """Return Redis' copies of the XComs of a batch; None if there are none.

    Where the site has an XCom backend of its own, that one decides where values are stored, and in which form.
    """
    from airflow.providers.common.compat.sdk import conf

    backend = conf.get("core", "xcom_backend", fallback=_PLAIN_BACKEND)
    if store is None or batch is None or backend.rpartition(".")[2] != _PLAIN_BACKEND:
        return None
    return store.job_outputs(batch.workflow, batch.batch_id)


def begin(ti: Any, outputs: JobOutputs | None) -> None:
    """Remove the copy that an earlier try of a task has left. Airflow has removed its XComs.

    :param ti: the running task's instance.
    """
    if outputs is None or ti.try_number == 1:
        return
    try:
        outputs.forget([_instance(ti)])
    except BatchyError as error:
        _log.info("Redis still has what an earlier try of this task left: %s", error)


def push_outcome(
    ti: Any, outcome: ExecutionOutcome, outputs: JobOutputs | None = None, *, is_exit_code_read: bool = True
) -> None:
    """Push what later tasks need, except for the return value, and copy all to Redis.

    :param ti: the running task's instance.
    :param is_exit_code_read: whether a task may read the XCom with the exit code of a script that succeeded.
    """
    xcoms: dict[str, Any] = {_EXIT_CODE: outcome.exit_code}
    # Airflow refuses to store None; a missing XCom reads as None.
    xcoms |= {name: value for name, value in outcome.values.items() if value is not None}
    reference = outcome.reference()
    if outcome.state != "success":
        xcoms[_REFERENCE] = reference
        if _OUTPUT not in outcome.values:
            xcoms[_OUTPUT] = reference
    for key, value in xcoms.items():
        if key != _EXIT_CODE or outcome.state != "success" or is_exit_code_read:
            ti.xcom_push(key=key, value=value)
    if outputs is None:
        return
    if outcome.state == "success":
        xcoms[_RETURN] = reference
    try:
        outputs.save(_instance(ti), {"state": outcome.state, "xcoms": xcoms})
    except BatchyError as error:
        _log.info("Redis has no copy of what this task left, so later tasks read its XComs: %s", error)


class EarlierTasks:
    """What earlier tasks of a run have left for the running one.

    :param ti: the running task's instance.
    :param tasks: ids of any tasks of the DAG, whatever their operators.
    :param outputs: Redis' copies; None: all is read from XCom.
    :param states: theirs, if Airflow has just been asked for them.
    """

    def __init__(
        self, ti: Any, tasks: Sequence[str], outputs: JobOutputs | None = None, states: States | None = None
    ) -> None:
        self._ti = ti
        self._tasks = tasks
        if states is None:
            states = states_of(ti, ti.dag_id, ti.run_id, tasks) if tasks else {}
        self._states = states
        self._copies = {} if outputs is None else self._read(outputs)

    def previous(self) -> dict[str, dict[str, Any]]:
        """Return state, exit code, output and values of each task."""
        previous = {}
        for task in self._tasks:
            state = worst_of(self._states[task], _WORST_FIRST)
            returned = self._pull(task) if state == "success" else None
            output: Any = returned if _is_reference(returned) else self._failed_output(task)
            names = output.get("values", []) if _is_reference(output) else []
            code = self._pull(task, _EXIT_CODE)
            if code is None and _is_reference(returned):
                code = 0  # no task of its DAG reads it, so it has not been pushed
            previous[task] = {
                "state": "aborted" if state in (None, "upstream_failed", "removed") else str(state),
                "exit_code": code,
                "output": {key: output[key] for key in sorted(REFERENCE_KEYS)} if _is_reference(output) else None,
                "values": {name: self._pull(task, name) for name in names},
            }
        return previous

    def input(self, task: str) -> Mapping[str, Any] | bytes:
        """Return the output of a task that succeeded, as the input of the running one.

        It is always that of XCom: the file that it names is read with the rights of the worker, so it must not be one
        that everybody with the password of Redis can choose.

        :returns: a reference to a stored output. If the task is of another operator: what it returned, as bytes; text
            as it is, everything else as JSON.
        """
        returned: Any = self._ti.xcom_pull(task_ids=task)
        if _is_reference(returned):
            reference: Mapping[str, Any] = returned
            return reference
        if returned is None:
            return b""
        if isinstance(returned, str):
            return returned.encode("utf-8", "surrogateescape")
        return json.dumps(returned, ensure_ascii=False, default=str).encode()

    def _failed_output(self, task: str) -> Any:
        """Return the reference of a task that did not succeed. A script may have left an ``output`` of its own."""
        found = self._pull(task, _REFERENCE)
        return self._pull(task, _OUTPUT) if found is None else found

    def _pull(self, task: str, key: str = _RETURN) -> Any:
        """Return an XCom: that of a task's only instance, or a list of those of all its instances."""
        if (copies := self._copies.get(task)) is None:
            return self._ti.xcom_pull(task_ids=task) if key == _RETURN else self._ti.xcom_pull(task_ids=task, key=key)
        found = [each[key] for each in copies if key in each]
        return (found[0] if found else None) if len(found) < 2 else found

    def _read(self, outputs: JobOutputs) -> dict[str, list[Mapping[str, Any]]]:
        """Return the XComs of the tasks of which Redis has all, by task and in the order of the map indexes.

        A copy counts if its state is the one that Airflow has. Otherwise a person or a lost worker has changed it.
        """
        wanted = [(task, index) for task, states in self._states.items() for index in states]
        try:
            entries = outputs.load(wanted)
        except BatchyError as error:
            _log.info("Redis does not say what earlier tasks left, so their XComs are read: %s", error)
            return {}
        copies: dict[str, list[Mapping[str, Any]]] = {}
        for task, states in self._states.items():
            found = [entries.get((task, index), {}) for index in sorted(states)]
            same = all(entry.get("state") == states[index] for entry, index in zip(found, sorted(states), strict=True))
            if found and same and all(isinstance(entry.get("xcoms"), dict) for entry in found):
                copies[task] = [entry["xcoms"] for entry in found]
        return copies


def _instance(ti: Any) -> Instance:
    return ti.task_id, -1 if ti.map_index is None else int(ti.map_index)


def _is_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() >= REFERENCE_KEYS
