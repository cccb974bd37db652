# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Run a bundle: a folder or zip with a `script.sh` at its root, or a command."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from batchy_provider.links.batch import BatchLink

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from batchy_provider.bundles.execution import Execution
    from batchy_provider.bundles.execution_outcome import ExecutionOutcome
    from batchy_provider.bundles.script_context import ScriptContext
    from batchy_provider.core.values import Batch

REFERENCE_KEYS = frozenset(("url", "bytes", "sha256"))
_REFERENCE = "batchy.output"
"""XCom of a task that did not succeed; no value of a script can have this name."""


class BashBundleOperator(BaseOperator):
    """
    Run `bash script.sh` in a fresh copy of a bundle, or a command in the same way.

    stdout and stderr go live to the task log and whole to the result store, secrets masked. Exit code 0 is success,
    99 skips, any other fails. The XCom is a small reference to the output (``url``, ``bytes``, ``sha256``);
    ``exit_code`` and the content of each ``NAME.json`` that the script leaves in `$BATCHY_OUTPUT_DIR` are XComs too.

    :param bundle: path or URL of a folder or zip, or an `ObjectStoragePath`; a relative path starts at the folder of
        the DAG's file. (templated)
    :param bash_command: the text of a script, instead of a bundle. A name that ends in `.sh` is run as a
        command, never loaded as a template. (templated)
    :param sha256: pin; a bundle with any other content is refused. (templated)
    :param workflow: the workflow whose batch this run has open; None: there is no batch, and no window
    :param job: the job's name in the workflow; default: the task id
    :param job_params: params of a task that is no job of the workflow's state, such as a handler of failures: it gets
        these, and the window of the whole batch. None: the job's own params and window come from the state
    :param input_from: task whose output the script gets as `$BATCHY_INPUT` and on stdin
    :param inputs: addresses of what the script reads, such as ``s3://bucket/path``, for OpenLineage, where its provider
        is installed; `outputs`, of what it writes, likewise. They are no assets and start no DAG. (templated)
    :param args: arguments of the script: text, numbers or booleans. (templated)
    :param env: variables for the script; values are text, numbers or booleans. (templated)
    :param inherit_env: give the script all of the worker's environment, secrets included
    :param previous: tasks that `$BATCHY_PARAMS` tells about
    :param kill_grace_seconds: between TERM and KILL; default `[batchy] kill_grace_seconds`
    :param background_timeout: seconds that background processes of the script may run on after it has succeeded; those
        that do not end by then are stopped, and the task fails. Default: an hour
    :param limits: ``cpu_seconds``, ``memory_bytes``, ``open_files``, ``file_bytes`` for each process of the script
    :param max_output_bytes: of stdout and of stderr; a script that writes more is stopped and fails
    :param log_limit_bytes: how much the task log shows of the beginning; the end is always shown, and the result
        store has all
    :param redis_conn_id: where the workflow's state is
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
    operator_extra_links = (BatchLink(),)
    batch_id_shown: int | None = None
    template_fields_renderers = {"bash_command": "bash", "env": "json"}  # noqa: RUF012 - as Airflow declares it
    template_ext: Sequence[str] = ()
    ui_color = "#e8f0e4"

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
        self._batch_seen: Batch | None = None
        self._lineage_written: Any = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run it; returns the reference to its output."""
        if self.workflow is None:
            return self._run(context, None, None)
        from batchy_provider.hooks.batchy import BatchyHook

        with BatchyHook(self.redis_conn_id) as store:
            return self._run(context, store, self._batch(store, context))

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Tell OpenLineage what is read and written; also in the end, with the batch and what the script told."""
        from batchy_provider.observability import lineage

        return lineage.of(self, self._batch_seen, self._lineage_written)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Tell it, also of a failure."""
        return self.get_openlineage_facets_on_start()

    def on_kill(self) -> None:
        """Stop the script and all that it started: TERM, grace, KILL."""
        if self._execution is not None:
            self._execution.cancel()

    def _batch(self, store: Any, context: Context) -> Batch:
        from airflow.providers.common.compat.sdk import AirflowFailException

        from batchy_provider.bundles.errors import BundleError
        from batchy_provider.core.values import run_key

        assert self.workflow is not None
        ti = context["ti"]
        batch: Batch | None = store.batch_of_run(self.workflow, run_key(self.workflow, ti.dag_id, ti.run_id))
        if batch is None:
            raise BundleError(
                f"Run {ti.run_id} of DAG {ti.dag_id} has opened no batch of workflow {self.workflow}. "
                "Put a BatchyOpenOperator before this task, or leave `workflow` out. If the run has opened one, Redis "
                f"has lost it since: `batchy restore {self.workflow}`."
            )
        self.batch_id_shown = batch.batch_id
        self._batch_seen = batch
        if self.job_params is None and batch.jobs.get(self.job, {}).get("outcome") == "aborted":
            raise AirflowFailException(
                f"Batch {batch.batch_id} of workflow {self.workflow} was taken over by another run, which loads its "
                f"window now; job {self.job!r} of this run does nothing any more."
            )
        if self.job_params is None and self.job not in batch.jobs:
            raise BundleError(
                f"Batch {batch.batch_id} of workflow {self.workflow} has no job {self.job!r}. "
                f"Its jobs: {', '.join(batch.jobs)}. Give `job` where it is not the task id, or "
                "`job_params` for a task that is no job of the workflow."
            )
        return batch

    def _run(self, context: Context, store: Any, batch: Batch | None) -> dict[str, Any]:
        from airflow.providers.common.compat.sdk import conf

        from batchy_provider.bundles.execution import Execution
        from batchy_provider.bundles.execution_request import ExecutionRequest
        from batchy_provider.bundles.limits import BACKGROUND_SECONDS, ProcessLimits
        from batchy_provider.bundles.live_output import LOG_LIMIT_BYTES
        from batchy_provider.compat import supervisor_socket
        from batchy_provider.hooks.deployment import bundle_cache, result_store
        from batchy_provider.hooks.secrets import close_process, known_secrets, learn_secrets
        from batchy_provider.observability import executions, traces
        from batchy_provider.operators.batch_watchdog import Ended, claim_name, watched
        from batchy_provider.operators.progress import ProgressKeeper

        cache = bundle_cache()
        grace = self.kill_grace_seconds
        ti = context["ti"]
        with executions.watched(self.workflow or ti.dag_id, self.job, batch, ti.try_number) as told:
            script_context, given = self._tell(context, batch)
            learn_secrets(self.env or {}, script_context.params, inherit_env=self.inherit_env)
            close_process()
            task = ExecutionRequest(
                identity=self._identity(context, batch),
                script_context=script_context,
                bundle=self._place(),
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
                output_is_read=self._is_read(),
                job_lock=cache.root / "claims" / claim_name(self, context, batch),
                **given,
            )
            self._execution = Execution(
                task,
                cache=cache,
                results=result_store(),
                work=cache.root / "work",
                secrets=known_secrets,
                show=self._show,
                progress=ProgressKeeper(self, store, batch),
            )
            execution, ended = self._execution, Ended(store, batch)
            with _orderly_timeout(execution), watched(execution.cancel, supervisor=supervisor_socket(), ended=ended):
                outcome = execution.run()
                told.ended(outcome)
                return self._finish(context, outcome)

    def _finish(self, context: Context, outcome: ExecutionOutcome) -> dict[str, Any]:
        from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException

        ti = context["ti"]
        for notice in outcome.notices:
            self.log.warning("%s", notice)
        ti.xcom_push(key="exit_code", value=outcome.exit_code)
        self._lineage_written = outcome.values.get("lineage")
        for name, value in outcome.values.items():
            if value is not None:  # Airflow refuses to store it; a missing XCom reads as None
                ti.xcom_push(key=name, value=value)
        whole = f"The whole output is in {outcome.stored.url}; to read it: {outcome.stored.command()}"
        self.log.info("%s", whole)
        reference = outcome.reference()
        if outcome.state == "success":
            return reference
        # A task that fails returns nothing, but a later job may want to look at what there is.
        ti.xcom_push(key=_REFERENCE, value=reference)
        if "output" not in outcome.values:
            ti.xcom_push(key="output", value=reference)
        if outcome.state == "skipped":
            raise AirflowSkipException(outcome.reason)
        self.log.error("%s", outcome.reason)
        raise AirflowException(f"{outcome.reason}\n{whole}")

    def _is_read(self) -> bool:
        """Whether a task of this DAG reads the output, or may: a template says it only when that task runs."""
        dag = self.get_dag()
        sources = [getattr(task, "input_from", None) for task in (dag.tasks if dag is not None else ())]
        return any(source == self.task_id or "{{" in str(source) for source in sources)

    def _place(self) -> Any:
        """The bundle's path: a URL through Airflow's object storage, a relative path from the DAG's folder."""
        if not isinstance(self.bundle, str):
            return self.bundle
        from batchy_provider.bundles.confined_files import as_local_path

        if (place := as_local_path(self.bundle)) is None:
            from batchy_provider.hooks.deployment import open_path

            return open_path(self.bundle)
        dag = self.get_dag()
        return Path(dag.fileloc).parent / place if dag is not None else Path(place)

    def _identity(self, context: Context, batch: Batch | None) -> Any:
        from batchy_provider.bundles.execution_id import ExecutionId

        ti = context["ti"]
        mapped = f"@{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
        return ExecutionId(
            workflow=self.workflow or ti.dag_id,
            batch_id=ti.run_id if batch is None else str(batch.batch_id),
            job=f"{self.job}{mapped}",
            attempt=str(ti.try_number),
        )

    def _tell(self, context: Context, batch: Batch | None) -> tuple[ScriptContext, dict[str, Any]]:
        """What the script is told, and its input as arguments of `ExecutionRequest`."""
        from batchy_provider.bundles.script_context import ScriptContext

        ti = context["ti"]
        tasks = list(dict.fromkeys([*self.previous, *([self.input_from] if self.input_from else [])]))
        previous = {task: facts for task, facts in self._previous(ti, tasks).items() if facts}
        given, source = self._input(ti, previous)
        script_context = ScriptContext(
            job=self.job,
            workflow=self.workflow,
            batch_id=None if batch is None else batch.batch_id,
            **self._own(context, batch),
            attempt=ti.try_number,
            run_id=ti.run_id,
            previous=previous,
            input=source,
        )
        return script_context, given

    def _own(self, context: Context, batch: Batch | None) -> dict[str, Any]:
        """Params and window of this task."""
        from batchy_provider.core.values import SETTING_FIELDS, STATE_FIELDS

        if batch is None:
            return {"params": {**(context.get("params") or {}), **(self.job_params or {})}}
        if self.job_params is not None:
            return {"params": dict(self.job_params), "from_date": batch.from_date, "to_date": batch.to_date}
        fields = batch.jobs[self.job]
        special = {*STATE_FIELDS, *SETTING_FIELDS}
        params = {name: value for name, value in fields.items() if name not in special}
        return {"params": params, "from_date": fields.get("from_date"), "to_date": fields.get("to_date")}

    def _previous(self, ti: Any, tasks: list[str]) -> dict[str, dict[str, Any]]:
        """State, exit code, output and values of earlier tasks of this run."""
        if not tasks:
            return {}
        from batchy_provider.operators.task_instances import states_of, worst_of

        states = states_of(ti, ti.dag_id, ti.run_id, tasks)
        told = {}
        for task in tasks:
            state = worst_of(states[task], _WORST_FIRST)
            returned = ti.xcom_pull(task_ids=task) if state == "success" else None
            output: Any = returned if _is_reference(returned) else _failed_output(ti, task)
            names = output.get("values", []) if _is_reference(output) else []
            told[task] = {
                "state": "aborted" if state in (None, "upstream_failed", "removed") else str(state),
                "exit_code": ti.xcom_pull(task_ids=task, key="exit_code"),
                "output": {key: output[key] for key in sorted(REFERENCE_KEYS)} if _is_reference(output) else None,
                "values": {name: ti.xcom_pull(task_ids=task, key=name) for name in names},
            }
        return told

    def _input(self, ti: Any, previous: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The input as arguments of `ExecutionRequest`, and what `$BATCHY_PARAMS` says of it."""
        import json

        if self.input_from is None:
            return {}, None
        state = previous[self.input_from]["state"]
        source = {"job": self.input_from, "state": state, "bytes": 0}
        if state != "success":
            self.log.warning("Task %s is %s: the input is empty.", self.input_from, state)
            return {"input_bytes": b""}, source
        returned: Any = ti.xcom_pull(task_ids=self.input_from)
        if _is_reference(returned):
            return {"input": returned}, {**source, "bytes": returned["bytes"]}
        # Not a bundle: a task of any other operator hands over what it returned.
        if returned is None:
            content = b""
        elif isinstance(returned, str):
            content = returned.encode("utf-8", "surrogateescape")
        else:
            content = json.dumps(returned, ensure_ascii=False, default=str).encode()
        return {"input_bytes": content}, {**source, "bytes": len(content)}

    def _show(self, stream: str, lines: str) -> None:
        """One record for all lines that came together."""
        if stream == "stdout":
            self.log.info("%s", lines)
        elif stream == "stderr":
            self.log.warning("%s", "stderr: " + lines.replace("\n", "\nstderr: "))
        else:
            self.log.warning("%s", lines)


def script_problems(tasks: Iterable[Any]) -> list[str]:
    """
    Say which scripts bash would misread, before a batch is opened for them.

    What cannot be looked at here (a store, a template, another worker's folder) is looked at when the job runs; so are
    handlers of failures, which must not keep a night from being loaded.

    :param tasks: of a DAG, mapped ones too
    """
    from batchy_provider.bundles.script import script_problem

    problems = []
    for task in tasks:
        arguments = getattr(task, "partial_kwargs", None) or vars(task)
        if not issubclass(getattr(task, "operator_class", type(task)), BashBundleOperator):
            continue
        if arguments.get("job_params") is None and isinstance(arguments.get("bundle"), str | Path):
            dag = task.get_dag()
            content = _script_of(Path(dag.fileloc).parent if dag is not None else Path(), str(arguments["bundle"]))
            if content is not None and (why := script_problem(content)):
                problems.append(f"job {task.task_id}, bundle {arguments['bundle']}: {why}")
    return problems


def _script_of(folder: Path, bundle: str) -> bytes | None:
    """The script of a bundle on this machine, or None."""
    import zipfile

    from batchy_provider.bundles.script import SCRIPT

    if "://" in bundle or "{{" in bundle:
        return None
    place = folder / bundle
    with contextlib.suppress(OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, NotImplementedError):
        if place.is_dir():
            return (place / SCRIPT).read_bytes()
        with zipfile.ZipFile(place) as archive:
            return archive.read(SCRIPT)
    return None


@contextlib.contextmanager
def _orderly_timeout(execution: Execution) -> Iterator[None]:
    """
    Let Airflow's `execution_timeout` end the script in order, before it is raised.

    Airflow raises from a signal handler, at any instruction, so also between reading output and writing it.
    While the script runs its alarm stops the script instead; the result is stored; then it is raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    airflow = signal.getsignal(signal.SIGALRM)
    late = []

    def on_alarm(number: int, frame: Any) -> None:
        if execution.running:
            late.append(number)
            execution.cancel("timeout")
        elif callable(airflow):
            airflow(number, frame)

    if not callable(airflow):
        yield
        return
    signal.signal(signal.SIGALRM, on_alarm)
    try:
        yield
    except Exception:
        if not late:  # that the script was stopped is the timeout's doing, and no error of its own
            raise
    finally:
        signal.signal(signal.SIGALRM, airflow)
    if late:
        airflow(late[0], None)


_WORST_FIRST = ("failed", "upstream_failed", "success", "skipped", "removed")
"""States of a mapped task's instances: the first that occurs is that of the task."""


def _failed_output(ti: Any, task: str) -> Any:
    """The reference of a task that did not succeed; under `output` a script may have left a value of its own."""
    found = ti.xcom_pull(task_ids=task, key=_REFERENCE)
    return ti.xcom_pull(task_ids=task, key="output") if found is None else found


def _is_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() >= REFERENCE_KEYS
