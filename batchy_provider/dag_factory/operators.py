# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build the task of a job: a script (bundle or bash) or any Airflow operator."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from batchy_provider.config.bundle_paths import locate_bundle
from batchy_provider.config.job_model import Job, Limits
from batchy_provider.config.job_order import Order
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.workflow import Workflow, environment, setting
from batchy_provider.dag_factory.callbacks import EVENTS, job_callbacks
from batchy_provider.dag_factory.classes import import_class, make
from batchy_provider.dag_factory.mapped import build_mapped
from batchy_provider.dag_factory.open_batch_check import OpenBatchCheck

TRIGGER_RULES = {"succeeded": "none_failed", "done": "all_done", "failed": "one_failed"}
"""``when`` → Airflow's trigger rule. A disabled job is skipped, and skipped is not failed."""


_SETTINGS = {
    "retries": "retries",
    "retry_delay": "retry_delay",
    "retry_exponential_backoff": "retry_backoff",
    "max_retry_delay": "max_retry_delay",
    "execution_timeout": "timeout",
    "pool": "pool",
    "queue": "queue",
    "priority_weight": "priority",
    "owner": "owner",
}
"""Argument of an operator → the key that sets it. Most files write few of them, so only those are looked up."""


def build_job(dag: DAG, workflow: Workflow, model: WorkflowModel, order: Order, name: str) -> Any:
    """Build the task of a job.

    :raises BuildError: if its operator is not installed or does not accept its arguments.
    """
    job = model.jobs[name]
    arguments = {"task_id": name, "dag": dag, **_settings(name, job, model)}
    # Airflow lets only this rule follow a setup directly; a first job has no other task before it anyway.
    first = not order.upstream[name]
    arguments["trigger_rule"] = "all_success" if first else TRIGGER_RULES["done" if job.independent else job.when]
    check = OpenBatchCheck(
        workflow.name, None if job.is_handler else name, model.connection, job.enabled or not job.is_handler
    )
    cls, own = _operator(name, job) if job.operator is not None else _script(workflow, model, order, name)
    if job.for_each is not None:
        return build_mapped(cls, {**own, **arguments}, job, name, check)
    # The templates of a script were parsed when its file was read.
    place = ("jobs", name, "args" if job.args else "operator")
    task = make(cls, own, arguments, place, has_templates=job.operator is not None)
    task.pre_execute = check
    return task


def _settings(name: str, job: Job, model: WorkflowModel) -> dict[str, Any]:
    written = job.model_fields_set | model.defaults.model_fields_set
    given = {argument: setting(job, model, key) for argument, key in _SETTINGS.items() if key in written}
    given["owner"] = given.get("owner") or model.owner
    given["doc_md"] = job.doc
    if not written.isdisjoint(EVENTS):
        given.update(job_callbacks(name, job, model.defaults))
    return {name: value for name, value in given.items() if value is not None}


def _script(workflow: Workflow, model: WorkflowModel, order: Order, name: str) -> tuple[type, dict[str, Any]]:
    from batchy_provider.operators.bundle import BashBundleOperator

    job = model.jobs[name]
    limits, grace = setting(job, model, "limits"), setting(job, model, "kill_grace")
    background = setting(job, model, "background_timeout")
    given = {
        "bundle": locate_bundle(workflow.path.parent, job.bundle) if job.bundle is not None else None,
        "bash_command": job.bash,
        "sha256": job.sha256,
        "workflow": workflow.name,
        "job": None if job.for_each is None else name,  # the task id, too
        "job_params": job.params if job.is_handler else None,
        "input_from": order.inputs.get(name),
        "inputs": job.inputs,
        "outputs": job.outputs,
        "env": environment(job, model) or None,
        "inherit_env": bool(setting(job, model, "inherit_env")),
        # A job that ran several times has no single state that a script could get.
        "previous": [other for other in order.before(name) if model.jobs[other].for_each is None],
        "args": job.script_args,
        "kill_grace_seconds": None if grace is None else grace.total_seconds(),
        "background_timeout": None if background is None else background.total_seconds(),
        "limits": None if limits is None else _limits(limits),
        "redis_conn_id": model.connection,
    }
    # Airflow keeps all arguments of each task in memory, those that say nothing, too.
    said = {key: value for key, value in given.items() if value is not None and value is not False and value != []}
    return BashBundleOperator, said


def _operator(name: str, job: Job) -> tuple[type, dict[str, Any]]:
    from airflow.sdk import BaseOperator

    assert job.operator is not None
    place = ("jobs", name, "operator")
    return import_class(job.operator, BaseOperator, "Airflow operator", place), job.operator_args


def _limits(limits: Limits) -> dict[str, int]:
    given = {
        "cpu_seconds": None if limits.cpu is None else max(1, round(limits.cpu.total_seconds())),
        "memory_bytes": limits.memory,
        "open_files": limits.open_files,
        "file_bytes": limits.file_size,
    }
    return {name: value for name, value in given.items() if value is not None}
