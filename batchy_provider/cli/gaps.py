# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy gaps``: show the data that workflows have not loaded before their watermark."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from itertools import chain

from batchy_provider.cli.context import Commands, Context, add_command, end, for_each
from batchy_provider.cli.output import date_text, duration_text


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "gaps",
        show_gaps,
        "show the data before the watermark that jobs have not loaded; `batchy fill` loads it",
        "batchy gaps\nbatchy gaps sales crm\nbatchy -o json gaps sales",
    )
    parser.add_argument("workflows", nargs="*", metavar="workflow", help="which (default: all)")


def show_gaps(context: Context, arguments: argparse.Namespace) -> int:
    """Show the gaps of some workflows, or of all."""
    service = context.redis_services.gaps
    errors: list[str] = []
    if arguments.workflows:
        lists, errors = for_each(dict.fromkeys(arguments.workflows), service.of)
        found = list(chain.from_iterable(lists))
    else:
        found, unreadable = service.all()
        for state in unreadable:
            context.output.note(f"batchy: {state.workflow} cannot be read: {state.reason}")
    if context.output.is_table:
        rows = (
            [
                gap.workflow,
                gap.job,
                date_text(gap.from_date),
                date_text(gap.to_date),
                duration_text(gap.from_date, gap.to_date),
            ]
            for gap in found
        )
        if found or not errors:
            context.output.table(("workflow", "job", "from (UTC)", "to (UTC)", "length"), rows)
        if not found and not errors:
            context.output.hint("No gaps: each job has loaded all data from its first load to its watermark.")
    else:
        context.output.records(asdict(gap) for gap in found)
    return end(context, errors)
