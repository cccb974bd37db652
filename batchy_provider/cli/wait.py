# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy wait``: wait until workflows have succeeded, by asking Redis or the REST API."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

if TYPE_CHECKING:
    from batchy_provider.core.wait_set import Tally
    from batchy_provider.core.waits import Wait
    from batchy_provider.state.store import Store

RECHECK_SECONDS = 60.0
"""Time between two checks without an event: the original server publishes none."""
_LOST_PAUSE_SECONDS = 5.0


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "wait",
        wait,
        "wait until every job of one or more workflows has succeeded today; exit code 0 for success, 1 for failure, "
        "124 for the timeout",
        "batchy wait crm_extract --timeout 4h && ./load.sh\nbatchy wait erp --job orders --within 12h\n"
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
    scope.add_argument("--day", metavar="DATE", help="a success on that day or later counts (default: today)")
    parser.add_argument("--timezone", metavar="NAME", help="timezone of the day (default: the workflow's)")
    parser.add_argument("--timeout", type=duration, metavar="4h", help="give up after this time")
    parser.add_argument(
        "--on-failed", choices=("wait", "fail"), default="wait", help="what to do when a batch fails (default: wait)"
    )
    remote.add_options(parser)
    parser.add_argument("--recheck", type=duration, default=timedelta(seconds=RECHECK_SECONDS), help=argparse.SUPPRESS)


def wait(context: Context, arguments: argparse.Namespace) -> int:
    """Wait for a workflow, or for all of several."""
    if (url := remote.address(arguments)) is not None:
        if arguments.others:
            raise UsageError("with --api you can wait for one workflow only; start one wait for each")
        return remote.wait(context, arguments, url)
    from redis.exceptions import RedisError

    from batchy_provider.core.wait_set import Tally
    from batchy_provider.exceptions import RedisUnavailableError
    from batchy_provider.services.waits import look

    names = list(dict.fromkeys([arguments.workflow, *arguments.others]))
    store = context.store
    timeout = arguments.timeout
    deadline = time.monotonic() + timeout.total_seconds() if timeout is not None else float("inf")
    shown = None
    waits: list[Wait] = []
    tally = Tally(())
    while True:
        try:
            # Keep the day on which the wait began, so that a wait across midnight can end.
            if not waits:
                waits = [_what(store, name, arguments) for name in names]
                tally = Tally(waits)
            with _events(store) as events:
                while True:
                    for wait_for in waits:
                        verdict = look(store, wait_for)
                        if tally.take(wait_for.workflow, verdict) and not verdict.is_over:
                            context.output.note(f"batchy: {verdict.text}")
                    if tally.state != "waiting":
                        return _end(context, tally)
                    shown = None  # show the next outage, even if its message is the same
                    pause = min(arguments.recheck.total_seconds(), deadline - time.monotonic())
                    if pause <= 0:
                        context.output.note(f"batchy: gave up waiting for {', '.join(names)} after {timeout}")
                        return EXIT_TIMEOUT
                    _sleep(events, names, pause)
        except (RedisUnavailableError, RedisError) as error:
            # A restart of the server must not end a wait of hours.
            pause = min(_LOST_PAUSE_SECONDS, deadline - time.monotonic())
            if pause <= 0:
                context.output.note(f"batchy: gave up waiting for {', '.join(names)} after {timeout}")
                return EXIT_TIMEOUT
            if str(error) != shown:
                context.output.note(f"batchy: {error}; the wait continues")
                shown = str(error)
            time.sleep(pause)


def _what(store: Store, workflow: str, arguments: argparse.Namespace) -> Wait:
    from batchy_provider.services.waits import make_wait

    return make_wait(
        store,
        workflow,
        jobs=arguments.job,
        within_seconds=None if arguments.within is None else arguments.within.total_seconds(),
        is_any=arguments.any,
        day=arguments.day,
        timezone=arguments.timezone,
        fail_on_failed=arguments.on_failed == "fail",
    )


@contextmanager
def _events(store: Store) -> Iterator[Any]:
    """Subscribe to events. Do this before you read the state, or you miss the events in between."""
    from batchy_provider.state.keys import EVENTS_CHANNEL

    events = store.backend.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    try:
        events.subscribe(EVENTS_CHANNEL)
        yield events
    finally:
        events.close()


def _sleep(events: Any, workflows: Sequence[str], seconds: float) -> None:
    """Sleep until an event names one of the workflows, at most for some seconds."""
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        message = events.get_message(timeout=min(rest, 5.0))
        if message is not None and _names(message.get("data"), workflows):
            return


def _names(data: Any, workflows: Sequence[str]) -> bool:
    from batchy_provider.state.event_channel import read_event

    event = read_event(data)
    return event is not None and event["workflow"] in workflows


def _end(context: Context, tally: Tally) -> int:
    batches = tally.batches
    if context.output.is_table:
        context.output.line(tally.text)
    elif len(batches) == 1:
        context.output.data({"state": tally.state, "batch_id": next(iter(batches.values())), "text": tally.text})
    else:
        context.output.data({"state": tally.state, "batches": batches, "text": tally.text})
    return EXIT_OK if tally.state == "done" else EXIT_ERROR
