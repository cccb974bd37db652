# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy restore`` and ``archive``: bring back what Redis has lost, archive what the archive lacks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from batchy_provider.cli.context import (
    EXIT_ERROR,
    EXIT_OK,
    Commands,
    Context,
    UsageError,
    actor,
    add_command,
    add_reason,
    end,
    for_each,
)
from batchy_provider.cli.result_store import add_results_option
from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
    from batchy_provider.services.archive import ArchiveService, Comparison

_SHOWN = 5


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    restore = add_command(
        commands,
        "restore",
        restore_workflows,
        "restore what Redis has lost from the archive in the result store",
        "batchy restore --all --dry-run     # show what Redis has lost; exit code 1 if anything\n"
        "batchy restore sales               # show it, ask, and restore it\n"
        "batchy restore --all --yes --no-history   # in a hurry: only what the next windows need",
    )
    _add_which(restore)
    restore.add_argument("-n", "--dry-run", action="store_true", help="show what Redis has lost, change nothing")
    restore.add_argument("-y", "--yes", action="store_true", help="do not ask")
    restore.add_argument(
        "--no-history", action="store_true", help="restore only the latest state; you can restore the batches later"
    )
    restore.add_argument(
        "--overwrite",
        action="store_true",
        help="also replace a state in Redis that is not an older version of the archived one",
    )
    add_reason(restore)
    add_results_option(restore)

    archive = add_command(
        commands,
        "archive",
        archive_workflows,
        "write to the archive what is in Redis and missing in the archive",
        "batchy archive --all",
    )
    _add_which(archive)
    archive.add_argument(
        "--overwrite", action="store_true", help="also replace an archived state that Redis does not know"
    )
    add_results_option(archive)


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", nargs="*")
    parser.add_argument("--all", action="store_true", help="all workflows in Redis and in the archive")


def restore_workflows(context: Context, arguments: argparse.Namespace) -> int:
    """Show what Redis has lost, and restore it."""
    service = context.archive
    found, errors = for_each(_names(service, arguments), service.compare)
    unfinished = {each.workflow: service.unfinished(each) for each in found}
    lost = [each for each in found if each.is_lost]
    if arguments.dry_run or (not lost and context.output.is_table):
        _show(context, found, unfinished, errors)
        return EXIT_ERROR if lost or errors else EXIT_OK
    if lost and not arguments.yes:
        _ask(context, found, unfinished)

    def restore(name: str) -> dict[str, object]:
        done = service.restore(
            name,
            actor=actor(arguments),
            history=not arguments.no_history,
            overwrite=arguments.overwrite,
            why=arguments.why,
        )
        return {**asdict(done), "unfinished": unfinished[name]}

    done, more = for_each([each.workflow for each in lost], restore)
    errors += more
    refused = [f"{each['workflow']}: {each['refused']}" for each in done if each["refused"]]
    if context.output.is_table:
        rows = [
            [each["workflow"], each["was"], "restored" if each["state"] else "unchanged", str(each["batches"])]
            for each in done
            if not each["refused"]
        ]
        if rows:
            context.output.table(("workflow", "Redis was", "state", "batches restored"), rows)
        if arguments.yes:
            _warn_unfinished(context, unfinished)
    else:
        context.output.data([*done])
    return end(context, [*refused, *errors])


def archive_workflows(context: Context, arguments: argparse.Namespace) -> int:
    """Write to the archive what it lacks."""
    service = context.archive
    names = _names(service, arguments)
    done, errors = for_each(names, lambda name: service.write(name, overwrite=arguments.overwrite))
    if context.output.is_table:
        rows = [[each.workflow, "written" if each.state else "unchanged", str(each.batches)] for each in done]
        context.output.table(("workflow", "state", "batches written"), rows)
    else:
        context.output.data([asdict(each) for each in done])
    return end(context, [*(f"{each.workflow}: {each.refused}" for each in done if each.refused), *errors])


def _names(service: ArchiveService, arguments: argparse.Namespace) -> list[str]:
    if bool(arguments.workflow) == arguments.all:
        raise UsageError("which workflows? Name them, or give --all")
    return service.workflows() if arguments.all else list(dict.fromkeys(arguments.workflow))


def _ask(context: Context, found: Sequence[Comparison], unfinished: dict[str, list[int]]) -> None:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for confirmation: give --yes to restore, or --dry-run to look")
    _show(context, found, unfinished, [])
    print("Restore it into Redis? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BatchyError("nothing was restored")


def _show(
    context: Context, found: Sequence[Comparison], unfinished: dict[str, list[int]], errors: Sequence[str]
) -> None:
    if context.output.is_table:
        rows = [[each.workflow, _words(each), each.redis or "nothing", each.archive or "nothing"] for each in found]
        context.output.table(("workflow", "Redis is", "Redis has", "the archive has"), rows)
        _warn_unfinished(context, unfinished)
    else:
        context.output.data([{**each.data(), "unfinished": unfinished[each.workflow]} for each in found])
    for error in errors:
        context.output.note(f"batchy: {error}")


def _words(found: Comparison) -> str:
    """Describe the state of one workflow in Redis, compared with the archive."""
    text = {
        "unknown": "empty",
        "not archived": "not in the archive yet",
        "in step": "in step",
        "archive behind": "ahead of the archive",
        "behind": "behind",
        "lost": "lost",
        "conflict": "in conflict with the archive",
    }[found.relation]
    if found.missing:
        text += f", lacks {len(found.missing)} batch{'es' if len(found.missing) > 1 else ''}"
    if found.in_the_way:
        text += f"; {found.in_the_way}"
    return text


def _warn_unfinished(context: Context, unfinished: dict[str, list[int]]) -> None:
    for name, ids in unfinished.items():
        if ids:
            more = f" and {len(ids) - _SHOWN} before" if len(ids) > _SHOWN else ""
            context.output.note(
                f"batchy: {name}: jobs of batch {', '.join(map(str, ids[-_SHOWN:]))}{more} have run, but the batch "
                "was never closed as far as the archive knows: a run that is still active cannot close it, and the "
                "next run loads its window"
            )
