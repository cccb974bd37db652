# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy warnings``: show the deadlines that will probably be missed."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from itertools import chain

from batchy_provider.cli.context import Commands, Context, add_command, end, for_each
from batchy_provider.cli.output import date_text


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "warnings",
        show_warnings,
        "show which deadlines will probably be missed, since when, and why",
        "batchy warnings\nbatchy warnings sales\nbatchy -o json warnings",
    )
    parser.add_argument("workflows", nargs="*", metavar="workflow", help="which (default: all)")


def show_warnings(context: Context, arguments: argparse.Namespace) -> int:
    """Show the warnings of some workflows, or of all, that stand now."""
    service = context.redis_services.warnings
    errors: list[str] = []
    for text in service.end_abandoned(arguments.workflows or None):
        context.output.note(f"batchy: {text}")
    if arguments.workflows:
        lists, errors = for_each(dict.fromkeys(arguments.workflows), service.of)
        found = list(chain.from_iterable(lists))
    else:
        found = service.standing()
    if not context.output.is_table:
        context.output.data([asdict(each) for each in found])
        return end(context, errors)
    rows = [
        [
            each.workflow,
            date_text(each.deadline),
            f"{each.chance:.0%}",
            "unknown" if each.expected_end is None else date_text(each.expected_end),
            date_text(each.since),
            each.chain[-1].text if each.chain else None,
        ]
        for each in found
    ]
    if found or not errors:
        context.output.table(("workflow", "deadline (UTC)", "missed", "ends (P50)", "warned since", "why"), rows)
    if not found and not errors:
        context.output.hint(
            "No warning stands. Only workflows whose file has `deadline: {warn: …}` are evaluated, by the DAG "
            "batchy_warnings."
        )
    return end(context, errors)
