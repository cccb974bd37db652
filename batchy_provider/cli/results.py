# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The command ``logs``, and where results are for those who do not load Airflow."""

from __future__ import annotations

import argparse
import configparser
import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from batchy_provider.cli.context import Commands, Context, add_command

if TYPE_CHECKING:
    from batchy_provider.bundles.results import ResultStore, StoredExecution


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    logs = add_command(
        commands,
        "logs",
        show_logs,
        "print what a job wrote, byte for byte, as it is kept in the result store: stdout to stdout, stderr to stderr",
        "batchy logs sales load                          # the newest batch in which the job was executed\n"
        "batchy logs sales load --batch 1795370388 --stderr\n"
        "batchy logs sales extract --file output > orders.csv   # what the next job was handed\n"
        "batchy -o json logs sales load                  # exit code, times, bundle, sizes and digests of the files",
    )
    logs.add_argument("workflow", help="or the id of a DAG, for a task outside of any workflow")
    logs.add_argument("job", help="a mapped task is task@index")
    logs.add_argument("--batch", metavar="ID", help="default: the newest; outside of a workflow the id of the run")
    logs.add_argument("--attempt", metavar="N", help="which try (default: the last)")
    which = logs.add_mutually_exclusive_group()
    which.add_argument("--stdout", action="store_const", dest="file", const="stdout", help="only this, to stdout")
    which.add_argument("--stderr", action="store_const", dest="file", const="stderr", help="only this, to stdout")
    which.add_argument("--file", metavar="NAME", help="only this: output, or files/NAME from $BATCHY_OUTPUT_DIR")
    add_place(logs)


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the result store is."""
    parser.add_argument(
        "--results",
        metavar="URL",
        help="folder or URL of the result store (default: BATCHY_RESULTS, Airflow's [batchy] results_url, or "
        "batchy/results under AIRFLOW_HOME)",
    )


@contextlib.contextmanager
def airflow_speaks_aside() -> Iterator[None]:
    """Let Airflow, if it is loaded in here, log to stderr: our stdout is data. It keeps the stream that it found."""
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    with contextlib.redirect_stdout(sys.stderr):
        yield


def store_of(arguments: argparse.Namespace) -> ResultStore:
    """The result store; only one that is not a local folder loads Airflow."""
    from batchy_provider.hooks.places import result_store

    with airflow_speaks_aside():
        return result_store(arguments.results or os.environ.get("BATCHY_RESULTS") or _configured())


def _configured() -> str:
    """What Airflow would answer for `[batchy] results_url`, found without it."""
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    given = os.environ.get("AIRFLOW__BATCHY__RESULTS_URL")
    if not given:
        config = configparser.RawConfigParser(strict=False)
        config.read(os.environ.get("AIRFLOW_CONFIG") or home / "airflow.cfg", encoding="utf-8")
        given = config.get("batchy", "results_url", fallback="")
    return given or str(home / "batchy" / "results")


def show_logs(context: Context, arguments: argparse.Namespace) -> int:
    """Print what is stored of one execution."""
    found = store_of(arguments).latest(arguments.workflow, arguments.job, arguments.batch, arguments.attempt)
    if not context.output.is_table:
        context.output.data({"url": found.url, **found.record})
        return 0
    if arguments.file is None:
        _copy(found, "stderr", sys.stderr)
        _copy(found, "stdout", sys.stdout)
        return 0
    # A script that wrote no output of its own has its stdout as its output.
    _copy(found, found.record["output"] if arguments.file == "output" else arguments.file, sys.stdout)
    return 0


def _copy(found: StoredExecution, name: str, to: TextIO) -> None:
    with found.open(name) as file:
        shutil.copyfileobj(file, to.buffer, 1024 * 1024)
    to.buffer.flush()
