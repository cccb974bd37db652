# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy run``: run one bundle on this machine as a job would, to test its script while you write it."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.cli.argument_types import duration, name_and_value, take_command, whole_number
from batchy_provider.cli.context import EXIT_ERROR, EXIT_TIMEOUT, Commands, Context, UsageError, add_command
from batchy_provider.cli.foreground import Terminal, open_standard_files, stopped_by_signals
from batchy_provider.cli.run_execution import make_execution

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_outcome import ExecutionOutcome

EXIT_NOT_RUN = 125
"""The script did not run, for example because its bundle was refused. `timeout` and `env` use the same code."""

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
        "run a bundle on this machine as a job would, and exit with its script's exit code",
        EXAMPLES,
    )
    run.add_argument("bundle", help="folder or zip file; a URL is opened through Airflow")
    run.add_argument(
        "--input", metavar="FILE", help="file that the script gets as $BATCHY_INPUT and on stdin; - is stdin"
    )
    run.add_argument(
        "--param",
        type=name_and_value,
        action="append",
        default=[],
        metavar="K=V",
        help="a param: JSON, or else text; may be repeated",
    )
    run.add_argument(
        "--env",
        type=name_and_value,
        action="append",
        default=[],
        metavar="K=V",
        help="an environment variable; may be repeated",
    )
    run.add_argument(
        "--no-mask",
        dest="mask",
        action="store_false",
        help="do not mask the values of --env and --param whose names say that they are secret",
    )
    run.add_argument(
        "--inherit-env", action="store_true", help="pass on all environment variables, not only the usual ones"
    )
    run.add_argument("--timeout", type=duration, metavar="10m", help="stop the script after this time; exit code 124")
    run.add_argument(
        "--kill-grace", type=duration, metavar="10s", help="time between SIGTERM and SIGKILL (default: 10s)"
    )
    run.add_argument(
        "--background-timeout",
        type=duration,
        metavar="1h",
        help="how long background processes may run after the script; then they are stopped and the "
        "run fails (default: 1h)",
    )
    run.add_argument(
        "--limit", type=_limit, action="append", default=[], metavar="NAME=N", help=f"one of {', '.join(_LIMITS)}"
    )
    run.add_argument(
        "--max-output",
        type=whole_number,
        metavar="BYTES",
        help="limit for stdout and for stderr; a script that writes more is stopped",
    )
    run.add_argument("--sha256", metavar="HEX", help="refuse a bundle with another checksum")
    run.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep stdout, stderr, output, files and exit.json in this new folder"
    )
    variables = run.add_argument_group("what the script gets in its environment")
    variables.add_argument("--workflow", metavar="NAME")
    variables.add_argument("--job", metavar="NAME", help="default: the bundle's name")
    variables.add_argument("--batch", type=whole_number, metavar="ID")
    variables.add_argument(
        "--from", dest="from_date", metavar="DATE", help="start of the window, inclusive (UTC, ISO 8601)"
    )
    variables.add_argument("--to", dest="to_date", metavar="DATE", help="end of the window, exclusive")
    take_command(run, "[OPTIONS] BUNDLE [-- ARGUMENT ...]")


def run_bundle(context: Context, arguments: argparse.Namespace) -> int:
    """Run the bundle and return the exit code of its script."""
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
    incomplete = terminal.write_error is not None or (arguments.keep is not None and not is_kept)
    return EXIT_ERROR if incomplete and code == 0 else code


def _check_keep(folder: Path | None) -> None:
    """Check, before the script runs, that the results can be stored."""
    if folder is None:
        return
    try:
        folder.mkdir()
        folder.rmdir()
    except FileExistsError:
        raise UsageError(f"--keep {folder} exists already; name a new folder") from None
    except OSError as error:
        raise UsageError(
            f"--keep {folder} cannot be created: {error.strerror}. Name a new folder in an existing one that you "
            "can write to"
        ) from None


def _keep(folder: Path | None, outcome: ExecutionOutcome, terminal: Terminal) -> bool:
    """Move the results to the folder; if that fails, to a temporary one, so that nothing is lost."""
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
    # Not the reason: the terminal has just shown stderr.
    terminal.say(outcome.summary)
    for notice in outcome.notices:
        terminal.say(notice)
    for name, value in outcome.values.items():
        terminal.say(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    masked = outcome.result.stdout_masked + outcome.result.stderr_masked
    if masked:
        terminal.say(f"{masked} secrets were masked in the output; --no-mask shows them")
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
