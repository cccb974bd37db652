# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One job → one task: a script (bundle or bash), or any Airflow operator."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from airflow.sdk import DAG

from batchy_provider.config.bundles import locate_bundle
from batchy_provider.config.checks import FACTORY_ARGS
from batchy_provider.config.faults import Problem, did_you_mean
from batchy_provider.config.model import Job, Limits, WorkflowModel
from batchy_provider.config.order import Order
from batchy_provider.config.workflow import Workflow, environment, setting
from batchy_provider.dag_factory.gate import JobGate

TRIGGER_RULES = {"succeeded": "none_failed", "done": "all_done", "failed": "one_failed"}
"""``when`` → Airflow's trigger rule. A disabled job is skipped, and skipped is not failed."""


class BuildError(Exception):
    """Tasks cannot be made of a sound file.

    :param problems: why, each with its place in the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))


def build_job(dag: DAG, workflow: Workflow, model: WorkflowModel, order: Order, name: str) -> Any:
    """Make the task of a job.

    :raises BuildError: if its operator is not there, or refuses its arguments.
    """
    job = model.jobs[name]
    arguments = {"task_id": name, "dag": dag, **_settings(job, model)}
    # Airflow lets only this rule follow a setup directly; a first job has no other task before it anyway.
    first = not order.upstream[name]
    arguments["trigger_rule"] = "all_success" if first else TRIGGER_RULES["done" if job.independent else job.when]
    if job.operator is not None:
        task = _operator(name, job.operator, job.args or {}, arguments)
    else:
        task = _script(workflow, model, order, name, arguments)
    task.pre_execute = JobGate(
        workflow.name, None if job.is_handler else name, model.connection, job.enabled or not job.is_handler
    )
    return task


def _settings(job: Job, model: WorkflowModel) -> dict[str, Any]:
    given = {
        "retries": setting(job, model, "retries"),
        "retry_delay": setting(job, model, "retry_delay"),
        "execution_timeout": setting(job, model, "timeout"),
        "pool": setting(job, model, "pool"),
        "queue": setting(job, model, "queue"),
        "priority_weight": setting(job, model, "priority"),
        "owner": setting(job, model, "owner") or model.owner,
        "doc_md": job.doc,
    }
    return {name: value for name, value in given.items() if value is not None}


def _script(workflow: Workflow, model: WorkflowModel, order: Order, name: str, arguments: dict[str, Any]) -> Any:
    job = model.jobs[name]
    limits, grace = setting(job, model, "limits"), setting(job, model, "kill_grace")
    arguments |= {
        "bundle": locate_bundle(workflow.path.parent, job.bundle) if job.bundle is not None else None,
        "bash_command": job.bash,
        "sha256": job.sha256,
        "workflow": workflow.name,
        "job": name,
        "job_params": job.params if job.is_handler else None,
        "input_from": order.inputs.get(name),
        "env": environment(job, model) or None,
        "inherit_env": bool(setting(job, model, "inherit_env")),
        "previous": order.before(name),
        "kill_grace_seconds": None if grace is None else grace.total_seconds(),
        "limits": None if limits is None else _limits(limits),
        "redis_conn_id": model.connection,
    }
    from batchy_provider.operators.bundle import BashBundleOperator

    return BashBundleOperator(**arguments)


def _limits(limits: Limits) -> dict[str, int]:
    given = {
        "cpu_seconds": None if limits.cpu is None else max(1, round(limits.cpu.total_seconds())),
        "memory_bytes": limits.memory,
        "open_files": limits.open_files,
        "file_bytes": limits.file_size,
    }
    return {name: value for name, value in given.items() if value is not None}


def _operator(name: str, path: str, args: dict[str, Any], arguments: dict[str, Any]) -> Any:
    cls = _import(name, path)
    place = ("jobs", name, "args")
    try:
        return cls(**{**args, **arguments})
    except Exception as error:
        known = _parameters(cls)
        unknown = [arg for arg in args if arg not in known]
        if unknown and isinstance(error, TypeError):
            raise BuildError(
                Problem((*place, arg), f"{path} takes no argument {arg!r}{did_you_mean(arg, known)}", True)
                for arg in unknown
            ) from None
        at = place if args else ("jobs", name, "operator")
        raise BuildError([Problem(at, f"{path} refuses its arguments: {error}")]) from None


def _import(name: str, path: str) -> Any:
    place = ("jobs", name, "operator")
    module_name, _, class_name = path.rpartition(".")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        hint = "; is its provider installed here?" if missing.startswith("airflow.providers") else ""
        raise BuildError([Problem(place, f"there is no module {missing!r}{hint}")]) from None
    except Exception as error:
        message = f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error}"
        raise BuildError([Problem(place, message)]) from None
    try:
        cls = getattr(module, class_name)
    except AttributeError:
        hint = did_you_mean(class_name, (each for each in vars(module) if not each.startswith("_")))
        raise BuildError([Problem(place, f"{module_name} has no {class_name!r}{hint}")]) from None
    from airflow.sdk import BaseOperator

    if not (isinstance(cls, type) and issubclass(cls, BaseOperator)):
        raise BuildError([Problem(place, f"{path} is no Airflow operator (a class of BaseOperator)")])
    return cls


def _parameters(cls: type) -> set[str]:
    """Return the names of all arguments of a class and of those that it passes the rest on to."""
    known = {
        parameter
        for base in cls.__mro__
        if "__init__" in vars(base)
        for parameter in inspect.signature(base.__init__).parameters  # type: ignore[misc]
    }
    return known - FACTORY_ARGS.keys() - {"self", "args", "kwargs"}
