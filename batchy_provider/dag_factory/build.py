# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One workflow → one DAG: waits → ``open`` → jobs → ``close``.

``open`` and ``close`` are setup and teardown. So no job of a batch that did not open ever runs, whatever its
trigger rule, and clearing a job clears both with it: a re-run opens and closes its batch again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from batchy_provider.config.diagnostics import Violation
from batchy_provider.config.field_types import in_zone
from batchy_provider.config.job_name_checks import WAIT_PREFIX
from batchy_provider.core.window_shape import WindowShape
from batchy_provider.dag_factory.blueprint import Blueprint
from batchy_provider.dag_factory.callbacks import deadlines, run_callbacks
from batchy_provider.dag_factory.classes import BuildError
from batchy_provider.dag_factory.operators import build_job
from batchy_provider.dag_factory.params import params_of
from batchy_provider.dag_factory.schedule import schedule_of
from batchy_provider.dag_factory.templates import DATA_NAME, EXTENSIONS, TemplateData

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

__all__ = ["BuildError", "build_dag"]

OPEN, CLOSE = "open", "close"

_FROM_CONFIGURATION = ("max_active_tasks", "max_consecutive_failed_dag_runs", "disable_bundle_versioning")


def configured_arguments() -> dict[str, Any]:
    """Return the arguments of a DAG that Airflow's configuration gives.

    Airflow looks them up for each DAG, which takes a twentieth of the time of building it. A parse that passes them to
    `build_dag` looks them up once.
    """
    accepted = {field.name for field in getattr(DAG, "__attrs_attrs__", ()) if field.init}
    try:
        dag = DAG("any", schedule=None)
    except Exception:  # the configuration is wrong: each DAG says so
        return {}
    return {name: getattr(dag, name) for name in _FROM_CONFIGURATION if name in accepted}


def build_dag(blueprint: Blueprint, configured: Mapping[str, Any] | None = None) -> DAG:
    """Build the DAG of a workflow.

    :param configured: see `configured_arguments`. None: Airflow looks them up.
    :raises BuildError: if an operator cannot be made; the error lists all of them.
    """
    dag = _empty_dag(blueprint, configured or {})
    opening = _open(dag, blueprint)
    for wait in blueprint.waits:
        _wait(dag, wait, blueprint.common).set_downstream(opening)

    tasks: dict[str, BaseOperator] = {}
    violations: list[Violation] = []
    for job in blueprint.jobs:
        try:
            tasks[job.name] = build_job(dag, blueprint, job)
        except BuildError as error:
            violations += error.violations
    if violations:
        raise BuildError(violations)
    for job in blueprint.jobs:
        tasks[job.name].set_upstream([tasks[other] for other in job.upstream] or opening)

    closing = _close(dag, blueprint.common)
    closing.set_upstream([tasks[name] for name in blueprint.last])
    closing.as_teardown(setups=opening, on_failure_fail_dagrun=True)
    # Airflow checks it too, but then drops all DAGs of the loader file. Crons were checked on reading.
    dag.validate_setup_teardown()
    return dag


def _empty_dag(blueprint: Blueprint, configured: Mapping[str, Any]) -> DAG:
    def moment(text: str | None) -> Any:
        return None if text is None else in_zone(text, blueprint.timezone)

    dag = DAG(
        schedule=schedule_of(blueprint),
        start_date=moment(blueprint.start_date),
        end_date=moment(blueprint.end_date),
        # Templates and SQL files of operators are looked for beside the workflow's file.
        template_searchpath=str(blueprint.path.parent),
        jinja_environment_kwargs={"extensions": EXTENSIONS},
        user_defined_macros={DATA_NAME: TemplateData(blueprint.name, blueprint.connection, blueprint.handlers)},
        **{**configured, **blueprint.dag, **_of_runs(blueprint)},
    )
    dag.fileloc = str(blueprint.path)
    return dag


def _of_runs(blueprint: Blueprint) -> dict[str, Any]:
    timeout = blueprint.run_timeout
    given: dict[str, Any] = {} if timeout is None else {"dagrun_timeout": timedelta(seconds=timeout)}
    if blueprint.workflow is not None and (model := blueprint.workflow.model) is not None:
        given |= {"params": params_of(model) or None, "deadline": deadlines(model), **run_callbacks(model)}
    return {name: value for name, value in given.items() if value is not None}


def _open(dag: DAG, blueprint: Blueprint) -> Any:
    from batchy_provider.operators.batch import BatchyOpenOperator

    task = BatchyOpenOperator(
        task_id=OPEN,
        dag=dag,
        workflow=blueprint.name,
        window=None if blueprint.window is None else _window(**blueprint.window),
        **blueprint.opening,
        **blueprint.common,
    )
    # Params stay exactly as they are in the file: rendering would change line breaks and fail on braces.
    task.template_fields = tuple(field for field in task.template_fields if field != "jobs")
    return task.as_setup()  # type: ignore[no-untyped-call]  # Airflow


def _window(*, workflows: list[str], delay: float, max: float | None, **more: Any) -> WindowShape:
    longest = None if max is None else timedelta(seconds=max)
    return WindowShape(workflows=tuple(workflows), delay=timedelta(seconds=delay), max=longest, **more)


def _close(dag: DAG, common: Mapping[str, Any]) -> Any:
    from batchy_provider.operators.batch import BatchyCloseOperator

    return BatchyCloseOperator(task_id=CLOSE, dag=dag, workflow=dag.dag_id, **common)


def _wait(dag: DAG, wait: Mapping[str, Any], common: Mapping[str, Any]) -> Any:
    from batchy_provider.sensors.waitsy import WaitsySensor

    scope = wait["scope"]
    if not isinstance(scope, str):
        scope = {"within": timedelta(seconds=scope["within"])}
    return WaitsySensor(task_id=WAIT_PREFIX + wait["workflow"], dag=dag, **{**wait, "scope": scope}, **common)
