# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy wait``: wait until workflows have succeeded, by asking Redis or the REST API."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchy_provider.cli import remote
from batchy_provider.cli.argument_types import duration
from batchy_provider.cli.context import (
    EXIT_ERROR,
    EXIT_OK,
    EXIT_TIMEOUT,
    Commands,
    Context,
    UsageError,
    add_command,
)
from batchy_provider.core.vocabulary import ON_FAILED

if TYPE_CHECKING:
    from batchy_provider.core.waits import Wait
    from batchy_provider.services.wait_service import RedisVerdicts, WaitService
    from batchy_provider.services.waiter import Waiter

RECHECK_SECONDS = 60.0
"""Time between two checks without an event: the original server publishes none."""


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "wait",
        wait,
        "wait until every job of one or more workflows has succeeded today; exit code 0 for success, 1 for failure, "
        "124 for the timeout",
        "batchy wait crm_extract --timeout 4h && ./load.sh\nbatchy wait erp --job orders --within 12h\n"
        "batchy wait erp --due\n"
        "batchy wait crm_extract erp hr --on-failed fail\n"
        "batchy wait erp --api https://airflow.example.org --token-file ~/.airflow-token",
    )
    parser.add_argument("workflow")
    parser.add_argument("others", nargs="*", metavar="workflow", help="wait for all of these")
    parser.add_argument(
        "--job", action="append", default=[], metavar="NAME", help="wait only for this job; may be repeated"
    )
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--within", type=duration, metavar="12h", help="a success within the last 12 hours counts")
    scope.add_argument("--any", action="store_true", help="any success counts, however old")
    scope.add_argument(
        "--due", action="store_true", help="all data up to the last due time of the workflow must be loaded"
    )
    scope.add_argument("--day", metavar="DATE", help="a success on that day or later counts (default: today)")
    parser.add_argument("--timezone", metavar="NAME", help="timezone of the day (default: the workflow's)")
    parser.add_argument("--timeout", type=duration, metavar="4h", help="give up after this time")
    parser.add_argument(
        "--on-failed", choices=ON_FAILED, default="wait", help="what to do when a batch fails (default: wait)"
    )
    remote.add_options(parser)
    parser.add_argument("--recheck", type=duration, default=timedelta(seconds=RECHECK_SECONDS), help=argparse.SUPPRESS)


def wait(context: Context, arguments: argparse.Namespace) -> int:
    """Wait for a workflow, or for all of several."""
    from batchy_provider.services.waiter import Waiter, drive

    timeout = arguments.timeout
    waiter = Waiter(
        [arguments.workflow, *arguments.others],
        began=time.monotonic(),
        timeout=None if timeout is None else timeout.total_seconds(),
        recheck=arguments.recheck.total_seconds(),
    )
    with contextlib.closing(_source(context, arguments, waiter.workflows)) as source:
        drive(waiter, source, lambda text: context.output.note(f"batchy: {text}"))
    if waiter.is_over:
        if context.output.is_table:
            context.output.line(waiter.text)
        else:
            context.output.data(_answer(waiter))
        return EXIT_OK if waiter.state == "done" else EXIT_ERROR
    context.output.note(f"batchy: gave up waiting for {', '.join(waiter.workflows)} after {timeout}")
    if not context.output.is_table and waiter.codes:
        context.output.data(_answer(waiter))
    return EXIT_TIMEOUT


def _source(
    context: Context, arguments: argparse.Namespace, workflows: Sequence[str]
) -> RedisVerdicts | remote.ServerVerdicts:
    """Return what is asked: the server that the user named, or else Redis."""
    if (url := remote.address(arguments)) is None:
        service = context.redis_services.waits
        return service.source(lambda: [_make(service, name, arguments) for name in workflows])
    if arguments.others:
        raise UsageError("with --api you can wait for one workflow only; start one wait for each")
    return remote.ServerVerdicts(arguments, url)


def _make(service: WaitService, workflow: str, arguments: argparse.Namespace) -> Wait:
    return service.make(
        workflow,
        jobs=arguments.job,
        within_seconds=None if arguments.within is None else arguments.within.total_seconds(),
        is_any=arguments.any,
        due="now" if arguments.due else None,
        day=arguments.day,
        timezone=arguments.timezone,
        fail_on_failed=arguments.on_failed == "fail",
    )


def _answer(waiter: Waiter) -> dict[str, Any]:
    """Return the state of the wait as JSON."""
    from batchy_provider.services.wait_answers import dump_intervals

    batches, codes = waiter.batches, waiter.codes
    intervals = {name: dump_intervals(found) for name, found in waiter.intervals.items()}
    if len(waiter.workflows) > 1:
        more: dict[str, Any] = {"intervals": intervals} if intervals else {}
        return {"state": waiter.state, "batches": batches, "codes": codes, "text": waiter.text, **more}
    (name,) = waiter.workflows
    more = {"intervals": intervals[name]} if name in intervals else {}
    return {"state": waiter.state, "batch_id": batches[name], "code": codes[name], "text": waiter.text, **more}
