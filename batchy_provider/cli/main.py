# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Entry point of ``batchy``: parse the arguments, run a command, turn errors into one line and an exit code.

Commands import Airflow, pydantic, redis and rich when they need them, so that ``batchy --help`` is fast.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from batchy_provider import __version__
from batchy_provider.cli import (
    admin_actions,
    adopt,
    batch,
    compare,
    completion,
    convert,
    demo,
    doctor,
    exec,
    files,
    fill,
    gaps,
    history,
    holds,
    metrics,
    moving,
    notes,
    plan,
    queries,
    restore,
    results,
    run,
    schedule,
    tonight,
    transfer,
    validate,
    wait,
    warnings,
    why,
)
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

GROUPS = (
    queries,
    history,
    compare,
    metrics,
    results,
    batch,
    exec,
    wait,
    why,
    plan,
    tonight,
    warnings,
    schedule,
    gaps,
    fill,
    admin_actions,
    holds,
    notes,
    restore,
    moving,
    transfer,
    run,
    validate,
    files,
    convert,
    adopt,
    doctor,
    completion,
    demo,
)

DESCRIPTION = "See, change and wait for the batches of your workflows: the windows of data that each run loads."
EPILOG = """\
exit codes: 0 done, 1 error, 2 wrong usage; batchy wait: 0 succeeded, 1 failed, 124 timeout;
batchy run, batchy exec: the script's own; batchy open, batchy exec: 3 if there is nothing to load;
batchy exec: 75 if somebody holds the workflow, or has put it on hold.

environment: BATCHY_REDIS_URL is the default of --redis-url, BATCHY_CFG of --cfg, BATCHY_RESULTS of --results;
NO_COLOR switches colors off.
"""


def build_parser(program: str = "batchy") -> argparse.ArgumentParser:
    """Build the parser of all commands."""
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
    """Run one command.

    :param argv: arguments without the program's name; by default those of this process.
    :param program: name of the program in help and errors.
    :returns: exit code.
    """
    parser = build_parser(program)
    completion.complete(parser)
    arguments = parser.parse_args(argv)
    try:
        with _few_collections(), Context(arguments) as context:
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


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let Python look for cycles of objects more rarely: a long list has none, and the search takes a fifth."""
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


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
