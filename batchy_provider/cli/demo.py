# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy demo``: the example workflows on a whole Airflow of their own, started here and stopped at the end."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.context import EXIT_FAULT, EXIT_OK, Commands, Context, add_command
from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from batchy_provider.local.stack import LocalStack

FOLDER = Path(".batchy/demo")
PREFERRED_PORT = 8080
RUN_TIMEOUT = 900.0
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
        "run the example workflows (or those of --cfg) on an Airflow of their own, and show the batches",
        "batchy demo\nbatchy demo --exit --fresh",
    )
    parser.add_argument("--exit", action="store_true", help="leave when all have run: exit code 0 if all succeeded")
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
    parser.add_argument("--port", type=int, help=f"of the web UI (default: {PREFERRED_PORT}, if it is free)")


def demo(context: Context, arguments: argparse.Namespace) -> int:
    """Run the workflows, show them, and stay until Ctrl-C."""
    from batchy_provider.local import stack as local
    from batchy_provider.local.topology import ONE_MACHINE, many_machines

    cfg = context.cfg_given or _examples()
    dag_ids = _dag_ids(context, cfg)
    folder = arguments.folder.expanduser().resolve()
    if arguments.fresh:
        local.remove(folder)
    port = arguments.port or (PREFERRED_PORT if local.port_is_free(PREFERRED_PORT) else None)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    note = context.output.note
    started = time.monotonic()
    stack = local.LocalStack(
        folder,
        dags=_dags(folder, cfg),
        cfg=cfg,
        port=port,
        topology=many_machines(arguments.workers) if arguments.workers > 0 else ONE_MACHINE,
        report=lambda line: note(f"[{time.monotonic() - started:4.0f} s] {line} ..."),
    )
    with ExitStack() as stopping:
        stopping.callback(lambda: note("Everything is stopped."))
        stopping.enter_context(stack)
        stopping.callback(lambda: note("Stopping Airflow, PostgreSQL and Valkey ..."))
        note(f"[{time.monotonic() - started:4.0f} s] Airflow is up at {stack.url}")
        states = _run_all(stack, dag_ids)
        _show_batches(context, stack, dag_ids)
        good = all(state == "success" for state in states.values())
        if not arguments.exit:
            _stay(context, stack)
        return EXIT_OK if good else EXIT_FAULT


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _examples() -> Path:
    """Folder of the example workflows: the checkout's, or what the wheel brought."""
    package = Path(__file__).parents[1]
    for folder in (package.parent / "cfg", package / "examples" / "cfg"):
        if folder.is_dir():
            return folder
    raise ConfigError("this installation has no example workflows; name a folder of your own: batchy --cfg DIR demo")


def _dag_ids(context: Context, cfg: Path) -> list[str]:
    """Workflows of a folder that make DAGs; faults of others are told, and do not stop these."""
    from batchy_provider.config.reader import read_folder

    if not cfg.is_dir():
        raise ConfigError(f"there is no folder {cfg} (--cfg, BATCHY_CFG)")
    found = read_folder(cfg)
    for fault in found.faults:
        context.output.note(f"batchy: {fault}")
    dag_ids = [workflow.name for workflow in found.workflows.values() if workflow.has_dag]
    if not dag_ids:
        raise ConfigError(f"{cfg} holds no workflow that makes a DAG: nothing to run")
    return dag_ids


def _dags(folder: Path, cfg: Path) -> Path:
    """Folder of DAG files: that beside the workflows, or one of the demo's own with the loader's two lines."""
    beside = cfg.resolve().parent / "dags"
    if (beside / "batchy_dags.py").exists():
        return beside
    own = folder / "dags"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True, mode=0o700)
    (own / "batchy_dags.py").write_text(LOADER)
    return own


def _run_all(stack: LocalStack, dag_ids: list[str]) -> dict[str, str]:
    """
    Start a run of each DAG and show how they go on.

    :returns: run → its state.
    """
    from batchy_provider.batches.connect import connect
    from batchy_provider.batches.store import BatchStore
    from batchy_provider.cli.progress import RunView, progress_view
    from batchy_provider.local.rest import FINISHED, wait_for

    client = stack.client

    def missing() -> list[str]:
        stack.check()
        known = client.dags()
        return [dag_id for dag_id in dag_ids if dag_id not in known]

    try:
        wait_for(lambda: not missing(), "the DAGs", timeout=90)
    except Exception:
        errors = "\n".join(error["stack_trace"] for error in client.import_errors())
        raise ConfigError(f"Airflow does not show {', '.join(missing())}.\n{errors}") from None
    before = {dag_id: {run["dag_run_id"] for run in client.runs(dag_id)} for dag_id in dag_ids}
    for dag_id in dag_ids:
        client.unpause(dag_id)
        client.trigger(dag_id)
    store = BatchStore(connect(stack.redis_url))
    states: dict[str, str] = {}
    deadline = time.monotonic() + RUN_TIMEOUT
    with progress_view() as view:
        while True:
            stack.check()
            steps = []
            for dag_id in dag_ids:
                # Not ours alone: the scheduler starts the latest night's run of a DAG that is no longer paused.
                for run in client.runs(dag_id):
                    if run["dag_run_id"] not in before[dag_id]:
                        name = dag_id if run["run_type"] == "manual" else f"{dag_id} ({run['run_type']})"
                        states[name] = str(run["state"])
                        tasks = client.task_instances(dag_id, run["dag_run_id"])
                        steps.append(RunView(name, states[name], tasks, store.progress(dag_id)))
            view.show(steps)
            if all(state in FINISHED for state in states.values()):
                break
            if time.monotonic() > deadline:
                raise ConfigError(f"not all runs have ended within {RUN_TIMEOUT:.0f} seconds: {states}")
            time.sleep(0.7)
    store.client.close()
    return states


def _show_batches(context: Context, stack: LocalStack, dag_ids: list[str]) -> None:
    """Show the batches of all workflows, of earlier runs too."""
    from batchy_provider.batches.connect import connect
    from batchy_provider.batches.store import BatchStore
    from batchy_provider.cli.output import BATCH_COLUMNS, batch_data, batch_row

    with connect(stack.redis_url) as client:
        store = BatchStore(client)
        known = store.workflows()
        batches = {name: store.history(name, limit=5) for name in dag_ids if name in known}
    if not context.output.is_table:
        context.output.data([batch_data(batch) for found in batches.values() for batch in found])
        return
    rows = [[name, *batch_row(batch)] for name, found in batches.items() for batch in found]
    context.output.table(("workflow", *BATCH_COLUMNS), rows, title="The batches")


def _stay(context: Context, stack: LocalStack) -> None:
    """Stay until Ctrl-C; a part that dies meanwhile is an error."""
    note = context.output.note
    note(f"Web UI:    {stack.url}   user {stack.user}   password {stack.password}")
    note(f"By hand:   source {stack.shell_file}; then use airflow and batchy in that shell")
    if stack.topology.own_disks:
        note(f"Disks:     {stack.folder}/machines, one for each part; its env.sh says what only that part is told")
    note("Ctrl-C stops everything.")
    try:
        while True:
            time.sleep(1)
            stack.check()
    except KeyboardInterrupt:
        print(file=sys.stderr)
