# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy remove`` and ``rename``: remove a workflow that is gone for good, or give it another name."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from batchy_provider.cli.context import EXIT_OK, Commands, Context, UsageError, actor, add_command, add_reason
from batchy_provider.cli.result_store import add_results_option
from batchy_provider.exceptions import BatchyError


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    remove = add_command(
        commands,
        "remove",
        remove_workflow,
        "remove a workflow that is gone for good: its state, history, ledger, archive and results",
        "batchy remove sales          # show what would be removed, ask, and remove it\n"
        "batchy remove sales --yes --why 'replaced by orders'",
    )
    remove.add_argument("workflow")
    remove.add_argument("-y", "--yes", action="store_true", help="do not ask")
    remove.add_argument(
        "--force",
        action="store_true",
        help="also if a file still defines the workflow; its next run then starts at initial_date. An open batch is "
        "never removed",
    )
    add_reason(remove)
    add_results_option(remove)

    rename = add_command(
        commands,
        "rename",
        rename_workflow,
        "give a workflow another name: its state, history, ledger and archive. Rename its file yourself",
        "batchy rename sales orders --why 'one team, one name'",
    )
    rename.add_argument("old", metavar="OLD", help="the name now")
    rename.add_argument("new", metavar="NEW", help="a name that no workflow has")
    add_reason(rename)
    add_results_option(rename)


def remove_workflow(context: Context, arguments: argparse.Namespace) -> int:
    """Show what there is of a workflow, ask, and remove it."""
    service, name = context.services.removal, arguments.workflow
    if not arguments.yes:
        found = service.preview(name, force=arguments.force)
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask for confirmation: give --yes to remove it")
        print(
            f"This removes workflow {name}: {found.keys} keys in Redis, and {found.batches} batches with their "
            "archive and results. Nothing can bring them back. Remove it? [y/N] ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise BatchyError("nothing was removed")
    done = service.remove(name, actor=actor(arguments), why=arguments.why, force=arguments.force)
    if context.output.is_table:
        rows = [[name, str(done.keys), str(done.batches)]]
        context.output.table(("workflow", "keys removed", "batches removed"), rows)
    else:
        context.output.data(asdict(done))
    return EXIT_OK


def rename_workflow(context: Context, arguments: argparse.Namespace) -> int:
    """Rename a workflow, and say which files still have the old name."""
    service, old, new = context.services.renaming, arguments.old, arguments.new
    done = service.rename(old, new, actor=actor(arguments), why=arguments.why)
    if context.output.is_table:
        context.output.table(("old", "new", "batches"), [[old, new, str(done.batches)]])
    else:
        context.output.data(asdict(done))
    left = service.files_to_change(old)
    if left.file is not None:
        context.output.note(
            f"batchy: the file {left.file} still defines {old}. Rename it before its next run: that run would start "
            "at its initial_date and load all data again"
        )
    if left.waiting:
        context.output.note(
            f"batchy: the files of {', '.join(left.waiting)} still wait for {old}. Write {new} there: a wait for "
            f"{old} goes on until its timeout"
        )
    return EXIT_OK
