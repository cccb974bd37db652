# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy validate``: find the errors of workflow files, also between files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.cli.context import EXIT_ERROR, EXIT_OK, Commands, Context, UsageError, add_command
from batchy_provider.core.terminal_text import printable
from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from batchy_provider.config.diagnostics import Diagnostic
    from batchy_provider.config.workflow import Workflow


def add_commands(commands: Commands) -> None:
    """Add this group's command to the parser."""
    parser = add_command(
        commands,
        "validate",
        validate,
        "check workflow files, also against each other, and their bundles; exit code 1 if anything is wrong",
        "batchy validate\nbatchy validate cfg/sales.yaml\nbatchy validate -o json\nbatchy validate --format github",
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="files or folders (default: the folder of --cfg)"
    )
    parser.add_argument("--format", choices=("github",), help="annotations for GitHub Actions")
    parser.add_argument("--no-bundles", action="store_true", help="do not unpack bundles")
    parser.add_argument("--no-airflow", action="store_true", help="do not load Airflow, and do not check operators")


def validate(context: Context, arguments: argparse.Namespace) -> int:
    """Check workflow files."""
    from batchy_provider.config.file_scan import find_files
    from batchy_provider.config.inspection import inspect_folder

    diagnostics: list[Diagnostic] = []
    for top, paths in _tops(context, arguments.paths).items():
        check = None if arguments.no_airflow else _build
        found = inspect_folder(top, look_into_bundles=not arguments.no_bundles, check=check)
        diagnostics += [
            diagnostic for diagnostic in found if any(_lies_in(Path(diagnostic.file), path) for path in paths)
        ]
        files = tuple(find_files(top))
        for path in paths:
            # Otherwise a check of the wrong folder looks like a good one.
            if path.is_dir() and not any(_lies_in(file, path) for file in files):
                context.output.note(f"batchy: there is no workflow file in {path}, so nothing was checked there")
    if arguments.format == "github":
        for diagnostic in diagnostics:
            print(printable(annotation(diagnostic)))
    elif context.output.is_table:
        _show(context, diagnostics)
    else:
        context.output.data([asdict(diagnostic) for diagnostic in diagnostics])
    return EXIT_ERROR if diagnostics else EXIT_OK


def _tops(context: Context, paths: Sequence[Path]) -> dict[Path, list[Path]]:
    """Return folder → paths to check in it. A file is checked together with the files that it may wait for."""
    from batchy_provider.config.reader import SUFFIXES

    if not paths:
        return {context.cfg: [context.cfg]}
    tops: dict[Path, list[Path]] = {}
    for path in paths:
        if not path.exists():
            raise ConfigError(f"there is no file or folder {path}")
        if path.is_file() and path.suffix not in SUFFIXES:
            raise UsageError(f"{path} is not a workflow file; expected a name that ends in {', '.join(SUFFIXES)}")
        if context.cfg.is_dir() and _lies_in(path, context.cfg):
            top = context.cfg
        else:
            top = path if path.is_dir() else path.parent
        tops.setdefault(top, []).append(path)
    return tops


def _lies_in(path: Path, folder: Path) -> bool:
    # Links are not followed: a link lies in the folder that contains it.
    return path.absolute().is_relative_to(folder.absolute())


def _build(workflow: Workflow) -> list[Diagnostic]:
    """Build the DAG as Airflow's DAG processor does, to find errors that only this shows."""
    if not workflow.uses_classes:
        return []
    from batchy_provider.dag_factory.loader import build_workflow, check_storage

    return build_workflow(workflow, check_storage)[1]


def _show(context: Context, diagnostics: Sequence[Diagnostic]) -> None:
    from batchy_provider.config.excerpt import with_excerpts

    for text in with_excerpts(diagnostics):
        context.output.line(text)
    files = len({diagnostic.file for diagnostic in diagnostics})
    if diagnostics:
        how_many = "1 error" if len(diagnostics) == 1 else f"{len(diagnostics)} errors"
        context.output.line(f"{how_many} in {'1 file' if files == 1 else f'{files} files'}")
    else:
        context.output.line("no errors")


def annotation(diagnostic: Diagnostic) -> str:
    """Format a diagnostic as a GitHub Actions command, which shows it beside the line."""
    place = [("file", diagnostic.file)]
    if diagnostic.line is not None:
        place += [("line", str(diagnostic.line)), ("col", str(diagnostic.column))]
    if diagnostic.key:
        place.append(("title", diagnostic.key))
    properties = ",".join(f"{name}={_escape(value, in_property=True)}" for name, value in place)
    return f"::error {properties}::{_escape(diagnostic.message)}"


def _escape(text: str, *, in_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text
