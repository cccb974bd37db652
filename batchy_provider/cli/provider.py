# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``airflow batchy …``: the commands of ``batchy``, with Airflow's own connection and workflow folder."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

NAME = "batchy"


def get_commands() -> list[Any]:
    """Return the group of commands. Airflow 3.2 and newer calls this whenever its command line starts."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

    from batchy_provider.cli.main import DESCRIPTION, EPILOG, build_parser
    from batchy_provider.preload import preload_worker

    preload_worker()
    function = lazy_load_command(f"{__name__}.run")
    subcommands = [
        ActionCommand(
            name=name,
            help=_percent(parser.description or name),
            func=function,
            args=[Arg(**options) for options in _options(parser)],
            epilog=parser.epilog,
        )
        for name, parser in _commands(build_parser()).items()
    ]
    return [GroupCommand(NAME, DESCRIPTION, subcommands, description=DESCRIPTION, epilog=EPILOG)]


def run(arguments: argparse.Namespace) -> None:
    """Run one command: parse the arguments again with our own parser, and use what Airflow is configured with."""
    from batchy_provider.cli.main import main
    from batchy_provider.hooks.batchy import default_conn_id

    words = sys.argv[sys.argv.index(NAME) + 1 :]
    if not any(word.partition("=")[0] in ("--redis-url", "--connection") for word in words):
        words += ["--connection", default_conn_id()]
    if "BATCHY_CFG" not in os.environ:
        from batchy_provider.hooks.deployment import cfg_folder

        if (folder := cfg_folder()).is_dir():
            os.environ["BATCHY_CFG"] = str(folder)
    sys.exit(main(words, program=f"airflow {NAME}"))


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def _options(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """Return the arguments of a command in the form that Airflow's classes take."""
    from batchy_provider.cli.argument_types import AFTER_OPTIONS

    found = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        options: dict[str, Any] = {"flags": tuple(action.option_strings) or (action.dest,), "help": action.help}
        if action.option_strings:
            options["dest"] = action.dest
        if action.nargs == 0:
            options["action"] = "store_true"
        elif getattr(action, AFTER_OPTIONS, False):
            options["nargs"] = argparse.REMAINDER  # with the options before it: `run` parses all words again
            options["metavar"] = action.metavar
        else:
            options["nargs"] = action.nargs
            options["metavar"] = action.metavar
            if isinstance(action, argparse._AppendAction):
                options["action"] = "append"
        found.append({name: value for name, value in options.items() if value is not None})
    return found


def _percent(text: str) -> str:
    return text.replace("%", "%%")
