# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy demo``: run the example workflows on a separate Airflow, which it starts and stops."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.argument_types import duration, port, whole_number
from batchy_provider.cli.context import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TIMEOUT,
    Commands,
    Context,
    UsageError,
    add_command,
)
from batchy_provider.cli.demo_nights import DemoNights, is_of_demo_history
from batchy_provider.cli.demo_workflows import dags_folder, dags_of, examples_folder, workflows_to_run, write_loader
from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
    from batchy_provider.local.folder import AnotherStackError
    from batchy_provider.local.runs import Runs
    from batchy_provider.local.stack import LocalStack

FOLDER = Path(".batchy/demo")
PREFERRED_PORT = 8080
TIMEOUT = timedelta(minutes=15)
_POLL_SECONDS = 0.7


def add_commands(commands: Commands) -> None:
    """Add this group's command to the parser."""
    parser = add_command(
        commands,
        "demo",
        demo,
        "run the example workflows on a separate Airflow, show the batches, and keep running until Ctrl-C. Your own "
        "workflows in the same folder appear in the web UI, but only you start them",
        "batchy demo\nbatchy demo --exit --fresh\nbatchy --cfg my/cfg demo --run my_workflow",
    )
    parser.add_argument(
        "--exit",
        action="store_true",
        help="stop when all runs have ended: exit code 0 if all succeeded, 1 if not, 124 at the timeout. In a folder "
        "of your own (--cfg) that contains none of the examples, all workflows run",
    )
    parser.add_argument(
        "--timeout",
        type=duration,
        metavar="15m",
        help="with --exit: give up this long after Airflow is up (default: 15m)",
    )
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="WORKFLOW",
        help="start a run of this workflow instead of the examples; may be repeated",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=FOLDER,
        help=f"folder of the demo (default: {FOLDER}); a second demo continues there like a second night",
    )
    parser.add_argument("--fresh", action="store_true", help="delete what earlier demos left in the folder")
    parser.add_argument(
        "--workers",
        type=whole_number,
        default=0,
        metavar="N",
        help="CeleryExecutor with N workers: each part has its own disk, results and logs are on S3",
    )
    parser.add_argument("--port", type=port, help=f"port of the web UI (default: {PREFERRED_PORT}, if it is free)")


def demo(context: Context, arguments: argparse.Namespace) -> int:
    """Run the examples, show them, and keep running until Ctrl-C."""
    from batchy_provider.local import settings
    from batchy_provider.local import stack as local
    from batchy_provider.local.folder import AnotherStackError
    from batchy_provider.local.topology import ONE_MACHINE, many_machines

    if arguments.timeout is not None and not arguments.exit:
        raise UsageError("--timeout needs --exit; without it the demo runs until Ctrl-C")
    cfg = context.cfg_given or examples_folder()
    dag_ids = dags_of(cfg, context.output.note)
    to_run = workflows_to_run(cfg, dag_ids, named=arguments.run, exits=arguments.exit)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A script has started us in the background. The servers must not inherit this: SIGINT stops them in order.
        signal.signal(signal.SIGINT, lambda signum, frame: None)
    folder = arguments.folder.expanduser().resolve()
    inherited, outside = settings.inherited_options(os.environ)
    progress = _Progress(context)
    nights: DemoNights | None = None
    if cfg.resolve() == examples_folder().resolve():
        nights = DemoNights(lambda: stack, context.output.note)
        dag_ids = [name for name in dag_ids if name in to_run or not is_of_demo_history(name)]
    stack = local.LocalStack(
        folder,
        dags=dags_folder(folder, cfg),
        cfg=cfg,
        port=arguments.port,
        preferred_port=PREFERRED_PORT,
        topology=many_machines(arguments.workers) if arguments.workers > 0 else ONE_MACHINE,
        inherited=inherited,
        report=lambda line: progress.say(f"{line} ..."),
        on_web_ui=lambda: _show_login(context, stack),
        on_servers=nights.begin if nights is not None else lambda: None,
    )
    try:
        stack.claim(fresh=arguments.fresh)
    except AnotherStackError as error:
        return _say_another_runs(context, error)
    with ExitStack() as stopping:
        stopping.callback(_stop, context, stack)
        _say_inherited(context, inherited, outside)
        write_loader(folder, stack.dags)
        stack.start()
        progress.say("Airflow is up")
        if nights is not None:
            nights.finish()
        return _run(context, arguments, stack, dag_ids=dag_ids, to_run=to_run, nights=nights)


class _Progress:
    """Writes lines with the seconds since the start."""

    def __init__(self, context: Context) -> None:
        self._note = context.output.note
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be closed
            self._note(f"[{time.monotonic() - self._began:4.0f} s] {line}")


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _stop(context: Context, stack: LocalStack) -> None:
    stack.stop()
    with contextlib.suppress(OSError):  # the terminal may be closed
        context.output.note("Everything is stopped.")


# messages


def _show_login(context: Context, stack: LocalStack) -> None:
    context.output.note(f"Web UI:    {stack.url}   user {stack.user}   password {stack.password}")


def _say_inherited(context: Context, inherited: dict[str, str], outside: list[str]) -> None:
    """Name the caller's variables, but not their values, which may be passwords."""
    if inherited:
        names = [f"AIRFLOW__{name.replace('.', '__', 1)}".upper() for name in inherited]
        context.output.note(f"From your environment: {', '.join(names)}")
    if outside:
        context.output.note(f"Ignored from your environment, because the demo sets its own: {', '.join(outside)}")


def _say_another_runs(context: Context, error: AnotherStackError) -> int:
    """Say where the demo runs that uses the folder. It is not touched."""
    note = context.output.note
    running = error.running
    note(f"batchy: a demo already runs in {error.folder}. It continues.")
    if running is not None and running.url:
        note(f"Web UI:    {running.url}   user {running.user}   password {running.password}")
    elif running is not None:
        note(f"It is {running.state}; it prints its address and login in its own terminal.")
    by_id = f", or: kill {running.pid}" if running is not None else ""
    note(f"To stop it: Ctrl-C where it runs{by_id}")
    note("To run another one beside it: batchy demo --folder ANOTHER")
    return EXIT_ERROR


def _run(
    context: Context,
    arguments: argparse.Namespace,
    stack: LocalStack,
    *,
    dag_ids: list[str],
    to_run: list[str],
    nights: DemoNights | None = None,
) -> int:
    from batchy_provider.local.runs import Runs

    note = context.output.note
    own = [name for name in dag_ids if name not in to_run]
    if own:
        note(f"Not started: {', '.join(own)}. Unpause and trigger them in the web UI, or: airflow dags trigger NAME")
    if not arguments.exit:
        note(f"By hand:   source {stack.shell_file}; then use airflow and batchy in that shell")
        if stack.topology.own_disks:
            note(f"Disks:     {stack.folder}/machines, one for each part; its env.sh holds what only that part gets")
        note("Ctrl-C stops everything.")
    runs = Runs(stack.client, to_run, note=note)
    timeout = (arguments.timeout or TIMEOUT) if arguments.exit else None
    try:
        if not _follow(stack, runs, timeout):
            for line in runs.unfinished():
                note(f"Not ended within {timeout}: {line}")
            _show_batches(context, stack, dag_ids)
            return EXIT_TIMEOUT
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return EXIT_INTERRUPTED
    _show_batches(context, stack, dag_ids)
    if not arguments.exit:
        if nights is not None:
            nights.go_on()
        _show_login(context, stack)
        _stay(stack)
    return EXIT_OK if runs.succeeded else EXIT_ERROR


def _follow(stack: LocalStack, runs: Runs, timeout: timedelta | None) -> bool:
    """Show the progress of runs until all have ended.

    :param timeout: None waits forever.
    :returns: whether they have ended.
    """
    from batchy_provider.cli.progress import JobReports, RunView, progress_view

    deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
    reports = JobReports(stack.redis_url)
    with progress_view() as view:
        while True:
            stack.check()
            runs.poll()
            view.show([RunView(run.name, run.state, run.tasks, reports.of(run.dag_id)) for run in runs.runs])
            if runs.ended:
                return True
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)


def _show_batches(context: Context, stack: LocalStack, dag_ids: list[str]) -> None:
    """Show the batches of all workflows, also of earlier demos."""
    from redis.exceptions import RedisError

    from batchy_provider.cli.output import BATCH_COLUMNS, batch_data, batch_row
    from batchy_provider.services.services_at_url import services_at

    try:
        with contextlib.closing(services_at(stack.redis_url)) as services:
            known = {state.workflow for state in services.states.all()}
            batches = {name: services.batches.history(name, limit=5).items for name in dag_ids if name in known}
    except (BatchyError, RedisError, OSError) as error:  # the runs have ended all the same
        context.output.note(f"batchy: the batches cannot be shown: {error}")
        return
    if not context.output.is_table:
        context.output.data([batch_data(batch) for found in batches.values() for batch in found])
        return
    rows = [[name, *batch_row(batch)] for name, found in batches.items() for batch in found]
    context.output.table(("workflow", *BATCH_COLUMNS), rows, title="The batches")


def _stay(stack: LocalStack) -> None:
    """Keep running until Ctrl-C. A part that dies meanwhile is an error."""
    try:
        while True:
            time.sleep(1)
            stack.check()
    except KeyboardInterrupt:
        print(file=sys.stderr)
