# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy load``, ``open``, ``close`` and ``fail``: open and close batches by hand.

Their JSON is the body that the original server answers with: job → fields.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.argument_types import whole_number
from batchy_provider.cli.context import Commands, Context, UsageError, actor, add_command, add_reason
from batchy_provider.cli.output import BATCH_COLUMNS, batch_row, date_text

if TYPE_CHECKING:
    from batchy_provider.core.holders import CallingProcess
    from batchy_provider.core.values import Batch
    from batchy_provider.core.vocabulary import Result


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    load = add_command(
        commands,
        "load",
        load_workflow,
        "reset a workflow to its file: windows start again from initial_date, the history stays",
        "batchy load sales --why 'new warehouse'",
    )
    load.add_argument("workflow")
    add_reason(load)

    opening = add_command(
        commands,
        "open",
        open_batch,
        "open a batch by hand; exit code 3 and no change if the window's shape leaves nothing to load",
        "batchy open sales\n"
        "batchy open sales --format infa > sales.par\n"
        "batchy open sales --from 2026-11-01 --to 2026-11-08   # reload a week; the watermark stays",
    )
    opening.add_argument("workflow")
    opening.add_argument("--format", choices=("json", "infa"), help="print only the batch, in this format")
    add_opening_options(opening)
    opening.add_argument(
        "--process",
        type=whole_number,
        metavar="PID",
        help="the process that holds the batch while it lives (default: the script or shell that calls this command)",
    )

    for name, function, help in (
        ("close", close_batch, "close a batch as success"),
        ("fail", fail_batch, "close a batch as failed; the next one loads the same window"),
    ):
        closing = add_command(commands, name, function, help, f"batchy {name} sales")
        closing.add_argument("workflow")
        closing.add_argument(
            "--batch",
            type=whole_number,
            metavar="ID",
            help="which batch (default: the one that your script has opened)",
        )
        add_reason(closing)


def add_opening_options(opening: argparse.ArgumentParser) -> None:
    """Add the options of the commands that open a batch."""
    opening.add_argument(
        "--from", dest="from_date", metavar="DATE", help="start of the window, inclusive (UTC, ISO 8601)"
    )
    opening.add_argument("--to", dest="to_date", metavar="DATE", help="end of the window, exclusive (UTC, ISO 8601)")
    opening.add_argument(
        "--move-watermark",
        action="store_true",
        help="start the next window at --to; without it, the batch is history only",
    )
    opening.add_argument("--take-over", action="store_true", help="also when somebody holds the batch open")
    opening.add_argument("--ignore-hold", action="store_true", help="also when somebody has put the workflow on hold")
    add_reason(opening)


def opening_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_opening_options` say, as arguments of the service.

    :raises UsageError: they do not fit together.
    """
    if arguments.move_watermark and not (arguments.from_date or arguments.to_date):
        raise UsageError("--move-watermark goes with --from and --to")
    names = ("from_date", "to_date", "move_watermark", "take_over", "ignore_hold", "why")
    return {name: getattr(arguments, name) for name in names}


def _holding_process(arguments: argparse.Namespace) -> CallingProcess | None:
    from batchy_provider.services.callers import calling_process

    process = calling_process(arguments.process)
    if process is None and arguments.process is not None:
        raise UsageError(f"--process {arguments.process}: there is no such process on this machine")
    return process


def load_workflow(context: Context, arguments: argparse.Namespace) -> int:
    """Reset a workflow to its file."""
    jobs = context.services.workflows.load(arguments.workflow, actor=actor(arguments), why=arguments.why)
    if context.output.is_table:
        rows = [[job, date_text(fields.get("from_date"))] for job, fields in jobs.items()]
        context.output.table(
            ("job", "next window starts (UTC)"), rows, title=f"{arguments.workflow}, reset to its file"
        )
    else:
        context.output.data(jobs)
    return 0


def open_batch(context: Context, arguments: argparse.Namespace) -> int:
    """Open a batch."""
    options = opening_options(arguments)
    batches = context.services.batches
    if arguments.format == "infa":
        batches.check_informatica(arguments.workflow)
    batch = batches.open(
        arguments.workflow,
        actor=actor(arguments),
        process=_holding_process(arguments),
        **options,
    )
    if batch.warning:
        context.output.note(f"batchy: {batch.warning}")
    if arguments.format == "infa":
        context.output.document(batches.informatica(arguments.workflow, batch))
    elif arguments.format == "json" or not context.output.is_table:
        context.output.data(batch.jobs)
    else:
        _show(context, batch, "opened")
    return 0


def close_batch(context: Context, arguments: argparse.Namespace) -> int:
    """Close a batch as success."""
    return _close(context, arguments, "success")


def fail_batch(context: Context, arguments: argparse.Namespace) -> int:
    """Close a batch as failed."""
    return _close(context, arguments, "failed")


def _close(context: Context, arguments: argparse.Namespace, result: Result) -> int:
    from batchy_provider.services.callers import ancestors

    batch = context.services.batches.close(
        arguments.workflow,
        result=result,
        batch_id=arguments.batch,
        actor=actor(arguments),
        why=arguments.why,
        ancestors=ancestors(),
    )
    if context.output.is_table:
        _show(context, batch, f"closed as {result}")
    else:
        context.output.data(batch.jobs)
    return 0


def _show(context: Context, batch: Batch, what: str) -> None:
    title = f"{batch.workflow}, {what}" + (" (history only: the watermark stays)" if batch.kind == "history" else "")
    context.output.table(BATCH_COLUMNS, [batch_row(batch)], title=title)
