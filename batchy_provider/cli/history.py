# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy history``: show the batches of one workflow or of all, and what people changed by hand."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.argument_types import duration, whole_number
from batchy_provider.cli.context import EXIT_OK, Commands, Context, UsageError, add_command
from batchy_provider.cli.output import BATCH_COLUMNS, batch_row, date_text, duration_text, styled
from batchy_provider.cli.result_store import add_results_option

if TYPE_CHECKING:
    from batchy_provider.core.values import PersonalChange
    from batchy_provider.services.answers import BatchView
    from batchy_provider.services.batch_history import HistoryAnswer, HistoryRow

_COLUMNS = (
    "workflow",
    "batch",
    "kind",
    "status",
    "started (UTC)",
    "ended (UTC)",
    "took",
    "failed jobs",
    "run",
    "notes",
)


def add_commands(commands: Commands) -> None:
    """Add this group's command to the parser."""
    history = add_command(
        commands,
        "history",
        show_history,
        "show the batches of a workflow or of all workflows, newest first, or what people changed by hand",
        "batchy history sales --limit 5\nbatchy history sales --changes\n"
        "batchy history --from 2026-11-29T01:00 --to 2026-11-29T04:00 --status failed\n"
        "batchy history --last 12h --status failed --not-acknowledged\n"
        "batchy history --search scheduled__2026-11-29T01:00",
        "With a workflow, it lists batches that only the archive has, too. For all workflows, it knows only Redis.",
    )
    history.add_argument("workflow", nargs="?", help="default: all workflows, as far as Redis has their batches")
    history.add_argument("--limit", type=whole_number, default=20, metavar="N", help="how many (default: 20)")
    history.add_argument(
        "--offset",
        type=whole_number,
        default=0,
        metavar="N",
        help="leave out this many of the newest; only with a WORKFLOW",
    )
    history.add_argument("--changes", action="store_true", help="show who changed what by hand, and why")
    add_results_option(history)
    which = history.add_argument_group("which batches")
    which.add_argument(
        "--from",
        dest="from_date",
        metavar="DATE",
        help="only those that ended at this moment or later, or have not ended (UTC, ISO 8601)",
    )
    which.add_argument(
        "--to", dest="to_date", metavar="DATE", help="only those that were opened before this moment (UTC, ISO 8601)"
    )
    which.add_argument("--last", type=duration, metavar="12h", help="only those that ran in this time up to now")
    which.add_argument("--status", choices=("open", "success", "failed"), help="only those with this status")
    which.add_argument("--kind", choices=("live", "history"), help="history: backfills and one-off loads")
    which.add_argument(
        "--job", metavar="JOB", help="only those with this job; with --status success or failed: in which it ended so"
    )
    known = which.add_mutually_exclusive_group()
    known.add_argument(
        "--acknowledged", action="store_true", default=None, help="only failures that somebody has acknowledged"
    )
    known.add_argument(
        "--not-acknowledged",
        dest="acknowledged",
        action="store_false",
        default=None,
        help="only failures that nobody has acknowledged",
    )
    which.add_argument("--tag", metavar="TAG", help="only workflows whose file has this tag")
    which.add_argument("--owner", metavar="NAME", help="only workflows whose file names this owner")
    which.add_argument("--search", metavar="TEXT", help="a part of the batch id, the run id or the workflow's name")
    which.add_argument("--below", metavar="PLACE", help="go on below this place, which the page before has printed")


def show_history(context: Context, arguments: argparse.Namespace) -> int:
    """Show the batches of one workflow or of all."""
    if arguments.limit < 1:
        raise UsageError("--limit: expected a number from 1 on")
    if arguments.offset < 0:
        raise UsageError("--offset: expected a number from 0 on")
    searches = _searches(arguments)
    if arguments.workflow is None:
        if arguments.changes:
            raise UsageError("--changes needs a WORKFLOW")
        if arguments.offset:
            raise UsageError("--offset needs a WORKFLOW; to see older batches of all, use --below")
        return _show_all(context, arguments)
    if arguments.changes:
        return _show_changes(context, arguments.workflow)
    if searches and arguments.offset:
        raise UsageError("--offset counts all batches of the workflow; to see older ones of a search, use --below")
    return _show_batches(context, arguments, searches)


def _searches(arguments: argparse.Namespace) -> bool:
    """Tell whether one of the options asks for certain batches."""
    wanted = (arguments.from_date, arguments.to_date, arguments.last, arguments.status, arguments.kind, arguments.job)
    more = (arguments.acknowledged, arguments.tag, arguments.owner, arguments.search, arguments.below)
    return any(each is not None for each in (*wanted, *more))


def _show_changes(context: Context, workflow: str) -> int:
    state = context.redis_services.states.get(workflow)
    if context.output.is_table:
        rows = [[date_text(made.at), made.by, _place(made), made.what, made.why] for made in state.changes]
        context.output.table(("when (UTC)", "who", "from", "what", "why"), rows)
    else:
        context.output.records(asdict(made) for made in state.changes)
    return EXIT_OK


def _show_batches(context: Context, arguments: argparse.Namespace, searches: bool) -> int:
    """Show batches of one workflow."""
    from batchy_provider.services.answers import BatchView

    answer: HistoryAnswer | None
    if searches:
        context.redis_services.states.get(arguments.workflow)  # a mistyped name is an error, not an empty history
        answer = _find(context, arguments)
        batches = [BatchView.of(batch) for batch in answer.batches]
    else:
        page = context.services.workflow_history.page(
            arguments.workflow, limit=arguments.limit, offset=arguments.offset
        )
        batches, answer = [BatchView.of(batch) for batch in page.batches], page.older
    if context.output.is_table:
        columns = (*BATCH_COLUMNS, "by", "why", "notes")
        rows = ([*batch_row(batch), batch.by or batch.run, batch.why, _notes(batch)] for batch in batches)
        context.output.table(columns, rows)
    else:
        context.output.records(batch.data() for batch in batches)
    if answer is not None:
        _say_rest(context, arguments, answer)
    return EXIT_OK


def _show_all(context: Context, arguments: argparse.Namespace) -> int:
    answer = _find(context, arguments)
    rows = answer.rows
    if context.output.is_table:
        if rows:
            context.output.table(_COLUMNS, map(_row, rows))
        else:
            context.output.hint("No such batch in Redis.")
    else:
        context.output.records(asdict(each) for each in rows)
    _say_rest(context, arguments, answer)
    return EXIT_OK


def _find(context: Context, arguments: argparse.Namespace) -> HistoryAnswer:
    from batchy_provider.services.batch_history import HistoryQuery

    if arguments.last is not None and arguments.from_date is not None:
        raise UsageError("give --last or --from, not both")
    query = HistoryQuery(
        workflows=[arguments.workflow] if arguments.workflow is not None else [],
        tag=arguments.tag,
        owner=arguments.owner,
        from_date=arguments.from_date,
        to_date=arguments.to_date,
        last=arguments.last,
        status=arguments.status,
        kind=arguments.kind,
        job=arguments.job,
        acknowledged=arguments.acknowledged,
        search=arguments.search,
    )
    return context.services.history.find(query, limit=arguments.limit, below=arguments.below)


def _say_rest(context: Context, arguments: argparse.Namespace, answer: HistoryAnswer) -> None:
    if answer.next is not None:
        context.output.note(f"batchy: there are older ones; the same command with --below {answer.next} shows them")
    for each in answer.archived:
        context.output.note(
            f"batchy: the archive has {each.batches} batches of {each.workflow} that Redis lacks, the newest is "
            f"{each.newest}: batchy restore {each.workflow} --dry-run"
        )
    if answer.archive_error is not None:
        context.output.note(f"batchy: whether the archive has older ones is not known: {answer.archive_error}")
    for name in answer.unreadable:
        context.output.note(f"batchy: {name} has batches that cannot be read; `batchy history {name}` says why")


def _row(row: HistoryRow) -> list[Any]:
    status = styled(row.status)
    if row.acknowledged is not None:
        status += ", acknowledged"
    return [
        row.workflow,
        str(row.batch_id),
        row.kind,
        status,
        date_text(row.started),
        date_text(row.batch_end) if row.batch_end else None,
        duration_text(row.started, row.batch_end),
        ", ".join(row.failed_jobs) or None,
        row.run or row.by,
        _notes(row),
    ]


def _notes(batch: BatchView | HistoryRow) -> str | None:
    marks = ["only in the archive"] if batch.archived else []
    return "\n".join([*marks, *map(str, batch.notes)]) or None


def _place(made: PersonalChange) -> str | None:
    return " ".join(part for part in (made.source, made.address) if part) or None
