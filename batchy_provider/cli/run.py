# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy run``: run one bundle here and now, by the rules of a job, while you write its script."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.argument_types import duration, name_and_value
from batchy_provider.cli.context import EXIT_ERROR, EXIT_TIMEOUT, Commands, Context, UsageError, add_command
from batchy_provider.cli.foreground import Terminal, open_standard_files, stopped_by_signals
from batchy_provider.cli.run_execution import make_execution

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_outcome import ExecutionOutcome

EXIT_NOT_RUN = 125
"""The script was not run at all: its bundle was refused, say. As `timeout` and `env` have it."""

EXAMPLES = """\
batchy run etl/extract
batchy run etl/extract --param region=eu --env LOG_LEVEL=debug --timeout 10m
batchy run etl/extract --from 2026-11-21 --to 2026-11-22 --keep out   # out/stdout, out/output, out/files…
batchy run etl/load --input out/output
batchy run etl/load --timeout 10m -- eu --full                       # arguments of script.sh
curl -s https://example.org/orders | batchy run load.zip --input -"""

_LIMITS = ("cpu_seconds", "memory_bytes", "open_files", "file_bytes")


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    run = add_command(
        commands,
        "run",
        run_bundle,
        "run a bundle here and now by the rules of a job, and leave with its script's exit code",
        EXAMPLES,
    )
    run.add_argument("bundle", help="folder or zip; a URL is opened as Airflow would (loads Airflow)")
    run.add_argument(
        "--input", metavar="FILE", help="what the script gets as $BATCHY_INPUT and on stdin; - is our stdin"
    )
    run.add_argument(
        "--param",
        type=name_and_value,
        action="append",
        default=[],
        metavar="K=V",
        help="a param, read as JSON where it is some, else as text; may be repeated",
    )
    run.add_argument(
        "--env",
        type=name_and_value,
        action="append",
        default=[],
        metavar="K=V",
        help="a variable; may be repeated",
    )
    run.add_argument(
        "--no-mask",
        dest="mask",
        action="store_false",
        help="show and keep values of --env and --param as they are, also where a name tells that they are secret",
    )
    run.add_argument("--inherit-env", action="store_true", help="pass on all variables instead of the short list")
    run.add_argument("--timeout", type=duration, metavar="10m", help="stop it after this long; exit code 124")
    run.add_argument("--kill-grace", type=duration, metavar="10s", help="between TERM and KILL (default: 10s)")
    run.add_argument(
        "--background-timeout",
        type=duration,
        metavar="1h",
        help="how long background processes may run on after the script; then they are stopped, and it fails "
        "(default: 1h)",
    )
    run.add_argument(
        "--limit", type=_limit, action="append", default=[], metavar="NAME=N", help=f"one of {', '.join(_LIMITS)}"
    )
    run.add_argument("--max-output", type=int, metavar="BYTES", help="of stdout and of stderr; more stops the script")
    run.add_argument("--sha256", metavar="HEX", help="refuse a bundle of any other content")
    run.add_argument("--keep", type=Path, metavar="DIR", help="new folder for stdout, stderr, output, files, exit.json")
    told = run.add_argument_group("what the script is told")
    told.add_argument("--workflow", metavar="NAME")
    told.add_argument("--job", metavar="NAME", help="default: the bundle's name")
    told.add_argument("--batch", type=int, metavar="ID")
    told.add_argument("--from", dest="from_date", metavar="DATE", help="start of the window (UTC, ISO 8601)")
    told.add_argument("--to", dest="to_date", metavar="DATE", help="end of the window")
    _take_arguments(run)


def _take_arguments(run: argparse.ArgumentParser) -> None:
    """Let the script's arguments follow after ``--``, whatever they look like; argparse alone would mix them up."""
    parse = run.parse_known_args

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        end = words.index("--") if "--" in words else len(words)
        namespace, rest = parse(words[:end], namespace)
        namespace.arguments = words[end + 1 :]
        return namespace, rest

    run.parse_known_args = parse_known_args  # type: ignore[method-assign]
    run.usage = f"{run.prog} [OPTIONS] BUNDLE [-- ARGUMENT ...]"


def run_bundle(context: Context, arguments: argparse.Namespace) -> int:
    """Run it; returns the script's exit code."""
    from batchy_provider.bundles.errors import BundleError
    from batchy_provider.bundles.scratch import ScratchFolder

    open_standard_files()
    _check_keep(arguments.keep)
    terminal = Terminal()
    with (
        stopped_by_signals(terminal) as stopped,
        ScratchFolder(Path(tempfile.gettempdir()), prefix="batchy-run-") as scratch,
    ):
        try:
            terminal.execution = make_execution(arguments, scratch, terminal)
            outcome = terminal.execution.run()
        except (BundleError, OSError) as error:
            terminal.say(str(error))
            return EXIT_ERROR if terminal.execution is not None and terminal.execution.has_run else EXIT_NOT_RUN
        is_kept = _keep(arguments.keep, outcome, terminal)
    _report_end(terminal, arguments.keep if is_kept else None, outcome)
    if terminal.is_broken:
        return 128 + signal.SIGPIPE
    code = _exit_code(outcome, stopped)
    incomplete = terminal.fault is not None or (arguments.keep is not None and not is_kept)
    return EXIT_ERROR if incomplete and code == 0 else code


def _check_keep(folder: Path | None) -> None:
    """Find out before the script runs whether its results can be kept where they are to be."""
    if folder is None:
        return
    try:
        folder.mkdir()
        folder.rmdir()
    except FileExistsError:
        raise UsageError(f"--keep {folder} is there already; name a new folder") from None
    except OSError as error:
        raise UsageError(
            f"--keep {folder} cannot be made: {error.strerror}. Name a new folder in one that is there and that you "
            "may write to"
        ) from None


def _keep(folder: Path | None, outcome: ExecutionOutcome, terminal: Terminal) -> bool:
    """Move the results to where they are to be; what cannot be moved there is not lost."""
    if folder is None:
        return False
    try:
        shutil.move(outcome.stored.path, folder)
    except OSError as error:
        rescue = tempfile.mkdtemp(prefix="batchy-kept-")
        shutil.move(outcome.stored.path, rescue)
        terminal.say(f"the results cannot be kept in {folder} ({error}); they are in {rescue}")
        return False
    return True


def _report_end(terminal: Terminal, kept: Path | None, outcome: ExecutionOutcome) -> None:
    # Its stderr was just shown, so only the first line of the reason says something new.
    terminal.say(outcome.reason.splitlines()[0].removesuffix(" The last lines of stderr:"))
    for notice in outcome.notices:
        terminal.say(notice)
    for name, value in outcome.values.items():
        terminal.say(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    masked = outcome.result.stdout_masked + outcome.result.stderr_masked
    if masked:
        terminal.say(f"{masked} secrets were masked in what it printed; --no-mask shows them")
    contents = outcome.stored.record["contents"]
    if kept is not None:
        terminal.say(f"kept in {kept}: {', '.join(contents)}")
        return
    left = [name for name in contents if name == "output" or name.startswith("files/")]
    if left:
        terminal.say(f"not kept (--keep DIR): {', '.join(left)}")


def _exit_code(outcome: ExecutionOutcome, stopped: list[int]) -> int:
    if stopped:
        return 128 + stopped[0]
    if outcome.result.ended == "timeout":
        return EXIT_TIMEOUT
    if outcome.state == "failed" and outcome.exit_code == 0:
        return EXIT_ERROR
    return outcome.exit_code


def _limit(text: str) -> tuple[str, int]:
    name, value = name_and_value(text)
    if name not in _LIMITS or not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"expected NAME=N, NAME one of {', '.join(_LIMITS)}, not {text!r}")
    return name, int(value)
