# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The command ``run``: one bundle, here and now, by the rules of a job, for the one who writes its script."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.context import EXIT_FAULT, EXIT_TIMEOUT, Commands, Context, UsageError, add_command
from batchy_provider.cli.results import airflow_speaks_aside
from batchy_provider.terminal import printable

if TYPE_CHECKING:
    from batchy_provider.bundles.environment import Telling
    from batchy_provider.bundles.execution import Execution, Outcome, Task
    from batchy_provider.bundles.masking import Secrets
    from batchy_provider.bundles.progress import Progress

EXIT_NOT_RUN = 125
"""The script was not run at all: its bundle was refused, say. As `timeout` and `env` have it."""

EXAMPLES = """\
batchy run etl/extract
batchy run etl/extract --param region=eu --env LOG_LEVEL=debug --timeout 10m
batchy run etl/extract --from 2026-11-21 --to 2026-11-22 --keep out   # out/stdout, out/output, out/files…
batchy run etl/load --input out/output
curl -s https://example.org/orders | batchy run load.zip --input -"""

_LIMITS = ("cpu_seconds", "memory_bytes", "open_files", "file_bytes")
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
        type=_pair,
        action="append",
        default=[],
        metavar="K=V",
        help="a param, read as JSON where it is some, else as text; may be repeated",
    )
    run.add_argument(
        "--env", type=_pair, action="append", default=[], metavar="K=V", help="a variable; may be repeated"
    )
    run.add_argument(
        "--no-mask",
        dest="mask",
        action="store_false",
        help="show and keep values of --env and --param as they are, also where a name tells that they are secret",
    )
    run.add_argument("--inherit-env", action="store_true", help="pass on all variables instead of the short list")
    run.add_argument("--timeout", type=_duration, metavar="10m", help="stop it after this long; exit code 124")
    run.add_argument("--kill-grace", type=_duration, metavar="10s", help="between TERM and KILL (default: 10s)")
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


def run_bundle(context: Context, arguments: argparse.Namespace) -> int:
    """Run it; returns the script's exit code."""
    from batchy_provider.bundles.errors import BundleError

    if arguments.keep is not None and arguments.keep.exists():
        raise UsageError(f"--keep {arguments.keep} is there already; name a new folder")
    with tempfile.TemporaryDirectory(prefix="batchy-run-") as name:
        folder = Path(name)
        try:
            execution, terminal = _prepare(arguments, folder)
            with _stopped_by_signals(execution) as stopped:
                outcome = execution.run()
        except BundleError as error:
            context.output.note(f"batchy: {error}")
            return EXIT_NOT_RUN
        if arguments.keep is not None:
            shutil.move(outcome.stored.path, arguments.keep)
    _tell_end(context, arguments, outcome)
    if terminal.is_broken:
        return 128 + signal.SIGPIPE
    return _exit_code(outcome, stopped)


def _prepare(arguments: argparse.Namespace, folder: Path) -> tuple[Execution, _Terminal]:
    from batchy_provider.bundles.cache import BundleCache
    from batchy_provider.bundles.confined import local_place
    from batchy_provider.bundles.execution import Execution, Task
    from batchy_provider.bundles.identity import ExecutionId
    from batchy_provider.bundles.limits import ProcessLimits
    from batchy_provider.bundles.results import ResultStore

    bundle: Any = arguments.bundle
    if (place := local_place(bundle)) is not None:
        bundle = place
    else:
        from batchy_provider.hooks.places import open_path

        with airflow_speaks_aside():
            bundle = open_path(bundle)
    given = _input(arguments.input, folder)
    telling = _telling(arguments, given)
    grace = arguments.kill_grace
    task = Task(
        identity=ExecutionId(workflow="by hand", batch_id="1", job=telling.job, attempt="1"),
        telling=telling,
        bundle=bundle,
        sha256=arguments.sha256,
        env=dict(arguments.env),
        inherit_env=arguments.inherit_env,
        input_file=given,
        timeout=arguments.timeout.total_seconds() if arguments.timeout is not None else None,
        kill_grace=10.0 if grace is None else grace.total_seconds(),
        limits=ProcessLimits(**dict(arguments.limit)),
        max_output_bytes=arguments.max_output,
    )
    terminal = _Terminal()
    execution = Execution(
        task,
        cache=BundleCache(folder / "cache"),
        results=ResultStore(str(folder / "results")),
        work=folder / "work",
        secrets=_secrets(task) if arguments.mask else tuple,
        copy=terminal.write,
        progress=_tell_progress,
    )
    terminal.execution = execution
    return execution, terminal


def _secrets(task: Task) -> Secrets:
    from batchy_provider.bundles.masking import secrets_in

    values = {**(os.environ if task.inherit_env else {}), **task.env}
    found = secrets_in(values) | secrets_in(task.telling.params)
    return lambda: found


def _telling(arguments: argparse.Namespace, given: Path | None) -> Telling:
    from batchy_provider.bundles.environment import Telling

    job = arguments.job or Path(arguments.bundle.rstrip("/")).resolve().name.removesuffix(".zip")
    return Telling(
        job=job,
        workflow=arguments.workflow,
        batch_id=arguments.batch,
        run_id="by hand",
        params={name: _value(text) for name, text in arguments.param},
        input=None if given is None else {"job": None, "state": "success", "bytes": given.stat().st_size},
        from_date=_date(arguments.from_date),
        to_date=_date(arguments.to_date),
    )


def _input(name: str | None, folder: Path) -> Path | None:
    if name is None:
        return None
    if name != "-":
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"--input {name} is no file that can be read")
        return path
    path = folder / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


class _Terminal:
    """Passes on what the script writes, as it comes; where nobody reads any more, the script is stopped."""

    def __init__(self) -> None:
        self.execution: Execution | None = None
        self.is_broken = False

    def write(self, stream: str, data: bytes) -> None:
        file = sys.stdout if stream == "stdout" else sys.stderr
        if self.is_broken and stream == "stdout":
            return
        try:
            file.buffer.write(data)
            file.buffer.flush()
        except BrokenPipeError:
            assert self.execution is not None
            self.is_broken = True
            with contextlib.suppress(OSError):  # Python flushes once more at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
            self.execution.cancel("nobody reads its output any more")


@contextlib.contextmanager
def _stopped_by_signals(execution: Execution) -> Iterator[list[int]]:
    """Ctrl-C, TERM and a closed terminal end the script in order, the second one at once; yields what came."""
    came: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        if not execution.running:
            raise KeyboardInterrupt
        if not came:
            os.write(2, b"\nbatchy: stopping the script; once more to kill it\n")
        execution.cancel("interrupted", at_once=bool(came))
        came.append(number)

    before = {number: signal.signal(number, on_signal) for number in _STOPS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_progress(progress: Progress) -> None:
    share = "" if progress.progress is None else f" {progress.progress:.0%}"
    text = printable(f"progress{share} {progress.message or ''}".rstrip(), lines=False)
    print(f"batchy: {text}", file=sys.stderr, flush=True)


def _tell_end(context: Context, arguments: argparse.Namespace, outcome: Outcome) -> None:
    # Its stderr was just shown, so only the first line of the reason says something new.
    context.output.note(f"batchy: {outcome.reason.splitlines()[0].removesuffix(' The last lines of stderr:')}")
    for notice in outcome.notices:
        context.output.note(f"batchy: {notice}")
    for name, value in outcome.values.items():
        context.output.note(f"batchy: {name} = {json.dumps(value, ensure_ascii=False)}")
    masked = outcome.result.stdout_masked + outcome.result.stderr_masked
    if masked:
        context.output.note(f"batchy: {masked} secrets were masked in what it printed; --no-mask shows them")
    contents = outcome.stored.record["contents"]
    if arguments.keep is not None:
        context.output.note(f"batchy: kept in {arguments.keep}: {', '.join(contents)}")
        return
    left = [name for name in contents if name == "output" or name.startswith("files/")]
    if left:
        context.output.note(f"batchy: not kept (--keep DIR): {', '.join(left)}")


def _exit_code(outcome: Outcome, stopped: list[int]) -> int:
    if stopped:
        return 128 + stopped[0]
    if outcome.result.ended == "timeout":
        return EXIT_TIMEOUT
    if outcome.state == "failed" and outcome.exit_code == 0:
        return EXIT_FAULT
    return outcome.exit_code


def _date(text: str | None) -> str | None:
    from batchy_provider.batches.dates import format_date, parse_date

    return None if text is None else format_date(parse_date(text))


def _value(text: str) -> Any:
    def no_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return text


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    return name, value


def _limit(text: str) -> tuple[str, int]:
    name, value = _pair(text)
    if name not in _LIMITS or not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"expected NAME=N, NAME one of {', '.join(_LIMITS)}, not {text!r}")
    return name, int(value)


def _duration(text: str) -> timedelta:
    from batchy_provider.config.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
