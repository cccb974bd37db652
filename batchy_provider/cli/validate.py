# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy validate``: all faults of workflow files, also between them, for people and for programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.cli.context import EXIT_FAULT, EXIT_OK, Commands, Context, UsageError, add_command
from batchy_provider.core.terminal_text import printable
from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from batchy_provider.config.diagnostics import Fault
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
    parser.add_argument("--no-airflow", action="store_true", help="do not load Airflow to check operators")


def validate(context: Context, arguments: argparse.Namespace) -> int:
    """Check workflow files."""
    from batchy_provider.config.inspection import inspect_folder

    faults: list[Fault] = []
    for top, paths in _tops(context, arguments.paths).items():
        check = None if arguments.no_airflow else _build
        found = inspect_folder(top, look_into_bundles=not arguments.no_bundles, check=check)
        faults += [fault for fault in found if any(_lies_in(Path(fault.file), path) for path in paths)]
    if arguments.format == "github":
        for fault in faults:
            print(printable(annotation(fault)))
    elif context.output.is_table:
        _show(context, faults)
    else:
        context.output.data([asdict(fault) for fault in faults])
    return EXIT_FAULT if faults else EXIT_OK


def _tops(context: Context, paths: Sequence[Path]) -> dict[Path, list[Path]]:
    """Return folder → what is asked for in it: a file is checked among those that it may wait for."""
    from batchy_provider.config.reader import SUFFIXES

    if not paths:
        return {context.cfg: [context.cfg]}
    tops: dict[Path, list[Path]] = {}
    for path in paths:
        if not path.exists():
            raise ConfigError(f"there is no file or folder {path}")
        if path.is_file() and path.suffix not in SUFFIXES:
            raise UsageError(f"{path} is no workflow file; expected one that ends in {', '.join(SUFFIXES)}")
        if context.cfg.is_dir() and _lies_in(path, context.cfg):
            top = context.cfg
        else:
            top = path if path.is_dir() else path.parent
        tops.setdefault(top, []).append(path)
    return tops


def _lies_in(path: Path, folder: Path) -> bool:
    # Links are not followed: a link to a file lies where the link is.
    return path.absolute().is_relative_to(folder.absolute())


def _build(workflow: Workflow) -> list[Fault]:
    """Build a DAG as Airflow's DAG processor would, where only that shows what is wrong."""
    if not workflow.uses_classes:
        return []
    from batchy_provider.dag_factory.loader import build_workflow, check_storage

    return build_workflow(workflow, check_storage)[1]


def _show(context: Context, faults: Sequence[Fault]) -> None:
    from batchy_provider.config.excerpt import with_excerpts

    for text in with_excerpts(faults):
        context.output.line(text)
    files = len({fault.file for fault in faults})
    if faults:
        how_many = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        context.output.line(f"{how_many} in {'1 file' if files == 1 else f'{files} files'}")
    else:
        context.output.line("no faults")


def annotation(fault: Fault) -> str:
    """Write a fault as a command of GitHub Actions, which shows it beside the line."""
    place = [("file", fault.file)]
    if fault.line is not None:
        place += [("line", str(fault.line)), ("col", str(fault.column))]
    if fault.key:
        place.append(("title", fault.key))
    properties = ",".join(f"{name}={_escape(value, in_property=True)}" for name, value in place)
    return f"::error {properties}::{_escape(fault.message)}"


def _escape(text: str, *, in_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text
