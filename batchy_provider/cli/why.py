# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy why`` and ``impact``: why a workflow is not running, or not done, and who is affected."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from batchy_provider.cli import remote
from batchy_provider.cli.argument_types import duration
from batchy_provider.cli.context import EXIT_OK, Commands, Context, UsageError, add_command
from batchy_provider.cli.output import date_text
from batchy_provider.cli.result_store import add_results_option
from batchy_provider.exceptions import BatchyError


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "why",
        show_why,
        "say why a workflow is not running, or not done: the root cause, through all workflows that it waits for",
        "batchy why report\nairflow batchy why report\nbatchy -o json why report\n"
        "batchy why report --api https://airflow.example.org --token-file ~/.airflow-token",
    )
    parser.add_argument("workflow")
    add_results_option(parser)
    remote.add_options(parser)

    parser = add_command(
        commands,
        "impact",
        show_impact,
        "show which workflows and deadlines are affected if a workflow is late or fails",
        "batchy impact crm\nbatchy impact crm --late 2h\nbatchy -o json impact crm --failed",
    )
    parser.add_argument("workflow")
    supposed = parser.add_mutually_exclusive_group()
    supposed.add_argument(
        "--late", type=duration, metavar="2h", help="suppose that its next run ends so long after it was due"
    )
    supposed.add_argument(
        "--failed", action="store_true", help="suppose that its next run fails, and that nobody runs it again"
    )
    remote.add_options(parser)


def show_why(context: Context, arguments: argparse.Namespace) -> int:
    """Show why a workflow is not running, or not done."""
    url = remote.address(arguments)
    if url is None:
        found: dict[str, Any] = asdict(context.services.why.of(arguments.workflow))
    else:
        found = remote.get(arguments, url, "why")
    if not context.output.is_table:
        context.output.data(found)
        return EXIT_OK
    chain = found["chain"]
    context.output.hint(found["text"])
    for warning in _warnings(context, arguments, url):
        since = date_text(warning["since"])
        context.output.hint(f"Warned since {since} UTC: {warning['text']}")
    if len(chain) > 1 or context.output.form == "plain":
        rows = [[link["workflow"], link["code"], link["text"]] for link in chain]
        context.output.table(("workflow", "why", "in words"), rows)
    return EXIT_OK


def _warnings(context: Context, arguments: argparse.Namespace, url: str | None) -> list[dict[str, Any]]:
    """Return the warnings that stand. Whatever hinders that, the answer to why is there already."""
    with suppress(BatchyError):
        if url is None:
            return [asdict(each) for each in context.services.warnings.standing([arguments.workflow])]
        found: Any = remote.get(arguments, url, "warnings")
        return list(found)
    return []


def show_impact(context: Context, arguments: argparse.Namespace) -> int:
    """Show which workflows need a workflow, with their deadlines."""
    late: timedelta | None = arguments.late
    if late is not None and late <= timedelta():
        raise UsageError("--late: give a duration above zero, for example 2h")
    url = remote.address(arguments)
    if url is None:
        service = context.services.why
        found: dict[str, Any] = asdict(service.impact(arguments.workflow, late=late, failed=arguments.failed))
    else:
        found = remote.get(arguments, url, "impact", _parameters(late, arguments.failed))
    if not context.output.is_table:
        context.output.data(found)
        return EXIT_OK
    downstream = found["downstream"]
    if downstream or context.output.form == "plain":
        columns = ("workflow", "via", "deadline (UTC)", "missed")
        context.output.table(columns, [_row(each) for each in downstream])
    else:
        context.output.hint(f"No workflow needs {arguments.workflow}.")
    return EXIT_OK


def _parameters(late: timedelta | None, failed: bool) -> dict[str, Any]:
    from batchy_provider.config.durations import format_duration

    given = {"late": None if late is None else format_duration(late), "failed": True if failed else None}
    return {name: value for name, value in given.items() if value is not None}


def _row(affected: dict[str, Any]) -> list[Any]:
    via = " → ".join(f"{step['workflow']} ({step['by']})" for step in affected["via"])
    deadline, chance = affected["deadline"], affected["miss_probability"]
    missed = "unknown" if chance is None else "certainly" if chance >= 1 else f"{chance:.0%}"
    return [affected["workflow"], via, date_text(deadline), "-" if deadline is None else missed]
