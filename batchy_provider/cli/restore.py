# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Commands for the night on which Redis has lost something: ``restore``, and ``archive`` for the way there."""

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
    from batchy_provider.archive.restoring import Standing
    from batchy_provider.services.archive import ArchiveService

_SHOWN = 5


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    restore = add_command(
        commands,
        "restore",
        restore_workflows,
        "bring back into Redis what it has lost, from the archive in the result store",
        "batchy restore --all --dry-run     # what Redis lacks; exit code 1 if it lacks something\n"
        "batchy restore sales               # shows it, asks, and brings it back\n"
        "batchy restore --all --yes --no-history   # at three in the morning: what the next windows hang on, first",
    )
    _add_which(restore)
    restore.add_argument("-n", "--dry-run", action="store_true", help="only show what Redis lacks")
    restore.add_argument("-y", "--yes", action="store_true", help="do not ask")
    restore.add_argument(
        "--no-history", action="store_true", help="only the latest state; the batches may follow while nights run"
    )
    restore.add_argument(
        "--overwrite", action="store_true", help="also over a state in Redis that did not come of the archived one"
    )
    add_reason(restore)
    add_results_option(restore)

    archive = add_command(
        commands,
        "archive",
        archive_workflows,
        "write into the archive what Redis has and it has not, such as batches closed before there was one",
        "batchy archive --all",
    )
    _add_which(archive)
    archive.add_argument(
        "--overwrite", action="store_true", help="also over an archived state that Redis knows nothing of"
    )
    add_results_option(archive)


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", nargs="*")
    parser.add_argument("--all", action="store_true", help="every workflow that Redis or the archive knows")


def restore_workflows(context: Context, arguments: argparse.Namespace) -> int:
    """Show what Redis lacks, and bring it back."""
    service = context.archive
    found, faults = for_each(_names(service, arguments), service.standing)
    unfinished = {each.workflow: service.unfinished(each) for each in found}
    lost = [each for each in found if each.is_lost]
    if arguments.dry_run or (not lost and context.output.is_table):
        _show(context, found, unfinished, faults)
        return EXIT_ERROR if lost or faults else EXIT_OK
    if lost and not arguments.yes:
        _ask(context, found, unfinished)

    def bring_back(name: str) -> dict[str, object]:
        done = service.restore(
            name,
            actor=actor(arguments),
            history=not arguments.no_history,
            overwrite=arguments.overwrite,
            why=arguments.why,
        )
        return {**asdict(done), "unfinished": unfinished[name]}

    done, more = for_each([each.workflow for each in lost], bring_back)
    faults += more
    refused = [f"{each['workflow']}: {each['refused']}" for each in done if each["refused"]]
    if context.output.is_table:
        rows = [
            [each["workflow"], each["was"], "restored" if each["state"] else "as it was", str(each["batches"])]
            for each in done
            if not each["refused"]
        ]
        if rows:
            context.output.table(("workflow", "Redis was", "state", "batches restored"), rows)
        if arguments.yes:
            _tell_unfinished(context, unfinished)
    else:
        context.output.data([*done])
    return end(context, [*refused, *faults])


def archive_workflows(context: Context, arguments: argparse.Namespace) -> int:
    """Write what the archive lacks."""
    service = context.archive
    names = _names(service, arguments)
    done, faults = for_each(names, lambda name: service.write(name, overwrite=arguments.overwrite))
    if context.output.is_table:
        rows = [[each.workflow, "written" if each.state else "as it was", str(each.batches)] for each in done]
        context.output.table(("workflow", "state", "batches written"), rows)
    else:
        context.output.data([asdict(each) for each in done])
    return end(context, [*(f"{each.workflow}: {each.refused}" for each in done if each.refused), *faults])


def _names(service: ArchiveService, arguments: argparse.Namespace) -> list[str]:
    if bool(arguments.workflow) == arguments.all:
        raise UsageError("which workflows? Name them, or give --all")
    return service.workflows() if arguments.all else list(dict.fromkeys(arguments.workflow))


def _ask(context: Context, found: Sequence[Standing], unfinished: dict[str, list[int]]) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked: give --yes to restore, or --dry-run to look")
    _show(context, found, unfinished, [])
    print("Bring it back into Redis? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BatchyError("nothing was restored")


def _show(context: Context, found: Sequence[Standing], unfinished: dict[str, list[int]], faults: Sequence[str]) -> None:
    if context.output.is_table:
        rows = [[each.workflow, _words(each), each.redis or "nothing", each.archive or "nothing"] for each in found]
        context.output.table(("workflow", "Redis is", "Redis has", "the archive has"), rows)
        _tell_unfinished(context, unfinished)
    else:
        context.output.data([{**each.data(), "unfinished": unfinished[each.workflow]} for each in found])
    for fault in faults:
        context.output.note(f"batchy: {fault}")


def _words(found: Standing) -> str:
    """Say how one workflow stands; batches are closed ones."""
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


def _tell_unfinished(context: Context, unfinished: dict[str, list[int]]) -> None:
    for name, ids in unfinished.items():
        if ids:
            more = f" and {len(ids) - _SHOWN} before" if len(ids) > _SHOWN else ""
            context.output.note(
                f"batchy: {name}: jobs of batch {', '.join(map(str, ids[-_SHOWN:]))}{more} have run, but the archive "
                "knows of no end of it: a run that is still at it cannot close it, and the next one takes its window"
            )
