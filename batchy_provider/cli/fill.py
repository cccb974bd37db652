# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy fill``: load gaps, or any range, by one history run of the workflow's DAG for each slice."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from batchy_provider.cli import remote
from batchy_provider.cli.argument_types import at_least_one, duration
from batchy_provider.cli.context import EXIT_OK, Commands, Context, UsageError, actor, add_command, add_reason
from batchy_provider.cli.output import date_text


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "fill",
        fill,
        "load the gaps of a workflow, or any range: one history run for each slice; the watermark stays",
        "airflow batchy fill sales --dry-run\nairflow batchy fill sales\n"
        "airflow batchy fill sales --from 2026-10-01 --to 2026-11-01 --every 1w --why 'late files'\n"
        "batchy fill sales --api https://airflow.example.org --token-file ~/.airflow-token",
    )
    parser.add_argument("workflow")
    parser.add_argument(
        "--from",
        dest="from_date",
        metavar="DATE",
        help="start of a range, inclusive (UTC, ISO 8601); default: the gaps",
    )
    parser.add_argument(
        "--to", dest="to_date", metavar="DATE", help="end of the range, exclusive (default: the watermark)"
    )
    parser.add_argument(
        "--every",
        type=duration,
        default=timedelta(days=1),
        metavar="1d",
        help="length of a slice; whole days are days of the workflow's timezone (default: 1d)",
    )
    parser.add_argument("--at-most", type=at_least_one, metavar="N", help="load only the N oldest slices")
    parser.add_argument("--dry-run", action="store_true", help="start nothing; show the slices")
    parser.add_argument("--ignore-hold", action="store_true", help="also while the workflow is on hold")
    add_reason(parser)
    remote.add_options(parser)


def fill(context: Context, arguments: argparse.Namespace) -> int:
    """Start the runs that load gaps or a range."""
    if arguments.every <= timedelta():
        raise UsageError("--every: a slice of no length holds no data; give a length above zero, for example 1d")
    if arguments.to_date is not None and arguments.from_date is None:
        raise UsageError("--to goes with --from; without both, fill loads the gaps")
    url = remote.address(arguments)
    found = _there(context, arguments) if url is None else _by_server(arguments, url)
    if context.output.is_table:
        rows = [[date_text(run["from_date"]), date_text(run["to_date"]), run["run_id"]] for run in found["runs"]]
        context.output.table(("from (UTC)", "to (UTC)", "run"), rows)
        if not rows:
            context.output.hint(f"Nothing to load: {arguments.workflow} has no gaps.")
    else:
        context.output.data(found["runs"])
    for note in found["notes"]:
        context.output.note(f"batchy: {note['text']}")
    return EXIT_OK


def _there(context: Context, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill with the Airflow of this machine. A dry run needs Redis only."""
    if not arguments.dry_run and context.dag_runs is None:
        raise UsageError(
            "fill starts runs in Airflow. Where? Give --api URL with --token-file FILE, or call it on a machine of "
            f"Airflow: airflow batchy fill {arguments.workflow}. With --dry-run, Redis is enough"
        )
    from batchy_provider.services.fill_requests import FillRequest

    request = FillRequest(
        from_date=arguments.from_date,
        to_date=arguments.to_date,
        every=arguments.every,
        at_most=arguments.at_most,
        dry_run=arguments.dry_run,
        ignore_hold=arguments.ignore_hold,
    )
    with _without_logs():
        fills = context.redis_services.fills
        return asdict(fills.fill(arguments.workflow, request, actor=actor(arguments), why=arguments.why))


@contextlib.contextmanager
def _without_logs() -> Iterator[None]:
    """Keep Airflow's log lines out of the output: it writes one to stdout for each run that it creates."""
    with contextlib.ExitStack() as undo:
        undo.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.INFO)
        if sys.stdout is not None:  # it is not closed by the calling program
            sys.stdout.flush()
            stdout = os.dup(1)
            undo.callback(os.close, stdout)
            undo.callback(os.dup2, stdout, 1)
            undo.callback(sys.stdout.flush)
            os.dup2(2, 1)
        yield


def _by_server(arguments: argparse.Namespace, url: str) -> dict[str, Any]:
    from batchy_provider.config.durations import format_duration

    body = {
        "from_date": arguments.from_date,
        "to_date": arguments.to_date,
        "every": format_duration(arguments.every),
        "at_most": arguments.at_most,
        "dry_run": arguments.dry_run,
        "ignore_hold": arguments.ignore_hold or None,
        "why": arguments.why,
    }
    given = {name: value for name, value in body.items() if value is not None}
    answer: dict[str, Any] = remote.post(arguments, url, "fill", given)
    return answer
