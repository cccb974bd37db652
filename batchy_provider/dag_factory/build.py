# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One workflow → one DAG: waits → ``open`` → jobs → ``close``.

``open`` and ``close`` are setup and teardown. So no job of a batch that did not open ever runs, whatever its
trigger rule, and clearing a job clears both with it: a re-run opens and closes its batch again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from batchy_provider.config.diagnostics import Violation
from batchy_provider.config.field_types import in_zone
from batchy_provider.config.job_name_checks import WAIT_PREFIX
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.run_checks import same_day_workflows
from batchy_provider.config.schedule_model import Wait
from batchy_provider.config.workflow import Workflow
from batchy_provider.core.values import WorkflowConfig
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


def build_dag(workflow: Workflow) -> DAG:
    """Build the DAG of a workflow.

    :raises BuildError: if an operator cannot be made; the error lists all of them.
    """
    model, order = workflow.model, workflow.order
    assert model is not None
    assert order is not None
    dag = _empty_dag(workflow, model)
    common = _common(model)

    opening = _open(dag, model, workflow.config(), common)
    for wait in model.wait_for:
        _wait(dag, model, wait, common).set_downstream(opening)
    for other in same_day_workflows(model):
        # A success of another day may have started this run. If the day ends before all have succeeded, no batch opens.
        same_day_wait = _wait(dag, model, Wait(workflow=other), common, same_day=True, soft_fail=True)
        same_day_wait.set_downstream(opening)

    tasks: dict[str, BaseOperator] = {}
    violations: list[Violation] = []
    for name in model.jobs:
        try:
            tasks[name] = build_job(dag, workflow, model, order, name)
        except BuildError as error:
            violations += error.violations
    if violations:
        raise BuildError(violations)
    for name, upstream in order.upstream.items():
        tasks[name].set_upstream([tasks[other] for other in upstream] or [opening])

    closing = _close(dag, common)
    closing.set_upstream([tasks[name] for name in order.must_meet_close])
    closing.as_teardown(setups=opening, on_failure_fail_dagrun=True)
    # Airflow checks it too, but then drops all DAGs of the loader file. Crons were checked on reading.
    dag.validate_setup_teardown()
    return dag


def _empty_dag(workflow: Workflow, model: WorkflowModel) -> DAG:
    def moment(text: str | None) -> Any:
        return None if text is None else in_zone(text, model.timezone)

    handlers = {name: job.params for name, job in model.jobs.items() if job.is_handler}
    dag = DAG(
        dag_id=workflow.name,
        description=model.description,
        doc_md=model.doc,
        schedule=schedule_of(workflow),
        start_date=moment(model.start_date),
        end_date=moment(model.end_date),
        catchup=model.catchup,
        max_active_runs=model.max_active_runs,
        tags=sorted(set(model.tags)),
        # Templates and SQL files of operators are looked for beside the workflow's file.
        template_searchpath=str(workflow.path.parent),
        jinja_environment_kwargs={"extensions": EXTENSIONS},
        user_defined_macros={DATA_NAME: TemplateData(workflow.name, model.connection, handlers)},
        is_paused_upon_creation=model.paused,
        **_of_runs(model),
    )
    dag.fileloc = str(workflow.path)
    return dag


def _of_runs(model: WorkflowModel) -> dict[str, Any]:
    given = {
        "dagrun_timeout": model.run_timeout,
        "max_active_tasks": model.max_active_jobs,
        "params": params_of(model) or None,
        "deadline": deadlines(model),
        **run_callbacks(model),
    }
    return {name: value for name, value in given.items() if value is not None}


def _common(model: WorkflowModel) -> dict[str, Any]:
    """Return the arguments of the tasks that are not jobs."""
    owner, queue = model.defaults.owner or model.owner, model.defaults.queue
    given = {"owner": owner, "queue": queue, "redis_conn_id": model.connection}
    return {name: value for name, value in given.items() if value is not None}


def _open(dag: DAG, model: WorkflowModel, config: WorkflowConfig, common: dict[str, Any]) -> Any:
    from batchy_provider.operators.batch import BatchyOpenOperator

    task = BatchyOpenOperator(
        task_id=OPEN,
        dag=dag,
        workflow=config.name,
        jobs=config.jobs,
        timezone=config.timezone,
        disabled_jobs=config.disabled,
        infa=config.infa or None,
        window=config.window,
        if_open=model.if_open,
        **common,
    )
    # Params stay exactly as they are in the file: rendering would change line breaks and fail on braces.
    task.template_fields = tuple(field for field in task.template_fields if field != "jobs")
    return task.as_setup()  # type: ignore[no-untyped-call]  # Airflow


def _close(dag: DAG, common: dict[str, Any]) -> Any:
    from batchy_provider.operators.batch import BatchyCloseOperator

    return BatchyCloseOperator(task_id=CLOSE, dag=dag, workflow=dag.dag_id, **common)


def _wait(dag: DAG, model: WorkflowModel, wait: Wait, common: dict[str, Any], **more: Any) -> Any:
    from batchy_provider.sensors.waitsy import WaitsySensor

    timeout: dict[str, Any] = {} if wait.timeout is None else {"timeout": wait.timeout.total_seconds()}
    scope = wait.scope if isinstance(wait.scope, str) else {"within": wait.scope.within}
    own: dict[str, Any] = {"own_workflow": dag.dag_id} if scope == "since_last_run" else {}
    return WaitsySensor(
        task_id=WAIT_PREFIX + wait.workflow,
        dag=dag,
        workflow=wait.workflow,
        jobs=wait.jobs,
        scope=scope,
        timezone=wait.timezone or model.timezone,
        on_failed=wait.on_failed,
        **own,
        **timeout,
        **more,
        **common,
    )
