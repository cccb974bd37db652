# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy compare``: show a batch beside the last good one, and what differs first."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.argument_types import whole_number
from batchy_provider.cli.context import EXIT_OK, Commands, Context, add_command
from batchy_provider.cli.output import styled
from batchy_provider.cli.result_store import add_results_option
from batchy_provider.core.duration_text import format_duration

if TYPE_CHECKING:
    from batchy_provider.core.batch_differences import JobComparison, JobFacts
    from batchy_provider.services.batch_comparison import ComparedBatch

_COLUMNS = ("job", "ended", "other", "took", "other", "output", "other", "differs")


def add_commands(commands: Commands) -> None:
    """Add this group's command to the parser."""
    parser = add_command(
        commands,
        "compare",
        compare,
        "show a batch beside the last good one: durations, output sizes, params, bundles, and what differs first",
        "batchy compare sales --batch 1764400000\nbatchy compare sales --batch 1764400000 --with 1764313600",
        "Both batches may be in the archive alone; the last good one is looked for in Redis.",
    )
    parser.add_argument("workflow")
    parser.add_argument(
        "--batch", type=whole_number, required=True, metavar="ID", help="which batch; `batchy history` lists them"
    )
    parser.add_argument(
        "--with",
        dest="other",
        type=whole_number,
        metavar="ID",
        help="the other batch (default: the last good one before it)",
    )
    add_results_option(parser)


def compare(context: Context, arguments: argparse.Namespace) -> int:
    """Show a batch beside another one."""
    found = context.services.comparison.compare(arguments.workflow, arguments.batch, arguments.other)
    if not context.output.is_table:
        context.output.data(asdict(found))
        return EXIT_OK
    context.output.line(f"{found.workflow}: batch {found.batch.batch_id}: {found.text}")
    if found.other is None:
        return EXIT_OK
    rows = [["(whole batch)", *_whole(found.batch, found.other)], *(_row(each) for each in found.jobs)]
    context.output.table(_COLUMNS, rows, title=f"Batch {found.batch.batch_id} beside batch {found.other.batch_id}")
    for each in found.jobs:
        for name in each.params:
            context.output.line(f"{each.job}: {name} is {_param(each.batch, name)}, was {_param(each.other, name)}")
    return EXIT_OK


def _whole(batch: ComparedBatch, other: ComparedBatch) -> list[Any]:
    window = f"window {_took(batch.window_seconds)}, other {_took(other.window_seconds)}"
    took = [_took(batch.seconds), _took(other.seconds)]
    return [styled(batch.status), styled(other.status), *took, None, None, window]


def _row(each: JobComparison) -> list[Any]:
    both = (each.batch, each.other)
    return [
        each.job,
        *(styled(facts.outcome) if facts else None for facts in both),
        *(_took(facts.seconds) if facts else None for facts in both),
        *(f"{facts.output_bytes} B" if facts and facts.output_bytes is not None else None for facts in both),
        ", ".join(str(difference).replace("_", " ") for difference in each.differences) or None,
    ]


def _took(seconds: float | None) -> str:
    return "-" if seconds is None or seconds < 0 else format_duration(timedelta(seconds=round(seconds)))


def _param(facts: JobFacts | None, name: str) -> str:
    return "not set" if facts is None or name not in facts.params else repr(facts.params[name])
