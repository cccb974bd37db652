# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Run a bundle, which is a folder or zip with a `script.sh` at its root, or a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from batchy_provider.links.batch import links_of
from batchy_provider.operators.template_fields import SetFieldsOnly

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from batchy_provider.bundles.execution import Execution
    from batchy_provider.bundles.execution_outcome import ExecutionOutcome
    from batchy_provider.bundles.execution_request import ExecutionRequest
    from batchy_provider.core.values import Batch
    from batchy_provider.operators.job_batch import CheckedBatch
    from batchy_provider.operators.states_ahead import StatesAhead
    from batchy_provider.state.job_outputs import JobOutputs
    from batchy_provider.state.store import Store


class BashBundleOperator(SetFieldsOnly, BaseOperator):
    """Run a bundle with bash: a folder or zip file with a `script.sh` at its root, or the text of a command.

    Use it where `BashOperator` is not enough: the script gets the window of its batch, params, and the output of
    another job; it runs in a fresh copy of its bundle; and everything that it writes is stored. stdout and stderr
    also go to the task log, line by line. Secrets are masked in both.

    | exit code | state of the task |
    |---|---|
    | 0 | success |
    | 99 | skipped |
    | any other; the script is killed, or cannot start | failed |

    The return value is a small reference to the output (``url``, ``bytes``, ``sha256``). ``exit_code`` and the
    content of each ``NAME.json`` that the script leaves in `$BATCHY_OUTPUT_DIR` are XComs too. The exit code 0 of a
    success is an XCom only if a template, a callback or an operator of another package in the DAG may read it.

    ```python
    BashBundleOperator(task_id="load", bundle="bundles/load", workflow="sales", input_from="extract")
    ```

    A DAG around it, and the window in other tasks: [How to use Python](../howto/python.md). What a script gets:
    [Bundles](../bundles.md).

    :param bundle: path or URL of a folder or zip file, or an `ObjectStoragePath`. A relative path starts at the
        folder of the DAG's file. (templated)
    :param bash_command: the text of a script, instead of a bundle. A name that ends in `.sh` runs as a command; it
        is never loaded as a template. (templated)
    :param sha256: SHA-256 digest of the bundle, hexadecimal. A bundle with other content is refused. (templated)
    :param workflow: the workflow whose batch this run has opened. None: the script has no batch and no window.
        (templated)
    :param job: the job's name in the workflow; default: the task id. (templated)
    :param job_params: params of a task that is no job of the workflow, such as a handler of failures. The task gets
        these, and the window of the whole batch. None: the job's params and window come from the workflow's state.
    :param input_from: id of the task whose output the script gets as `$BATCHY_INPUT` and on stdin. (templated)
    :param inputs: addresses of what the script reads, such as ``s3://bucket/path``, for OpenLineage if its provider
        is installed. They are no assets and start no DAG. (templated)
    :param outputs: addresses of what the script writes, in the same way. (templated)
    :param args: arguments of the script: text, numbers or booleans. (templated)
    :param env: variables for the script; values are text, numbers or booleans. (templated)
    :param inherit_env: give the script the worker's whole environment, secrets included.
    :param previous: ids of the tasks whose state, output and values stand in `$BATCHY_PARAMS`.
    :param kill_grace_seconds: seconds between TERM and KILL; default: ``[batchy] kill_grace_seconds``.
    :param background_timeout: seconds that background processes may run on after the script succeeds; default: an
        hour. Then those that still run are stopped, and the task fails.
    :param limits: ``cpu_seconds``, ``memory_bytes``, ``open_files``, ``file_bytes`` for each process of the script.
    :param max_output_bytes: most bytes of stdout, and of stderr. A script that writes more is stopped and fails.
    :param log_limit_bytes: bytes that the task log shows from the beginning. It always shows the end too, and the
        result store has everything.
    :param redis_conn_id: connection to the Redis of the workflow's state; default: ``[batchy] redis_conn_id``.
    :raises ValueError: unless exactly one of `bundle` and `bash_command` is given.
    """

    template_fields: Sequence[str] = (
        "bundle",
        "bash_command",
        "sha256",
        "workflow",
        "job",
        "input_from",
        "args",
        "env",
        "inputs",
        "outputs",
    )
    batch_id_shown: int | None = None
    template_fields_renderers = {"bash_command": "bash", "env": "json"}  # noqa: RUF012 - as Airflow declares it
    template_ext: Sequence[str] = ()
    ui_color = "#e8f0e4"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.operator_extra_links = links_of(cls)

    def __init__(
        self,
        *,
        bundle: Any = None,
        bash_command: str | None = None,
        sha256: str | None = None,
        workflow: str | None = None,
        job: str | None = None,
        job_params: Mapping[str, Any] | None = None,
        input_from: str | None = None,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        args: Sequence[Any] = (),
        env: Mapping[str, Any] | None = None,
        inherit_env: bool = False,
        previous: Sequence[str] = (),
        kill_grace_seconds: float | None = None,
        background_timeout: float | None = None,
        limits: Mapping[str, int] | None = None,
        max_output_bytes: int | None = None,
        log_limit_bytes: int | None = None,
        redis_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (bundle is None) == (bash_command is None):
            raise ValueError(f"Task {self.task_id}: give `bundle` or `bash_command`, one of the two.")
        self.bundle = bundle
        self.bash_command = bash_command
        self.sha256 = sha256
        self.workflow = workflow
        self.job = job or self.task_id
        self.job_params = job_params
        self.input_from = input_from
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.args = list(args)
        self.env = env
        self.inherit_env = inherit_env
        self.previous = tuple(previous)
        self.kill_grace_seconds = kill_grace_seconds
        self.background_timeout = background_timeout
        self.limits = limits
        self.max_output_bytes = max_output_bytes
        self.log_limit_bytes = log_limit_bytes
        self.redis_conn_id = redis_conn_id
        self._execution: Execution | None = None
        self._batch: Batch | None = None
        self._outputs: JobOutputs | None = None
        self._lineage_written: Any = None
        self._taken_over: CheckedBatch | None = None
        self._ahead: StatesAhead | None = None

    def take_batch_over(self, connection: ExitStack, store: Store, batch: Batch) -> None:
        """Take over what the check before the job has opened and read."""
        from batchy_provider.operators.job_batch import CheckedBatch

        self._taken_over = CheckedBatch(connection, store, batch)

    def ask_ahead(self, ti: Any) -> None:
        """Ask Airflow how earlier tasks have ended, while the check before the job asks Redis."""
        from batchy_provider.operators import script_request, states_ahead

        self._ahead = states_ahead.ask_ahead(ti, script_request.earlier_tasks(self.previous, self.input_from))

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the script and return the reference to its output."""
        if self.workflow is None:
            return self._run(context, None, None)
        from batchy_provider.operators.job_batch import check_job, open_store

        with open_store(self.redis_conn_id, self.workflow, context["ti"], self._taken_over) as (store, batch):
            self.batch_id_shown = batch.batch_id
            self._batch = batch
            if self.job_params is None:
                check_job(batch, self.job)
            return self._run(context, store, batch)

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return what the job reads and writes; at its end also the batch and what the script reported."""
        from batchy_provider.observability import lineage

        return lineage.of(
            self.job, self._batch, inputs=self.inputs, outputs=self.outputs, written=self._lineage_written
        )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the same at the end of a task, also of one that failed."""
        return self.get_openlineage_facets_on_start()

    def on_kill(self) -> None:
        """Stop the script and everything that it started: TERM, grace, KILL."""
        if self._execution is not None:
            self._execution.cancel()

    def _run(self, context: Context, store: Any, batch: Batch | None) -> dict[str, Any]:
        from batchy_provider.bundles.execution import Execution
        from batchy_provider.compat import supervisor_socket
        from batchy_provider.hooks.deployment import bundle_cache, result_store
        from batchy_provider.hooks.secrets import known_secrets
        from batchy_provider.observability import observed_execution
        from batchy_provider.operators.batch_watchdog import BatchEnd, watchdog
        from batchy_provider.operators.execution_timeout import orderly_timeout
        from batchy_provider.operators.progress import ProgressReporter, show_lines
        from batchy_provider.operators.script_xcoms import begin, outputs_of

        cache = bundle_cache()
        ti = context["ti"]
        workflow = self.workflow or ti.dag_id
        self._outputs = outputs_of(store, batch)
        begin(ti, self._outputs)
        with observed_execution.observe(workflow, self.job, batch, ti.try_number) as observed:
            execution = self._execution = Execution(
                self._request(context, batch, lock_folder=cache.root / "claims"),
                cache=cache,
                results=result_store(),
                work=cache.root / "work",
                secrets=known_secrets,
                show=partial(show_lines, self.log),
                progress=ProgressReporter(self.log, store, batch, workflow=workflow, job=self.job),
            )
            batch_end = BatchEnd(store, batch)
            with (
                orderly_timeout(execution),
                watchdog(execution.cancel, supervisor=supervisor_socket(), batch_end=batch_end),
            ):
                outcome = execution.run()
                observed.ended(outcome)
                return self._finish(context, outcome)

    def _request(self, context: Context, batch: Batch | None, *, lock_folder: Path) -> ExecutionRequest:
        """Return what to run, and how. From now on, Airflow masks the secrets of the job."""
        from airflow.providers.common.compat.sdk import conf

        from batchy_provider.bundles.execution_request import ExecutionRequest
        from batchy_provider.bundles.limits import BACKGROUND_SECONDS, ProcessLimits
        from batchy_provider.bundles.live_output import LOG_LIMIT_BYTES
        from batchy_provider.hooks.secrets import close_process, learn_secrets
        from batchy_provider.observability import traces
        from batchy_provider.operators import script_request
        from batchy_provider.operators.batch_watchdog import lock_name

        ti, dag, grace = context["ti"], self.get_dag(), self.kill_grace_seconds
        script_context, given_input = script_request.script_context_of(
            context,
            batch,
            job=self.job,
            workflow=self.workflow,
            job_params=self.job_params,
            previous=self.previous,
            input_from=self.input_from,
            outputs=self._outputs,
            ahead=self._ahead,
        )
        learn_secrets(self.env or {}, script_context.params, inherit_env=self.inherit_env)
        close_process()
        return ExecutionRequest(
            identity=script_request.execution_id(ti, batch, workflow=self.workflow or ti.dag_id, job=self.job),
            script_context=script_context,
            bundle=script_request.bundle_path(self.bundle, dag),
            command=self.bash_command,
            sha256=self.sha256,
            args=self.args,
            env={**traces.carrier(), **(self.env or {})},
            inherit_env=self.inherit_env,
            kill_grace=conf.getfloat("batchy", "kill_grace_seconds", fallback=10.0) if grace is None else grace,
            background_timeout=BACKGROUND_SECONDS if self.background_timeout is None else self.background_timeout,
            limits=ProcessLimits(**(self.limits or {})),
            max_output_bytes=self.max_output_bytes,
            log_limit_bytes=LOG_LIMIT_BYTES if self.log_limit_bytes is None else self.log_limit_bytes,
            output_is_read=script_request.is_output_read(self.task_id, dag),
            job_lock=lock_folder / lock_name(ti, batch),
            **given_input,
        )

    def _finish(self, context: Context, outcome: ExecutionOutcome) -> dict[str, Any]:
        """Push the XComs and return the reference, or end the task as skipped or failed."""
        from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException

        from batchy_provider.operators import script_request
        from batchy_provider.operators.script_xcoms import push_outcome

        for notice in outcome.notices:
            self.log.warning("%s", notice)
        self._lineage_written = outcome.values.get("lineage")
        ti = context["ti"]
        is_mapped = ti.map_index is not None and ti.map_index >= 0
        is_read = is_mapped or script_request.is_exit_code_read(self.get_dag())
        push_outcome(ti, outcome, self._outputs, is_exit_code_read=is_read)
        whole = f"The whole output is in {outcome.stored.url}; to read it: {outcome.stored.command()}"
        self.log.info("%s", whole)
        if outcome.state == "success":
            return outcome.reference()
        if outcome.state == "skipped":
            raise AirflowSkipException(outcome.reason)
        self.log.error("%s", outcome.reason)
        raise AirflowException(f"{outcome.reason}\n{whole}")
