# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy adopt``: the history that the original server left, and the data that nobody loaded."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from batchy_provider.cli.context import Commands, Context, UsageError, actor, add_command, end, for_each

if TYPE_CHECKING:
    from batchy_provider.original.history import Adoption


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "adopt",
        adopt,
        "list the batches of the original server, end those that it left open, and show what nobody has loaded",
        "batchy adopt --all --dry-run\nbatchy adopt sales",
    )
    parser.add_argument("workflow", nargs="?")
    parser.add_argument("--all", action="store_true", help="every workflow in this Redis")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--by", metavar="NAME", default=None, help="who does it, for the record (default: the user)")


def adopt(context: Context, arguments: argparse.Namespace) -> int:
    """Take the original's history over."""
    from batchy_provider.services.adoption import adopt_workflow, adopters, data_of

    if bool(arguments.workflow) == arguments.all:
        raise UsageError("adopt what? Name one workflow, or give --all")
    services, by, dry_run = context.services, actor(arguments), arguments.dry_run
    faults: list[str] = []
    if arguments.all:
        each_of = adopters(services, actor=by, dry_run=dry_run)
        done, faults = for_each(each_of, lambda name: each_of[name]())
    else:
        done = [adopt_workflow(services, arguments.workflow, actor=by, dry_run=dry_run)]
    if not context.output.is_table:
        context.output.data([data_of(each) for each in done])
        return end(context, faults)
    rows = [[each.workflow, *_counts(each)] for each in done]
    context.output.table(("workflow", "batches adopted", "left open, ended", "never loaded"), rows)
    for each in done:
        for gap in each.gaps:
            window = f"{gap.from_date} to {gap.to_date} UTC"
            context.output.line(f"{each.workflow}, {gap.job}: no batch has loaded {window}")
        for key, why in each.passed_over.items():
            context.output.line(f"{key} was passed over: {why}")
    if any(each.gaps for each in done):
        context.output.hint(
            "Load such a window by a run with it in its conf: airflow dags trigger WORKFLOW --conf "
            '\'{"from_date": "…", "to_date": "…"}\''
        )
    return end(context, faults)


def _counts(done: Adoption) -> list[str]:
    return [str(len(found)) for found in (done.adopted, done.ended, done.gaps)]
