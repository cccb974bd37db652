# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy doctor``: check that Redis is set up so that workflows can depend on it."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from batchy_provider.cli.context import EXIT_ERROR, EXIT_OK, Commands, Context, add_command
from batchy_provider.cli.result_store import open_results
from batchy_provider.cli.styled_text import StyledText

STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def add_commands(commands: Commands) -> None:
    """Add this group's command to the parser."""
    parser = add_command(
        commands,
        "doctor",
        examine_all,
        "check the Redis: version, memory, persistence, replicas, clock, permissions, keys of other programs; "
        "changes nothing; exit code 1 if anything is bad",
        "batchy doctor\nbatchy doctor --results s3://batchy/results\nbatchy -o json doctor",
    )
    parser.add_argument("--results", metavar="URL", help="a result store to check, too (default: BATCHY_RESULTS)")
    parser.add_argument("--strict", action="store_true", help="exit code 1 for warnings, too")


def examine_all(context: Context, arguments: argparse.Namespace) -> int:
    """Check everything."""
    named = arguments.results or os.environ.get("BATCHY_RESULTS")
    found = context.redis_services.health.examine(open_results(arguments) if named else None)
    if context.output.is_table:
        rows = [[StyledText((f.level, STYLES[f.level])), f.check, f.text] for f in found]
        context.output.table(("", "check", "found"), rows)
    else:
        context.output.records(asdict(finding) for finding in found)
    grave = ("bad", "warn") if arguments.strict else ("bad",)
    return EXIT_ERROR if any(finding.level in grave for finding in found) else EXIT_OK
