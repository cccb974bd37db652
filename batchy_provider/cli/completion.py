# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy completion``: complete commands, options, workflows and jobs in the shell."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from batchy_provider.cli.context import EXIT_OK, Commands, Context, add_command

SHELLS = ("bash", "zsh", "fish")
MARK = "_ARGCOMPLETE"
"""The shell sets this variable when it asks for completions."""


def add_commands(commands: Commands) -> None:
    """Add this group's command to the parser."""
    parser = add_command(
        commands,
        "completion",
        print_code,
        "print a script that lets your shell complete commands, workflows and jobs",
        "source <(batchy completion bash)     # in ~/.bashrc\\n"
        "batchy completion fish > ~/.config/fish/completions/batchy.fish".replace("\\n", "\n"),
    )
    parser.add_argument("shell", choices=SHELLS)


def print_code(context: Context, arguments: argparse.Namespace) -> int:
    """Print the script for the shell."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode(["batchy", "waitsy"], True, arguments.shell))
    return EXIT_OK


def is_asked() -> bool:
    """Tell whether the shell asks for completions."""
    return MARK in os.environ


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and exit, if it asks for completions. Otherwise do nothing."""
    if not is_asked():
        return
    import argcomplete

    for action in _all_actions(parser):
        if action.dest in ("workflow", "workflows", "others", "old"):
            action.completer = _workflows  # type: ignore[attr-defined]  # for argcomplete
        elif action.dest == "job" and not isinstance(action, argparse._AppendAction):
            action.completer = _jobs  # type: ignore[attr-defined]  # for argcomplete
    argcomplete.autocomplete(parser)


def _all_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found += _all_actions(command)
    return found


def _cfg(parsed: argparse.Namespace) -> Path:
    return Path(getattr(parsed, "cfg", None) or os.environ.get("BATCHY_CFG") or "cfg")


def _workflows(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the names of workflow files, and of workflows in Redis if it answers."""
    from batchy_provider.config.reader import find_files

    folder = _cfg(parsed_args)
    names = {path.stem for path in find_files(folder)} if folder.is_dir() else set()
    if url := getattr(parsed_args, "redis_url", None) or os.environ.get("BATCHY_REDIS_URL"):
        from batchy_provider.services.services_at_url import services_at

        with contextlib.suppress(Exception):  # the shell cannot show an error here
            names |= services_at(url, retry_seconds=0).names.all()
    return sorted(names)


def _jobs(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from batchy_provider.config.reader import read_workflow
    from batchy_provider.exceptions import BatchyError

    try:
        workflow = read_workflow(_cfg(parsed_args), parsed_args.workflow)
    except BatchyError:
        return []
    return list(workflow.config().jobs)
