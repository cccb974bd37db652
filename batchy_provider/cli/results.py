# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy logs`` and ``batchy download``: print or copy what a job wrote."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from batchy_provider.cli.context import EXIT_ERROR, EXIT_OK, Commands, Context, UsageError, add_command
from batchy_provider.cli.result_store import add_results_option, open_results
from batchy_provider.core.terminal_text import ColouredText
from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_record import StoredExecution


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    logs = add_command(
        commands,
        "logs",
        show_logs,
        "print what a job wrote, byte for byte, from the result store: stdout to stdout, stderr to stderr",
        "batchy logs sales load                          # the newest batch in which the job was executed\n"
        "batchy logs sales load --follow                 # while it runs; exit code 1 if it fails\n"
        "batchy logs sales load --batch 1795370388 --stderr\n"
        "batchy logs sales extract --file output > orders.csv   # what the next job got as input\n"
        "batchy -o json logs sales load                  # exit code, times, bundle, sizes and digests of the files",
    )
    logs.add_argument("workflow", help="or a DAG id, for a task outside of a workflow")
    logs.add_argument("job", help="for a mapped task: task@index")
    logs.add_argument("--batch", metavar="ID", help="default: the newest batch; outside of a workflow: the run id")
    logs.add_argument("--attempt", metavar="N", help="which attempt (default: the last)")
    logs.add_argument("-f", "--follow", action="store_true", help="print what a running job writes, until it ends")
    which = logs.add_mutually_exclusive_group()
    which.add_argument("--stdout", action="store_const", dest="file", const="stdout", help="only this file, to stdout")
    which.add_argument("--stderr", action="store_const", dest="file", const="stderr", help="only this file, to stdout")
    which.add_argument("--file", metavar="NAME", help="only this file: output, or files/NAME from $BATCHY_OUTPUT_DIR")
    add_results_option(logs)

    download = add_command(
        commands,
        "download",
        download_files,
        "copy the results of a job, or the bundle that it runs, into a folder",
        "batchy download sales load --into /tmp/last\nbatchy download sales load --bundle   # load.zip",
    )
    download.add_argument("workflow")
    download.add_argument("job")
    download.add_argument("--bundle", action="store_true", help="the bundle that the workflow's file names now")
    download.add_argument("--batch", metavar="ID", help="default: the newest batch in which the job ran")
    download.add_argument("--attempt", metavar="N", help="which attempt (default: the last)")
    download.add_argument(
        "--into", metavar="DIR", type=Path, default=Path(), help="target folder (default: the current one)"
    )
    add_results_option(download)


def show_logs(context: Context, arguments: argparse.Namespace) -> int:
    """Print the results of one execution, stored or still growing."""
    if arguments.follow:
        return _follow(context, arguments)
    found = open_results(arguments).latest(arguments.workflow, arguments.job, arguments.batch, arguments.attempt)
    if not context.output.is_table:
        context.output.data({"url": found.url, **found.record})
        return 0
    if arguments.file is None:
        _copy(found, "stderr", sys.stderr)
        _copy(found, "stdout", sys.stdout)
        return 0
    # The output of a script that wrote none is its stdout.
    _copy(found, found.record["output"] if arguments.file == "output" else arguments.file, sys.stdout)
    return 0


def _follow(context: Context, arguments: argparse.Namespace) -> int:
    from batchy_provider.bundles.log_tail import Follower

    if not context.output.is_table or arguments.file not in (None, "stdout", "stderr") or arguments.attempt:
        raise UsageError("--follow can be combined only with --stdout and --stderr")
    store = open_results(arguments)
    running = store.running(arguments.workflow, arguments.job, arguments.batch)
    if not running:
        last = store.latest(arguments.workflow, arguments.job, arguments.batch)
        record = last.record
        context.output.note(
            f"batchy: {arguments.job} does not run now. Its last execution, in batch {record['batch_id']} "
            f"({record.get('state')}):"
        )
        arguments.follow = False
        show_logs(context, arguments)
        return _code(last)
    follower = Follower(store, running[-1])
    targets = {"stdout": sys.stdout, "stderr": sys.stderr if arguments.file is None else sys.stdout}
    shown = {stream: _ScriptOutput(target) for stream, target in targets.items()}
    for stream, data in follower.chunks():
        if arguments.file in (None, stream):
            shown[stream].write(data)
    for each in shown.values():
        each.close()
    assert follower.ended is not None
    context.output.note(f"batchy: {follower.ended.record.get('reason') or follower.ended.record.get('state')}")
    return _code(follower.ended)


def _code(ended: StoredExecution) -> int:
    return EXIT_ERROR if ended.record.get("state") == "failed" else EXIT_OK


def download_files(context: Context, arguments: argparse.Namespace) -> int:
    """Copy the results of an execution, or a bundle."""
    into: Path = arguments.into
    if arguments.bundle:
        import tempfile

        target = into / f"{arguments.job}.zip"
        _check_free(target)
        with tempfile.TemporaryDirectory(prefix="batchy-download-") as scratch:
            packed = context.services.executions.bundle(arguments.workflow, arguments.job, Path(scratch))
            into.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(packed, target)
        context.output.line(str(target))
        return EXIT_OK
    found = open_results(arguments).latest(arguments.workflow, arguments.job, arguments.batch, arguments.attempt)
    record = found.record
    folder = into / f"{arguments.workflow}-{record['batch_id']}-{arguments.job}-{record['attempt']}"
    _check_free(folder)
    for name in record["contents"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with found.open(name) as source, (folder / name).open("xb") as out:
            shutil.copyfileobj(source, out, 1024 * 1024)
    context.output.line(str(folder))
    return EXIT_OK


def _check_free(target: Path) -> None:
    if target.exists():
        raise ConfigError(f"{target} exists already; choose another folder with --into")


def _copy(found: StoredExecution, name: str, to: TextIO) -> None:
    shown = _ScriptOutput(to)
    with found.open(name) as file:
        while data := file.read(1024 * 1024):
            shown.write(data)
    shown.close()


class _ScriptOutput:
    """Write a script's output: byte for byte into files and pipes, with control sequences escaped to a terminal.

    :param to: stdout or stderr of this process.
    """

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._terminal = ColouredText() if to.isatty() else None

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        if self._terminal is None:
            self._to.buffer.write(data)
            self._to.buffer.flush()
        else:
            self._write(self._terminal.feed(data))

    def close(self) -> None:
        """Write the rest."""
        if self._terminal is not None:
            self._write(self._terminal.close())

    def _write(self, text: str) -> None:
        self._to.buffer.write(text.encode(self._to.encoding, "replace"))
        self._to.buffer.flush()
