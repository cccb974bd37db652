# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Commands about workflow files themselves: their schema."""

from __future__ import annotations

import argparse
import sys

from batchy_provider.cli.context import EXIT_OK, Commands, Context, add_command


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    schema = add_command(
        commands,
        "schema",
        print_schema,
        "print the JSON Schema of workflow files, with which editors complete and check them",
        "batchy schema > cfg/.schema.json     # then in a file: # yaml-language-server: $schema=.schema.json",
    )
    schema.add_argument("--defaults", action="store_true", help="that of _defaults.yaml, which has no jobs")


def print_schema(context: Context, arguments: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    from batchy_provider.config.schema import SHIPPED, schema_text

    text = schema_text(defaults=True) if arguments.defaults else SHIPPED.read_text(encoding="utf-8")
    sys.stdout.write(text)
    return EXIT_OK
