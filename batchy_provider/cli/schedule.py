# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy schedule``: show when a workflow is due next, and which days its calendar leaves out."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING

from batchy_provider.cli.argument_types import at_least_one
from batchy_provider.cli.context import EXIT_OK, Commands, Context, UsageError, add_command
from batchy_provider.exceptions import UnknownWorkflowError

if TYPE_CHECKING:
    from batchy_provider.services.due_times import DueTime, DueTimes


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "schedule",
        show_schedule,
        "show when a workflow is due next, its calendar applied; needs no Airflow, and no Redis if there is a file",
        "batchy schedule sales\nbatchy schedule sales --from 2026-12-20 --count 5 --left-out\n"
        "batchy -o json schedule sales --count 1",
    )
    parser.add_argument("workflow")
    parser.add_argument(
        "--from",
        dest="from_date",
        metavar="DATE",
        help="from this moment on, inclusive (ISO 8601; in the workflow's timezone; default: now)",
    )
    parser.add_argument(
        "--count", type=at_least_one, default=10, metavar="N", help="how many times (default: 10, at most 1000)"
    )
    parser.add_argument(
        "--left-out", action="store_true", help="show the days between that the calendar leaves out, too, and why"
    )


def show_schedule(context: Context, arguments: argparse.Namespace) -> int:
    """Show when a workflow is due next."""
    from batchy_provider.services.due_times import MAX_COUNT

    if arguments.count > MAX_COUNT:
        raise UsageError(f"--count: at most {MAX_COUNT}")
    found = _due_times(context, arguments)
    if context.output.is_table:
        rows = [_row(each) for each in found.times]
        if rows:
            context.output.table(("day", "weekday", "time", f"offset ({found.timezone})", "note"), rows)
        elif not found.notes:
            context.output.hint(f"{found.workflow} is not due at any later time.")
    else:
        context.output.data([asdict(each) for each in found.times])
    for note in found.notes:
        context.output.note(f"batchy: {note.text}")
    return EXIT_OK


def _row(each: DueTime) -> list[str | None]:
    weekday = f"{date.fromisoformat(each.day):%a}"
    if each.due is None:
        return [each.day, weekday, "left out", None, each.note]
    due = datetime.fromisoformat(each.due)
    return [each.day, weekday, f"{due:%H:%M}", _offset(due), each.note]


def _due_times(context: Context, arguments: argparse.Namespace) -> DueTimes:
    from batchy_provider.config.diagnostics import did_you_mean
    from batchy_provider.config.file_scan import find_files
    from batchy_provider.core.names import is_workflow_name

    try:
        return context.services.due_times.of(
            arguments.workflow, start=arguments.from_date, count=arguments.count, left_out=arguments.left_out
        )
    except UsageError as error:  # it has no file, and the user named no Redis to look in
        folder, name = context.cfg, arguments.workflow
        names = [path.stem for path in find_files(folder)] if folder.is_dir() else []
        if name in names or not is_workflow_name(name):
            raise
        hint = did_you_mean(name, names) or "."
        raise UnknownWorkflowError(
            f"{folder} has no file of workflow {name!r}{hint} To look in Redis, too: {error}"
        ) from None


def _offset(due: datetime) -> str:
    return f"{due:%z}"[:3] + ":" + f"{due:%z}"[3:5]
