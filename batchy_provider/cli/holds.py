# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy hold`` and ``release``: let no batch of a workflow open until a moment, and say why."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from batchy_provider.cli.context import EXIT_OK, Commands, Context, actor, add_command, add_reason
from batchy_provider.cli.output import date_text

if TYPE_CHECKING:
    from batchy_provider.services.hold_answers import HoldView


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    hold = add_command(
        commands,
        "hold",
        hold_workflow,
        "put a workflow on hold: no batch opens until a moment, or until the release; an open batch goes on",
        "batchy hold sales --until 2026-11-30T06:00 --why 'the warehouse is rebuilt'\n"
        "batchy hold sales --until 2026-11-30T06:00+01:00 --why 'the warehouse is rebuilt'\n"
        "batchy hold sales --why 'wait for the answer of the bank'",
    )
    hold.add_argument("workflow")
    hold.add_argument(
        "--until", metavar="DATE", help="when the hold ends by itself (UTC, ISO 8601); default: only by a release"
    )
    hold.add_argument("--why", metavar="TEXT", required=True, help="the reason, for all who find it on hold")
    hold.add_argument("--by", metavar="NAME", default=None, help="name for the record (default: your user name)")

    release = add_command(
        commands, "release", release_workflow, "end the hold on a workflow before its time", "batchy release sales"
    )
    release.add_argument("workflow")
    add_reason(release)


def hold_workflow(context: Context, arguments: argparse.Namespace) -> int:
    """Put a workflow on hold."""
    made = context.services.holds.hold(
        arguments.workflow, actor=actor(arguments), why=arguments.why, until=arguments.until
    )
    _show(context, made.hold, f"{made.hold.workflow} is {hold_text(made.hold)}.")
    if made.replaced is not None:
        context.output.note(f"batchy: this replaces an earlier hold: {hold_text(made.replaced)}")
    if made.open_batch is not None:
        context.output.note(f"batchy: batch {made.open_batch} is open and goes on: the hold stops only later ones")
    return EXIT_OK


def release_workflow(context: Context, arguments: argparse.Namespace) -> int:
    """End the hold on a workflow."""
    ended = context.services.holds.release(arguments.workflow, actor=actor(arguments), why=arguments.why)
    _show(context, ended, f"{ended.workflow} is not on hold any more. It was {hold_text(ended)}.")
    return EXIT_OK


def hold_text(hold: HoldView) -> str:
    """Return a hold in words: until when, by whom, and why."""
    end = "until it is released" if hold.until is None else f"until {date_text(hold.until)} UTC"
    return f"on hold {end}, by {hold.by}: {hold.why}"


def _show(context: Context, hold: HoldView, sentence: str) -> None:
    if context.output.is_table:
        context.output.line(sentence)
    else:
        context.output.data(asdict(hold))
