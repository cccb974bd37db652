# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make the execution of ``batchy run`` from its arguments."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.context import UsageError
from batchy_provider.cli.result_store import airflow_logs_to_stderr

if TYPE_CHECKING:
    from batchy_provider.bundles.execution import Execution
    from batchy_provider.bundles.execution_request import ExecutionRequest
    from batchy_provider.bundles.masking import Secrets
    from batchy_provider.bundles.progress_lines import Progress
    from batchy_provider.bundles.scratch import ScratchFolder
    from batchy_provider.bundles.script_context import ScriptContext
    from batchy_provider.cli.foreground import Terminal


def make_execution(arguments: argparse.Namespace, scratch: ScratchFolder, terminal: Terminal) -> Execution:
    """Return the execution, not yet started.

    :param scratch: folder for the bundle's copy, the script's input and its results.
    :param terminal: gets what the script writes.
    :raises UsageError: the input cannot be read.
    """
    from batchy_provider.bundles.bundle_cache import BundleCache
    from batchy_provider.bundles.confined_files import as_local_path
    from batchy_provider.bundles.execution import Execution
    from batchy_provider.bundles.execution_id import ExecutionId
    from batchy_provider.bundles.execution_request import ExecutionRequest
    from batchy_provider.bundles.limits import BACKGROUND_SECONDS, ProcessLimits
    from batchy_provider.bundles.result_store import ResultStore

    folder = scratch.path
    bundle: Any = arguments.bundle
    if (place := as_local_path(bundle)) is not None:
        bundle = place
    else:
        from batchy_provider.hooks.deployment import open_path

        with airflow_logs_to_stderr():
            bundle = open_path(bundle)
    given = _input(arguments.input, folder)
    script_context = _script_context(arguments, given)
    grace, background = arguments.kill_grace, arguments.background_timeout
    task = ExecutionRequest(
        identity=ExecutionId(workflow="by hand", batch_id="1", job=script_context.job, attempt="1"),
        script_context=script_context,
        bundle=bundle,
        sha256=arguments.sha256,
        args=arguments.arguments,
        env=dict(arguments.env),
        inherit_env=arguments.inherit_env,
        input_file=given,
        timeout=arguments.timeout.total_seconds() if arguments.timeout is not None else None,
        kill_grace=10.0 if grace is None else grace.total_seconds(),
        background_timeout=BACKGROUND_SECONDS if background is None else background.total_seconds(),
        limits=ProcessLimits(**dict(arguments.limit)),
        max_output_bytes=arguments.max_output,
    )
    return Execution(
        task,
        cache=BundleCache(folder / "cache"),
        results=ResultStore(str(folder / "results")),
        work=folder / "work",
        secrets=_secrets(task) if arguments.mask else tuple,
        copy=terminal.write,
        note=terminal.say,
        outer=scratch,
        progress=lambda progress: _show_progress(progress, terminal),
    )


def _secrets(task: ExecutionRequest) -> Secrets:
    from batchy_provider.bundles.masking import secrets_in

    values = {**(os.environ if task.inherit_env else {}), **task.env}
    found = secrets_in(values) | secrets_in(task.script_context.params)
    return lambda: found


def _script_context(arguments: argparse.Namespace, given: Path | None) -> ScriptContext:
    from batchy_provider.bundles.script_context import ScriptContext

    job = arguments.job or Path(arguments.bundle.rstrip("/")).resolve().name.removesuffix(".zip")
    return ScriptContext(
        job=job,
        workflow=arguments.workflow,
        batch_id=arguments.batch,
        run_id="by hand",
        params={name: _value(text) for name, text in arguments.param},
        input=None if given is None else {"job": None, "state": "success", "bytes": given.stat().st_size},
        from_date=_date(arguments.from_date),
        to_date=_date(arguments.to_date),
    )


def _input(name: str | None, folder: Path) -> Path | None:
    if name is None:
        return None
    if name != "-":
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"--input {name} is not a file that can be read")
        return path
    if sys.stdin is None:
        raise UsageError("--input - reads stdin, which is closed")
    path = folder / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _date(text: str | None) -> str | None:
    from batchy_provider.core.dates import format_date, parse_date

    return None if text is None else format_date(parse_date(text))


def _value(text: str) -> Any:
    def no_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return text


def _show_progress(progress: Progress, terminal: Terminal) -> None:
    share = "" if progress.progress is None else f" {progress.progress:.0%}"
    terminal.say(f"progress{share} {progress.message or ''}".rstrip())
