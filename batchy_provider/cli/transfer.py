# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy export`` and ``import``: move the state of workflows between environments, in one JSON document."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.cli.context import (
    EXIT_OK,
    Commands,
    Context,
    UsageError,
    actor,
    add_command,
    add_reason,
    end,
)
from batchy_provider.cli.result_store import add_results_option
from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from batchy_provider.services.transfer import ImportedState, LeftOut


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    export = add_command(
        commands,
        "export",
        export_workflows,
        "write workflows to stdout as one JSON document: state, ledger, configuration, disabled jobs, audit entries",
        "batchy export > all.json\nbatchy export sales orders --history > two.json",
    )
    export.add_argument("workflow", nargs="*", help="default: all workflows in this Redis")
    export.add_argument("--history", action="store_true", help="with all batches, not only the latest ones")
    export.add_argument("--by", metavar="NAME", default=None, help="name for the record (default: your user name)")

    import_ = add_command(
        commands,
        "import",
        import_workflows,
        "write the workflows of an exported document into this Redis",
        "batchy import all.json --dry-run\n"
        "batchy --redis-url redis://old/0 export sales | batchy --redis-url redis://new/0 import -",
    )
    import_.add_argument("file", metavar="FILE", help="what `batchy export` wrote; - for stdin")
    import_.add_argument("-n", "--dry-run", action="store_true", help="check it and show what would be written")
    import_.add_argument(
        "--replace", action="store_true", help="remove a workflow of the same name first, with its history and archive"
    )
    add_reason(import_)
    add_results_option(import_)


def export_workflows(context: Context, arguments: argparse.Namespace) -> int:
    """Write a document, one workflow after the other; a workflow that cannot be read is left out and reported."""
    services = context.redis_services
    names = list(dict.fromkeys(arguments.workflow)) or [each.workflow for each in services.states.all()]
    left_out: list[LeftOut] = []
    parts = services.transfer.document(names, actor=actor(arguments), history=arguments.history, left_out=left_out)
    for part in parts:
        sys.stdout.write(part)
    errors = [each.reason if each.workflow in each.reason else f"{each.workflow}: {each.reason}" for each in left_out]
    if errors:
        errors.append(f"{len(errors)} of {len(names)} workflows are not in the document")
    return end(context, errors)


def import_workflows(context: Context, arguments: argparse.Namespace) -> int:
    """Import all workflows of a document, or none."""
    from batchy_provider.services.transfer import PartlyImportedError, decode_document

    data = decode_document(_read(arguments.file))
    try:
        done = context.redis_services.transfer.import_document(
            data,
            actor=actor(arguments),
            why=arguments.why,
            replace=arguments.replace,
            dry_run=arguments.dry_run,
        )
    except PartlyImportedError as error:
        _show(context, error.done)
        raise
    _show(context, done)
    if arguments.dry_run:
        context.output.note("batchy: nothing was written (--dry-run)")
    return EXIT_OK


def _read(name: str) -> bytes:
    try:
        if name == "-":
            if sys.stdin.isatty():
                raise UsageError("stdin is a terminal: give the name of a file, or send the document into stdin")
            return sys.stdin.buffer.read()
        return Path(name).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from error


def _show(context: Context, states: Sequence[ImportedState]) -> None:
    if not context.output.is_table:
        context.output.data([asdict(each) for each in states])
        return
    rows = [
        [
            each.workflow,
            str(len(each.jobs)),
            str(each.batches),
            "yes" if each.replaced else "no",
            ", ".join(map(str, each.ended)),
        ]
        for each in states
    ]
    context.output.table(("workflow", "jobs", "batches", "replaced", "open, failed now"), rows)
