# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy exec``: open a batch, run a command under a lease, and close the batch by the command's exit code."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.argument_types import duration, take_command
from batchy_provider.cli.batch import add_opening_options, opening_options
from batchy_provider.cli.context import (
    EXIT_ERROR,
    EXIT_NOTHING_TO_LOAD,
    Commands,
    Context,
    UsageError,
    actor,
    add_command,
)
from batchy_provider.exceptions import BatchHeldError, BatchyError, RedisUnavailableError, WorkflowOnHoldError

if TYPE_CHECKING:
    from batchy_provider.bundles.foreground_command import ForegroundCommand, ForwardedSignals
    from batchy_provider.core.values import Batch

EXIT_HELD = 75
"""Somebody holds the workflow; try again later. `sysexits.h` calls it EX_TEMPFAIL."""

_LEASE, _SHORTEST_LEASE = timedelta(seconds=60), timedelta(seconds=1)
_RETRY = timedelta(seconds=60)
_GRACE = timedelta(seconds=10)
_LOOK_AGAIN_SECONDS = 2.0

EXAMPLES = """\
batchy exec sales -- ./load.sh                       # in a crontab: 0 2 * * * batchy exec sales -- /opt/etl/load.sh
batchy exec sales --if-open wait -- ./load.sh --full
batchy exec sales -- sh -c 'psql -v from="$BATCHY_FROM_DATE" -v to="$BATCHY_TO_DATE" -f load.sql'"""


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "exec",
        run_command,
        "open a batch, run a command with its window in the environment, and close the batch by the exit code",
        EXAMPLES,
    )
    parser.add_argument("workflow")
    parser.add_argument(
        "--if-open",
        choices=("fail", "wait"),
        default="fail",
        help="what to do while somebody holds the workflow: end with exit code 75 (default), or wait until it is free",
    )
    parser.add_argument(
        "--wait-timeout", type=duration, metavar="4h", help="with --if-open wait: wait no longer; then exit code 75"
    )
    parser.add_argument(
        "--job", metavar="NAME", help="the job whose window and params the command gets (default: the only job)"
    )
    add_opening_options(parser)
    parser.add_argument(
        "--lease",
        type=duration,
        default=_LEASE,
        metavar="1m",
        help="after this time without a sign of life, another one may take the batch over (default: 1m)",
    )
    parser.add_argument(
        "--retry-timeout",
        type=duration,
        default=_RETRY,
        metavar="1m",
        help="how long to retry at opening and closing while Redis does not answer (default: 1m)",
    )
    parser.add_argument(
        "--kill-grace",
        type=duration,
        default=_GRACE,
        metavar="10s",
        help="time between SIGTERM and SIGKILL if the batch is taken over (default: 10s)",
    )
    take_command(parser, "[OPTIONS] WORKFLOW -- COMMAND [ARGUMENT ...]")


def run_command(context: Context, arguments: argparse.Namespace) -> int:
    """Open, run, close, and return the exit code of the command."""
    from batchy_provider.bundles.foreground_command import CommandNotRunnableError, find_program, forwarded_signals

    if not arguments.arguments:
        raise UsageError("which command? Write it after --: batchy exec WORKFLOW -- COMMAND [ARGUMENT ...]")
    if arguments.lease < _SHORTEST_LEASE:
        raise UsageError("--lease must be at least 1s")
    options = opening_options(arguments)
    try:
        program = find_program(arguments.arguments[0])
    except CommandNotRunnableError as error:
        context.output.note(f"batchy: {error}. No batch is opened")
        return error.exit_code
    _check_job(context, arguments)
    with forwarded_signals() as signals:
        try:
            batch = _open(context, arguments, options, signals)
        except (BatchHeldError, WorkflowOnHoldError) as held:
            context.output.note(f"batchy: {held}")
            return EXIT_HELD
        if batch is None:
            return 128 + signals.came[0]
        return _Execution(context, arguments, batch, signals).run(program)


def _check_job(context: Context, arguments: argparse.Namespace) -> None:
    if arguments.job is None:
        return
    services = context.services
    config = services.workflows.config(arguments.workflow)
    jobs = config.jobs if config is not None else services.states.get(arguments.workflow).jobs
    if arguments.job not in jobs:
        raise UsageError(f"{arguments.workflow} has no job {arguments.job!r}; its jobs are {', '.join(jobs)}")


def _open(
    context: Context, arguments: argparse.Namespace, options: dict[str, Any], signals: ForwardedSignals
) -> Batch | None:
    """Open the batch. None if a signal has come while it waits.

    :raises BatchHeldError: somebody holds the workflow's batch, and the user does not wait, or not longer.
    :raises WorkflowOnHoldError: a person has put the workflow on hold, and the user does not wait, or not longer.
    """
    from batchy_provider.services.callers import this_process

    limit, begun, was_told = arguments.wait_timeout, time.monotonic(), False
    while not signals.came:
        try:
            return context.services.batches.open(
                arguments.workflow,
                actor=actor(arguments),
                process=this_process(),
                lease_seconds=arguments.lease.total_seconds(),
                **options,
            )
        except (BatchHeldError, WorkflowOnHoldError) as held:
            if arguments.if_open != "wait":
                raise
            if limit is not None and time.monotonic() - begun >= limit.total_seconds():
                raise
            if not was_told:
                context.output.note(f"batchy: waiting: {held}")
                was_told = True
        time.sleep(_LOOK_AGAIN_SECONDS)
    return None


class _Execution:
    """The command in its batch.

    :param batch: the batch that was opened for it.
    :param signals: pass on what comes for the command.
    """

    def __init__(
        self, context: Context, arguments: argparse.Namespace, batch: Batch, signals: ForwardedSignals
    ) -> None:
        self._batches = context.services.batches
        self._note = context.output.note
        self._arguments = arguments
        self._batch = batch
        self._signals = signals
        self._lost: Batch | None = None

    def run(self, program: str) -> int:
        """Run the command, close the batch, and return the exit code."""
        from batchy_provider.bundles.foreground_command import CommandNotRunnableError, ForegroundCommand
        from batchy_provider.cli.exec_variables import exec_variables

        if self._batch.warning:
            self._say(self._batch.warning)
        if self._signals.came:
            return self._close(128 + self._signals.came[0])
        left_out = self._batch.left_out
        job = self._arguments.job
        if job in left_out or not self._batch.jobs.keys() - set(left_out):
            self._say(f"{'job ' + repr(job) if job else 'every job'} is disabled, so the command is not run")
            self._close(EXIT_NOTHING_TO_LOAD, why="disabled")
            return EXIT_NOTHING_TO_LOAD
        with tempfile.TemporaryDirectory(prefix="batchy-exec-") as folder:
            variables = exec_variables(self._batch, job, left_out, Path(folder, "params.json"))
            try:
                command = ForegroundCommand(
                    program,
                    self._arguments.arguments,
                    env={**os.environ, **variables},
                    grace=self._arguments.kill_grace.total_seconds(),
                    folder=Path(folder),
                )
            except CommandNotRunnableError as error:
                self._say(str(error))
                return self._close(error.exit_code, why=str(error))
            code = self._wait(command)
        return self._close(code)

    def _wait(self, command: ForegroundCommand) -> int:
        from batchy_provider.services.lease_renewal import LeaseRenewal

        workflow, batch_id = self._batch.workflow, self._batch.batch_id
        seconds = self._arguments.lease.total_seconds()

        def lost(batch: Batch) -> None:
            self._lost = batch
            self._say(f"{self._end_of(batch)} while the command ran, so the command is stopped")
            command.stop()

        with LeaseRenewal(lambda: self._batches.renew_lease(workflow, batch_id, seconds), seconds, lost):
            self._signals.command = command
            for number in self._signals.came:
                command.send(number)
            code = command.wait()
        if left := command.left():
            names = ", ".join(f"{each.pid} `{each.command}`" for each in left)
            self._say(f"the command has ended, but these processes that it started still run: {names}")
        return code

    def _close(self, code: int, why: str | None = None) -> int:
        """Close the batch by the exit code of the command, and return the exit code of `batchy exec`."""
        workflow, batch_id = self._batch.workflow, self._batch.batch_id
        if self._lost is not None:
            return EXIT_ERROR
        command = "close" if code == 0 else "fail"
        try:
            self._batches.close(
                workflow,
                result="success" if code == 0 else "failed",
                batch_id=batch_id,
                actor=actor(self._arguments),
                why=why or _why(code),
            )
        except RedisUnavailableError as error:
            self._say(
                f"{error} The command has ended with exit code {code}, and batch {batch_id} could not be closed. As "
                f"soon as Redis answers: `batchy {command} {workflow} --batch {batch_id}`"
            )
            return code or EXIT_ERROR
        except BatchyError as error:
            self._say(f"the command has ended with exit code {code}, and its batch could not be closed: {error}")
            return code or EXIT_ERROR
        return code

    def _end_of(self, batch: Batch) -> str:
        record = batch.record
        if record is not None and record.taken_over_by is not None:
            return f"batch {batch.batch_id} was taken over by batch {record.taken_over_by}, by {record.closed_by},"
        by = f" by {record.closed_by}" if record is not None and record.closed_by else ""
        return f"batch {batch.batch_id} was closed as failed{by}"

    def _say(self, text: str) -> None:
        self._note(f"batchy: {self._batch.workflow}: {text}")


def _why(code: int) -> str:
    if code > 128:
        try:
            return f"exit code {code} ({signal.Signals(code - 128).name})"
        except ValueError:
            pass
    return f"exit code {code}"
