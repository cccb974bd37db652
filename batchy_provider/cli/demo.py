# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy demo``: the example workflows on a whole Airflow of their own, started here and stopped at the end."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.context import (
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TIMEOUT,
    Commands,
    Context,
    UsageError,
    add_command,
)
from batchy_provider.exceptions import BatchyError, ConfigError

if TYPE_CHECKING:
    from batchy_provider.local.folder import AnotherStackError
    from batchy_provider.local.runs import Runs
    from batchy_provider.local.stack import LocalStack

FOLDER = Path(".batchy/demo")
PREFERRED_PORT = 8080
EXAMPLES = ("crm_extract", "sales", "stock")
"""The workflows that are shipped: all that a demo starts by itself."""
TIMEOUT = timedelta(minutes=15)
_POLL_SECONDS = 0.7
# Airflow opens only files that hold the words "airflow" and "dag".
LOADER = """\
# The Airflow DAGs of the workflows.
from batchy_provider.dag_factory import cfg_folder, load_dags

load_dags(cfg_folder(__file__), globals())
"""


def add_commands(commands: Commands) -> None:
    """Add this group's command to the parser."""
    parser = add_command(
        commands,
        "demo",
        demo,
        "run the example workflows on an Airflow of their own, show the batches, and stay until Ctrl-C; workflows of "
        "your own in the same folder are there too, and only you start them",
        "batchy demo\nbatchy demo --exit --fresh\nbatchy --cfg my/cfg demo --run my_workflow",
    )
    parser.add_argument(
        "--exit",
        action="store_true",
        help="leave when all have run: exit code 0 if all succeeded, 1 if not, 124 if --timeout is over. In a folder "
        "of your own (--cfg) without any of the examples, all its workflows run",
    )
    parser.add_argument(
        "--timeout",
        type=_duration,
        metavar="15m",
        help="with --exit: give up so long after Airflow is up (default: 15m)",
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
        help=f"where it keeps everything (default: {FOLDER}); a second run goes on from there, like a second night",
    )
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs left in the folder")
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="CeleryExecutor with N workers instead: each part has a disk of its own, results and logs are on S3",
    )
    parser.add_argument("--port", type=_port, help=f"of the web UI (default: {PREFERRED_PORT}, if it is free)")


def _duration(text: str) -> timedelta:
    from batchy_provider.config.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65_535):
        raise argparse.ArgumentTypeError(f"expected a port, 1 to 65535, not {text!r}")
    return int(text)


def demo(context: Context, arguments: argparse.Namespace) -> int:
    """Run the examples, show them, and stay until Ctrl-C."""
    from batchy_provider.local import settings
    from batchy_provider.local import stack as local
    from batchy_provider.local.folder import AnotherStackError
    from batchy_provider.local.topology import ONE_MACHINE, many_machines

    if arguments.timeout is not None and not arguments.exit:
        raise UsageError("--timeout goes with --exit; without it the demo stays until Ctrl-C")
    cfg = context.cfg_given or examples_folder()
    dag_ids = _dag_ids(context, cfg)
    to_run = workflows_to_run(cfg, dag_ids, named=arguments.run, exits=arguments.exit)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background by a script. The servers must not ignore it too: it stops them in good order.
        signal.signal(signal.SIGINT, lambda signum, frame: None)
    folder = arguments.folder.expanduser().resolve()
    inherited, outside = settings.inherited_options(os.environ)
    progress = _Progress(context)
    stack = local.LocalStack(
        folder,
        dags=_dags_folder(folder, cfg),
        cfg=cfg,
        port=arguments.port,
        preferred_port=PREFERRED_PORT,
        topology=many_machines(arguments.workers) if arguments.workers > 0 else ONE_MACHINE,
        inherited=inherited,
        report=lambda line: progress.say(f"{line} ..."),
        on_web_ui=lambda: _show_login(context, stack),
    )
    try:
        stack.claim(fresh=arguments.fresh)
    except AnotherStackError as error:
        return _say_another_runs(context, error)
    with ExitStack() as stopping:
        stopping.callback(_stop, context, stack)
        _say_inherited(context, inherited, outside)
        _write_loader(folder, stack.dags)
        stack.start()
        progress.say("Airflow is up")
        return _run(context, arguments, stack, dag_ids=dag_ids, to_run=to_run)


class _Progress:
    """Lines with the seconds since the start."""

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


# what it runs


def examples_folder() -> Path:
    """Folder of the example workflows: what the wheel brought, or the checkout's."""
    package = Path(__file__).parents[1]
    for folder in (package / "examples" / "cfg", package.parent / "cfg"):
        if folder.is_dir():
            return folder
    raise ConfigError("this installation has no example workflows; name a folder of your own: batchy --cfg DIR demo")


def workflows_to_run(cfg: Path, dag_ids: list[str], *, named: list[str], exits: bool) -> list[str]:
    """
    Return what a demo unpauses and starts: the examples, and nothing that somebody else has written.

    :param cfg: folder of the workflow files.
    :param dag_ids: its workflows.
    :param named: those that the caller asks for by name, instead.
    :param exits: whether the demo leaves when they have run. A folder without an example is then run as a whole: it
        was named for that.
    :raises ConfigError: one that is named is not there, or nothing is left to run for a demo that exits.
    """
    unknown = [name for name in named if name not in dag_ids]
    if unknown:
        raise ConfigError(f"{cfg} has no workflow {', '.join(unknown)}, only {', '.join(dag_ids) or 'none'}")
    shipped = examples_folder()
    own = cfg.resolve() != shipped.resolve()
    found = named or [name for name in dag_ids if name in EXAMPLES and (not own or _is_copy(cfg, shipped, name))]
    if not found and exits and own:
        found = dag_ids
    if not found and exits:
        raise ConfigError(f"{cfg} holds no workflow that makes a DAG: nothing to run")
    return list(dict.fromkeys(found))


def _is_copy(cfg: Path, shipped: Path, name: str) -> bool:
    """Whether a folder holds the example of that name, and not a workflow of somebody's own that is called so."""
    try:
        return (cfg / f"{name}.yaml").read_bytes() == (shipped / f"{name}.yaml").read_bytes()
    except OSError:
        return False


def _dag_ids(context: Context, cfg: Path) -> list[str]:
    """Workflows of a folder that make DAGs; faults of others are shown, and do not stop these."""
    from batchy_provider.config.reader import read_folder

    if not cfg.is_dir():
        raise ConfigError(f"there is no folder {cfg} (--cfg, BATCHY_CFG)")
    found = read_folder(cfg)
    for fault in found.faults:
        context.output.note(f"batchy: {fault}")
    return [workflow.name for workflow in found.workflows.values() if workflow.has_dag]


def _dags_folder(folder: Path, cfg: Path) -> Path:
    """Folder of DAG files: that beside the workflows, or one of the demo's own."""
    beside = cfg.resolve().parent / "dags"
    return beside if (beside / "batchy_dags.py").exists() else folder / "dags"


def _write_loader(folder: Path, dags: Path) -> None:
    """Write the loader's two lines into the demo's own folder of DAG files, if that is the one."""
    if dags == folder / "dags":
        try:
            shutil.rmtree(dags, ignore_errors=True)
            dags.mkdir(mode=0o700)
            (dags / "batchy_dags.py").write_text(LOADER)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be used: {error}. Choose another one with --folder") from error


# what it says


def _show_login(context: Context, stack: LocalStack) -> None:
    context.output.note(f"Web UI:    {stack.url}   user {stack.user}   password {stack.password}")


def _say_inherited(context: Context, inherited: dict[str, str], outside: list[str]) -> None:
    """Name the variables of the caller's, never their values: passwords may be among them."""
    if inherited:
        names = [f"AIRFLOW__{name.replace('.', '__', 1)}".upper() for name in inherited]
        context.output.note(f"From your environment: {', '.join(names)}")
    if outside:
        context.output.note(f"Not from your environment, since the demo has its own: {', '.join(outside)}")


def _say_another_runs(context: Context, error: AnotherStackError) -> int:
    """Say where the demo is that runs in the folder; it is not touched."""
    note = context.output.note
    running = error.running
    note(f"batchy: a demo already runs in {error.folder}. It goes on as it is.")
    if running is not None and running.url:
        note(f"Web UI:    {running.url}   user {running.user}   password {running.password}")
    elif running is not None:
        note(f"It is {running.state}; its address and login follow where it runs.")
    by_id = f", or: kill {running.pid}" if running is not None else ""
    note(f"To stop it: Ctrl-C where it runs{by_id}")
    note("To run another one beside it: batchy demo --folder ANOTHER")
    return EXIT_FAULT


def _run(
    context: Context, arguments: argparse.Namespace, stack: LocalStack, *, dag_ids: list[str], to_run: list[str]
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
        _show_login(context, stack)
        _stay(stack)
    return EXIT_OK if runs.succeeded else EXIT_FAULT


def _follow(stack: LocalStack, runs: Runs, timeout: timedelta | None) -> bool:
    """
    Show how runs go on until all have ended.

    :param timeout: how long at most; None for no end.
    :returns: whether they have ended.
    """
    from batchy_provider.cli.progress import RunView, progress_view

    deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
    reports = _Reports(stack.redis_url)
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


class _Reports:
    """The latest progress of a workflow's jobs; nothing while Valkey does not answer."""

    def __init__(self, redis_url: str) -> None:
        from batchy_provider.state.connections import connect
        from batchy_provider.state.store import Store

        self._store = Store(connect(redis_url))

    def of(self, workflow: str) -> dict[str, Any]:
        from redis.exceptions import RedisError

        try:
            return self._store.progress(workflow)
        except (BatchyError, RedisError, OSError):
            return {}


def _show_batches(context: Context, stack: LocalStack, dag_ids: list[str]) -> None:
    """Show the batches of all workflows, of earlier runs too."""
    from redis.exceptions import RedisError

    from batchy_provider.cli.output import BATCH_COLUMNS, batch_data, batch_row
    from batchy_provider.state.connections import connect
    from batchy_provider.state.store import Store

    try:
        with connect(stack.redis_url) as client:
            store = Store(client)
            known = store.workflows()
            batches = {name: store.history(name, limit=5) for name in dag_ids if name in known}
    except (BatchyError, RedisError, OSError) as error:  # the runs have ended nevertheless
        context.output.note(f"batchy: the batches cannot be shown: {error}")
        return
    if not context.output.is_table:
        context.output.data([batch_data(batch) for found in batches.values() for batch in found])
        return
    rows = [[name, *batch_row(batch)] for name, found in batches.items() for batch in found]
    context.output.table(("workflow", *BATCH_COLUMNS), rows, title="The batches")


def _stay(stack: LocalStack) -> None:
    """Stay until Ctrl-C; a part that dies meanwhile is an error."""
    try:
        while True:
            time.sleep(1)
            stack.check()
    except KeyboardInterrupt:
        print(file=sys.stderr)
