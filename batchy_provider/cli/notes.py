# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy note`` and ``ack``: write a note on a batch, and acknowledge its failure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from batchy_provider.cli.argument_types import allow_after_options, whole_number
from batchy_provider.cli.context import EXIT_OK, Commands, Context, actor, add_command
from batchy_provider.cli.output import date_text

if TYPE_CHECKING:
    from batchy_provider.core.batch_notes import BatchNote


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    note = add_command(
        commands,
        "note",
        add_note,
        "write a note on a batch, for the next one who looks at it",
        "batchy note sales --batch 1764400000 'the disk of db7 was full'",
    )
    ack = add_command(
        commands,
        "ack",
        acknowledge,
        "acknowledge the failure of a batch: lists show that somebody knows of it",
        "batchy ack sales --batch 1764400000\nbatchy ack sales --batch 1764400000 'ticket 4711, fixed by noon'",
    )
    for parser in (note, ack):
        parser.add_argument("workflow")
        parser.add_argument(
            "--batch", type=whole_number, required=True, metavar="ID", help="which batch; `batchy history` lists them"
        )
        parser.add_argument("--by", metavar="NAME", default=None, help="name for the record (default: your user name)")
    note.add_argument("text", metavar="TEXT", help="the note, at most 1000 characters")
    ack.add_argument("text", metavar="TEXT", nargs="?", help="a note, at most 1000 characters")
    allow_after_options(ack, "text")


def add_note(context: Context, arguments: argparse.Namespace) -> int:
    """Write a note on a batch."""
    holds = context.services.holds
    _show(context, holds.note(arguments.workflow, arguments.batch, arguments.text, actor=actor(arguments)))
    return EXIT_OK


def acknowledge(context: Context, arguments: argparse.Namespace) -> int:
    """Acknowledge the failure of a batch."""
    holds = context.services.holds
    _show(context, holds.acknowledge(arguments.workflow, arguments.batch, arguments.text, actor=actor(arguments)))
    return EXIT_OK


def _show(context: Context, notes: Sequence[BatchNote]) -> None:
    if context.output.is_table:
        rows = [[date_text(note.at), note.by, "acknowledged" if note.ack else None, note.text] for note in notes]
        context.output.table(("when (UTC)", "who", "", "note"), rows)
    else:
        context.output.data([asdict(note) for note in notes])
