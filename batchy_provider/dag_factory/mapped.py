# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build Airflow's mapped tasks: jobs that run once for each entry of a list (``for_each``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchy_provider.config.diagnostics import Code, Violation
from batchy_provider.config.job_model import ForEach, Job
from batchy_provider.config.key_checks import ITEM, item_text
from batchy_provider.dag_factory.classes import BuildError, check_templates, refusal
from batchy_provider.dag_factory.open_batch_check import OpenBatchCheck


def build_mapped(cls: Any, arguments: dict[str, Any], job: Job, name: str, check: OpenBatchCheck) -> Any:
    """Build the mapped task of a job.

    :param arguments: arguments that all its instances have.
    :raises BuildError: if its operator does not accept them.
    """
    assert job.for_each is not None
    if isinstance(job.for_each, ForEach) and job.for_each.at_once is not None:
        arguments["max_active_tis_per_dagrun"] = job.for_each.at_once
    if isinstance(job.for_each, list) and len(job.for_each) > (most := _longest()):
        message = f"{len(job.for_each)} entries, but this Airflow runs at most {most} ([core] max_map_length)"
        raise BuildError([Violation(("jobs", name, "for_each"), Code.AIRFLOW_LIMIT, message)])
    place = ("jobs", name, "args" if job.args else "operator")
    check_templates(cls, job.operator_args, place)
    for index, item in enumerate(job.for_each if job.operator is not None and isinstance(job.for_each, list) else ()):
        check_templates(cls, item, ("jobs", name, "for_each", index))
    try:
        # Here it must be the argument: the instances are made by Airflow, when they run.
        if job.operator is None:
            env = arguments.pop("env", {})
            return cls.partial(**arguments, pre_execute=check.check_context).expand(
                env=_environments(job, env, arguments)
            )
        items = job.for_each if isinstance(job.for_each, list) else _result_of(job.for_each, arguments)
        return cls.partial(**arguments, pre_execute=check.check_context).expand_kwargs(items)
    except Exception as error:
        raise refusal(cls, job.operator_args, error, place) from None


def _longest() -> int:
    """Return how many instances a task may have; Airflow itself looks only at lists that a task returns."""
    from airflow.configuration import conf

    return conf.getint("core", "max_map_length", fallback=1024)


def _environments(job: Job, env: Mapping[str, str], arguments: Mapping[str, Any]) -> Any:
    def with_item(item: Any) -> dict[str, str]:
        return {**env, ITEM: item_text(item)}

    if isinstance(job.for_each, ForEach):
        return _result_of(job.for_each, arguments).map(with_item)
    return [with_item(item) for item in job.for_each or ()]


def _result_of(source: ForEach, arguments: Mapping[str, Any]) -> Any:
    return arguments["dag"].get_task(source.from_).output
