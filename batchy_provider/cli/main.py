# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
The ``batchy`` command: parses, hands over to a command, turns errors into one line and an exit code.

Airflow, pydantic, redis and rich are imported by the commands that use them: ``batchy --help`` needs none.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from batchy_provider import __version__
from batchy_provider.cli import admin_actions as steering
from batchy_provider.cli import (
    adopt,
    batch,
    completion,
    convert,
    demo,
    doctor,
    files,
    metrics,
    restore,
    results,
    run,
    validate,
    wait,
)
from batchy_provider.cli import queries as questions
from batchy_provider.cli.context import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, Context, UsageError, common_options
from batchy_provider.core.terminal_text import printable
from batchy_provider.exceptions import BatchyError

GROUPS = (
    questions,
    metrics,
    results,
    batch,
    wait,
    steering,
    restore,
    run,
    validate,
    files,
    convert,
    adopt,
    doctor,
    completion,
    demo,
)

DESCRIPTION = "See and steer batches: windows of data that nightly workflows take, kept in Redis."
EPILOG = """\
exit codes: 0 done, 1 a fault, 2 wrong usage; batchy wait: 0 succeeded, 1 failed, 124 time is over;
batchy run: the script's own.

environment: BATCHY_REDIS_URL stands for --redis-url, BATCHY_CFG for --cfg, BATCHY_RESULTS for --results; NO_COLOR is
respected.
"""


def build_parser(program: str = "batchy") -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common_options()],
    )
    parser.add_argument("--version", action="version", version=f"batchy {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in GROUPS:
        group.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None, *, program: str = "batchy") -> int:
    """
    Run one command.

    :param argv: arguments without the program's name; those of this process unless given.
    :param program: the name that help and errors call it by.
    :returns: exit code.
    """
    parser = build_parser(program)
    completion.complete(parser)
    arguments = parser.parse_args(argv)
    try:
        with Context(arguments) as context:
            code = int(arguments.function(context, arguments))
            return _flushed(code)
    except BatchyError as error:
        print(f"batchy: {printable(error)}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough. Python must not complain about it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _flushed(code: int) -> int:
    """Write out what is still held, and return the exit code; an answer that cannot be written is a fault."""
    if sys.stdout is None:  # closed by who started us
        return code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        print(f"batchy: the answer cannot be written: {error.strerror}", file=sys.stderr)
        return code or EXIT_ERROR
    return code


def waitsy() -> int:
    """Run ``waitsy -wf NAME``: the original's command, as ``batchy wait NAME``."""
    arguments = sys.argv[1:]
    named = [index for index, word in enumerate(arguments) if word in ("-wf", "--workflow")]
    if named and named[0] + 1 < len(arguments):
        index = named[0]
        arguments = [arguments[index + 1], *arguments[:index], *arguments[index + 2 :]]
    return main(["wait", *arguments])


if __name__ == "__main__":
    sys.exit(main())
