# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Entry point of ``batchy``: parse the arguments, run a command, turn errors into one line and an exit code.

Commands import Airflow, pydantic, redis and rich when they need them, so that ``batchy --help`` is fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module

from batchy_provider import __version__, collector
from batchy_provider.cli import completion
from batchy_provider.cli.command_parser import CommandParser
from batchy_provider.cli.context import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_NOTHING_TO_LOAD,
    EXIT_USAGE,
    Context,
    UsageError,
    common_options,
)
from batchy_provider.cli.terminal import discard
from batchy_provider.core.terminal_text import printable
from batchy_provider.exceptions import BatchyError, NothingToLoadError

GROUPS: dict[str, tuple[str, ...]] = {
    "queries": ("list", "status"),
    "history": ("history",),
    "compare": ("compare",),
    "metrics": ("metrics",),
    "results": ("logs", "download"),
    "batch": ("load", "open", "close", "fail"),
    "exec": ("exec",),
    "wait": ("wait",),
    "why": ("why", "impact"),
    "plan": ("plan",),
    "tonight": ("tonight",),
    "warnings": ("warnings",),
    "schedule": ("schedule",),
    "gaps": ("gaps",),
    "fill": ("fill",),
    "admin_actions": ("set-window", "enable", "disable", "prune"),
    "holds": ("hold", "release"),
    "notes": ("note", "ack"),
    "restore": ("restore", "archive"),
    "moving": ("remove", "rename"),
    "transfer": ("export", "import"),
    "run": ("run",),
    "validate": ("validate",),
    "files": ("schema", "render", "add"),
    "convert": ("convert",),
    "adopt": ("adopt",),
    "doctor": ("doctor",),
    "completion": ("completion",),
    "demo": ("demo",),
}
"""Module of this package → the commands that it adds, in the order of the help."""

DESCRIPTION = "See, change and wait for the batches of your workflows: the windows of data that each run loads."
EPILOG = """\
exit codes: 0 done, 1 error, 2 wrong usage; batchy wait: 0 succeeded, 1 failed, 124 timeout;
batchy run, batchy exec: the script's own; batchy open, batchy exec: 3 if there is nothing to load;
batchy exec: 75 if somebody holds the workflow, or has put it on hold.

environment: BATCHY_REDIS_URL is the default of --redis-url, BATCHY_CFG of --cfg, BATCHY_RESULTS of --results;
NO_COLOR switches colors off.
"""


def build_parser(program: str = "batchy", groups: Iterable[str] = GROUPS) -> argparse.ArgumentParser:
    """Build the parser of all commands, or of the commands of some groups."""
    parser = CommandParser(
        prog=program,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common_options()],
    )
    parser.add_argument("--version", action="version", version=f"batchy {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in groups:
        import_module(f"batchy_provider.cli.{group}").add_commands(commands)
    return parser


def _needed_groups(words: Sequence[str]) -> Iterable[str]:
    """Return the groups that a command line needs: the one of its command, or all of them if that is not clear.

    To import all groups takes longer than most commands.
    """
    valued = {option for action in common_options()._actions for option in action.option_strings}
    rest = iter(words)
    for word in rest:
        if word in valued:
            next(rest, None)
        elif word.partition("=")[0] not in valued:
            return next(([group] for group, commands in GROUPS.items() if word in commands), GROUPS)
    return GROUPS


def main(argv: Sequence[str] | None = None, *, program: str = "batchy") -> int:
    """Run one command.

    :param argv: arguments without the program's name; by default those of this process.
    :param program: name of the program in help and errors.
    :returns: exit code.
    """
    words = sys.argv[1:] if argv is None else argv
    parser = build_parser(program, GROUPS if completion.is_asked() else _needed_groups(words))
    completion.complete(parser)
    arguments = parser.parse_args(words)
    try:
        with collector.seldom(), Context(arguments) as context:
            code = int(arguments.function(context, arguments))
            return _flushed(code)
    except BatchyError as error:
        print(f"batchy: {printable(error)}", file=sys.stderr)
        return _EXITS.get(type(error), EXIT_ERROR)
    except KeyboardInterrupt:
        _flush_or_discard()
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)  # the reader has closed the pipe
        return 0


_EXITS: dict[type[BatchyError], int] = {UsageError: EXIT_USAGE, NothingToLoadError: EXIT_NOTHING_TO_LOAD}


def _flushed(code: int) -> int:
    """Flush stdout and return the exit code: 1 if the output cannot be written."""
    if sys.stdout is None:  # closed by the calling program
        return code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(sys.stdout)
        print(f"batchy: the output cannot be written: {error.strerror}", file=sys.stderr)
        return code or EXIT_ERROR
    return code


def _flush_or_discard() -> None:
    """Flush stdout after Ctrl-C. The reader of a pipe may have been interrupted, too."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            discard(sys.stdout)


def waitsy() -> int:
    """Run the original's command ``waitsy -wf NAME`` as ``batchy wait NAME``."""
    arguments = sys.argv[1:]
    named = [index for index, word in enumerate(arguments) if word in ("-wf", "--workflow")]
    if named and named[0] + 1 < len(arguments):
        index = named[0]
        arguments = [arguments[index + 1], *arguments[:index], *arguments[index + 2 :]]
    return main(["wait", *arguments])


if __name__ == "__main__":
    sys.exit(main())
