# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy adopt``: take over the history of the original server, and show data that no batch has loaded."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from batchy_provider.cli.context import Commands, Context, UsageError, actor, add_command, end, for_each

if TYPE_CHECKING:
    from batchy_provider.services.adoption import Adoption


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "adopt",
        adopt,
        "list the batches of the original server, end those that it left open, and show windows that were never loaded",
        "batchy adopt --all --dry-run\nbatchy adopt sales",
    )
    parser.add_argument("workflow", nargs="?")
    parser.add_argument("--all", action="store_true", help="all workflows in this Redis")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, change nothing")
    parser.add_argument("--by", metavar="NAME", default=None, help="name for the record (default: your user name)")


def adopt(context: Context, arguments: argparse.Namespace) -> int:
    """Take over the original's history."""
    if bool(arguments.workflow) == arguments.all:
        raise UsageError("which workflow? Name one, or give --all")
    service, by, dry_run = context.services.adoption, actor(arguments), arguments.dry_run
    errors: list[str] = []
    if arguments.all:
        each_of = service.each(actor=by, dry_run=dry_run)
        done, errors = for_each(each_of, lambda name: each_of[name]())
    else:
        done = [service.adopt(arguments.workflow, actor=by, dry_run=dry_run)]
    if not context.output.is_table:
        context.output.data([asdict(each) for each in done])
        return end(context, errors)
    rows = [[each.workflow, *_counts(each)] for each in done]
    context.output.table(("workflow", "batches adopted", "left open, ended", "never loaded"), rows)
    for each in done:
        for gap in each.gaps:
            window = f"{gap.from_date} to {gap.to_date} UTC"
            context.output.line(f"{each.workflow}, {gap.job}: no batch has loaded {window}")
        for key, why in each.passed_over.items():
            context.output.line(f"{key} was left out: {why}")
    if any(each.gaps for each in done):
        context.output.hint("To load what no batch has loaded, once the DAG exists: airflow batchy fill WORKFLOW")
    return end(context, errors)


def _counts(done: Adoption) -> list[str]:
    return [str(len(found)) for found in (done.adopted, done.ended, done.gaps)]
