# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build the task of a job: a script (bundle or bash) or any Airflow operator."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from batchy_provider.config.bundle_paths import locate_bundle
from batchy_provider.config.job_model import Job
from batchy_provider.config.model import WorkflowModel
from batchy_provider.dag_factory.blueprint import DURATIONS, Blueprint, JobBlueprint
from batchy_provider.dag_factory.callbacks import EVENTS, job_callbacks
from batchy_provider.dag_factory.classes import import_class, make
from batchy_provider.dag_factory.mapped import build_mapped
from batchy_provider.dag_factory.open_batch_check import OpenBatchCheck


def build_job(dag: DAG, blueprint: Blueprint, job: JobBlueprint) -> Any:
    """Build the task of a job.

    :raises BuildError: if its operator is not installed or does not accept its arguments.
    """
    arguments = {"task_id": job.name, "dag": dag, **job.settings}
    for name in DURATIONS:
        if name in arguments:
            arguments[name] = timedelta(seconds=arguments[name])
    check = OpenBatchCheck(blueprint.name, job.name if job.has_state else None, blueprint.connection, job.is_checked)
    if blueprint.workflow is not None and (model := blueprint.workflow.model) is not None:
        return _by_model(blueprint, model, job, arguments, check)
    # The templates of a script were parsed when its file was read.
    place = ("jobs", job.name, "args" if "args" in job.arguments else "operator")
    task = make(*_script(blueprint, job), arguments, place, has_templates=False)
    task.pre_execute = check
    return task


def _by_model(
    blueprint: Blueprint, model: WorkflowModel, job: JobBlueprint, arguments: dict[str, Any], check: OpenBatchCheck
) -> Any:
    """Build the task of a job that may be an operator, run for each entry of a list, or call notifiers."""
    keys = model.jobs[job.name]
    if not (keys.model_fields_set | model.defaults.model_fields_set).isdisjoint(EVENTS):
        arguments.update(job_callbacks(job.name, keys, model.defaults))
    cls, own = _script(blueprint, job) if keys.operator is None else _operator(job.name, keys)
    if keys.for_each is not None:
        return build_mapped(cls, {**own, **arguments}, keys, job.name, check)
    place = ("jobs", job.name, "args" if keys.args else "operator")
    task = make(cls, own, arguments, place, has_templates=keys.operator is not None)
    task.pre_execute = check
    return task


def _script(blueprint: Blueprint, job: JobBlueprint) -> tuple[type, dict[str, Any]]:
    from batchy_provider.operators.bundle import BashBundleOperator

    arguments = {**job.arguments, **blueprint.scripts}
    if "bundle" in arguments:
        arguments["bundle"] = locate_bundle(blueprint.path.parent, arguments["bundle"])
    return BashBundleOperator, arguments


def _operator(name: str, job: Job) -> tuple[type, dict[str, Any]]:
    from airflow.sdk import BaseOperator

    assert job.operator is not None
    place = ("jobs", name, "operator")
    return import_class(job.operator, BaseOperator, "Airflow operator", place), job.operator_args
