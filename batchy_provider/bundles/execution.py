# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One execution of a bundle, from the fetched zip to the stored result. Every face that runs a bundle calls this."""

from __future__ import annotations

import contextlib
import datetime
import errno
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchy_provider.bundles.bundle_cache import BundleCache, Fetched
from batchy_provider.bundles.errors import BundleError, ResultError, ResultNotStoredError
from batchy_provider.bundles.execution_outcome import SKIP_EXIT_CODE, ExecutionOutcome, reason_of, state_of
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.job_lock import hold_job_lock
from batchy_provider.bundles.leftovers import (
    OUTPUT_FAULT,
    OutputFolder,
    SkippedFile,
    left_out_notices,
    names_below,
    new_files_notices,
)
from batchy_provider.bundles.live_output import LiveView, Show
from batchy_provider.bundles.masking import Masker, Secrets
from batchy_provider.bundles.progress_lines import Progress, Throttle
from batchy_provider.bundles.result_store import Draft, ResultStore
from batchy_provider.bundles.run_result import RunResult
from batchy_provider.bundles.runner import Copy, Runner
from batchy_provider.bundles.scratch import ScratchFolder
from batchy_provider.bundles.script import SCRIPT, ScriptError, bash_options
from batchy_provider.bundles.script_context import write_params_file
from batchy_provider.bundles.script_environment import build_environment, check_arguments
from batchy_provider.bundles.storage import mask_values, read_values

_EXACT = "stdout.exact"
_NAMES_LOOKED_AT = 20_000
_WAITING = (
    "Another script of this job still runs on this machine: of a try whose worker was killed, or of a batch that was "
    "taken over. Waiting until it has ended."
)


class Execution:
    """
    Runs one task once.

    :param work: local folder for working copies
    :param secrets: what to mask in all that is shown and kept, except in the output that a later job reads
    :param show: told the output in lines, see :data:`batchy_provider.bundles.live_output.Show`
    :param note: told what is waited for, where there is no ``show``
    :param outer: a folder around ``work`` that is to go too if this process is killed
    :param copy: told the output in bytes as they come, see :class:`batchy_provider.bundles.runner.Runner`
    :param progress: told the script's progress, at most once a second
    """

    def __init__(
        self,
        task: ExecutionRequest,
        *,
        cache: BundleCache,
        results: ResultStore,
        work: Path,
        secrets: Secrets = tuple,
        show: Show | None = None,
        note: Callable[[str], None] | None = None,
        copy: Copy | None = None,
        outer: ScratchFolder | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        if (task.bundle is None) == (task.command is None):
            raise BundleError("Give a bundle or a command, one of the two.")
        self._task = task
        self._cache = cache
        self._results = results
        self._work = work
        self._secrets = secrets
        self._show = show
        self._note = note
        self._copy = copy
        self._outer = outer
        self._progress = progress
        self._runner: Runner | None = None
        self._cancelled: str | None = None
        self._brought: set[str] = set()
        self._exit_code: int | None = None
        self.running = False
        """The script is being started or is running: `cancel` ends it in order."""
        self.has_run = False
        """The script has ended; its result is being kept, or is."""

    def cancel(self, reason: str = "cancelled", *, at_once: bool = False) -> None:
        """
        Stop the script; safe in a signal handler and from any thread, before, during and after the run.

        :param at_once: without grace between TERM and KILL
        """
        self._cancelled = self._cancelled or reason
        if self._runner is not None:
            self._runner.cancel(reason, at_once=at_once)

    def run(self) -> ExecutionOutcome:
        """
        Fetch, run and keep.

        :raises BundleError: the bundle was refused, or the script could not be run. A script that fails is an
            `ExecutionOutcome`, not an error.
        :raises ResultNotStoredError: the script was run, and nothing of it could be kept
        """
        try:
            with ScratchFolder(self._work) as scratch, self._results.draft(self._task.identity, scratch.path) as draft:
                command, fetched = self._prepare(scratch.path / "bundle")
                started = _now()
                with self._alone() as locks:
                    result = self._run(command, scratch, draft, locks)
                self._exit_code = result.exit_code
                return self._keep(scratch, draft, fetched, result, started)
        except (OSError, BundleError) as error:
            full = _is_full_disk(error)
            # A runner that cannot write what the script says stops the script.
            self.has_run = self.has_run or (full and self._runner is not None)
            text = self._full_disk(error) if full else str(error)
            if self.has_run:
                raise ResultNotStoredError(text, self._exit_code) from error
            if not full:
                raise
            raise BundleError(text) from error

    def _full_disk(self, error: Exception) -> str:
        return (
            f"A disk is full: {error}. Of this execution nothing was kept. It needs room in the folder of bundles "
            f"and working copies, {self._work.parent}, and where the results are, {self._results.url}. Make room "
            "and run the job again: it gets the same window."
        )

    def _prepare(self, folder: Path) -> tuple[list[str], Fetched | None]:
        """The command that runs the script, and what was fetched for it."""
        task, fetched = self._task, None
        if task.bundle is not None:
            fetched = self._cache.working_copy(task.bundle, folder, sha256=task.sha256)
        else:
            folder.mkdir()
            (folder / SCRIPT).write_bytes(f"{task.command}\n".encode("utf-8", "surrogateescape"))
        try:
            options = bash_options((folder / SCRIPT).read_bytes(), SCRIPT if fetched else "The command")
        except ScriptError as error:
            raise BundleError(str(error)) from None
        return ["bash", *options, SCRIPT, *check_arguments(task.args)], fetched

    @contextlib.contextmanager
    def _alone(self) -> Iterator[tuple[int, ...]]:
        """Wait until no other script of the job runs; yields the descriptor of the lock."""
        if self._task.job_lock is None:
            yield ()
            return
        with hold_job_lock(
            self._task.job_lock, waiting=self._say_waiting, given_up=lambda: bool(self._cancelled)
        ) as lock:
            yield () if lock is None else (lock,)

    def _say_waiting(self) -> None:
        if self._show is not None:
            self._show("note", _WAITING)
        elif self._note is not None:
            self._note(_WAITING)

    def _run(self, command: list[str], scratch: ScratchFolder, draft: Draft, locks: tuple[int, ...]) -> RunResult:
        task, folder = self._task, scratch.path
        masker = Masker(self._secrets())
        left = self._left = OutputFolder(draft.left)
        self._brought = names_below(folder / "bundle", _NAMES_LOOKED_AT)
        write_params_file(task.script_context, folder / "params.json")
        told = {
            **task.script_context.variables(),
            "BATCHY_PARAMS": str(folder / "params.json"),
            "BATCHY_OUTPUT": str(left.output),
            "BATCHY_OUTPUT_DIR": str(left.files),
        }
        source = self._input(folder / "input")
        if source is not None:
            told["BATCHY_INPUT"] = str(source)
        where = f"the result files ({task.identity.command(self._results.url)})"
        self._runner = Runner(
            command,
            cwd=folder / "bundle",
            env=build_environment(told, env=task.env, inherit=task.inherit_env),
            stdout=draft.folder / "stdout",
            stderr=draft.folder / "stderr",
            masker=masker,
            exact_stdout=draft.folder / _EXACT if task.output_is_read else None,
            stdin=source,
            timeout=task.timeout,
            grace=task.kill_grace,
            background_timeout=task.background_timeout,
            good_codes=(0, SKIP_EXIT_CODE),
            limits=task.limits,
            max_output_bytes=task.max_output_bytes,
            view=LiveView(self._show, limit_bytes=task.log_limit_bytes, where=where) if self._show else None,
            progress=Throttle(_masked(self._progress, masker)) if self._progress else None,
            note=self._note,
            copy=self._copy,
            scratch=folder if self._outer is None else self._outer.path,
            lock_fds=(scratch.lock_fd, *(() if self._outer is None else (self._outer.lock_fd,)), *locks),
        )
        if self._cancelled:
            self._runner.cancel(self._cancelled)
        self.running = True
        try:
            result = self._runner.run()
            self.has_run = True  # before `running` is not: a signal may come between two lines
            return result
        finally:
            self.running = False

    def _input(self, path: Path) -> Path | None:
        task = self._task
        if task.input is not None:
            self._results.fetch(task.input, path)
        elif task.input_bytes is not None:
            path.write_bytes(task.input_bytes)
        elif task.input_file is not None:
            shutil.copyfile(task.input_file, path)
        else:
            return None
        return path

    def _keep(
        self, scratch: ScratchFolder, draft: Draft, fetched: Fetched | None, result: RunResult, started: str
    ) -> ExecutionOutcome:
        masker = Masker(self._secrets())
        found = self._left.gather(draft.folder, masker)
        if found.output_fault is None:
            _settle_output(draft.folder)
        else:
            (draft.folder / _EXACT).unlink(missing_ok=True)
        values, fault = _values(draft.folder / "files", masker)
        with contextlib.suppress(OSError):  # nothing was left in it
            (draft.folder / "files").rmdir()
        new = sorted(names_below(scratch.path / "bundle", len(self._brought) + _NAMES_LOOKED_AT) - self._brought)
        ended: dict[str, Any] = {}

        def record(lost: Sequence[SkippedFile]) -> dict[str, Any]:
            output_fault = found.output_fault
            files = list(found.left_out)
            for each in lost:
                if each.name == "output":
                    output_fault = each.reason
                else:
                    files.append(replace(each, name=each.name.removeprefix("files/")))
            faults = [fault] if fault else []
            if output_fault:
                faults.insert(0, OUTPUT_FAULT.format(output_fault))
            state = state_of(result, faults)
            reason = masker.text(reason_of(result, faults, self._task))
            said = [*found.notices, *left_out_notices(files), *new_files_notices(new, masker)]
            # A script that failed by itself, or asked to be skipped, says why; the text names what else is wrong, too.
            said = [each for each in faults if each not in reason] + said
            ended.update(state=state, reason=reason, notices=tuple(masker.text(each) for each in said))
            return {
                "run_id": self._task.script_context.run_id,
                "state": state,
                "reason": reason,
                "notices": list(ended["notices"]),
                "ended": result.ended,
                "exit_code": result.exit_code,
                "signal": result.signal,
                "killed": result.killed,
                "started": started,
                "finished": _now(),
                "seconds": round(result.seconds, 3),
                "cpu_seconds": round(result.cpu_seconds, 3),
                "max_rss_bytes": result.max_rss_bytes,
                "host": socket.gethostname(),
                "masked": {"stdout": result.stdout_masked, "stderr": result.stderr_masked},
                "bundle": None if fetched is None else {"name": masker.text(fetched.name), "sha256": fetched.sha256},
            }

        stored = draft.commit(record)
        values = {name: value for name, value in values.items() if f"files/{name}.json" in stored.record["contents"]}
        return ExecutionOutcome(
            **ended,
            exit_code=result.exit_code,
            stored=stored,
            values=values,
            result=result,
        )


def _values(folder: Path, masker: Masker) -> tuple[dict[str, Any], str | None]:
    """The values, masked, and what is wrong with those that are none."""
    values: dict[str, Any] = {}
    fault = None
    try:
        values = read_values(folder)
    except ResultError as error:
        fault = str(error)
    try:
        return mask_values(folder, values, masker), fault
    except ResultError as error:
        return {}, fault or str(error)


def _masked(tell: Callable[[Progress], None], masker: Masker) -> Callable[[Progress], None]:
    """Once more: in JSON a secret may be written with escapes."""

    def told(progress: Progress) -> None:
        tell(replace(progress, message=masker.text(progress.message)) if progress.message else progress)

    return told


def _settle_output(folder: Path) -> None:
    """The exact stdout is the output, unless the script has written one."""
    exact, output = folder / _EXACT, folder / "output"
    if not exact.exists():
        return
    if output.exists():
        exact.unlink()
    else:
        exact.rename(output)


def _is_full_disk(error: BaseException | None) -> bool:
    """Whether there was no room, or no quota, at the bottom of an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
