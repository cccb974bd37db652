# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy plan``: show the expected runs of the next hours, and whether they meet their deadlines."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from batchy_provider.cli.context import EXIT_OK, Commands, Context, UsageError, add_command
from batchy_provider.cli.output import date_text

if TYPE_CHECKING:
    from batchy_provider.services.plan_answers import ExpectedRunView

_UNKNOWN = "unknown"


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "plan",
        show_plan,
        "show when the runs of the next hours start and end, and how likely they miss their deadlines",
        "batchy plan\nbatchy plan sales --hours 12\nbatchy -o json plan sales crm",
    )
    parser.add_argument("workflows", nargs="*", metavar="workflow", help="which (default: all)")
    parser.add_argument(
        "--hours", type=float, default=24.0, metavar="N", help="how far to look ahead (default: 24, at most 336)"
    )


def show_plan(context: Context, arguments: argparse.Namespace) -> int:
    """Show the expected runs of some workflows, or of all."""
    from batchy_provider.services.plan_answers import MAX_HOURS

    if not 0 < arguments.hours <= MAX_HOURS:
        raise UsageError(f"--hours: expected a number above 0, at most {MAX_HOURS:g}")
    service = context.redis_services.plan
    if arguments.workflows:
        found = service.of(arguments.workflows, hours=arguments.hours)
    else:
        found = service.all(hours=arguments.hours)
    if not context.output.is_table:
        context.output.records(asdict(each) for each in found)
        return EXIT_OK
    headings = ("workflow", "due (UTC)", "state", "starts", "ends (P50)", "ends (P90)", "waits for")
    context.output.table((*headings, "deadline", "missed", "critical path"), map(_row, found))
    if not found:
        context.output.hint(f"No run is expected in the next {arguments.hours:g} hours.")
    if any(each.end_p50 is None for each in found):
        context.output.hint(
            "Unknown: fewer than three successful runs are known, or it waits for a workflow of which the end is "
            "unknown, or a hold has no end, or it has failed and nothing starts it again within these hours."
        )
    return EXIT_OK


def _row(run: ExpectedRunView) -> list[str | None]:
    missed = None if run.deadline is None else _UNKNOWN
    if run.miss_probability is not None:
        missed = f"{run.miss_probability:.0%}"
    return [
        run.workflow,
        date_text(run.due),
        run.state,
        _known(run.start),
        _known(run.end_p50),
        _known(run.end_p90),
        ", ".join(run.waits_for),
        date_text(run.deadline),
        missed,
        " → ".join(step.workflow if step.job is None else f"{step.workflow}.{step.job}" for step in run.critical_path),
    ]


def _known(moment: str | None) -> str | None:
    return _UNKNOWN if moment is None else date_text(moment)
