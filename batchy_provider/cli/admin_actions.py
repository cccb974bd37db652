# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy set-window``, ``enable``, ``disable`` and ``prune``: change a workflow, and record who did it and why."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from batchy_provider.cli.argument_types import at_least_one
from batchy_provider.cli.context import Commands, Context, UsageError, actor, add_command, add_reason, end, for_each
from batchy_provider.cli.output import date_text
from batchy_provider.cli.result_store import add_results_option


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    window = add_command(
        commands,
        "set-window",
        set_window,
        "set where the next window of a workflow starts",
        "batchy set-window sales 2026-11-01 --why 'late files'\nbatchy set-window sales 2026-11-01 --job extract",
    )
    window.add_argument("workflow")
    window.add_argument("from_date", metavar="DATE", help="UTC, ISO 8601; inclusive")
    window.add_argument(
        "--job", action="append", default=[], metavar="NAME", help="change only this job; may be repeated"
    )
    add_reason(window)

    for name, function, help in (
        ("enable", enable, "switch a job on again; it loads what it missed"),
        ("disable", disable, "switch a job off: runs skip it and its window does not move"),
    ):
        switch = add_command(commands, name, function, help, f"batchy {name} sales load")
        switch.add_argument("workflow")
        switch.add_argument("job")
        add_reason(switch)

    prune = add_command(
        commands,
        "prune",
        prune_history,
        "remove all but the newest batches from the history, with the results of their jobs",
        "batchy prune sales --keep 400\nbatchy prune --all --keep 400 --keep-days 1000",
    )
    prune.add_argument("workflow", nargs="?")
    prune.add_argument(
        "--all", action="store_true", help="every workflow, and every DAG with results outside of a workflow"
    )
    prune.add_argument("--keep", type=at_least_one, required=True, metavar="N", help="how many batches to keep")
    prune.add_argument(
        "--keep-days",
        type=at_least_one,
        metavar="N",
        help="remember the run and the day of a removed batch for this many days (default: forever)",
    )
    prune.add_argument("--no-results", action="store_true", help="do not touch the result store")
    add_results_option(prune)


def set_window(context: Context, arguments: argparse.Namespace) -> int:
    """Move the watermark."""
    jobs = context.services.workflows.set_window(
        arguments.workflow, arguments.from_date, jobs=arguments.job, actor=actor(arguments), why=arguments.why
    )
    if context.output.is_table:
        rows = [[job, date_text(fields.get("from_date"))] for job, fields in jobs.items()]
        context.output.table(("job", "next window starts (UTC)"), rows)
    else:
        context.output.data(jobs)
    return 0


def enable(context: Context, arguments: argparse.Namespace) -> int:
    """Enable a job."""
    return _switch(context, arguments, enabled=True)


def disable(context: Context, arguments: argparse.Namespace) -> int:
    """Disable a job."""
    return _switch(context, arguments, enabled=False)


def _switch(context: Context, arguments: argparse.Namespace, *, enabled: bool) -> int:
    off = context.services.workflows.switch(
        arguments.workflow, arguments.job, enabled=enabled, actor=actor(arguments), why=arguments.why
    )
    _show_disabled(context, off)
    return 0


def prune_history(context: Context, arguments: argparse.Namespace) -> int:
    """Remove old batches, then the results of batches that are no longer in the history."""
    if bool(arguments.workflow) == arguments.all:
        raise UsageError("which workflow? Name one, or give --all")
    removals = context.redis_services.retention.each(
        arguments.workflow,
        keep=arguments.keep,
        keep_days=arguments.keep_days,
        with_results=not arguments.no_results,
    )
    if arguments.all:
        done, errors = for_each(removals, lambda name: (name, asdict(removals[name]())))
    else:
        done, errors = [(name, asdict(remove())) for name, remove in removals.items()], []
    removed = dict(done)
    if context.output.is_table:
        columns = ("workflow", "batches removed", "results of batches removed")
        context.output.table(columns, [[name, *map(str, counts.values())] for name, counts in removed.items()])
    else:
        context.output.data(removed)
    return end(context, errors)


def _show_disabled(context: Context, off: frozenset[str]) -> None:
    if context.output.is_table:
        context.output.line(f"Switched off: {', '.join(sorted(off)) or 'no job'}")
    else:
        context.output.data(sorted(off))
