# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read from a running task and its DAG what the request to run its script needs: context, input, names and paths."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.bundles.confined_files import as_local_path
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.script_context import ScriptContext
from batchy_provider.operators.job_batch import params_and_window
from batchy_provider.operators.script_xcoms import EarlierTasks

if TYPE_CHECKING:
    from airflow.sdk import Context

    from batchy_provider.core.values import Batch
    from batchy_provider.operators.states_ahead import StatesAhead
    from batchy_provider.state.job_outputs import JobOutputs

_CALLBACKS = tuple(f"on_{event}_callback" for event in ("execute", "failure", "success", "retry", "skipped"))

log = logging.getLogger(__name__)


def script_context_of(
    context: Context,
    batch: Batch | None,
    *,
    job: str,
    workflow: str | None,
    job_params: Mapping[str, Any] | None,
    previous: Sequence[str],
    input_from: str | None,
    outputs: JobOutputs | None = None,
    ahead: StatesAhead | None = None,
) -> tuple[ScriptContext, dict[str, Any]]:
    """Return what a script can read about its execution, and its input as arguments of `ExecutionRequest`.

    :param context: of the running task.
    :param batch: the batch that the run has opened; None outside of a workflow.
    :param job_params: params of a task that is no job of the workflow; None for a job.
    :param previous: ids of the tasks whose state, output and values the script gets.
    :param input_from: id of the task whose output is the input; None: the script has no input.
    :param outputs: Redis' copies of what earlier tasks left; None: all is read from XCom.
    :param ahead: what Airflow was asked for before the job.
    """
    ti, tasks = context["ti"], earlier_tasks(previous, input_from)
    earlier = EarlierTasks(ti, tasks, outputs, None if ahead is None else ahead.of(tasks))
    before = earlier.previous()
    arguments, source = _input(earlier, input_from, before)
    if batch is None:
        own: dict[str, Any] = {"params": {**(context.get("params") or {}), **(job_params or {})}}
    else:
        own = {"batch_id": batch.batch_id, **params_and_window(batch, job, job_params)}
    script_context = ScriptContext(
        job=job,
        workflow=workflow,
        **own,
        attempt=ti.try_number,
        run_id=ti.run_id,
        previous=before,
        input=source,
    )
    return script_context, arguments


def earlier_tasks(previous: Sequence[str], input_from: str | None) -> list[str]:
    """Return the ids of all tasks of which a script gets something."""
    return list(dict.fromkeys([*previous, *([input_from] if input_from else [])]))


def _input(
    earlier: EarlierTasks, input_from: str | None, before: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the input as arguments of `ExecutionRequest`, and what `$BATCHY_PARAMS` says about it."""
    if input_from is None:
        return {}, None
    state = before[input_from]["state"]
    source = {"job": input_from, "state": state, "bytes": 0}
    if state != "success":
        log.warning("Task %s is %s: the input is empty.", input_from, state)
        return {"input_bytes": b""}, source
    content = earlier.input(input_from)
    if isinstance(content, bytes):
        return {"input_bytes": content}, {**source, "bytes": len(content)}
    return {"input": content}, {**source, "bytes": content["bytes"]}


def execution_id(ti: Any, batch: Batch | None, *, workflow: str, job: str) -> ExecutionId:
    """Return the names under which the result store has the execution of a task.

    :param ti: the running task's instance.
    :param batch: the batch that the run has opened; None outside of a workflow.
    """
    mapped = f"@{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
    return ExecutionId(
        workflow=workflow,
        batch_id=ti.run_id if batch is None else str(batch.batch_id),
        job=f"{job}{mapped}",
        attempt=str(ti.try_number),
    )


def bundle_path(bundle: Any, dag: Any) -> Any:
    """Return the path of a bundle: of a URL in Airflow's object storage; a relative path from the DAG's folder.

    :param bundle: path, URL or `ObjectStoragePath`; None for a command.
    :param dag: the task's DAG, or None.
    """
    if not isinstance(bundle, str):
        return bundle
    if (path := as_local_path(bundle)) is None:
        from batchy_provider.hooks.deployment import open_path

        return open_path(bundle)
    return Path(dag.fileloc).parent / path if dag is not None else Path(path)


def is_output_read(task_id: str, dag: Any) -> bool:
    """Tell whether a task of the DAG reads a task's output. A template may name any task, so it counts as a reader.

    :param dag: the task's DAG, or None.
    """
    sources = [getattr(task, "input_from", None) for task in (dag.tasks if dag is not None else ())]
    return any(source == task_id or "{{" in str(source) for source in sources)


def is_exit_code_read(dag: Any) -> bool:
    """Tell whether anything in a DAG may read the exit code of a script that succeeded, which is always 0.

    Each XCom is a call of Airflow's API. Jobs get the exit codes of earlier jobs without it. Templates, callbacks and
    operators of other packages may read the XCom.

    :param dag: the task's DAG, or None.
    """
    if dag is None:
        return True
    tasks = [getattr(task, "operator_class", type(task)) for task in dag.tasks]
    if not all(isinstance(each, type) and each.__module__.startswith("batchy_provider.") for each in tasks):
        return True
    if any(getattr(one, name, None) for one in (dag, *dag.tasks) for name in _CALLBACKS):
        return True
    return any("exit_code" in str(text) for task in dag.tasks for text in _templates(task))


def _templates(task: Any) -> Iterator[Any]:
    """Yield what may be templates of a task, mapped or not."""
    for name in task.template_fields:
        yield getattr(task, name, "")
    yield getattr(task, "partial_kwargs", "")
    yield getattr(task, "expand_input", "")
