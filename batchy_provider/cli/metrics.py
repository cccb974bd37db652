# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy metrics``: show the state of all workflows in Prometheus' text format."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from batchy_provider.cli.context import EXIT_ERROR, Commands, Context, add_command
from batchy_provider.exceptions import ConfigError


def add_commands(commands: Commands) -> None:
    """Add this group's command to the parser."""
    metrics = add_command(
        commands,
        "metrics",
        show_metrics,
        "show the state of all workflows as metrics, in Prometheus' text format",
        "batchy metrics\nbatchy metrics --file /var/lib/prometheus/node-exporter/batchy.prom",
    )
    metrics.add_argument(
        "--file", type=Path, metavar="FILE", help="write them to this file, in one step, instead of showing them"
    )


def show_metrics(context: Context, arguments: argparse.Namespace) -> int:
    """Show or write the metrics. If Redis does not answer, one of them says so, and the exit code is 1."""
    text, error = context.services.metrics.exposition()
    if arguments.file is None:
        context.output.document(text)
    else:
        _replace(arguments.file, text)
    if error is not None:
        context.output.note(f"batchy: {error}")
        return EXIT_ERROR
    return 0


def _replace(file: Path, text: str) -> None:
    """Replace a file in one step, so that no reader sees half of it."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
            try:
                new.write(text)
                # The collector runs as another user, and only its owner can read a temporary file.
                os.fchmod(new.fileno(), 0o644)
                new.flush()
                Path(new.name).replace(file)
            except BaseException:
                Path(new.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error}") from error
